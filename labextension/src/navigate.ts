import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Dialog, showDialog, type MainAreaWidget } from '@jupyterlab/apputils';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { Notebook, NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import type { JobSummary, SshAnswer } from './api';
import { cellOf, notebookPath, type CellText } from './cells';
import { path, type Api } from './request';

/** What a terminal of Lab offers to those who have it without its package. */
interface TerminalContent extends Widget {
  readonly session: {
    connectionStatus: string;
    connectionStatusChanged: {
      connect(slot: () => void): boolean;
      disconnect(slot: () => void): boolean;
    };
    send(message: { type: 'stdin'; content: string[] }): void;
  };
}

/** Goes to what belongs to a job in Lab's own places: notebooks, files, terminals. */
export class Navigator {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly api: Api,
    private readonly documents: IDocumentManager | null,
    private readonly trans: TranslationBundle
  ) {}

  /** Whether this front end can show the notebook of a job. */
  hasNotebook(job: JobSummary): boolean {
    return this.documents !== null && notebookPath(job.notebook) !== null;
  }

  /** Open the notebook that made a job, at its cell. */
  async openCell(job: JobSummary): Promise<void> {
    const where = notebookPath(job.notebook);
    const widget = where && this.documents?.openOrReveal(where);
    if (!widget) {
      throw new Error(
        this.trans.__(
          '%1 was not made by a notebook that this server can open: %2.',
          job.label,
          job.notebook ?? this.trans.__('it is not known what made it')
        )
      );
    }
    await widget.context.ready;
    const panel = widget as unknown as NotebookPanel;
    await panel.revealed;
    const notebook = panel.content;
    const index = cellOf(job, sourcesOf(notebook));
    if (index !== null) {
      notebook.activeCellIndex = index;
      notebook.deselectAll();
      await notebook.scrollToCell(notebook.widgets[index]);
    }
  }

  /** Show the outputs of a job in Lab's file browser; where they lie outside it, say where. */
  async openFiles(job: JobSummary): Promise<void> {
    const open = 'filebrowser:open-path';
    if (job.output_path !== null && this.app.commands.hasCommand(open)) {
      await this.app.commands.execute(open, { path: `/${job.output_path}` });
      return;
    }
    await this.sayAndCopy(
      this.trans.__('Outputs of %1', job.label),
      job.output_dir
        ? this.trans.__('They are in a folder that the file browser does not show:')
        : this.trans.__('No outputs have arrived on this machine yet.'),
      job.output_dir ?? ''
    );
  }

  /** Open a terminal inside a job. */
  async openTerminal(job: JobSummary): Promise<void> {
    const { command } = await this.api.post<SshAnswer>(path('jobs', job.id, 'ssh'));
    const create = 'terminal:create-new';
    const made = this.app.commands.hasCommand(create)
      ? ((await this.app.commands.execute(create)) as
          MainAreaWidget<TerminalContent> | undefined)
      : undefined;
    const session = made?.content?.session;
    if (!session) {
      const said = this.trans.__('In a terminal of the machine of the Jupyter server:');
      await this.sayAndCopy(this.trans.__('A shell in %1', job.label), said, command);
      return;
    }
    made.title.label = job.label;
    await connected(session);
    session.send({ type: 'stdin', content: [`${command}\r`] });
  }

  /** Show a text that can be copied. */
  async sayAndCopy(title: string, said: string, text: string): Promise<void> {
    const buttons = [Dialog.cancelButton({ label: this.trans.__('Close') })];
    if (text) {
      buttons.push(Dialog.okButton({ label: this.trans.__('Copy') }));
    }
    const body = text ? `${said}\n\n${text}` : said;
    const answer = await showDialog({ title, body, buttons });
    if (answer.button.accept) {
      Clipboard.copyToSystem(text);
    }
  }
}

function sourcesOf(notebook: Notebook): CellText[] {
  return notebook.widgets.map(cell => {
    const saved = cell.model.toJSON();
    return {
      source: cell.model.sharedModel.getSource(),
      outputs: 'outputs' in saved ? JSON.stringify(saved.outputs) : ''
    };
  });
}

function connected(session: TerminalContent['session']): Promise<void> {
  return new Promise(resolve => {
    const look = (): void => {
      if (session.connectionStatus === 'connected') {
        session.connectionStatusChanged.disconnect(look);
        resolve();
      }
    };
    session.connectionStatusChanged.connect(look);
    look();
  });
}
