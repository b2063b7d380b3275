import { Notification, showErrorMessage } from '@jupyterlab/apputils';

import { textOf } from './request';

/** Lab cuts what is longer. */
const ROOM = 140;
/** How long something is in sight, in milliseconds; without a time it would only be counted. */
const LONG = 8000;

/** Say something in passing. */
export function say(text: string, type: Notification.TypeOptions = 'info'): void {
  Notification.emit(text, type, { autoClose: LONG });
}

/** Say why something did not work: in passing if it is short, else so that it can be read. */
export function complain(title: string, error: unknown): void {
  const text = textOf(error);
  if (text.length <= ROOM) {
    say(text, 'error');
  } else {
    void showErrorMessage(title, text);
  }
}
