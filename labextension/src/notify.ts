import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';

import type { JobSummary } from './api';
import type { JobsModel } from './model';
import { CommandIDs } from './tokens';
import { clock, elapsed, stateWord } from './words';

/** What a person may want to be told. */
export interface Wishes {
  /** Whether Lab says when a job ends. */
  notify: boolean;
  /** Whether the browser says so, too, while the page is not looked at. */
  browser: boolean;
}

/** Say when a job ends, as far as the person wants it. */
export function notifyOfEnds(
  model: JobsModel,
  commands: CommandRegistry,
  wishes: () => Wishes,
  trans: TranslationBundle
): void {
  model.ended.connect((_, job) => {
    const { notify, browser } = wishes();
    const text = endText(job, trans);
    if (notify) {
      Notification.emit(text, typeOf(job), {
        autoClose: job.state === 'succeeded' ? 8000 : false,
        actions: [
          {
            label: trans.__('Log'),
            callback: () => void commands.execute(CommandIDs.log, { job: job.id })
          },
          {
            label: trans.__('Result'),
            callback: () => void commands.execute(CommandIDs.result, { job: job.id })
          }
        ]
      });
    }
    if (browser && document.hidden && window.Notification?.permission === 'granted') {
      new window.Notification(text, { tag: `chutes-${job.id}` });
    }
  });
}

/** Ask the browser, once, whether it may say something. */
export async function askBrowser(): Promise<void> {
  if (window.Notification?.permission === 'default') {
    await window.Notification.requestPermission();
  }
}

/** How a job ended, in a line. */
export function endText(job: JobSummary, trans: TranslationBundle): string {
  const ran = elapsed(job, 0);
  const after = ran === null ? '' : trans.__(' after %1', clock(ran));
  const why = job.reason ? ` — ${job.reason}` : '';
  return `${job.label}: ${stateWord(job.state, trans)}${after}${why}`;
}

function typeOf(job: JobSummary): Notification.TypeOptions {
  if (job.state === 'succeeded') {
    return 'success';
  }
  return job.state === 'cancelled' ? 'info' : 'error';
}
