import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import type { Message } from '@lumino/messaging';

import { LogView } from '../../../chutes_jupyter/kernel/static/log.js';
import type { JobSummary } from '../api';
import { logIcon } from '../icons';
import { LogReader } from '../logreader';
import type { JobsModel } from '../model';
import { path, textOf, type Api } from '../request';
import { sign, stateWord } from '../words';

/** The log of a job, shown by the panel's own view of logs. */
export class LogWidget extends Widget {
  constructor(
    readonly job: string,
    private readonly api: Api,
    private readonly model: JobsModel,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-chutes-log-tab');
    this.addClass('chutes-panel');
    this.view = new LogView(
      {
        load: (byte: number) => void this.earlier(byte),
        follow: () => this.reader.followEnd(),
        save: () => this.save()
      },
      // It fills the tab, however many lines there are.
      { rows: 1 }
    );
    this.reader = new LogReader(
      api,
      job,
      (piece, text) => this.view.push(piece, new TextEncoder().encode(text)),
      text => this.complain(text)
    );
    this.head.className = 'jp-chutes-log-head';
    this.trouble.className = 'jp-chutes-banner';
    this.trouble.setAttribute('role', 'alert');
    this.trouble.hidden = true;
    // What the view makes of itself is there from its beginning.
    this.head.append(this.state, this.view.tools!);
    this.node.append(this.head, this.trouble, this.view.element!);
    model.changed.connect(this.look, this);
    document.addEventListener('visibilitychange', this.wake);
    this.look();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.wake();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.wake();
  }

  protected override onBeforeHide(message: Message): void {
    this.reader.pause();
    super.onBeforeHide(message);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      document.removeEventListener('visibilitychange', this.wake);
      this.model.changed.disconnect(this.look, this);
      this.reader.pause();
      this.view.close();
      super.dispose();
    }
  }

  /** What nobody sees asks for nothing: a browser has six connections to a server. */
  private readonly wake = (): void => {
    if (this.isVisible && !document.hidden) {
      this.reader.start();
    } else {
      this.reader.pause();
    }
  };

  private look(): void {
    const job = this.model.find(this.job);
    if (job) {
      this.state.className = `jp-chutes-state jp-chutes-state-${job.state}`;
      const text = `${sign(job.state)} ${stateWord(job.state, this.trans)}`;
      if (this.state.textContent !== text) {
        this.state.textContent = text;
        this.view.whenEmpty(
          job.live
            ? this.trans.__('Nothing printed yet.')
            : this.trans.__('It printed nothing.')
        );
      }
    }
  }

  private async earlier(byte: number): Promise<void> {
    try {
      await this.reader.before(byte);
    } catch (error) {
      this.complain(textOf(error));
    }
  }

  private complain(text: string): void {
    this.trouble.hidden = !text;
    this.trouble.textContent = text;
  }

  private save(): void {
    const link = document.createElement('a');
    link.href = this.api.url(`${path('jobs', this.job)}/log/file`);
    link.download = `${this.model.find(this.job)?.label ?? this.job}.log`;
    link.click();
  }

  private readonly view: LogView;
  private readonly reader: LogReader;
  private readonly head = document.createElement('div');
  private readonly state = document.createElement('span');
  private readonly trouble = document.createElement('div');
}

/** A tab with the log of a job. */
export function logTab(
  job: JobSummary,
  api: Api,
  model: JobsModel,
  trans: TranslationBundle
): MainAreaWidget<LogWidget> {
  const content = new LogWidget(job.id, api, model, trans);
  const tab = new MainAreaWidget({ content });
  tab.id = `chutes-log-${job.id}`;
  tab.title.label = job.label;
  tab.title.caption = trans.__('Log of %1', job.label);
  tab.title.icon = logIcon;
  tab.title.closable = true;
  tab.toolbar.hide();
  return tab;
}
