import type { LabIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { sign, stateWord } from '../words';

/** A state, by its sign, its word and its colour. */
export function State(props: { state: string; trans: TranslationBundle }): React.JSX.Element {
  return (
    <span className={`jp-chutes-state jp-chutes-state-${props.state}`}>
      <span className="jp-chutes-sign" aria-hidden="true">
        {sign(props.state)}
      </span>
      {stateWord(props.state, props.trans)}
    </span>
  );
}

/** A small button with a word, mostly behind an icon. */
export function Act(props: {
  icon?: LabIcon;
  label: string;
  title?: string;
  /** Its whole name, where others have the same word on them. */
  name?: string;
  /** Whether there is room for the icon alone. */
  bare?: boolean;
  disabled?: boolean;
  warn?: boolean;
  onClick: () => void;
}): React.JSX.Element {
  const { icon, label, name, title = name ?? label, bare, disabled, warn, onClick } = props;
  return (
    <button
      type="button"
      className={`jp-chutes-act${warn ? ' jp-chutes-warn' : ''}`}
      title={title}
      aria-label={name ?? (bare ? title : undefined)}
      disabled={disabled}
      onClick={onClick}
    >
      {icon ? <icon.react tag="span" className="jp-chutes-act-icon" /> : null}
      {bare ? null : <span>{label}</span>}
    </button>
  );
}

/** A bar from nothing to all. */
export function Bar(props: { fraction: number; label: string }): React.JSX.Element {
  const percent = Math.round(props.fraction * 100);
  return (
    <span
      className="jp-chutes-bar"
      role="progressbar"
      aria-label={props.label}
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      <span style={{ width: `${percent}%` }} />
    </span>
  );
}

const WIDTH = 44;
const HEIGHT = 14;

/** The last values of something in percent, as a line, with the newest as a number. */
export function Spark(props: {
  values: readonly number[];
  label: string;
}): React.JSX.Element | null {
  const { values, label } = props;
  if (values.length === 0) {
    return null;
  }
  const step = WIDTH / Math.max(1, values.length - 1);
  const points = values.map(
    (value, index) =>
      `${(index * step).toFixed(1)},${(HEIGHT - 1 - (Math.min(100, value) / 100) * (HEIGHT - 2)).toFixed(1)}`
  );
  const newest = Math.round(values.at(-1)!);
  return (
    <span className="jp-chutes-spark" title={`${label}: ${newest} %`}>
      <svg width={WIDTH} height={HEIGHT} role="img" aria-label={`${label}: ${newest} %`}>
        <polyline points={points.join(' ')} />
      </svg>
      <span aria-hidden="true">{newest} %</span>
    </span>
  );
}
