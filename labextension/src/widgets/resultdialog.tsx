import { Dialog, showDialog } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { JobSummary, ResultAnswer } from '../api';
import { path, type Api } from '../request';
import { State } from './common';

/** Show what a job returned, or what it raised. */
export async function showResult(
  job: JobSummary,
  api: Api,
  trans: TranslationBundle
): Promise<void> {
  const found = await api.get<ResultAnswer>(`${path('jobs', job.id)}/result`);
  await showDialog({
    title: found.error
      ? trans.__('Error of %1', job.label)
      : trans.__('Result of %1', job.label),
    body: new Result(found, trans),
    buttons: [Dialog.okButton({ label: trans.__('Close') })]
  });
}

class Result extends ReactWidget {
  constructor(
    private readonly found: ResultAnswer,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-chutes-result');
  }

  protected render(): React.JSX.Element {
    const { found, trans } = this;
    return (
      <>
        <p>
          <State state={found.state} trans={trans} />
          {found.reason ? ` ${found.reason}` : ''}
        </p>
        {found.error ? (
          <pre>{plain(found.error.traceback) || errorLine(found.error)}</pre>
        ) : null}
        {found.text !== null ? <pre>{found.text}</pre> : null}
        {found.cut ? (
          <p className="jp-chutes-muted">{trans.__('Only the beginning.')}</p>
        ) : null}
        {found.withheld ? <p className="jp-chutes-muted">{found.withheld}</p> : null}
        {found.text === null && !found.error && !found.withheld ? (
          <p className="jp-chutes-muted">{trans.__('It returned nothing.')}</p>
        ) : null}
      </>
    );
  }
}

function errorLine(error: { type: string; message: string }): string {
  return `${error.type}: ${error.message}`;
}

/** A traceback without a terminal's colours. */
function plain(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/\x1b\[[0-9;]*m/g, '');
}
