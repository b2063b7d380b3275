import type { JobSummary } from '../src/api';

/** A job as the server tells it; what is said is different. */
export function job(said: Partial<JobSummary> & { id: string }): JobSummary {
  return {
    label: `train-${said.id}`,
    name: 'train',
    worker: 'local',
    state: 'running',
    live: true,
    event: 1,
    reason: null,
    created: 1000,
    started: 1001,
    ended: null,
    timeout: null,
    confirmed: 1002,
    trouble: null,
    notebook: '/work/train.ipynb',
    cell: null,
    output_dir: null,
    output_path: null,
    ports: [],
    progress: null,
    gpu: [],
    ...said
  };
}

/** One that has ended. */
export function ended(said: Partial<JobSummary> & { id: string }): JobSummary {
  return job({ state: 'succeeded', live: false, ended: 1010, ...said });
}
