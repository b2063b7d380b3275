import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobSummary } from './api';

/** The states in which nothing changes any more. */
export const TERMINAL: readonly string[] = [
  'succeeded',
  'failed',
  'cancelled',
  'timed_out',
  'lost'
];

/** All states, in the order in which a job goes through them. */
export const STATES: readonly string[] = [
  'pending',
  'starting',
  'running',
  'cancelling',
  'collecting',
  ...TERMINAL
];

/** A sign for each state, so that nobody needs the colours; the panel has the same. */
const SIGNS: Record<string, string> = {
  pending: '◌',
  starting: '◔',
  running: '●',
  cancelling: '◐',
  collecting: '◕',
  succeeded: '✓',
  failed: '✗',
  cancelled: '■',
  timed_out: '!',
  lost: '?'
};

/** The sign of a state. */
export function sign(state: string): string {
  return SIGNS[state] ?? '·';
}

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

/** A span of time as `0:42` or `1:06:40`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = two(whole % 60);
  return hours ? `${hours}:${two(minutes)}:${rest}` : `${minutes}:${rest}`;
}

/** A span of time in one short word: `4 s`, `8 min`, `2.5 h`, `3 d`. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) {
    return `${whole} s`;
  }
  if (whole < 5400) {
    return `${Math.round(whole / 60)} min`;
  }
  if (whole < 172800) {
    const hours = whole / 3600;
    return `${hours < 10 ? hours.toFixed(1) : Math.round(hours)} h`;
  }
  return `${Math.round(whole / 86400)} d`;
}

/** A number of bytes as `12 B` or `3.4 MB`. */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`;
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
