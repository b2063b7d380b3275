import { Signal, type ISignal } from '@lumino/signaling';

import type {
  HostKeyAnswer,
  LoginAnswer,
  WorkerRequest,
  WorkersAnswer,
  WorkerTest,
  WorkerView
} from './api';
import { path, textOf, type Api } from './request';

/** The workers as the server last met them. Knows no page. */
export class WorkersModel {
  constructor(private readonly api: Api) {}

  /** Emitted when anything that can be seen has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get workers(): readonly WorkerView[] {
    return this._workers;
  }

  /** Why they are not known, or empty. */
  get trouble(): string {
    return this._trouble;
  }

  /** Whether they are being asked. */
  get busy(): boolean {
    return this._busy;
  }

  /** Ask the server; with `look` it asks each worker for its GPUs. */
  async load(look = false): Promise<void> {
    if (this._busy) {
      return;
    }
    this._busy = true;
    this._changed.emit();
    try {
      const answer = await this.api.get<WorkersAnswer>('workers', { look: look || undefined });
      this._workers = answer.workers;
      this._trouble = '';
    } catch (error) {
      this._trouble = textOf(error);
    } finally {
      this._busy = false;
      this._changed.emit();
    }
  }

  /** Add one, or change it. */
  async add(request: WorkerRequest): Promise<void> {
    await this.api.post('workers', request);
    await this.load();
  }

  /** Forget one. */
  async forget(name: string): Promise<void> {
    await this.api.delete(path('workers', name));
    await this.load();
  }

  /** Take the doctor's steps. */
  test(name: string): Promise<WorkerTest> {
    return this.api.post<WorkerTest>(path('workers', name, 'test'));
  }

  /** The key of its host, or of the first host on the way that is not known. */
  hostKey(name: string): Promise<HostKeyAnswer> {
    return this.api.get<HostKeyAnswer>(path('workers', name, 'host-key'));
  }

  /** Accept the key of this fingerprint. */
  accept(name: string, fingerprint: string): Promise<HostKeyAnswer> {
    return this.api.post<HostKeyAnswer>(path('workers', name, 'host-key'), { fingerprint });
  }

  /** Begin a login, or answer its question; without an answer it is given up. */
  logIn(name: string, talk = '', answer: string | null = null): Promise<LoginAnswer> {
    return this.api.post<LoginAnswer>(path('workers', name, 'login'), { talk, answer });
  }

  private _workers: readonly WorkerView[] = [];
  private _trouble = '';
  private _busy = false;
  private _changed = new Signal<this, void>(this);
}
