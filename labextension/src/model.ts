import { Signal, type ISignal } from '@lumino/signaling';

import type { JobSummary } from './api';
import { EVERYTHING, facets, rowsOf, type Filter, type Grouping, type Row } from './rows';

/** How the list stands to the server. */
export type Link =
  | { state: 'asleep' | 'connecting' | 'live' }
  /** The server has no such API. */
  | { state: 'missing'; why: string }
  /** What is shown was true then, in milliseconds. */
  | { state: 'away'; why: string; since: number };

/** All jobs as they were last told, and what of them is shown. Knows no page and no server. */
export class JobsModel {
  /** Emitted when anything that can be seen has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted with a job that was seen alive, and has ended. */
  get ended(): ISignal<this, JobSummary> {
    return this._ended;
  }

  get jobs(): ReadonlyMap<string, JobSummary> {
    return this._jobs;
  }

  /** Workers that did not answer lately, and why. */
  get silent(): Readonly<Record<string, string>> {
    return this._silent;
  }

  get link(): Link {
    return this._link;
  }

  /** Whether the jobs were ever told. */
  get loaded(): boolean {
    return this._loaded;
  }

  /** How many jobs live. */
  get liveCount(): number {
    let count = 0;
    for (const job of this._jobs.values()) {
      count += Number(job.live);
    }
    return count;
  }

  get filter(): Readonly<Filter> {
    return this._filter;
  }

  get grouping(): Grouping {
    return this._grouping;
  }

  /** Groups that are folded. */
  get closed(): ReadonlySet<string> {
    return this._closed;
  }

  /** The id of the job that is chosen. */
  get chosen(): string | null {
    return this._chosen;
  }

  /** The job that is chosen. */
  get current(): JobSummary | null {
    return this.find(this._chosen);
  }

  /** What the list shows, line by line. */
  get rows(): readonly Row[] {
    this._rows ??= rowsOf(this._jobs.values(), this._filter, this._grouping, this._closed);
    return this._rows;
  }

  /** The job of an id. */
  find(id: string | null | undefined): JobSummary | null {
    return (id && this._jobs.get(id)) || null;
  }

  /** The values of a field that jobs have, and how many have each. */
  facets(field: 'state' | 'worker' | 'notebook'): Array<[string, number]> {
    return facets(this._jobs.values(), field);
  }

  /** Why what is known of a job may be old; empty if it is not. */
  doubt(job: JobSummary): string {
    return job.live ? (job.trouble ?? this._silent[job.worker] ?? '') : '';
  }

  // -- what the server tells ---------------------------------------------------------------

  /** Take all jobs there are. */
  replace(jobs: readonly JobSummary[], silent: Record<string, string>): void {
    const ended = jobs.filter(job => !job.live && this._jobs.get(job.id)?.live);
    this._jobs = new Map(jobs.map(job => [job.id, job]));
    this._silent = silent;
    this._loaded = true;
    this.touch();
    ended.forEach(job => this._ended.emit(job));
  }

  /** Take what is told of one job, unless more is known: an answer may come after the news. */
  take(job: JobSummary): void {
    const before = this._jobs.get(job.id);
    if (before && job.event < before.event) {
      return;
    }
    this._jobs.set(job.id, job);
    this.touch();
    if (before?.live && !job.live) {
      this._ended.emit(job);
    }
  }

  /** A job was removed. */
  drop(id: string): void {
    this._jobs.delete(id);
    this.touch();
  }

  /** Other workers are silent. */
  takeSilent(silent: Record<string, string>): void {
    this._silent = silent;
    this.touch();
  }

  /** The connection is in another state. */
  setLink(link: Link): void {
    // While it stays away, it is since the first time.
    if (link.state === 'away' && this._link.state === 'away') {
      link = { ...link, since: this._link.since };
    }
    this._link = link;
    this._changed.emit();
  }

  // -- what the person wants ---------------------------------------------------------------

  /** Look for something else. */
  setFilter(filter: Partial<Filter>): void {
    this._filter = { ...this._filter, ...filter };
    this.touch();
  }

  /** Cut the list by something else. */
  setGrouping(grouping: Grouping): void {
    this._grouping = grouping;
    this._closed.clear();
    this.touch();
  }

  /** Fold a group, or unfold it. */
  fold(key: string): void {
    if (!this._closed.delete(key)) {
      this._closed.add(key);
    }
    this.touch();
  }

  /** Choose a job. */
  choose(id: string | null): void {
    if (id !== this._chosen) {
      this._chosen = id;
      this._changed.emit();
    }
  }

  private touch(): void {
    this._rows = null;
    this._changed.emit();
  }

  private _jobs = new Map<string, JobSummary>();
  private _silent: Record<string, string> = {};
  private _link: Link = { state: 'asleep' };
  private _loaded = false;
  private _filter: Filter = EVERYTHING;
  private _grouping: Grouping = 'none';
  private _closed = new Set<string>();
  private _chosen: string | null = null;
  private _rows: Row[] | null = null;
  private _changed = new Signal<this, void>(this);
  private _ended = new Signal<this, JobSummary>(this);
}
