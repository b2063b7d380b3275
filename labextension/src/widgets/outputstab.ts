import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { Files } from '../../../chutes_jupyter/kernel/static/files.js';
import type { FetchAnswer, FilesAnswer, JobSummary, Preview } from '../api';
import { filesIcon } from '../icons';
import type { JobsModel } from '../model';
import { path, textOf, type Api, type Query } from '../request';

/** How often they are asked for while the job lives, in milliseconds. */
const ROUND = 3000;
/** So many files come with one question. */
const MOST = 1000;

/** The outputs of a job, shown by the panel's own browser of files. */
export class OutputsWidget extends Widget {
  constructor(
    readonly job: string,
    private readonly api: Api,
    private readonly model: JobsModel,
    base: string
  ) {
    super();
    this.addClass('jp-chutes-outputs-tab');
    this.addClass('chutes-panel');
    const where = path('jobs', job);
    const actions = {
      server: Promise.resolve({ base }),
      files: (query: Query) => api.get<FilesAnswer>(`${where}/files`, query),
      fetch: (file: string) => api.post<FetchAnswer>(`${where}/files/fetch`, { paths: [file] }),
      preview: (file: string) => api.get<Preview>(`${where}/files/preview`, { path: file }),
      address: (below: string, query: Query) => Promise.resolve(api.url(where + below, query))
    };
    // All that it uses of the panel's own way to ask.
    const asked = actions as unknown as ConstructorParameters<typeof Files>[0];
    this.files = new Files(asked, (text: string) => this.complain(text));
    this.trouble.className = 'jp-chutes-banner';
    this.trouble.setAttribute('role', 'alert');
    this.trouble.hidden = true;
    this.node.append(this.trouble, this.files.element);
    this.files.element.hidden = true;
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.schedule(0);
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.schedule(0);
  }

  protected override onBeforeHide(message: Message): void {
    this.rest();
    super.onBeforeHide(message);
  }

  override dispose(): void {
    this.rest();
    super.dispose();
  }

  private rest(): void {
    clearTimeout(this.timer);
    this.open = false;
    this.files.turned(false);
  }

  private schedule(pause: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.ask(), pause);
  }

  private async ask(): Promise<void> {
    if (this.isDisposed || !this.isVisible) {
      return;
    }
    let more = true;
    try {
      const where = `${path('jobs', this.job)}/files`;
      const found = await this.api.get<FilesAnswer>(where, { limit: MOST });
      more = !found.final || found.here < found.total;
      this.take(found);
      this.complain(found.trouble ?? '');
    } catch (error) {
      this.complain(textOf(error));
    }
    if (more || this.model.find(this.job)?.live) {
      this.schedule(ROUND);
    }
  }

  /** Show them anew, but only if something changed: what a person points at stays. */
  private take(found: FilesAnswer): void {
    const news = JSON.stringify(found);
    if (news === this.shown && this.open) {
      return;
    }
    this.shown = news;
    const { files: entries, total: count, bytes, here, output_dir: folder } = found;
    this.files.show({ entries, count, bytes, here, folder });
    this.files.element.hidden = false;
    if (!this.open) {
      this.open = true;
      this.files.turned(true);
    }
  }

  private complain(text: string): void {
    this.trouble.hidden = !text;
    this.trouble.textContent = text;
  }

  private readonly files: Files;
  private readonly trouble = document.createElement('div');
  private shown = '';
  private open = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
}

/** A tab with the outputs of a job. */
export function outputsTab(
  job: JobSummary,
  api: Api,
  model: JobsModel,
  base: string,
  trans: TranslationBundle
): MainAreaWidget<OutputsWidget> {
  const tab = new MainAreaWidget({ content: new OutputsWidget(job.id, api, model, base) });
  tab.id = `chutes-outputs-${job.id}`;
  tab.title.label = job.label;
  tab.title.caption = trans.__('Outputs of %1', job.label);
  tab.title.icon = filesIcon;
  tab.title.closable = true;
  tab.toolbar.hide();
  return tab;
}
