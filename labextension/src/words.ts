import type { TranslationBundle } from '@jupyterlab/translation';

import { clock, span, TERMINAL } from '../../chutes_jupyter/kernel/static/words.js';
import type { JobSummary } from './api';

export { clock, sign, size, span } from '../../chutes_jupyter/kernel/static/words.js';

/** All states, in the order in which a job goes through them. */
export const STATES: readonly string[] = [
  'pending',
  'starting',
  'running',
  'cancelling',
  'collecting',
  ...TERMINAL
];

/** The word of a state. */
export function stateWord(state: string, trans: TranslationBundle): string {
  const words: Record<string, string> = {
    pending: trans.__('pending'),
    starting: trans.__('starting'),
    running: trans.__('running'),
    cancelling: trans.__('cancelling'),
    collecting: trans.__('collecting'),
    succeeded: trans.__('succeeded'),
    failed: trans.__('failed'),
    cancelled: trans.__('cancelled'),
    timed_out: trans.__('timed out'),
    lost: trans.__('lost')
  };
  return words[state] ?? state.replaceAll('_', ' ');
}

/** Whether there is something to cancel. */
export function canCancel(job: JobSummary): boolean {
  return job.live && job.state !== 'cancelling' && job.state !== 'collecting';
}

/** How long a job has run, or ran, in seconds; null if it did not. */
export function elapsed(job: JobSummary, now: number): number | null {
  if (job.started === null) {
    return null;
  }
  return Math.max(0, (job.ended ?? now) - job.started);
}

/** Elapsed time of a job that runs, or how long ago it ended. */
export function timeOf(job: JobSummary, now: number, trans: TranslationBundle): string {
  const ran = elapsed(job, now);
  if (job.live) {
    return clock(ran ?? Math.max(0, now - job.created));
  }
  return trans.__('%1 ago', span(now - (job.ended ?? job.created)));
}

/** The last part of a path; of a folder with its slash. */
export function nameOf(path: string): string {
  return path.replace(/\/$/, '').split('/').at(-1)! + (path.endsWith('/') ? '/' : '');
}
