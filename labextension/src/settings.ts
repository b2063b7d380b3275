import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal, type ISignal } from '@lumino/signaling';

import type { JobsModel } from './model';
import { askBrowser, type Wishes } from './notify';
import type { Grouping } from './rows';
import { PLUGIN_ID } from './tokens';

/** What the person set, or what holds where nothing is set. */
export class Settings {
  constructor(registry: ISettingRegistry | null, model: JobsModel) {
    registry?.load(PLUGIN_ID).then(
      loaded => {
        const take = (): void => {
          this.take(loaded, model);
        };
        loaded.changed.connect(take);
        take();
      },
      // What holds by itself goes on holding.
      error => console.warn('chutes-jupyter: the settings can’t be read', error)
    );
  }

  /** Emitted when something was set. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get wishes(): Wishes {
    return this._wishes;
  }

  private take(loaded: ISettingRegistry.ISettings, model: JobsModel): void {
    const read = <T>(name: string): T => loaded.get(name).composite as T;
    const browser = read<boolean>('notifyInBrowser');
    const fresh = browser && !this._wishes.browser;
    this._wishes = {
      notify: read<boolean>('notify'),
      browser,
      sound: read<boolean>('sound')
    };
    if (fresh) {
      askBrowser(() => this._wishes.browser);
    }
    model.setGrouping(read<Grouping>('groupBy'));
    model.setFilter({ state: read<string>('show') });
    this._changed.emit();
  }

  private _wishes: Wishes = { notify: true, browser: false, sound: false };
  private _changed = new Signal<this, void>(this);
}
