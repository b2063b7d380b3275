import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import {
  audible,
  chime,
  ENDED,
  first,
  lookedAt,
  showWhenLookedAt,
  TAKES
} from '../../chutes_jupyter/kernel/static/ends.js';
import type { JobSummary } from './api';
import type { JobsModel } from './model';
import { CommandIDs } from './tokens';
import { clock, elapsed, stateWord } from './words';

/** What a person may want to be told. */
export interface Wishes {
  /** Whether Lab says when a job ends. */
  notify: boolean;
  /** Whether the browser says so, too, while no page of Lab is looked at. */
  browser: boolean;
  /** Whether it can be heard. */
  sound: boolean;
}

/** How a job ended. */
export interface End {
  id: string;
  label: string;
  state: string;
  reason: string | null;
  /** How long it ran, in seconds. */
  elapsed: number | null;
}

/** Says when a job ends, as far as the person wants it, and each end once. */
export class EndNotifier {
  constructor(
    private readonly commands: CommandRegistry,
    private readonly wishes: () => Wishes,
    private readonly trans: TranslationBundle
  ) {}

  /** Take the ends that the list of jobs sees, and those that panels in this page see first. */
  listen(model: JobsModel, load: () => Promise<void>): void {
    showWhenLookedAt();
    model.ended.connect((_, job) => void this.tell(endOf(job)));
    document.addEventListener(TAKES, event => event.preventDefault());
    document.addEventListener(ENDED, event => {
      event.preventDefault();
      const end = (event as CustomEvent<End>).detail;
      void this.tell(end);
      if (model.find(end.id)?.live !== false) {
        // Its buttons need the job as it is now. Where the server is away, they say so.
        load().catch(() => undefined);
      }
    });
  }

  /** Say it, unless it was said. */
  async tell(end: End): Promise<void> {
    if (this.told.has(end.id)) {
      return;
    }
    this.told.add(end.id);
    const { notify } = this.wishes();
    const text = endText(end, this.trans);
    // A page that nobody looks at leaves it to the one that somebody does look at.
    const away = !(await lookedAt());
    if (notify && (away || !document.hidden)) {
      this.inLab(end, text);
    }
    await this.outside(end, text, away);
  }

  /** Say it outside the page: once, however many pages there are. */
  private async outside(end: End, text: string, away: boolean): Promise<void> {
    const { browser, sound } = this.wishes();
    if (sound && audible() && (await first('sound', end.id))) {
      chime();
    }
    const allowed = window.Notification?.permission === 'granted';
    if (browser && away && allowed && (await first('browser', end.id))) {
      new window.Notification(text, { tag: `chutes-${end.id}` });
    }
  }

  private inLab(end: End, text: string): void {
    const { commands, trans } = this;
    const run = (command: string) => (): void =>
      void commands.execute(command, { job: end.id });
    Notification.emit(text, typeOf(end.state), {
      autoClose: end.state === 'succeeded' ? 8000 : false,
      actions: [
        { label: trans.__('Log'), callback: run(CommandIDs.log) },
        { label: trans.__('Result'), callback: run(CommandIDs.result) }
      ]
    });
  }

  private readonly told = new Set<string>();
}

/**
 * Ask the browser, once, whether it may say something.
 *
 * @param wanted - Whether the person still wants it: Firefox and Safari ask only somebody who has
 * just clicked, which may be later.
 */
export function askBrowser(wanted: () => boolean): void {
  const ask = (): void => {
    if (wanted() && window.Notification?.permission === 'default') {
      void window.Notification.requestPermission();
    }
  };
  if (navigator.userActivation?.isActive) {
    ask();
  } else {
    document.addEventListener('click', ask, { capture: true, once: true });
  }
}

/** How a job ended, in a line. */
export function endText(end: End, trans: TranslationBundle): string {
  const after = end.elapsed === null ? '' : trans.__(' after %1', clock(end.elapsed));
  const why = end.reason ? ` — ${end.reason}` : '';
  return `${end.label}: ${stateWord(end.state, trans)}${after}${why}`;
}

function endOf(job: JobSummary): End {
  const { id, label, state, reason } = job;
  return { id, label, state, reason, elapsed: elapsed(job, 0) };
}

function typeOf(state: string): Notification.TypeOptions {
  if (state === 'succeeded') {
    return 'success';
  }
  return state === 'cancelled' ? 'info' : 'error';
}
