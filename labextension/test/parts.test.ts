import { expect, test } from 'vitest';

import { LogReader, type Piece } from '../src/logreader';
import { farText, fractionOf, gpuOf, secondsLeft } from '../src/readings';
import { rowsOf, EVERYTHING } from '../src/rows';
import { HEIGHTS, offsetsOf, scrollTo, visible } from '../src/window';
import { clock, elapsed, nameOf, size, span, STATES, sign } from '../src/words';
import { ended, job } from './jobs';
import { apiOf, json, until } from './server';

const jobs = Array.from({ length: 1000 }, (_, at) => job({ id: `j${at}`, created: at }));

test('of a thousand jobs only those that can be seen are in the page', () => {
  const rows = rowsOf(jobs, EVERYTHING, 'worker');
  const offsets = offsetsOf(rows);
  expect(offsets.at(-1)).toBe(HEIGHTS.group + 1000 * HEIGHTS.job);
  for (const top of [0, 5000, offsets.at(-1)! - 400]) {
    const [first, last] = visible(offsets, top, 400);
    expect(last - first).toBeLessThan(30);
    expect(offsets[first]).toBeLessThanOrEqual(top);
    expect(offsets[last]).toBeGreaterThanOrEqual(Math.min(top + 400, offsets.at(-1)!));
  }
  expect(visible([0], 0, 400)).toEqual([0, 0]);
});

test('a line is scrolled to no further than needed', () => {
  const offsets = offsetsOf(rowsOf(jobs, EVERYTHING, 'none'));
  expect(scrollTo(offsets, 3, 0, 400)).toBe(0);
  expect(scrollTo(offsets, 0, 300, 400)).toBe(0);
  expect(scrollTo(offsets, 20, 0, 400)).toBe(21 * HEIGHTS.job - 400);
});

test('times and sizes read as people write them', () => {
  expect([42, 4000, 59.9].map(clock)).toEqual(['0:42', '1:06:40', '0:59']);
  expect([4, 480, 9000, 86_400, 300_000].map(span)).toEqual([
    '4 s',
    '8 min',
    '2.5 h',
    '24 h',
    '3 d'
  ]);
  expect([12, 3_400_000].map(size)).toEqual(['12 B', '3.4 MB']);
  expect(['/a/b.ipynb', '/a/b/'].map(nameOf)).toEqual(['b.ipynb', 'b/']);
  expect(elapsed(job({ id: 'a', started: 10 }), 15)).toBe(5);
  expect(elapsed(job({ id: 'a', started: null }), 15)).toBeNull();
});

test('each state has a sign of its own', () => {
  expect(new Set(STATES.map(sign)).size).toBe(STATES.length);
});

test('how far a job is reads as people say it', () => {
  const said = { done: 1200, total: 3000, unit: 'it', description: null, rate: 2 };
  const progress = { ...said, seconds_left: 60, at: 1000 };
  expect(fractionOf(progress)).toBe(0.4);
  expect(farText(progress)).toBe('1,200 / 3,000 it');
  expect(secondsLeft(progress, 1010)).toBe(50);
  expect(secondsLeft(progress, 2000)).toBe(0);
  const endless = { ...progress, total: null, unit: null, seconds_left: null };
  expect([fractionOf(endless), farText(endless), secondsLeft(endless, 5)]).toEqual([
    null,
    '1,200',
    null
  ]);
  expect(gpuOf(job({ id: 'a', gpu: [3, 9] }))).toEqual([3, 9]);
  expect(gpuOf(ended({ id: 'a', gpu: [3, 9] }))).toEqual([]);
});

/** A log that grows, and a reader of it. */
function reading(log: { text: string; over: boolean }): {
  pieces: Piece[];
  text: () => string;
  reader: LogReader;
} {
  const pieces: Piece[] = [];
  let text = '';
  const { api } = apiOf(async ({ query }) => {
    const offset = query.tail ? Math.max(0, log.text.length - 10) : Number(query.offset);
    while (query.wait && offset === log.text.length && !log.over) {
      await new Promise(resolve => setTimeout(resolve, 5));
    }
    const found = log.text.slice(
      offset,
      query.limit ? offset + Number(query.limit) : undefined
    );
    const next = offset + found.length;
    const end = log.over && next === log.text.length;
    return json({
      text: found,
      offset,
      next,
      size: log.text.length,
      skipped: 0,
      end,
      runs: []
    });
  });
  const reader = new LogReader(
    api,
    'a',
    (piece, more) => {
      pieces.push(piece);
      text = piece.reset ? more : text + more;
    },
    () => undefined
  );
  return { pieces, text: () => text, reader };
}

test('a log is read from its tail to its end, nothing twice and nothing missing', async () => {
  const log = { text: 'a long beginning, and 0123456789', over: false };
  const { pieces, text, reader } = reading(log);
  reader.start();
  await until(() => text() === '0123456789');
  log.text += ' more';
  await until(() => text() === '0123456789 more');
  log.text += ' end';
  log.over = true;
  await until(() => reader.over);
  expect(text()).toBe('0123456789 more end');
  expect(pieces[0]).toMatchObject({ begin: log.text.indexOf('0'), reset: true });
  expect(pieces.at(-1)!.over).toBe(true);
});

test('paused, it asks for nothing, and then goes on where it was', async () => {
  const log = { text: '0123456789', over: false };
  const { pieces, text, reader } = reading(log);
  reader.start();
  await until(() => pieces.length === 1);
  reader.pause();
  log.text += ' meanwhile';
  reader.start();
  await until(() => text() === '0123456789 meanwhile');
  reader.pause();
});

test('an earlier part is shown on its own, until the end is wanted', async () => {
  const log = { text: 'x'.repeat(300_000) + '0123456789', over: true };
  const { pieces, text, reader } = reading(log);
  reader.start();
  await until(() => reader.over);
  await reader.before(10_000);
  expect(pieces.at(-1)).toMatchObject({ begin: 0, reset: true, stopped: true, over: false });
  reader.followEnd();
  await until(() => text() === '0123456789');
});
