import { expect, test } from 'vitest';

import type { JobSummary } from '../src/api';
import { JobsModel } from '../src/model';
import { ended, job } from './jobs';

function ids(model: JobsModel): string[] {
  return model.rows.map(row => (row.kind === 'job' ? row.job.id : `[${row.key} ${row.count}]`));
}

function modelOf(...jobs: JobSummary[]): JobsModel {
  const model = new JobsModel();
  model.replace(jobs, {});
  return model;
}

test('live jobs come first, then the newest', () => {
  const model = modelOf(
    ended({ id: 'old', ended: 1010 }),
    job({ id: 'first', created: 1000 }),
    ended({ id: 'new', ended: 1020 }),
    job({ id: 'second', created: 1005 })
  );
  expect(ids(model)).toEqual(['second', 'first', 'new', 'old']);
});

test('a job that ends goes down, and is told once', () => {
  const model = modelOf(job({ id: 'a', created: 1005 }), job({ id: 'b' }));
  const told: string[] = [];
  model.ended.connect((_, each) => told.push(`${each.id} ${each.state}`));
  model.take(ended({ id: 'a', state: 'failed' }));
  model.take(ended({ id: 'a', state: 'failed' }));
  expect(ids(model)).toEqual(['b', 'a']);
  expect(told).toEqual(['a failed']);
});

test('an answer that comes after the news changes nothing', () => {
  const model = modelOf(job({ id: 'a' }));
  const told: string[] = [];
  model.ended.connect((_, each) => told.push(each.state));
  model.take(ended({ id: 'a', state: 'cancelled', event: 5 }));
  model.take(job({ id: 'a', state: 'cancelling', event: 4 }));
  expect(model.find('a')?.state).toBe('cancelled');
  model.take(ended({ id: 'a', state: 'cancelled', event: 5 }));
  expect(told).toEqual(['cancelled']);
});

test('what ended while nobody listened is told when the list is read anew', () => {
  const model = modelOf(job({ id: 'a' }), job({ id: 'b' }), ended({ id: 'c' }));
  const told: string[] = [];
  model.ended.connect((_, each) => told.push(each.id));
  model.replace(
    [ended({ id: 'a' }), job({ id: 'b' }), ended({ id: 'c' }), ended({ id: 'd' })],
    {}
  );
  expect(told).toEqual(['a']);
});

test('all words of the filter must occur, somewhere', () => {
  const model = modelOf(
    job({ id: 'a', worker: 'gpu1' }),
    ended({ id: 'b', worker: 'gpu1', state: 'failed', reason: 'ValueError: No such set' }),
    job({ id: 'c' })
  );
  model.setFilter({ text: 'GPU1' });
  expect(ids(model)).toEqual(['a', 'b']);
  model.setFilter({ text: 'gpu1 valueerror' });
  expect(ids(model)).toEqual(['b']);
  model.setFilter({ text: '' });
  expect(ids(model)).toHaveLength(3);
});

test.each([
  ['live', ['a']],
  ['ended', ['c', 'b']],
  ['failed', ['b']],
  ['', ['a', 'c', 'b']]
])('the state filter %j', (state, expected) => {
  const model = modelOf(
    job({ id: 'a' }),
    ended({ id: 'b', state: 'failed', ended: 1001 }),
    ended({ id: 'c' })
  );
  model.setFilter({ state });
  expect(ids(model)).toEqual(expected);
});

test('filters of worker and notebook go together', () => {
  const model = modelOf(
    job({ id: 'a', worker: 'gpu1', notebook: '/x.ipynb' }),
    job({ id: 'b', worker: 'gpu1', notebook: '/y.ipynb' }),
    job({ id: 'c', worker: 'gpu2', notebook: '/x.ipynb' })
  );
  model.setFilter({ worker: 'gpu1', notebook: '/x.ipynb' });
  expect(ids(model)).toEqual(['a']);
  expect(model.facets('worker')).toEqual([
    ['gpu1', 2],
    ['gpu2', 1]
  ]);
});

test('groups have their counts, and can be folded', () => {
  const model = modelOf(
    job({ id: 'a', worker: 'gpu1', created: 1001 }),
    job({ id: 'b', worker: 'gpu2' }),
    ended({ id: 'c', worker: 'gpu1' })
  );
  model.setGrouping('worker');
  expect(ids(model)).toEqual(['[gpu1 2]', 'a', 'c', '[gpu2 1]', 'b']);
  model.fold('gpu1');
  expect(ids(model)).toEqual(['[gpu1 2]', '[gpu2 1]', 'b']);
  model.fold('gpu1');
  expect(ids(model)).toHaveLength(5);
});

test('doubt is of live jobs whose worker is silent', () => {
  const model = modelOf(
    job({ id: 'a', worker: 'gpu1' }),
    ended({ id: 'b', worker: 'gpu1' }),
    job({ id: 'c', trouble: 'broken since 10:02' })
  );
  model.takeSilent({ gpu1: 'no route' });
  const doubts = ['a', 'b', 'c'].map(id => model.doubt(model.find(id)!));
  expect(doubts).toEqual(['no route', '', 'broken since 10:02']);
});

test('a connection that stays away is away since the first time', () => {
  const model = new JobsModel();
  model.setLink({ state: 'away', why: 'one', since: 5 });
  model.setLink({ state: 'away', why: 'two', since: 9 });
  expect(model.link).toEqual({ state: 'away', why: 'two', since: 5 });
});

test('a job that is gone is chosen no more', () => {
  const model = modelOf(job({ id: 'a' }));
  model.choose('a');
  expect(model.current?.id).toBe('a');
  model.drop('a');
  expect(model.current).toBeNull();
  expect(ids(model)).toEqual([]);
});

test('every change is told', () => {
  const model = modelOf(job({ id: 'a' }));
  let count = 0;
  model.changed.connect(() => (count += 1));
  model.take(job({ id: 'b' }));
  model.drop('b');
  model.choose('a');
  model.choose('a');
  model.setFilter({ text: 'x' });
  expect(count).toBe(4);
});
