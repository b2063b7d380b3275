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

/** How long the first output may take to arrive, in milliseconds. */
const PATIENCE = 10_000;
/** How often a cell is scrolled to, until it is in sight. */
const TRIES = 12;

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
    // A script has no cells.
    if (!where.endsWith('.ipynb') || !notebook.widgets) {
      return;
    }
    const index = cellOf(job, sourcesOf(notebook));
    if (index !== null) {
      notebook.activeCellIndex = index;
      notebook.deselectAll();
      await this.scroll(notebook, index);
    }
  }

  /** Bring a cell in sight: one that was never drawn has no place yet, so it may take some tries. */
  private async scroll(notebook: Notebook, index: number): Promise<void> {
    const cell = notebook.widgets[index];
    for (let tries = 0; tries < TRIES; tries += 1) {
      await notebook.scrollToCell(cell, 'center');
      const [box, room] = [cell.node, notebook.node].map(node => node.getBoundingClientRect());
      if (box.height > 0 && box.top < room.bottom && box.bottom > room.top) {
        return;
      }
      await new Promise(resolve => setTimeout(resolve, 250));
    }
  }

  /** Show the outputs of a job in Lab's file browser; where they lie outside it, say where. */
  async openFiles(job: JobSummary): Promise<void> {
    const open = 'filebrowser:open-path';
    const shown = job.output_path !== null && this.app.commands.hasCommand(open);
    if (shown && (await this.bring(job, job.output_path!))) {
      await this.app.commands.execute(open, { path: `/${job.output_path}` });
      return;
    }
    await this.sayAndCopy(
      this.trans.__('Outputs of %1', job.label),
      shown || !job.output_dir
        ? this.trans.__('None have arrived on this machine yet.')
        : this.trans.__('They are in a folder that the file browser does not show:'),
      (!shown && job.output_dir) || ''
    );
  }

  /** Have all outputs brought here; returns whether there is a folder with some. */
  private async bring(job: JobSummary, folder: string): Promise<boolean> {
    const { contents } = this.app.serviceManager;
    const exists = (): Promise<boolean> =>
      contents.get(folder, { content: false }).then(
        () => true,
        () => false
      );
    if (!(await exists())) {
      await this.api.post(path('jobs', job.id, 'files', 'fetch'), { paths: [] });
      const until = Date.now() + PATIENCE;
      while (!(await exists())) {
        if (Date.now() > until) {
          return false;
        }
        await new Promise(resolve => setTimeout(resolve, 300));
      }
    }
    return true;
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
      id: cell.model.id,
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
