import type { JobsFeed } from './feed';

/** A timer that is so late has slept with the machine, in milliseconds. */
const LATE = 20_000;
const TICK = 5000;

/**
 * Keeps the feed as awake as anybody needs it: at once while the sidebar or a tab is seen, now
 * and then for notifications, not at all otherwise; and anew after the machine has slept.
 */
export class Wakefulness {
  /**
   * @param seen - Whether something of ours can be seen in the window.
   * @param notify - Whether the person wants to be told of ends.
   */
  constructor(
    private readonly feed: JobsFeed,
    private readonly seen: () => boolean,
    private readonly notify: () => boolean
  ) {
    document.addEventListener('visibilitychange', this.look);
    window.addEventListener('online', this.wake);
    this.timer = setInterval(this.beat, TICK);
  }

  /** Look again what is needed. */
  readonly look = (): void => {
    const live = this.seen() && !document.hidden;
    this.feed.mode = live ? 'live' : this.notify() ? 'rounds' : 'off';
  };

  dispose(): void {
    clearInterval(this.timer);
    document.removeEventListener('visibilitychange', this.look);
    window.removeEventListener('online', this.wake);
  }

  /** The connection is as good as dead: the server may have forgotten it. */
  private readonly wake = (): void => {
    this.look();
    this.feed.restart();
  };

  private readonly beat = (): void => {
    const now = Date.now();
    if (now - this.last > TICK + LATE && !document.hidden) {
      this.wake();
    }
    this.last = now;
  };

  private last = Date.now();
  private readonly timer: ReturnType<typeof setInterval>;
}
