import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import { API, type Problem } from './api';
import { EventParser, type StreamEvent } from './sse';

/** What may stand behind the question mark of an address. */
export type Query = Record<string, string | number | boolean | undefined>;

/** What the server, or the way to it, said instead of an answer. */
export class RequestError extends Error {
  /**
   * @param problem - What was wrong, and what to do next.
   * @param status - The answer's status; 0 if there was no answer.
   */
  constructor(
    readonly problem: Problem,
    readonly status: number
  ) {
    super(problem.message);
    this.name = 'RequestError';
  }

  /** A word for programs, such as `job_not_found`. */
  get code(): string {
    return this.problem.code;
  }

  /** What was wrong and what to do, in one text. */
  get text(): string {
    return [this.problem.message, this.problem.hint].filter(Boolean).join(' ');
  }
}

/** Whether an error says that this server has no such API: the extension is not enabled. */
export function isMissing(error: unknown): boolean {
  return error instanceof RequestError && error.status === 404 && error.code === 'no_answer';
}

/** What an error says to a person. */
export function textOf(error: unknown): string {
  if (error instanceof RequestError) {
    return error.text;
  }
  return error instanceof Error ? error.message : String(error);
}

/** A server that says nothing for so long is taken for gone: its comments come every 15 s. */
export const SILENCE = 40_000;

/** The API of the server extension: the one place from where it is asked. */
export class Api {
  constructor(
    private readonly settings: ServerConnection.ISettings = ServerConnection.makeSettings(),
    private readonly silence: number = SILENCE
  ) {}

  /** Ask for something. */
  get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
    return this.json<T>(path, query, { method: 'GET', signal });
  }

  /** Have something done. */
  post<T>(path: string, body: object = {}): Promise<T> {
    return this.json<T>(path, undefined, { method: 'POST', body: JSON.stringify(body) });
  }

  /** Have something removed. */
  delete<T>(path: string, query?: Query): Promise<T> {
    return this.json<T>(path, query, { method: 'DELETE' });
  }

  /**
   * Follow a stream of events until its end.
   *
   * Throws if it breaks off, or if nothing is heard for too long: a connection that died while
   * the laptop slept says nothing at all.
   */
  async stream(
    path: string,
    query: Query,
    take: (event: StreamEvent) => void,
    signal: AbortSignal
  ): Promise<void> {
    const own = new AbortController();
    const stop = (): void => own.abort();
    signal.addEventListener('abort', stop);
    let alarm = setTimeout(stop, this.silence);
    try {
      const response = await this.send(path, query, { method: 'GET', signal: own.signal });
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          return;
        }
        clearTimeout(alarm);
        alarm = setTimeout(stop, this.silence);
        parser.push(value).forEach(event => this.pass(event, take));
      }
    } catch (error) {
      throw error instanceof RequestError ? error : unreachable(error);
    } finally {
      clearTimeout(alarm);
      own.abort();
      signal.removeEventListener('abort', stop);
    }
  }

  /** The address of something, for a link. */
  url(path: string, query: Query = {}): string {
    const asked = Object.entries(query).filter(
      ([, value]) => value !== undefined && value !== ''
    );
    const text = new URLSearchParams(asked.map(([name, value]) => [name, String(value)]));
    const base = URLExt.join(this.settings.baseUrl, API, path);
    return asked.length ? `${base}?${text.toString()}` : base;
  }

  /** How far the server's clock is ahead of this one, in seconds, as of its last answer. */
  get ahead(): number {
    return this.skew;
  }

  private pass(event: StreamEvent, take: (event: StreamEvent) => void): void {
    if (event.name === 'problem') {
      throw new RequestError(JSON.parse(event.data) as Problem, 200);
    }
    take(event);
  }

  private async json<T>(path: string, query: Query | undefined, init: RequestInit): Promise<T> {
    const response = await this.send(path, query, init);
    try {
      return (await response.json()) as T;
    } catch (error) {
      throw unreachable(error);
    }
  }

  /** The single request: everything above comes through here. */
  private async send(
    path: string,
    query: Query | undefined,
    init: RequestInit
  ): Promise<Response> {
    let response: Response;
    try {
      // With `no-store` Lab would put the time behind the question mark, which the API refuses.
      const asked = { cache: 'no-cache' as const, ...init };
      response = await ServerConnection.makeRequest(
        this.url(path, query),
        asked,
        this.settings
      );
    } catch (error) {
      throw unreachable(error);
    }
    const date = Date.parse(response.headers.get('Date') ?? '');
    // The header has whole seconds.
    if (Number.isFinite(date) && Math.abs(date - Date.now()) > 2000) {
      this.skew = (date - Date.now()) / 1000;
    }
    if (!response.ok) {
      throw new RequestError(await problemOf(response), response.status);
    }
    return response;
  }

  private skew = 0;
}

/** The parts of a path, each fit for an address. */
export function path(...parts: Array<string | number>): string {
  return parts.map(part => encodeURIComponent(part)).join('/');
}

function unreachable(error: unknown): RequestError {
  const why = error instanceof Error ? error.message : String(error);
  const problem = {
    code: 'unreachable',
    message: `The Jupyter server can't be reached: ${why}.`,
    hint: ''
  };
  return new RequestError(problem, 0);
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => '');
  try {
    const found = JSON.parse(text) as Partial<Problem> | null;
    if (typeof found?.code === 'string' && typeof found.message === 'string') {
      return { hint: '', ...found, code: found.code, message: found.message };
    }
  } catch {
    // Not ours: a proxy's page, or a server without the extension.
  }
  return {
    code: 'no_answer',
    message: `The Jupyter server answered ${response.status} ${response.statusText}.`.trim(),
    hint:
      response.status === 404
        ? 'Its extension is not there: `jupyter server extension enable chutes_jupyter`, then start it again.'
        : ''
  };
}
