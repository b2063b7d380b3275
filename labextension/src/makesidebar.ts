import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ITranslator } from '@jupyterlab/translation';
import { CommandToolbarButton } from '@jupyterlab/ui-components';

import type { Details } from './details';
import type { JobsFeed } from './feed';
import type { JobsModel } from './model';
import type { Api } from './request';
import type { Settings } from './settings';
import type { TabOpener } from './tabs';
import { CommandIDs } from './tokens';
import { Wakefulness } from './wakefulness';
import { JobsPanel } from './widgets/jobspanel';
import { headTools, refreshButton, Sidebar } from './widgets/sidebar';
import { WorkersPanel } from './widgets/workerspanel';
import type { WorkersModel } from './workers';

/** What the sidebar is made of. */
export interface Parts {
  app: JupyterFrontEnd;
  api: Api;
  model: JobsModel;
  feed: JobsFeed;
  workers: WorkersModel;
  details: Details;
  settings: Settings;
  tabs: TabOpener;
  translator: ITranslator;
}

/** Make the sidebar, and let it be awake while it is seen. */
export function makeSidebar(parts: Parts): Sidebar {
  const { app, api, model, feed, workers, details, settings, tabs, translator } = parts;
  const { commands } = app;
  const trans = translator.load('chutes_jupyter');
  const clock = (): number => Date.now() / 1000 + api.ahead;
  const jobs = new JobsPanel(model, details, commands, clock, trans);
  jobs.toolbar = headTools([
    'refresh',
    refreshButton(trans.__('Ask all workers'), () => void commands.execute(CommandIDs.refresh))
  ]);
  const machines = new WorkersPanel(workers, commands, trans);
  machines.toolbar = headTools(
    ['add', new CommandToolbarButton({ commands, id: CommandIDs.addWorker, label: '' })],
    ['look', refreshButton(trans.__('Ask each for its GPUs'), () => void workers.load('all'))]
  );
  const sidebar = new Sidebar(jobs, machines, translator, trans);
  const awake = new Wakefulness(
    feed,
    () => sidebar.isVisible || tabs.anyVisible,
    () => Object.values(settings.wishes).includes(true)
  );
  sidebar.shown.connect((_, shown) => {
    details.awake = shown;
    awake.look();
  });
  settings.changed.connect(awake.look);
  tabs.changed.connect(awake.look);
  void app.restored.then(() => {
    details.awake = sidebar.isVisible;
    awake.look();
  });
  return sidebar;
}
