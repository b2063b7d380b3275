import { afterEach, expect, test } from 'vitest';

import type { JobSummary } from '../src/api';
import { JobsFeed } from '../src/feed';
import { JobsModel } from '../src/model';
import { ended, job } from './jobs';
import { apiOf, json, Stream, until, type Asked } from './server';

/** A server with a list of jobs, which streams what it is told to. */
class Server {
  jobs: JobSummary[] = [];
  lists = 0;
  streams: Stream[] = [];
  cursors: string[] = [];
  away = false;

  readonly model = new JobsModel();
  readonly feed: JobsFeed;

  constructor() {
    const { api } = apiOf(asked => this.answer(asked));
    this.feed = new JobsFeed(api, this.model);
  }

  private answer({ path, query, signal }: Asked): Response {
    if (this.away) {
      throw new TypeError('Failed to fetch');
    }
    if (path.endsWith('/events')) {
      this.cursors.push(query.cursor);
      const stream = new Stream(signal);
      this.streams.push(stream);
      return stream.response;
    }
    this.lists += 1;
    const offset = Number(query.offset);
    const jobs = this.jobs.slice(offset, offset + Number(query.limit));
    return json({
      jobs,
      total: this.jobs.length,
      offset,
      silent: {},
      cursor: `x-${this.lists}`
    });
  }
}

const servers: Server[] = [];

function serve(...jobs: JobSummary[]): Server {
  const server = new Server();
  server.jobs = jobs;
  servers.push(server);
  return server;
}

afterEach(() => servers.splice(0).forEach(server => server.feed.dispose()));

test('it reads the list, and goes on from there', async () => {
  const server = serve(job({ id: 'a' }));
  server.feed.mode = 'live';
  await until(() => server.streams.length === 1);
  expect(server.cursors).toEqual(['x-1']);
  expect(server.model.link.state).toBe('live');
  const [stream] = server.streams;
  stream.send('hello', { cursor: 'x-1', reset: false }, 'x-1');
  stream.send('job', ended({ id: 'a' }), 'x-2');
  stream.send('job', job({ id: 'b' }), 'x-3');
  stream.send('workers', { silent: { gpu1: 'no route' } }, 'x-4');
  await until(() => server.model.silent.gpu1 === 'no route');
  expect([...server.model.jobs.values()].map(each => `${each.id} ${each.live}`)).toEqual([
    'a false',
    'b true'
  ]);
  stream.send('gone', { id: 'a' }, 'x-5');
  await until(() => server.model.jobs.size === 1);
});

test('a thousand jobs and more come page by page', async () => {
  const server = serve(...Array.from({ length: 2345 }, (_, at) => ended({ id: `j${at}` })));
  await server.feed.load();
  expect(server.model.jobs.size).toBe(2345);
  expect(server.lists).toBe(3);
});

test('where more has changed than is remembered, the list is read anew', async () => {
  const server = serve(job({ id: 'a' }));
  server.feed.mode = 'live';
  await until(() => server.streams.length === 1);
  server.jobs = [job({ id: 'b' })];
  server.streams[0].send('hello', { cursor: 'y-0', reset: true }, 'y-0');
  await until(() => server.streams.length === 2);
  expect([...server.model.jobs.keys()]).toEqual(['b']);
  expect(server.streams[0].stopped).toBe(true);
});

test('a server that goes away and comes back is shown as it is then', async () => {
  const server = serve(job({ id: 'a' }));
  server.feed.mode = 'live';
  await until(() => server.streams.length === 1);
  server.away = true;
  server.streams[0].close();
  await until(() => server.model.link.state === 'away');
  // What was known is shown on.
  expect(server.model.jobs.size).toBe(1);
  server.away = false;
  server.jobs = [ended({ id: 'a' }), job({ id: 'b' })];
  await until(() => server.model.link.state === 'live');
  expect(server.model.find('a')!.live).toBe(false);
}, 20_000);

test('asleep, it holds no stream and asks for nothing', async () => {
  const server = serve(job({ id: 'a' }));
  server.feed.mode = 'live';
  await until(() => server.streams.length === 1);
  server.feed.mode = 'off';
  await until(() => server.streams[0].stopped);
  expect(server.model.link.state).toBe('asleep');
  server.jobs = [job({ id: 'b' })];
  server.feed.mode = 'live';
  await until(() => server.model.jobs.has('b'));
  expect(server.model.jobs.has('a')).toBe(false);
});

test('in rounds it asks without a stream', async () => {
  const server = serve(job({ id: 'a' }));
  server.feed.mode = 'rounds';
  await until(() => server.model.jobs.size === 1);
  expect(server.streams).toHaveLength(0);
});
