import { Dialog, InputDialog, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import type { CancelAnswer, CleanAnswer, JobSummary, JobView } from './api';
import type { JobsFeed } from './feed';
import * as icons from './icons';
import type { JobsModel } from './model';
import type { Navigator } from './navigate';
import { path, RequestError, type Api } from './request';
import { complain, say } from './say';
import { CommandIDs } from './tokens';
import { canCancel } from './words';
import type { WorkersModel } from './workers';

/** What the commands of a job need. */
export interface Desk {
  api: Api;
  model: JobsModel;
  feed: JobsFeed;
  navigator: Navigator;
  workers: WorkersModel;
  trans: TranslationBundle;
  /** Opens a tab of this front end. */
  tabs: Tabs;
}

/** The tabs that commands open. */
export interface Tabs {
  log(job: JobSummary): void;
  outputs(job: JobSummary): void;
  result(job: JobSummary): void;
  /** With `show` also one that the job did not declare, by its number. */
  port(job: JobSummary, port: string, show?: boolean): void;
}

/** Whether a port has a page that a tab can show. */
export function hasPage(port: { proto: string }): boolean {
  return port.proto === 'http' || port.proto === 'https';
}

/** The port that is declared for SSH, and that nothing listens on. */
export const SSH_PORT = 2202;

/** Whether it is the number of a port, which a job did not declare: it has no other name. */
export function isNumber(port: unknown): boolean {
  return typeof port === 'string' && /^\d+$/.test(port);
}

/** Whether one may go into a job by ssh. */
export function hasDoor(job: JobSummary): boolean {
  return job.live && job.ports.some(port => port.port === SSH_PORT);
}

interface JobCommand {
  id: string;
  label: string;
  /** Tells what it does, where the label is too short for it. */
  caption?: string;
  icon?: CommandRegistry.ICommandOptions['icon'];
  /** For which jobs it is offered. */
  fits?: (job: JobSummary, args: ReadonlyPartialJSONObject) => boolean;
  run: (job: JobSummary, args: ReadonlyPartialJSONObject) => void | Promise<void>;
}

/** Add the commands of a job. Without one in their arguments they ask which. */
export function addJobCommands(commands: CommandRegistry, desk: Desk): void {
  for (const command of jobCommands(desk)) {
    const { id, label, caption, icon, fits = () => true, run } = command;
    const given = (args: ReadonlyPartialJSONObject): JobSummary | null =>
      desk.model.find(args.job as string | undefined) ?? (args.ask ? null : desk.model.current);
    commands.addCommand(id, {
      label,
      caption,
      icon: args => (args.ask ? undefined : (icon as never)),
      describedBy: {
        args: {
          type: 'object',
          properties: {
            job: { type: 'string', description: 'The id of the job' },
            port: { type: 'string', description: 'The name of the port' },
            show: { type: 'boolean', description: 'Also one that is not declared' },
            ask: { type: 'boolean', description: 'Whether to ask which job' }
          }
        }
      },
      isEnabled: args => {
        const job = given(args);
        return job ? fits(job, args) : Boolean(args.ask);
      },
      execute: async args => {
        try {
          const job = args.job
            ? await named(desk, args.job as string)
            : (given(args) ?? (await askWhich(desk, label, each => fits(each, args))));
          // Tabs that are brought back may be those of jobs that have ended since.
          if (job && fits(job, args)) {
            await run(job, args);
          }
        } catch (error) {
          complain(label, error);
        }
      }
    });
  }
}

function jobCommands(desk: Desk): JobCommand[] {
  const { trans, tabs, navigator } = desk;
  return [
    {
      id: CommandIDs.cancel,
      label: trans.__('Cancel Job'),
      icon: icons.stopIcon,
      fits: canCancel,
      run: job => cancel(desk, job)
    },
    {
      id: CommandIDs.log,
      label: trans.__('Open Log'),
      icon: icons.logIcon,
      run: job => tabs.log(job)
    },
    {
      id: CommandIDs.outputs,
      label: trans.__('Look at Outputs'),
      icon: icons.filesIcon,
      run: job => tabs.outputs(job)
    },
    {
      id: CommandIDs.files,
      label: trans.__('Show Outputs in the File Browser'),
      icon: icons.folderIcon,
      run: job => navigator.openFiles(job)
    },
    {
      id: CommandIDs.cell,
      label: trans.__('Go to Notebook Cell'),
      icon: icons.notebookIcon,
      fits: job => navigator.hasNotebook(job),
      run: job => navigator.openCell(job)
    },
    {
      id: CommandIDs.port,
      label: trans.__('Open Port'),
      caption: trans.__('Open the page of a job in a tab'),
      icon: icons.portIcon,
      fits: (job, args) => job.live && (job.ports.some(hasPage) || isNumber(args.port)),
      run: async (job, args) => {
        const port = (args.port as string | undefined) ?? (await askPort(job, trans));
        if (port) {
          tabs.port(job, port, Boolean(args.show));
        }
      }
    },
    {
      id: CommandIDs.terminal,
      label: trans.__('Open Terminal in Job'),
      icon: icons.terminalIcon,
      fits: hasDoor,
      run: job => navigator.openTerminal(job)
    },
    {
      id: CommandIDs.result,
      label: trans.__('Show Result'),
      icon: icons.resultIcon,
      fits: job => !job.live,
      run: job => tabs.result(job)
    },
    {
      id: CommandIDs.again,
      label: trans.__('Run Again'),
      caption: trans.__('Run it again as a new job, with the same data'),
      icon: icons.againIcon,
      run: job => again(desk, job)
    },
    {
      id: CommandIDs.remove,
      label: trans.__('Remove Job'),
      icon: icons.removeIcon,
      fits: job => !job.live || desk.workers.lacks(job.worker),
      run: job => remove(desk, job)
    }
  ];
}

async function cancel(desk: Desk, job: JobSummary): Promise<void> {
  const { api, model, trans } = desk;
  const answer = await showDialog({
    title: trans.__('Cancel %1?', job.label),
    body: trans.__(
      'It is told to end, and after a grace it is ended. Its log and its outputs stay.'
    ),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Keep Running') }),
      Dialog.warnButton({ label: trans.__('Cancel Job') })
    ],
    defaultButton: 1
  });
  if (!answer.button.accept) {
    return;
  }
  const said = await api.post<CancelAnswer>(path('jobs', job.id, 'cancel'), { wait: 5 });
  model.take(said.job);
  if (!said.told) {
    say(
      trans.__(
        '%1 does not answer. The cancel of %2 is kept, and delivered as soon as it does.',
        job.worker,
        job.label
      ),
      'warning'
    );
  }
}

async function again(desk: Desk, job: JobSummary): Promise<void> {
  const { api, model, trans } = desk;
  const made = await api.post<JobView>(path('jobs', job.id, 'again'));
  model.take(made);
  model.choose(made.id);
  say(trans.__('%1 runs again as %2.', job.label, made.label), 'success');
}

async function remove(desk: Desk, job: JobSummary): Promise<void> {
  const { api, model, trans } = desk;
  const answer = await showDialog({
    title: trans.__('Remove %1?', job.label),
    body: desk.workers.lacks(job.worker)
      ? trans.__(
          'It leaves this list. Its worker %1 is none of yours any more: nothing is ended or deleted there.',
          job.worker
        )
      : trans.__('It leaves this list, and its folder on %1 is deleted.', job.worker),
    checkbox: {
      label: trans.__('Delete its output files on this machine, too'),
      checked: false
    },
    buttons: [
      Dialog.cancelButton({ label: trans.__('Keep') }),
      Dialog.warnButton({ label: trans.__('Remove') })
    ]
  });
  if (!answer.button.accept) {
    return;
  }
  const said = await api.delete<CleanAnswer>(path('jobs', job.id), {
    outputs: answer.isChecked ?? false
  });
  const kept = said.kept.find(each => each.id === job.id);
  if (kept) {
    say(trans.__('%1 was kept: %2', job.label, kept.reason), 'warning');
  } else if (said.silent.length > 0) {
    say(trans.__('%1 can’t be reached, so %2 was kept.', job.worker, job.label), 'warning');
  } else {
    model.drop(job.id);
  }
}

/** The job of an id, also where the list was not read yet; null if there is none any more. */
async function named(desk: Desk, id: string): Promise<JobSummary | null> {
  const { api, model } = desk;
  const known = model.find(id);
  if (known) {
    return known;
  }
  try {
    return await api.get<JobView>(path('jobs', id));
  } catch (error) {
    if (error instanceof RequestError && (error.status === 404 || error.status === 410)) {
      return null;
    }
    throw error;
  }
}

/** Ask which job is meant. */
async function askWhich(
  desk: Desk,
  title: string,
  fits: (job: JobSummary) => boolean
): Promise<JobSummary | null> {
  const { model, feed, trans } = desk;
  if (!model.loaded || feed.mode !== 'live') {
    await feed.load();
  }
  const jobs = [...model.jobs.values()].filter(fits);
  if (jobs.length === 0) {
    say(trans.__('%1: there is no such job.', title));
    return null;
  }
  jobs.sort((one, other) => other.created - one.created);
  const labels = jobs.map(job => `${job.label} — ${job.state} — ${job.worker}`);
  const answer = await InputDialog.getItem({ title, label: trans.__('Job'), items: labels });
  return answer.button.accept ? (jobs[labels.indexOf(answer.value ?? '')] ?? null) : null;
}

async function askPort(job: JobSummary, trans: TranslationBundle): Promise<string | null> {
  const names = job.ports.filter(hasPage).map(port => port.name);
  if (names.length <= 1) {
    return names[0] ?? null;
  }
  const answer = await InputDialog.getItem({
    title: trans.__('Open Port'),
    label: job.label,
    items: names
  });
  return answer.button.accept ? answer.value : null;
}
