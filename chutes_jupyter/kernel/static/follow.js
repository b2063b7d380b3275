/**
 * Following a job through the server extension, for a panel whose kernel is gone.
 *
 * It asks, every few seconds and only while the panel can be seen, how the job is and what it tells
 * of itself, and reads on in its log.
 */
import { TERMINAL } from "./words.js";

const PAUSE = 2000;

/** Follows one job. */
export class Follower {
  /**
   * @param {import("./api.js").Server} server
   * @param {string} job
   * @param {{job: (view: any) => void, readings: (readings: any) => void, log: (piece: any, bytes: Uint8Array) => void, end: () => number|null}} told
   */
  constructor(server, job, told) {
    this.server = server;
    this.job = job;
    this.told = told;
    this.timer = 0;
    this.running = false;
    /** How many displays there were when they were asked for. */
    this.shown = 0;
  }

  /** Go on. */
  start() {
    if (this.running) return;
    this.running = true;
    void this.look();
  }

  /** Stop asking. */
  stop() {
    this.running = false;
    clearTimeout(this.timer);
  }

  async look() {
    try {
      const view = await this.server.ask("GET", `/jobs/${this.job}`);
      if (!this.running) return;
      this.told.job(view);
      await this.readings();
      const whole = await this.read();
      if (TERMINAL.has(view.state) && whole) this.running = false;
    } catch {
      // The server is away, or knows the job no more; it is asked again.
    }
    if (this.running) this.timer = setTimeout(() => this.look(), PAUSE);
  }

  /** Ask what the job tells of itself; for what it showed, which is large, only where that grew. */
  async readings() {
    const path = `/jobs/${this.job}/readings`;
    let found = await this.server.ask("GET", path);
    if (found.shown !== this.shown) {
      found = await this.server.ask("GET", path, { query: { displays: true } });
      this.shown = found.shown;
    }
    if (this.running) this.told.readings(found);
  }

  /** Read what is new in the log; return whether that was its end. */
  async read() {
    for (;;) {
      const end = this.told.end();
      const query = end === null ? { tail: 256 * 1024 } : { offset: end, limit: 256 * 1024 };
      const piece = await this.server.ask("GET", `/jobs/${this.job}/log`, { query });
      if (!this.running) return false;
      if (piece.text) {
        this.told.log({ begin: piece.offset, end: piece.next, runs: [], reset: end !== piece.offset },
          new TextEncoder().encode(piece.text));
      }
      if (piece.end || !piece.text) return piece.end;
    }
  }
}
