import {
  ILabShell,
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { ILauncher } from '@jupyterlab/launcher';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addPlaces } from './places';
import { addJobCommands } from './jobcommands';
import { addWorkerCommands } from './workercommands';
import { Details } from './details';
import { JobsFeed } from './feed';
import { JobsModel } from './model';
import { Navigator } from './navigate';
import { EndNotifier } from './notify';
import { Api } from './request';
import { Settings } from './settings';
import { makeSidebar } from './makesidebar';
import { TabOpener } from './tabs';
import { IChutes, PLUGIN_ID } from './tokens';
import { WorkersModel } from './workers';

/** The sidebar, its commands and its tabs. */
const plugin: JupyterFrontEndPlugin<IChutes> = {
  id: PLUGIN_ID,
  description:
    'Jobs on GPU workers: a sidebar with all of them, their logs, outputs and pages.',
  autoStart: true,
  provides: IChutes,
  optional: [
    ILabShell,
    ILayoutRestorer,
    ICommandPalette,
    ILauncher,
    IDocumentManager,
    ISettingRegistry,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    documents: IDocumentManager | null,
    registry: ISettingRegistry | null,
    translator: ITranslator | null
  ): IChutes => {
    const language = translator ?? nullTranslator;
    const trans = language.load('chutes_jupyter');
    const { commands, serviceManager } = app;
    const api = new Api(serviceManager.serverSettings);
    const model = new JobsModel();
    const feed = new JobsFeed(api, model);
    const workers = new WorkersModel(api);
    const details = new Details(api, model);
    const navigator = new Navigator(app, api, documents, trans);
    const base = serviceManager.serverSettings.baseUrl;
    const tabs = new TabOpener(app, labShell, api, model, base, trans);
    const settings = new Settings(registry, model);
    tabs.shown.connect(() => details.refresh());

    addJobCommands(commands, { api, model, feed, navigator, workers, trans, tabs });
    addWorkerCommands(commands, workers, trans);
    const sidebar = makeSidebar({
      app,
      api,
      model,
      feed,
      workers,
      details,
      settings,
      tabs,
      translator: language
    });
    app.shell.add(sidebar, 'left', { rank: 650 });
    addPlaces({ app, sidebar, feed, palette, launcher, trans });
    new EndNotifier(commands, () => settings.wishes, trans).listen(model, () => feed.load());
    if (restorer) {
      restorer.add(sidebar, sidebar.id);
      tabs.restore(restorer);
    }
    return { model, navigator };
  }
};

export default plugin;
