import type { JobSummary } from './api';

/** By what the list is cut into groups. */
export type Grouping = 'none' | 'state' | 'worker' | 'notebook';

/** What is looked for; empty means everything. */
export interface Filter {
  text: string;
  /** `live`, `ended`, or a state. */
  state: string;
  worker: string;
  notebook: string;
}

/** A line of the list. */
export type Row =
  | { kind: 'group'; key: string; count: number; live: number }
  | { kind: 'job'; job: JobSummary };

/** Nothing is looked for. */
export const EVERYTHING: Filter = { text: '', state: '', worker: '', notebook: '' };

/** Whether a job is among what is looked for. */
export function matches(job: JobSummary, filter: Filter): boolean {
  return (
    matchesState(job, filter.state) &&
    (!filter.worker || job.worker === filter.worker) &&
    (!filter.notebook || job.notebook === filter.notebook) &&
    matchesText(job, filter.text)
  );
}

function matchesState(job: JobSummary, state: string): boolean {
  if (state === 'live' || state === 'ended') {
    return job.live === (state === 'live');
  }
  return !state || job.state === state;
}

/** All words must occur, wherever. */
function matchesText(job: JobSummary, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) {
    return true;
  }
  const all = [job.label, job.id, job.name, job.worker, job.state, job.notebook, job.reason]
    .filter(Boolean)
    .join('\n')
    .toLowerCase();
  return words.every(word => all.includes(word));
}

/** Live jobs first, then the newest first. */
export function inOrder(one: JobSummary, other: JobSummary): number {
  return (
    Number(other.live) - Number(one.live) ||
    (one.live ? other.created - one.created : endOf(other) - endOf(one)) ||
    (one.id < other.id ? -1 : 1)
  );
}

function endOf(job: JobSummary): number {
  return job.ended ?? job.created;
}

/** The lines of the list. */
export function rowsOf(
  jobs: Iterable<JobSummary>,
  filter: Filter,
  grouping: Grouping,
  closed: ReadonlySet<string> = new Set()
): Row[] {
  const found = [...jobs].filter(job => matches(job, filter)).sort(inOrder);
  if (grouping === 'none') {
    return found.map(job => ({ kind: 'job', job }));
  }
  const groups = new Map<string, JobSummary[]>();
  for (const job of found) {
    const key = job[grouping] ?? '';
    const members = groups.get(key);
    if (members) {
      members.push(job);
    } else {
      groups.set(key, [job]);
    }
  }
  return [...groups].flatMap(([key, members]): Row[] => [
    {
      kind: 'group',
      key,
      count: members.length,
      live: members.filter(job => job.live).length
    },
    ...(closed.has(key) ? [] : members.map((job): Row => ({ kind: 'job', job })))
  ]);
}

/** The values that jobs have, each with how many have it; the most frequent first. */
export function facets(
  jobs: Iterable<JobSummary>,
  field: 'state' | 'worker' | 'notebook'
): Array<[string, number]> {
  const counts = new Map<string, number>();
  for (const job of jobs) {
    const value = job[field];
    if (value) {
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }
  return [...counts].sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1));
}
