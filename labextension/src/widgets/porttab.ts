import { Clipboard, MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Toolbar, ToolbarButton } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Signal, type ISignal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import type { JobSummary, PortItem, TabAnswer } from '../api';
import { linkIcon, outsideIcon, portIcon, reloadIcon } from '../icons';
import { isNumber } from '../jobcommands';
import type { JobsModel } from '../model';
import { path, RequestError, textOf, type Api } from '../request';
import { complain, say } from '../say';
import { stateWord } from '../words';

/** What a page may do. It has an origin of its own, so it may have storage and cookies there. */
const OWN_ORIGIN = 'allow-scripts allow-forms allow-same-origin allow-downloads allow-modals';
/** Below Jupyter's own address a page has no origin at all: it would be Jupyter's. */
const NO_ORIGIN = 'allow-scripts allow-forms';
/** How long the browser may look for a tab's own host, in milliseconds. */
const PROBING = 5000;

/** Whose page a tab shows. */
export interface PortOf {
  job: string;
  port: string;
}

/** The page of a port of a job, alone in its frame. */
export class PortView extends Widget {
  constructor(
    readonly of: PortOf,
    private readonly api: Api,
    private readonly model: JobsModel,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-chutes-port-view');
    this.kind.addClass('jp-chutes-kind');
    this.notes.className = 'jp-chutes-port-notes';
    this.cover.className = 'jp-chutes-port-cover';
    this.cover.setAttribute('role', 'status');
    this.frame.className = 'jp-chutes-port-frame';
    this.frame.title = trans.__('%1 of %2', of.port, this.label);
    this.frame.referrerPolicy = 'no-referrer';
    this.node.append(this.notes, this.cover, this.frame);
    model.changed.connect(this.look, this);
  }

  /** A browser loads a frame anew wherever it is put, and its ticket was good for once. */
  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    void this.load();
  }

  /** The job's label, as far as it is known. */
  get label(): string {
    return this.model.find(this.of.job)?.label ?? this.of.job.slice(0, 6);
  }

  /** Emitted when its port was shown, which the job had not declared. */
  get shown(): ISignal<this, void> {
    return this._shown;
  }

  /** Whether somebody has asked for a port that the job did not declare, and it is not shown. */
  unshown = false;

  /** Have the port shown, which the job did not declare. */
  askFor(): void {
    this.unshown = true;
    void this.load();
  }

  /** Show the page anew, by a new ticket. */
  async load(): Promise<void> {
    if (this.over) {
      return;
    }
    this.say(this.trans.__('Opening %1 of %2 …', this.of.port, this.label));
    try {
      const answer = await this.answer();
      if (this.isDisposed || this.over) {
        return;
      }
      // The frame's rights are those that it has when its page is loaded.
      this.frame.setAttribute('sandbox', answer.kind === 'path' ? NO_ORIGIN : OWN_ORIGIN);
      this.frame.src = answer.url;
      this.tell(answer);
      this.cover.hidden = true;
      this.frame.hidden = false;
    } catch (error) {
      if (isNumber(this.of.port) && isUnknown(error)) {
        // Brought back after the server was started anew: it is opened by nobody but a person.
        this.say(
          this.trans.__('%1 did not declare port %2.', this.label, this.of.port),
          this.trans.__('Show it'),
          () => this.askFor()
        );
      } else {
        this.sayFailed(error);
      }
    }
  }

  /** An address that opens the page once, outside this window. */
  async address(): Promise<string> {
    return (await this.answer()).url;
  }

  /** Open the page in a window of its own. */
  async openOutside(): Promise<void> {
    // At once: after an answer browsers take it for an advertisement.
    const opened = window.open('', '_blank');
    try {
      const url = await this.address();
      if (opened) {
        opened.opener = null;
        opened.location.href = url;
      }
    } catch (error) {
      opened?.close();
      this.sayFailed(error);
    }
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.model.changed.disconnect(this.look, this);
      super.dispose();
    }
  }

  /** Ask where to open it; where the browser does not find the tab's own host, a path. */
  private async answer(): Promise<TabAnswer> {
    const port = (what: string): string =>
      path('jobs', this.of.job, 'ports', this.of.port, what);
    if (this.unshown) {
      await this.api.post<PortItem>(port('show'));
      this.unshown = false;
      this._shown.emit();
    }
    const where = port('tab');
    const asked = { browser_origin: window.location.origin };
    const answer = await this.api.post<TabAnswer>(where, asked);
    if (answer.probe && !(await answers(answer.probe))) {
      return await this.api.post<TabAnswer>(where, { ...asked, kind: 'path' });
    }
    return answer;
  }

  private look(): void {
    const job = this.model.find(this.of.job);
    if (job && !job.live && !this.over) {
      this.end(job);
    }
  }

  /** The job is over: its page answers no more. */
  private end(job: JobSummary): void {
    this.over = true;
    this.frame.removeAttribute('src');
    this.frame.hidden = true;
    this.notes.hidden = true;
    const word = stateWord(job.state, this.trans);
    this.say(this.trans.__('%1 has ended: %2. Its page is gone with it.', job.label, word));
    this.title.label = this.trans.__('%1 (ended)', this.of.port);
  }

  private tell(answer: TabAnswer): void {
    const kind =
      answer.kind === 'path'
        ? this.trans.__('in a sandbox: no cookies, no storage')
        : this.trans.__('at an address of its own');
    this.kind.node.textContent = kind;
    this.notes.hidden = answer.notes.length === 0;
    this.notes.replaceChildren(...answer.notes.map(note => textNode('span', note)));
  }

  private sayFailed(error: unknown): void {
    this.say(textOf(error), this.trans.__('Try again'), () => void this.load());
  }

  /** Say something in place of the page, and offer what can be done. */
  private say(text: string, label = '', act: () => void = () => {}): void {
    const parts: Node[] = [textNode('p', text)];
    if (label) {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = 'jp-chutes-act';
      button.textContent = label;
      button.onclick = act;
      parts.push(button);
    }
    this.cover.replaceChildren(...parts);
    this.cover.hidden = false;
    this.frame.hidden = true;
  }

  /** Says which kind of tab it is. */
  readonly kind = new Widget();
  private readonly _shown = new Signal<this, void>(this);
  private over = false;
  private readonly notes = document.createElement('div');
  private readonly cover = document.createElement('div');
  private readonly frame = document.createElement('iframe');
}

/** A tab with the page of a port, and what can be done with it. */
export function portTab(
  of: PortOf,
  api: Api,
  model: JobsModel,
  trans: TranslationBundle
): MainAreaWidget<PortView> {
  const content = new PortView(of, api, model, trans);
  const tab = new MainAreaWidget({ content });
  tab.id = `chutes-port-${of.job}-${of.port}`;
  tab.title.label = `${of.port} · ${content.label}`;
  tab.title.caption = trans.__('%1 of %2', of.port, content.label);
  tab.title.icon = portIcon;
  tab.title.closable = true;
  const add = (
    name: string,
    icon: typeof portIcon,
    tooltip: string,
    onClick: () => void
  ): void => {
    tab.toolbar.addItem(name, new ToolbarButton({ icon, tooltip, onClick }));
  };
  add('reload', reloadIcon, trans.__('Reload'), () => void content.load());
  add('outside', outsideIcon, trans.__('Open in a window of its own'), () => {
    void content.openOutside();
  });
  add('link', linkIcon, trans.__('Copy a link that opens it once, within a minute'), () => {
    const what = trans.__('Copy a link');
    content.address().then(
      url => {
        Clipboard.copyToSystem(url);
        say(trans.__('Copied a link that opens %1 once, within a minute.', of.port));
      },
      (error: unknown) => complain(what, error)
    );
  });
  tab.toolbar.addItem('spacer', Toolbar.createSpacerItem());
  tab.toolbar.addItem('kind', content.kind);
  return tab;
}

/** Whether the browser finds what answers there. */
async function answers(url: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PROBING);
    return (await fetch(url, { cache: 'no-store', credentials: 'omit', signal })).ok;
  } catch {
    return false;
  }
}

/** Whether an error says that the server knows no such port of the job. */
function isUnknown(error: unknown): boolean {
  return error instanceof RequestError && error.code === 'port_not_found';
}

function textNode(tag: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
