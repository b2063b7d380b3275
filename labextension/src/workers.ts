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

  /** Whether all of them are being asked. */
  get busy(): boolean {
    return this._busy;
  }

  /** Whether a worker was removed, as far as is known: of its jobs nothing new will come. */
  lacks(name: string): boolean {
    return this._workers.length > 0 && !this._workers.some(each => each.name === name);
  }

  /**
   * Ask the server for all workers.
   *
   * @param look - Whom it asks for their GPUs: those that it is connected to, or all of them,
   * which a person has to want: hosts lock out who fails to log in too often.
   */
  async load(look: 'met' | 'all' = 'met'): Promise<void> {
    if (look === 'all') {
      this._busy = true;
      this._changed.emit();
    }
    const asked = ++this._asked;
    try {
      const answer = await this.api.get<WorkersAnswer>('workers', { look });
      if (asked >= this._taken) {
        this._taken = asked;
        this._workers = answer.workers;
      }
      this._trouble = '';
    } catch (error) {
      this._trouble = textOf(error);
    } finally {
      this._busy = this._busy && look !== 'all';
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
  /** The number of the newest question, and that of the answer that is shown. */
  private _asked = 0;
  private _taken = 0;
  private _changed = new Signal<this, void>(this);
}
