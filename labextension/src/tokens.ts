import { Token } from '@lumino/coreutils';

import type { Navigator } from './navigate';
import type { JobsModel } from './model';

/** The plugin's id: the schema of its settings has the same name. */
export const PLUGIN_ID = 'chutes-jupyter:plugin';

/** What other extensions may ask for: the jobs as the sidebar knows them. */
export interface IChutes {
  readonly model: JobsModel;
  readonly navigator: Navigator;
}

/** The token of {@link IChutes}. */
export const IChutes = new Token<IChutes>(
  'chutes-jupyter:IChutes',
  'The jobs of this person on all workers, and how to open what belongs to them.'
);

/** The ids of all commands. Those of a job take `{ job: id }`, else the job that is chosen. */
export namespace CommandIDs {
  export const show = 'chutes:show';
  export const refresh = 'chutes:refresh';
  export const cancel = 'chutes:cancel';
  export const again = 'chutes:run-again';
  export const log = 'chutes:open-log';
  export const files = 'chutes:open-files';
  export const outputs = 'chutes:show-outputs';
  export const cell = 'chutes:go-to-cell';
  export const port = 'chutes:open-port';
  export const terminal = 'chutes:open-terminal';
  export const result = 'chutes:show-result';
  export const remove = 'chutes:remove';
  export const addWorker = 'chutes:add-worker';
  export const testWorker = 'chutes:test-worker';
  export const loginWorker = 'chutes:log-in-worker';
  export const removeWorker = 'chutes:forget-worker';
}
