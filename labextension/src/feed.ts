import type { JobPage, JobSummary } from './api';
import type { JobsModel } from './model';
import { isMissing, textOf, type Api } from './request';
import type { StreamEvent } from './sse';

/** The most jobs of one answer. */
const PAGE = 1000;
/** How often the list is asked for while nobody sees it, in milliseconds: for notifications. */
const ROUND = 30_000;
/** The first pause after a break, and the longest. */
const PAUSE = 1000;
const LONGEST = 15_000;

/**
 * Keeps the model as the server has it: by a stream while somebody looks, else by a question
 * now and then, or not at all.
 */
export class JobsFeed {
  constructor(
    private readonly api: Api,
    private readonly model: JobsModel
  ) {}

  /** How much is wanted: news at once, now and then, or none. */
  get mode(): 'live' | 'rounds' | 'off' {
    return this._mode;
  }

  set mode(mode: 'live' | 'rounds' | 'off') {
    if (mode !== this._mode) {
      this._mode = mode;
      this.restart();
    }
  }

  /** Ask anew at once: after a sleep, or because the person wants it. */
  restart(): void {
    this.stop.abort();
    this.stop = new AbortController();
    if (this._mode === 'live') {
      this.model.setLink({ state: 'connecting' });
      void this.follow(this.stop.signal);
    } else {
      this.model.setLink({ state: 'asleep' });
      if (this._mode === 'rounds') {
        void this.goRound(this.stop.signal);
      }
    }
  }

  /** Read the whole list; with `refresh` the workers are asked first. */
  async load(refresh = false, signal?: AbortSignal): Promise<void> {
    const jobs = new Map<string, JobSummary>();
    for (let offset = 0; ; offset += PAGE) {
      const query = {
        limit: PAGE,
        offset,
        refresh: refresh && offset === 0 ? true : undefined
      };
      const page = await this.api.get<JobPage>('jobs', query, signal);
      page.jobs.forEach(job => jobs.set(job.id, job));
      if (offset === 0) {
        // What changes while the other pages come is told after this.
        this.cursor = page.cursor;
      }
      if (offset + page.jobs.length >= page.total || page.jobs.length === 0) {
        this.model.replace([...jobs.values()], page.silent);
        return;
      }
    }
  }

  /** Stop for good. */
  dispose(): void {
    this._mode = 'off';
    this.stop.abort();
  }

  private async follow(signal: AbortSignal): Promise<void> {
    let pause = PAUSE;
    while (!signal.aborted) {
      try {
        await this.load(false, signal);
        this.model.setLink({ state: 'live' });
        pause = PAUSE;
        await this.listen(signal);
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        const why = textOf(error);
        const missing = isMissing(error);
        this.model.setLink(
          missing ? { state: 'missing', why } : { state: 'away', why, since: Date.now() }
        );
        await sleep(missing ? ROUND : pause, signal);
        pause = Math.min(LONGEST, pause * 2);
      }
    }
  }

  /** Take what the stream tells until it ends; the server ends it when it stops. */
  private async listen(signal: AbortSignal): Promise<void> {
    const broken = new AbortController();
    const stop = (): void => broken.abort();
    signal.addEventListener('abort', stop);
    try {
      const take = (event: StreamEvent): void => {
        if (!this.take(event)) {
          stop();
        }
      };
      await this.api.stream('events', { cursor: this.cursor }, take, broken.signal);
    } catch (error) {
      // Stopped by ourselves, because the list must be read anew.
      if (!broken.signal.aborted || signal.aborted) {
        throw error;
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Take one event; returns false if the list must be read anew. */
  private take(event: StreamEvent): boolean {
    const data = JSON.parse(event.data) as Record<string, unknown>;
    if (event.id) {
      this.cursor = event.id;
    }
    switch (event.name) {
      case 'hello':
        return data.reset !== true;
      case 'job':
        this.model.take(data as unknown as JobSummary);
        return true;
      case 'gone':
        this.model.drop(String(data.id));
        return true;
      case 'workers':
        this.model.takeSilent(data.silent as Record<string, string>);
        return true;
      default:
        return true;
    }
  }

  private async goRound(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.load(false, signal);
      } catch (error) {
        if (isMissing(error)) {
          return;
        }
        // Away: nobody looks, and the next round will tell.
      }
      await sleep(ROUND, signal);
    }
  }

  private cursor = '';
  private stop = new AbortController();
  private _mode: 'live' | 'rounds' | 'off' = 'off';
}

/** Wait, or until it is stopped. */
function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
