import type { JobSummary, ProgressView } from './api';

/** The part of its work that a job has done, from 0 to 1, or null where that is not known. */
export function fractionOf({ done, total }: ProgressView): number | null {
  return total !== null && total > 0 ? Math.min(1, Math.max(0, done / total)) : null;
}

/** How long the rest takes at the rate of late, in seconds, or null. */
export function secondsLeft(progress: ProgressView, now: number): number | null {
  return progress.seconds_left === null
    ? null
    : Math.max(0, progress.seconds_left - Math.max(0, now - progress.at));
}

/** How far a job is: `12 of 30 epochs`, `1,200 it`. */
export function farText({ done, total, unit }: ProgressView): string {
  const count = total === null ? number(done) : `${number(done)} / ${number(total)}`;
  return unit ? `${count} ${unit}` : count;
}

/** The newest values of how busy a job's GPU is; none once it has ended. */
export function gpuOf(job: JobSummary): readonly number[] {
  return job.live ? job.gpu : [];
}

function number(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 2 });
}
