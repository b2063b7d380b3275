import { expect, test } from 'vitest';

import { isMissing, path, RequestError, textOf } from '../src/request';
import { EventParser, type StreamEvent } from '../src/sse';
import { apiOf, json, Stream, until } from './server';

test('a question goes to the API below the base URL, and says only what it means', async () => {
  const { api, asked } = apiOf(() => json({ jobs: [] }));
  const found = await api.get('jobs', { limit: 10, refresh: undefined });
  expect(found).toEqual({ jobs: [] });
  expect(asked).toMatchObject([
    { method: 'GET', path: '/user/jo/chutes/api/v1/jobs', query: { limit: '10' } }
  ]);
});

test('what is done is posted as JSON', async () => {
  const { api, asked } = apiOf(() => json({ told: true }));
  await api.post(path('jobs', 'a/b', 'cancel'), { wait: 5 });
  expect(asked).toMatchObject([
    { method: 'POST', path: '/user/jo/chutes/api/v1/jobs/a%2Fb/cancel', body: { wait: 5 } }
  ]);
});

test('a problem keeps its code, and says what to do next', async () => {
  const problem = { code: 'job_not_found', message: 'No such job.', hint: 'See the list.' };
  const { api } = apiOf(() => json({ ...problem, details: {} }, 404));
  const error = await api.get('jobs/x').catch((each: unknown) => each);
  expect(error).toBeInstanceOf(RequestError);
  expect(error).toMatchObject({ code: 'job_not_found', status: 404 });
  expect(textOf(error)).toBe('No such job. See the list.');
  expect(isMissing(error)).toBe(false);
});

test('a server without the extension is told from one that has no such job', async () => {
  const { api } = apiOf(() => new Response('<html>404</html>', { status: 404 }));
  const error = await api.get('jobs').catch((each: unknown) => each);
  expect(isMissing(error)).toBe(true);
  expect(textOf(error)).toContain('jupyter server extension enable chutes_jupyter');
});

test.each([
  ['a proxy', () => new Response('<html>bad gateway</html>', { status: 502 }), 'no_answer'],
  ['no network', () => Promise.reject(new TypeError('Failed to fetch')), 'unreachable'],
  ['no JSON', () => new Response('<html>'), 'unreachable']
])('%s is told as what it is', async (_, answer, code) => {
  const { api } = apiOf(answer);
  await expect(api.get('jobs')).rejects.toMatchObject({ code });
});

test('events come as they are sent, whatever the pieces', () => {
  const parser = new EventParser();
  const text = ': hello\n\nevent: job\r\ndata: {"a":\ndata: 1}\nid: x-1\n\ndata: two\r\r';
  const whole: StreamEvent[] = [];
  for (const character of text) {
    whole.push(...parser.push(character));
  }
  // The last carriage return may be half of a line's end.
  whole.push(...parser.push('\n'));
  const expected = [
    { name: 'job', data: '{"a":\n1}', id: 'x-1' },
    { name: 'message', data: 'two', id: 'x-1' }
  ];
  expect(whole).toEqual(expected);
  expect(new EventParser().push(`${text}\n`)).toEqual(expected);
});

test('a stream is followed to its end', async () => {
  const stream = new Stream();
  const { api, asked } = apiOf(() => stream.response);
  const found: StreamEvent[] = [];
  const ending = api.stream(
    'events',
    { cursor: 'x-3' },
    event => found.push(event),
    new AbortController().signal
  );
  stream.send('job', { label: 'train-äöü' }, 'x-4');
  await until(() => found.length === 1);
  stream.close();
  await ending;
  expect(JSON.parse(found[0].data)).toEqual({ label: 'train-äöü' });
  expect(asked[0].query).toEqual({ cursor: 'x-3' });
});

test('a stream that says nothing for too long is given up', async () => {
  let stream: Stream | undefined;
  const { api } = apiOf(asked => (stream = new Stream(asked.signal)).response, 60);
  const signal = new AbortController().signal;
  await expect(api.stream('events', {}, () => undefined, signal)).rejects.toMatchObject({
    code: 'unreachable'
  });
  expect(stream!.stopped).toBe(true);
});

test('comments keep a stream alive', async () => {
  const stream = new Stream();
  const { api } = apiOf(() => stream.response, 3000);
  const signal = new AbortController().signal;
  const ending = api.stream('events', {}, () => undefined, signal);
  const began = Date.now();
  while (Date.now() - began < 3500) {
    stream.write(': nothing new\n\n');
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  stream.close();
  await ending;
}, 20_000);

test('what goes wrong in a stream is told as a problem', async () => {
  const stream = new Stream();
  const { api } = apiOf(() => stream.response);
  const signal = new AbortController().signal;
  const ending = api.stream('events', {}, () => undefined, signal);
  stream.send('problem', { code: 'internal', message: 'It broke.', hint: '' });
  await expect(ending).rejects.toMatchObject({ code: 'internal' });
});

test('the clock of the server is known where it is another', async () => {
  const date = new Date(Date.now() + 3600_000).toUTCString();
  const { api } = apiOf(() => new Response('{}', { headers: { Date: date } }));
  await api.get('about');
  expect(Math.round(api.ahead / 60)).toBe(60);
});
