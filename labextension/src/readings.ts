import type { JobSummary } from './api';

/** How far a job is, as it last said. */
export interface Progress {
  done: number;
  total: number | null;
  unit: string;
  /** From 0 to 1, or null where that is not known. */
  fraction: number | null;
  secondsLeft: number | null;
}

/** What a job says of itself; a server that does not pass it on says nothing. */
export function progressOf(job: JobSummary): Progress | null {
  const said = (job as unknown as Record<string, unknown>).progress;
  if (typeof said !== 'object' || said === null) {
    return null;
  }
  const found = said as Record<string, unknown>;
  const done = numberOf(found.done);
  if (done === null) {
    return null;
  }
  const total = numberOf(found.total);
  return {
    done,
    total,
    unit: typeof found.unit === 'string' ? found.unit : '',
    fraction: total !== null && total > 0 ? Math.min(1, Math.max(0, done / total)) : null,
    secondsLeft: numberOf(found.seconds_left)
  };
}

/** The newest values of how busy a job's GPUs are, in percent; empty without any. */
export function gpuOf(job: JobSummary): number[] {
  const said = (job as unknown as Record<string, unknown>).gpu;
  if (!Array.isArray(said)) {
    return [];
  }
  return said.map(numberOf).filter(value => value !== null);
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
