import { ReactWidget, type Toolbar } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import type { Details } from '../details';
import type { JobsModel } from '../model';
import { CommandIDs } from '../tokens';
import { Detail } from './detail';
import { Filters } from './filters';
import { JobList } from './joblist';

/** The list of jobs, and the one that is chosen. */
export class JobsPanel extends ReactWidget implements Toolbar.IWidgetToolbar {
  /** Stands in its head. */
  toolbar?: Toolbar;

  /**
   * @param clock - The time by the server's clock, in seconds.
   */
  constructor(
    private readonly model: JobsModel,
    private readonly details: Details,
    private readonly commands: CommandRegistry,
    private readonly clock: () => number,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-chutes-jobs');
    this.title.label = trans.__('Jobs');
    model.changed.connect(this.update, this);
    details.changed.connect(this.update, this);
  }

  protected render(): React.JSX.Element {
    const { model, details, commands, trans } = this;
    const now = this.clock();
    const chosen = (id: string): void => {
      if (model.current && commands.isEnabled(id, { job: model.chosen! })) {
        void commands.execute(id, { job: model.chosen! });
      }
    };
    return (
      <>
        <Link model={model} trans={trans} />
        {model.jobs.size > 0 ? <Filters model={model} trans={trans} /> : null}
        <JobList
          model={model}
          now={now}
          trans={trans}
          open={() => chosen(CommandIDs.log)}
          cancel={() => chosen(CommandIDs.cancel)}
        />
        <Empty model={model} trans={trans} />
        <Detail model={model} details={details} commands={commands} now={now} trans={trans} />
      </>
    );
  }

  /** While it can be seen, the clocks go on. */
  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.tick = setInterval(() => {
      if (!document.hidden && this.model.liveCount > 0) {
        this.update();
      }
    }, 1000);
    this.update();
  }

  protected override onBeforeHide(message: Message): void {
    clearInterval(this.tick);
    super.onBeforeHide(message);
  }

  override dispose(): void {
    clearInterval(this.tick);
    super.dispose();
  }

  private tick: ReturnType<typeof setInterval> | undefined;
}

/** How it stands with the server, where there is something to say. */
function Link(props: { model: JobsModel; trans: TranslationBundle }): React.JSX.Element | null {
  const { model, trans } = props;
  const link = model.link;
  if (link.state === 'missing') {
    return (
      <p className="jp-chutes-banner" role="alert">
        {link.why}
      </p>
    );
  }
  if (link.state !== 'away') {
    return null;
  }
  const at = new Date(link.since).toLocaleTimeString();
  return (
    <p className="jp-chutes-banner" role="alert">
      {model.loaded ? trans.__('As of %1. %2', at, link.why) : link.why}
    </p>
  );
}

/** What stands there instead of jobs. */
function Empty(props: {
  model: JobsModel;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { model, trans } = props;
  if (model.rows.length > 0) {
    return null;
  }
  if (model.jobs.size > 0) {
    return (
      <div className="jp-chutes-empty">
        <p>{trans.__('No job matches.')}</p>
        <button
          type="button"
          className="jp-chutes-act"
          onClick={() => model.setFilter({ text: '', state: '', worker: '', notebook: '' })}
        >
          {trans.__('Show all')}
        </button>
      </div>
    );
  }
  return model.loaded ? (
    <div className="jp-chutes-empty">
      <p>{trans.__('No jobs yet.')}</p>
      <p className="jp-chutes-muted">
        {trans.__('A cell that begins with %1 makes one.', '%%chute_job NAME')}
      </p>
    </div>
  ) : null;
}
