import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';

import type { WorkerTest } from './api';
import { RequestError } from './request';
import { complain, say } from './say';
import { CommandIDs } from './tokens';
import { AddWorker, Steps } from './widgets/workerdialogs';
import type { WorkersModel } from './workers';

/** Add the commands of workers: `{ worker: name }`, else they ask which. */
export function addWorkerCommands(
  commands: CommandRegistry,
  workers: WorkersModel,
  trans: TranslationBundle
): void {
  const add = (
    id: string,
    label: string,
    run: (name: string) => Promise<void>,
    icon?: typeof addIcon
  ): void => {
    commands.addCommand(id, {
      label,
      icon,
      describedBy: {
        args: {
          type: 'object',
          properties: { worker: { type: 'string', description: 'The name of the worker' } }
        }
      },
      execute: async args => {
        try {
          const name =
            (args.worker as string | undefined) ?? (await which(workers, label, trans));
          if (name) {
            await run(name);
          }
        } catch (error) {
          complain(label, error);
        }
      }
    });
  };
  add(CommandIDs.testWorker, trans.__('Test Worker'), name => test(workers, name, trans));
  add(CommandIDs.loginWorker, trans.__('Log in to Worker'), name =>
    logIn(workers, name, trans)
  );
  add(CommandIDs.removeWorker, trans.__('Forget Worker'), name => forget(workers, name, trans));
  commands.addCommand(CommandIDs.addWorker, {
    label: trans.__('Add Worker'),
    icon: addIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: async () => {
      try {
        await addWorker(workers, trans);
      } catch (error) {
        complain(trans.__('Add Worker'), error);
      }
    }
  });
}

async function which(
  workers: WorkersModel,
  title: string,
  trans: TranslationBundle
): Promise<string | null> {
  await workers.load();
  const items = workers.workers.map(worker => worker.name);
  const answer = await InputDialog.getItem({ title, label: trans.__('Worker'), items });
  return answer.button.accept ? answer.value : null;
}

async function addWorker(workers: WorkersModel, trans: TranslationBundle): Promise<void> {
  const answer = await showDialog({
    title: trans.__('Add a worker'),
    body: new AddWorker(trans),
    focusNodeSelector: 'input',
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.okButton({ label: trans.__('Add') })
    ]
  });
  const wanted = answer.value;
  if (!answer.button.accept || !wanted) {
    return;
  }
  await workers.add(wanted);
  await test(workers, wanted.name, trans);
}

/** Have the person compare the fingerprint of a host that is not known; returns if it is. */
async function knowHost(
  workers: WorkersModel,
  name: string,
  trans: TranslationBundle
): Promise<boolean> {
  // Behind a jump host that was not known there may be another one.
  for (;;) {
    const key = await workers.hostKey(name);
    if (key.known) {
      return true;
    }
    const answer = await showDialog({
      title: trans.__('Is this %1?', key.host),
      body: trans.__(
        '%1\n\nIts key (%2) has the fingerprint\n\n%3\n\nCompare it with what its owner tells you. Whoever sits between here and there could read and change everything if it is another one.',
        key.message,
        key.kind,
        key.fingerprint
      ),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Do Not Connect') }),
        Dialog.warnButton({ label: trans.__('Accept This Key') })
      ],
      // Enter alone must not accept it.
      defaultButton: 0
    });
    if (!answer.button.accept) {
      return false;
    }
    await workers.accept(name, key.fingerprint);
  }
}

/** Whether its key is known; one that does not answer is tested all the same, to say why. */
async function mayTest(
  workers: WorkersModel,
  name: string,
  trans: TranslationBundle
): Promise<boolean> {
  try {
    return await knowHost(workers, name, trans);
  } catch (error) {
    if (error instanceof RequestError) {
      return true;
    }
    throw error;
  }
}

async function test(
  workers: WorkersModel,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  const worker = workers.workers.find(each => each.name === name);
  if (worker?.host && !(await mayTest(workers, name, trans))) {
    return;
  }
  const run = Notification.emit(trans.__('Testing %1 …', name), 'in-progress', {
    autoClose: false
  });
  let found: WorkerTest;
  try {
    found = await workers.test(name);
  } finally {
    Notification.dismiss(run);
  }
  void workers.load('all');
  await showDialog({
    title: found.ok ? trans.__('%1 is fine', name) : trans.__('%1 is not fine', name),
    body: new Steps(found, trans),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}

async function logIn(
  workers: WorkersModel,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  if (!(await knowHost(workers, name, trans))) {
    return;
  }
  let said = await workers.logIn(name);
  while (!said.done) {
    const answer = await ask(said.kind === 'confirm', said.prompt, name, trans);
    said = await workers.logIn(name, said.talk, answer);
    if (answer === null) {
      return;
    }
  }
  said.notices.forEach(notice => say(notice));
  say(
    said.already
      ? trans.__('%1 was logged in to before.', name)
      : trans.__('Logged in to %1.', name),
    'success'
  );
  void workers.load('all');
}

async function ask(
  confirm: boolean,
  prompt: string,
  name: string,
  trans: TranslationBundle
): Promise<string | null> {
  const title = trans.__('Log in to %1', name);
  if (confirm) {
    const answer = await showDialog({ title, body: prompt });
    return answer.button.accept ? 'yes' : null;
  }
  const answer = await InputDialog.getPassword({ title, label: prompt });
  return answer.button.accept ? (answer.value ?? '') : null;
}

async function forget(
  workers: WorkersModel,
  name: string,
  trans: TranslationBundle
): Promise<void> {
  const answer = await showDialog({
    title: trans.__('Forget %1?', name),
    body: trans.__('It is taken out of the list of workers. Nothing on it changes.'),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Keep') }),
      Dialog.warnButton({ label: trans.__('Forget') })
    ]
  });
  if (answer.button.accept) {
    await workers.forget(name);
  }
}
