import type { LogAnswer } from './api';
import { path, textOf, type Api } from './request';

/** A piece of a log, as the log's view takes it. */
export interface Piece {
  begin: number;
  end: number;
  runs: Array<[number, number]>;
  reset?: boolean;
  over?: boolean;
  stopped?: boolean;
}

/** So much of a log comes at once, in bytes: the most that the API gives. */
const MOST = 256 * 1024;
/** How long an answer waits for news, in seconds. */
const WAIT = 20;
const PAUSE = 2000;

/** Reads a log piece by piece, from its end on, for as long as somebody looks. Knows no page. */
export class LogReader {
  constructor(
    private readonly api: Api,
    private readonly job: string,
    private readonly take: (piece: Piece, text: string) => void,
    /** Told why nothing comes, and with an empty text that it goes on. */
    private readonly complain: (text: string) => void
  ) {}

  /** Whether it was read to its end, and nothing more will come. */
  get over(): boolean {
    return this._over;
  }

  /** Read on. */
  start(): void {
    if (this.stop.signal.aborted && !this._over) {
      this.stop = new AbortController();
      void this.follow(this.stop.signal);
    }
  }

  /** Read no more for now. */
  pause(): void {
    this.stop.abort();
  }

  /** Go to the end of the log, and follow it. */
  followEnd(): void {
    this.pause();
    this.next = null;
    this._over = false;
    this.start();
  }

  /** Show the part before a byte, and what follows, until it is read on. */
  async before(byte: number): Promise<void> {
    this.pause();
    const begin = Math.max(0, byte - MOST);
    const piece = await this.ask({ offset: begin, limit: MOST });
    this.next = piece.next;
    const stopped = piece.next < piece.size;
    this.pass(piece, true, stopped);
    if (!stopped) {
      this.start();
    }
  }

  private async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this._over) {
      try {
        await this.readOn(signal);
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        this.complain(textOf(error));
        await new Promise(resolve => setTimeout(resolve, PAUSE));
      }
    }
    this.stop.abort();
  }

  private async readOn(signal: AbortSignal): Promise<void> {
    const query: Record<string, number> =
      this.next === null ? { tail: MOST } : { offset: this.next, limit: MOST, wait: WAIT };
    const piece = await this.ask(query, signal);
    if (signal.aborted) {
      return;
    }
    this.complain('');
    // It is the first, or what was to come next is kept no more.
    const reset = piece.offset !== this.next;
    this.next = piece.next;
    this._over = piece.end;
    if (reset || piece.text || piece.end) {
      this.pass(piece, reset, false);
    }
  }

  private pass(piece: LogAnswer, reset: boolean, stopped: boolean): void {
    const { offset: begin, next: end, text } = piece;
    const runs = piece.runs as Array<[number, number]>;
    this.take({ begin, end, runs, reset, over: piece.end && !stopped, stopped }, text);
  }

  private ask(query: Record<string, number>, signal?: AbortSignal): Promise<LogAnswer> {
    return this.api.get<LogAnswer>(`${path('jobs', this.job)}/log`, query, signal);
  }

  private next: number | null = null;
  private _over = false;
  private stop = stopped();
}

function stopped(): AbortController {
  const made = new AbortController();
  made.abort();
  return made;
}
