import { ReactWidget, type Toolbar } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { WorkerGpu, WorkerView } from '../api';
import * as icons from '../icons';
import { CommandIDs } from '../tokens';
import type { WorkersModel } from '../workers';
import { Act } from './common';

/** How long after it is shown the workers are asked once more, and how often later, in ms. */
const FIRST = 2000;
const LONGEST = 30_000;

/** The workers: whether they can be reached, and who has their GPUs. */
export class WorkersPanel extends ReactWidget implements Toolbar.IWidgetToolbar {
  /** Stands in its head. */
  toolbar?: Toolbar;

  constructor(
    private readonly model: WorkersModel,
    private readonly commands: CommandRegistry,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-chutes-workers');
    this.title.label = trans.__('Workers');
    model.changed.connect(this.update, this);
  }

  protected render(): React.JSX.Element {
    const { model, commands, trans } = this;
    return (
      <>
        {model.trouble ? (
          <p className="jp-chutes-banner" role="alert">
            {model.trouble}
          </p>
        ) : null}
        {model.busy ? <p className="jp-chutes-muted">{trans.__('Asking …')}</p> : null}
        <ul className="jp-chutes-worker-list">
          {model.workers.map(worker => (
            <Worker key={worker.name} worker={worker} commands={commands} trans={trans} />
          ))}
        </ul>
      </>
    );
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.follow();
  }

  protected override onBeforeHide(message: Message): void {
    super.onBeforeHide(message);
    clearTimeout(this.timer);
  }

  protected override onBeforeDetach(message: Message): void {
    super.onBeforeDetach(message);
    clearTimeout(this.timer);
  }

  /** Ask again and again while it is seen: soon at first, since workers are met right then. */
  private follow(pause = FIRST): void {
    clearTimeout(this.timer);
    if (!document.hidden) {
      void this.model.load();
    }
    this.timer = setTimeout(() => this.follow(Math.min(2 * pause, LONGEST)), pause);
  }

  private timer: ReturnType<typeof setTimeout> | undefined;
}

function Worker(props: {
  worker: WorkerView;
  commands: CommandRegistry;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { worker, commands, trans } = props;
  const run = (id: string): void => void commands.execute(id, { worker: worker.name });
  const [word, kind] = standing(worker, trans);
  return (
    <li className="jp-chutes-worker" data-worker={worker.name}>
      <div className="jp-chutes-line">
        <span className={`jp-chutes-dot jp-mod-${kind}`} aria-hidden="true" />
        <strong className="jp-chutes-label">{worker.name}</strong>
        <span className="jp-chutes-muted">{word}</span>
        <span className="jp-chutes-time">
          {worker.jobs ? trans._n('%1 job', '%1 jobs', worker.jobs) : ''}
        </span>
      </div>
      <div className="jp-chutes-muted jp-chutes-worker-facts">
        {[
          worker.host ?? trans.__('this machine'),
          worker.version ? `Python ${worker.version}` : '',
          worker.waiting
            ? trans._n('%1 waits for GPUs', '%1 wait for GPUs', worker.waiting)
            : ''
        ]
          .filter(Boolean)
          .join(' · ')}
      </div>
      {worker.trouble ? <p className="jp-chutes-doubt-text">{worker.trouble}</p> : null}
      {worker.gpus?.map(gpu => (
        <Gpu key={gpu.index} gpu={gpu} trans={trans} />
      ))}
      <div className="jp-chutes-acts">
        <Act
          icon={icons.checkIcon}
          label={trans.__('Test')}
          name={trans.__('Test %1', worker.name)}
          onClick={() => run(CommandIDs.testWorker)}
        />
        {worker.host ? (
          <>
            <Act
              icon={icons.keyIcon}
              label={trans.__('Log in')}
              name={trans.__('Log in to %1', worker.name)}
              onClick={() => run(CommandIDs.loginWorker)}
            />
            <Act
              icon={icons.removeIcon}
              label={trans.__('Forget')}
              name={trans.__('Forget %1', worker.name)}
              onClick={() => run(CommandIDs.removeWorker)}
            />
          </>
        ) : null}
      </div>
    </li>
  );
}

function standing(worker: WorkerView, trans: TranslationBundle): [string, string] {
  if (worker.reachable === null) {
    return [trans.__('not asked lately'), 'unknown'];
  }
  return worker.reachable
    ? [trans.__('reachable'), 'ready']
    : [trans.__('not reachable'), 'bad'];
}

function Gpu(props: { gpu: WorkerGpu; trans: TranslationBundle }): React.JSX.Element {
  const { gpu, trans } = props;
  const gib = (mib: number): string => (mib / 1024).toFixed(mib < 10240 ? 1 : 0);
  const memory =
    gpu.free_mib === null
      ? `${gib(gpu.memory_mib)} GiB`
      : trans.__('%1 of %2 GiB free', gib(gpu.free_mib), gib(gpu.memory_mib));
  const holder = gpu.holder
    ? [gpu.holder, gpu.holder_user].filter(Boolean).join(', ')
    : gpu.others.length > 0
      ? trans.__('used by %1', gpu.others.join(', '))
      : trans.__('free');
  return (
    <div className="jp-chutes-line jp-chutes-gpu">
      <span>{`${gpu.index}: ${gpu.name}`}</span>
      <span className="jp-chutes-muted">{memory}</span>
      <span className="jp-chutes-note">{holder}</span>
    </div>
  );
}
