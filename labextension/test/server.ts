import { ServerConnection } from '@jupyterlab/services';

import { Api } from '../src/request';

/** What was asked. */
export interface Asked {
  method: string;
  path: string;
  query: Record<string, string>;
  body: unknown;
  signal: AbortSignal;
}

export type Answer = Response | Promise<Response>;

/** An answer in JSON. */
export function json(body: unknown, status = 200): Response {
  return new Response(JSON.stringify(body), { status });
}

/** A stream that says what it is told to, until it is closed. */
export class Stream {
  readonly response: Response;

  constructor(signal?: AbortSignal) {
    const body = new ReadableStream<Uint8Array>({
      start: controller => {
        this.controller = controller;
        const stop = (): void => {
          this.stopped = true;
          controller.error(new Error('aborted'));
        };
        signal?.addEventListener('abort', stop);
        if (signal?.aborted) {
          stop();
        }
      }
    });
    this.response = new Response(body);
  }

  /** Whether the other side has left. */
  stopped = false;

  send(name: string, data: unknown, id = ''): void {
    this.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n${id ? `id: ${id}\n` : ''}\n`);
  }

  write(text: string): void {
    this.controller!.enqueue(new TextEncoder().encode(text));
  }

  close(): void {
    this.controller!.close();
  }

  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
}

/** An API whose server is a function; everything else is as it is for people. */
export function apiOf(
  answer: (asked: Asked) => Answer,
  silence?: number
): { api: Api; asked: Asked[] } {
  const asked: Asked[] = [];
  // Node forgets to abort what nobody holds, and a signal does not hold its request.
  const held: unknown[] = [];
  const settings = ServerConnection.makeSettings({
    baseUrl: 'http://localhost:8888/user/jo/',
    token: 'secret',
    fetch: async (request: RequestInfo | URL): Promise<Response> => {
      held.push(request);
      const { method, url, signal } = request as Request;
      const { pathname, searchParams } = new URL(url);
      const text = await (request as Request).text();
      const one = {
        method,
        path: pathname,
        query: Object.fromEntries(searchParams),
        body: text ? (JSON.parse(text) as unknown) : undefined,
        signal
      };
      asked.push(one);
      return await answer(one);
    }
  });
  return { api: new Api(settings, silence), asked };
}

/** Wait until something holds; the test's own deadline ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
