import type { ILabShell, ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { WidgetTracker, type MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { MessageLoop } from '@lumino/messaging';
import { Signal, type ISignal } from '@lumino/signaling';
import type { Widget } from '@lumino/widgets';

import type { JobSummary } from './api';
import type { Tabs } from './jobcommands';
import type { JobsModel } from './model';
import type { Api } from './request';
import { complain } from './say';
import { CommandIDs } from './tokens';
import { logTab, type LogWidget } from './widgets/logtab';
import { outputsTab, type OutputsWidget } from './widgets/outputstab';
import { portTab, type PortView } from './widgets/porttab';
import { showResult } from './widgets/resultdialog';

/** Opens the tabs of jobs, each once, and brings them back when the page is loaded anew. */
export class TabOpener implements Tabs {
  /**
   * @param shell - Lab's own shell; null in Notebook 7, which shows one document in a window.
   * @param base - The base URL of the server.
   */
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly shell: ILabShell | null,
    private readonly api: Api,
    private readonly model: JobsModel,
    private readonly base: string,
    private readonly trans: TranslationBundle
  ) {}

  /** Emitted when a tab was opened, shown, hidden or closed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted when a port was shown that a job did not declare. */
  get shown(): ISignal<this, void> {
    return this._shown;
  }

  /** Whether a tab can be seen that follows its job. */
  get anyVisible(): boolean {
    return [this.logs, this.ports, this.outputTabs].some(
      tracker => tracker.find(tab => tab.isVisible) !== undefined
    );
  }

  /** Bring back what was open. */
  restore(restorer: ILayoutRestorer): void {
    void restorer.restore(this.logs, {
      command: CommandIDs.log,
      args: tab => ({ job: tab.content.job }),
      name: tab => tab.content.job
    });
    void restorer.restore(this.outputTabs, {
      command: CommandIDs.outputs,
      args: tab => ({ job: tab.content.job }),
      name: tab => tab.content.job
    });
    void restorer.restore(this.ports, {
      command: CommandIDs.port,
      args: tab => ({ ...tab.content.of }),
      name: tab => `${tab.content.of.job}-${tab.content.of.port}`
    });
  }

  log(job: JobSummary): void {
    this.show(this.logs, `chutes-log-${job.id}`, () =>
      logTab(job, this.api, this.model, this.trans)
    );
  }

  outputs(job: JobSummary): void {
    this.show(this.outputTabs, `chutes-outputs-${job.id}`, () =>
      outputsTab(job, this.api, this.model, this.base, this.trans)
    );
  }

  port(job: JobSummary, port: string, show = false): void {
    const make = (): MainAreaWidget<PortView> => {
      const tab = portTab({ job: job.id, port }, this.api, this.model, this.trans);
      tab.content.unshown = show;
      tab.content.shown.connect(() => this._shown.emit());
      return tab;
    };
    if (this.shell) {
      const id = `chutes-port-${job.id}-${port}`;
      const there = this.ports.find(each => each.id === id);
      this.show(this.ports, id, make);
      if (show && there) {
        // One that was brought back, and waits for that.
        there.content.askFor();
      }
      return;
    }
    // Where there are no tabs, the browser's own have to do.
    const tab = make();
    void tab.content.openOutside().finally(() => tab.dispose());
  }

  result(job: JobSummary): void {
    showResult(job, this.api, this.trans).catch((error: unknown) =>
      complain(this.trans.__('Result of %1', job.label), error)
    );
  }

  private show<T extends MainAreaWidget<Widget>>(
    tracker: WidgetTracker<T>,
    id: string,
    make: () => T
  ): void {
    let tab = tracker.find(each => each.id === id);
    if (!tab) {
      tab = make();
      void tracker.add(tab);
      // Lab tells nobody but the widget itself when it is shown or hidden.
      MessageLoop.installMessageHook(tab, (_, message) => {
        if (
          ['after-show', 'after-hide', 'after-attach', 'after-detach'].includes(message.type)
        ) {
          this._changed.emit();
        }
        return true;
      });
    }
    if (!tab.isAttached) {
      // Notebook 7 has room below its document.
      this.app.shell.add(tab, this.shell ? 'main' : 'down');
    }
    this.app.shell.activateById(tab.id);
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _shown = new Signal<this, void>(this);
  private readonly logs = new WidgetTracker<MainAreaWidget<LogWidget>>({
    namespace: 'chutes-logs'
  });
  private readonly outputTabs = new WidgetTracker<MainAreaWidget<OutputsWidget>>({
    namespace: 'chutes-outputs'
  });
  private readonly ports = new WidgetTracker<MainAreaWidget<PortView>>({
    namespace: 'chutes-ports'
  });
}
