import { ReactWidget } from '@jupyterlab/ui-components';
import type { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Step, WorkerRequest, WorkerTest } from '../api';

/** What a worker needs to be one. */
export class AddWorker extends ReactWidget implements Dialog.IBodyWidget<WorkerRequest | null> {
  constructor(private readonly trans: TranslationBundle) {
    super();
    this.addClass('jp-chutes-form');
  }

  /** What was typed; null where that is no worker. */
  getValue(): WorkerRequest | null {
    const name = this.read('name');
    if (!name) {
      return null;
    }
    return { name, host: this.read('host') || null, python: this.read('python') || null };
  }

  protected render(): React.JSX.Element {
    const { trans } = this;
    return (
      <>
        <Field name="name" label={trans.__('Name')} hint="gpu1" />
        <Field
          name="host"
          label={trans.__('Host')}
          hint={trans.__('me@gpu-box, me@gpu-box:2222, or a name of ~/.ssh/config')}
        />
        <Field
          name="python"
          label={trans.__('Python of its jobs')}
          hint={trans.__('/opt/conda/bin/python; empty: its python3')}
        />
      </>
    );
  }

  private read(name: string): string {
    const input = this.node.querySelector<HTMLInputElement>(`input[name="${name}"]`);
    return input?.value.trim() ?? '';
  }
}

function Field(props: { name: string; label: string; hint: string }): React.JSX.Element {
  return (
    <label>
      <span>{props.label}</span>
      <input
        className="jp-mod-styled"
        name={props.name}
        placeholder={props.hint}
        autoComplete="off"
      />
    </label>
  );
}

const SIGNS: Record<Step['verdict'], string> = { good: '✓', odd: '!', bad: '✗' };

/** The steps of a test, and what to do about those that went wrong. */
export class Steps extends ReactWidget {
  constructor(
    private readonly test: WorkerTest,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-chutes-steps');
  }

  protected render(): React.JSX.Element {
    const words: Record<Step['verdict'], string> = {
      good: this.trans.__('good'),
      odd: this.trans.__('odd'),
      bad: this.trans.__('bad')
    };
    return (
      <table>
        <tbody>
          {this.test.steps.map((step, index) => (
            <tr key={index} className={`jp-mod-${step.verdict}`}>
              <td title={words[step.verdict]} aria-label={words[step.verdict]}>
                {SIGNS[step.verdict]}
              </td>
              <th scope="row">{step.step}</th>
              <td>
                {step.figure}
                {step.advice ? <div className="jp-chutes-advice">{step.advice}</div> : null}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    );
  }
}
