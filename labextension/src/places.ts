import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ICommandPalette } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { JobsFeed } from './feed';
import { chuteIcon } from './icons';
import { complain } from './say';
import { CommandIDs } from './tokens';
import type { Sidebar } from './widgets/sidebar';

/** Where the commands are found. */
export interface Places {
  app: JupyterFrontEnd;
  sidebar: Sidebar;
  feed: JobsFeed;
  palette: ICommandPalette | null;
  launcher: ILauncher | null;
  trans: TranslationBundle;
}

/** The commands of a job, in the order of the menu. */
const OF_A_JOB = [
  CommandIDs.log,
  CommandIDs.outputs,
  CommandIDs.files,
  CommandIDs.result,
  CommandIDs.port,
  CommandIDs.terminal,
  CommandIDs.cell,
  CommandIDs.again,
  CommandIDs.cancel,
  CommandIDs.remove
];
const OTHERS = [
  CommandIDs.show,
  CommandIDs.refresh,
  CommandIDs.addWorker,
  CommandIDs.testWorker,
  CommandIDs.loginWorker,
  CommandIDs.removeWorker
];

/** Put the commands into the palette, the launcher and the menu of a job. */
export function addPlaces(places: Places): void {
  const { app, sidebar, feed, palette, launcher, trans } = places;
  const { commands } = app;
  const describedBy = { args: { type: 'object', properties: {} } };
  commands.addCommand(CommandIDs.show, {
    label: args => (args.isLauncher ? trans.__('Jobs') : trans.__('Show Jobs')),
    caption: trans.__('Show the jobs on all workers'),
    icon: args => (args.isPalette ? undefined : chuteIcon),
    describedBy,
    execute: () => app.shell.activateById(sidebar.id)
  });
  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Ask All Workers'),
    caption: trans.__('Ask all workers how their jobs are'),
    describedBy,
    execute: async () => {
      try {
        await feed.load(true);
      } catch (error) {
        complain(trans.__('Ask All Workers'), error);
      }
    }
  });
  const category = trans.__('Chutes');
  OTHERS.forEach(command => palette?.addItem({ command, category, args: { isPalette: true } }));
  OF_A_JOB.forEach(command => palette?.addItem({ command, category, args: { ask: true } }));
  launcher?.add({
    command: CommandIDs.show,
    category: trans.__('Other'),
    args: { isLauncher: true }
  });
  OF_A_JOB.forEach((command, rank) => {
    app.contextMenu.addItem({ command, selector: '.jp-chutes-row', rank });
  });
}
