import { SidePanel, Toolbar, ToolbarButton, refreshIcon } from '@jupyterlab/ui-components';
import type { ITranslator, TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import type { AccordionPanel, Widget } from '@lumino/widgets';
import { Signal, type ISignal } from '@lumino/signaling';

import { chuteIcon } from '../icons';
import type { JobsPanel } from './jobspanel';
import type { WorkersPanel } from './workerspanel';

/** The panel at the side of the window: jobs above, workers below. */
export class Sidebar extends SidePanel {
  constructor(
    jobs: JobsPanel,
    workers: WorkersPanel,
    translator: ITranslator,
    trans: TranslationBundle
  ) {
    super({ translator });
    this.id = 'chutes-sidebar';
    this.addClass('jp-chutes-sidebar');
    this.title.icon = chuteIcon;
    this.title.caption = trans.__('Jobs on workers');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Jobs on workers'));
    this.addWidget(jobs);
    this.addWidget(workers);
    // Jobs are what one looks at; whoever wants more of the workers pulls the line between.
    (this.content as AccordionPanel).setRelativeSizes([7, 2]);
  }

  /** Emitted when it is shown or hidden. */
  get shown(): ISignal<this, boolean> {
    return this._shown;
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._shown.emit(true);
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._shown.emit(false);
  }

  private _shown = new Signal<this, boolean>(this);
}

/** A toolbar for the head of a part of the sidebar. */
export function headTools(...tools: Array<[string, Widget]>): Toolbar {
  const toolbar = new Toolbar();
  tools.forEach(([name, button]) => toolbar.addItem(name, button));
  return toolbar;
}

/** A button that asks anew. */
export function refreshButton(tooltip: string, onClick: () => void): ToolbarButton {
  return new ToolbarButton({ icon: refreshIcon, tooltip, onClick });
}
