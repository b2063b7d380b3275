import { expect, test } from 'vitest';

import { Details } from '../src/details';
import { JobsModel } from '../src/model';
import { ended, job } from './jobs';
import { apiOf, json, until } from './server';

test('of a job that lives it is told what it listens on and did not declare', async () => {
  const asked: string[] = [];
  const offered = [{ port: 7860, address: 'any' }];
  const told = { ports: [], undeclared: offered, trouble: null };
  const { api } = apiOf(({ path }) => {
    asked.push(path);
    const said = path.includes('over') ? ended({ id: 'over' }) : job({ id: 'lives' });
    const view = { ...said, mirror: { state: 'complete' } };
    return json(path.endsWith('/ports') ? told : view);
  });
  const model = new JobsModel();
  model.replace([job({ id: 'lives' }), ended({ id: 'over' })], {});
  const details = new Details(api, model);
  details.awake = true;
  model.choose('lives');
  await until(() => details.undeclared.length > 0);
  expect(details.undeclared).toEqual(offered);
  // What was just shown is seen without waiting for the next round.
  told.undeclared = [];
  details.refresh();
  await until(() => details.undeclared.length === 0);
  // Of one that has ended there is nothing to tell, and so nothing is asked.
  asked.length = 0;
  model.choose('over');
  await until(() => details.view !== null);
  expect(asked.filter(path => path.endsWith('/ports'))).toEqual([]);
  expect(details.undeclared).toEqual([]);
  details.awake = false;
});
