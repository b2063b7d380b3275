import { Signal, type ISignal } from '@lumino/signaling';

import type { JobView, PortItem, PortsAnswer, UndeclaredItem } from './api';
import type { JobsModel } from './model';
import { path, textOf, type Api } from './request';

/** How often more is asked about the job that is chosen, while it lives, in milliseconds. */
const ROUND = 5000;

/** What the list does not tell of the job that is chosen: its outputs, its ports, its notices. */
export class Details {
  constructor(
    private readonly api: Api,
    private readonly model: JobsModel
  ) {
    model.changed.connect(() => this.follow());
  }

  /** Emitted when anything that can be seen has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** The job that is chosen, once it is told; null before. */
  get view(): JobView | null {
    return this._view?.id === this.model.chosen ? this._view : null;
  }

  /** Its ports. */
  get ports(): readonly PortItem[] {
    return this.view ? this._ports : [];
  }

  /** What else it listens on, which it did not declare. */
  get undeclared(): readonly UndeclaredItem[] {
    return this.view ? this._undeclared : [];
  }

  /** Why it could not be told, or empty. */
  get trouble(): string {
    return this._trouble;
  }

  /** Whether somebody looks. */
  set awake(awake: boolean) {
    this._awake = awake;
    this._asked = '';
    this.follow();
  }

  /** Ask again now. */
  refresh(): void {
    this._asked = '';
    this.follow();
  }

  private follow(): void {
    const job = this.model.current;
    // What the list tells of a job changes whenever it does.
    const key = job && this._awake ? `${job.id} ${job.event} ${job.live} ${job.trouble}` : '';
    if (key === this._asked) {
      return;
    }
    this._asked = key;
    clearTimeout(this._timer);
    if (key) {
      void this.ask(job!.id, key);
    }
  }

  private async ask(job: string, key: string): Promise<void> {
    try {
      const view = await this.api.get<JobView>(path('jobs', job));
      const { ports, undeclared } = await this.portsOf(view);
      if (job !== this.model.chosen) {
        return;
      }
      [this._view, this._trouble] = [view, ''];
      [this._ports, this._undeclared] = [ports, undeclared];
    } catch (error) {
      this._trouble = textOf(error);
    }
    this._changed.emit();
    if (key === this._asked && (this._trouble || this.moves)) {
      this._timer = setTimeout(() => void this.ask(job, key), ROUND);
    }
  }

  private async portsOf(job: JobView): Promise<Pick<PortsAnswer, 'ports' | 'undeclared'>> {
    // One that lives may listen on what it did not declare.
    if (!job.live && job.ports.length === 0) {
      return { ports: [], undeclared: [] };
    }
    return await this.api.get<PortsAnswer>(path('jobs', job.id, 'ports'));
  }

  /** Whether it can change without the list telling so. */
  private get moves(): boolean {
    return Boolean(this._view && (this._view.live || this._view.mirror.state === 'arriving'));
  }

  private _awake = false;
  private _asked = '';
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _view: JobView | null = null;
  private _ports: readonly PortItem[] = [];
  private _undeclared: readonly UndeclaredItem[] = [];
  private _trouble = '';
  private _changed = new Signal<this, void>(this);
}
