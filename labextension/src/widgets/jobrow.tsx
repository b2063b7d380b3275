import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { JobSummary, ProgressView } from '../api';
import { farText, fractionOf, gpuOf, secondsLeft } from '../readings';
import type { Grouping } from '../rows';
import { clock, nameOf, span, timeOf } from '../words';
import { Bar, Spark, State } from './common';

/** One job of the list, on two lines. */
export function JobRow(props: {
  job: JobSummary;
  doubt: string;
  chosen: boolean;
  place: number;
  count: number;
  grouping: Grouping;
  now: number;
  trans: TranslationBundle;
  style: React.CSSProperties;
  choose: () => void;
  open: () => void;
}): React.JSX.Element {
  const { job, doubt, chosen, now, trans } = props;
  return (
    <div
      id={`jp-chutes-row-${job.id}`}
      className={`jp-chutes-row${job.live ? '' : ' jp-chutes-over'}${doubt ? ' jp-chutes-doubt' : ''}`}
      data-job={job.id}
      role="option"
      aria-selected={chosen}
      aria-posinset={props.place}
      aria-setsize={props.count}
      style={props.style}
      title={titleOf(job, doubt, now, trans)}
      onMouseDown={props.choose}
      onDoubleClick={props.open}
    >
      <div className="jp-chutes-line">
        <span className="jp-chutes-label">{job.label}</span>
        <State state={job.state} trans={trans} />
        <span className="jp-chutes-time">{timeOf(job, now, trans)}</span>
      </div>
      <div className="jp-chutes-line jp-chutes-second">
        <span className="jp-chutes-where">{job.worker}</span>
        <Second job={job} doubt={doubt} grouping={props.grouping} now={now} trans={trans} />
      </div>
    </div>
  );
}

/** What is best to know besides: doubts, progress, why it ended, where it came from. */
function Second(props: {
  job: JobSummary;
  doubt: string;
  grouping: Grouping;
  now: number;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { job, doubt, trans } = props;
  if (doubt) {
    return <span className="jp-chutes-note">{confirmedText(job, props.now, trans)}</span>;
  }
  const gpu = gpuOf(job);
  if (job.live && (job.progress || gpu.length > 0)) {
    return (
      <>
        {job.progress ? <Far progress={job.progress} now={props.now} trans={trans} /> : null}
        <Spark values={gpu} label={trans.__('GPU')} />
      </>
    );
  }
  if (job.reason) {
    return <span className="jp-chutes-note">{job.reason}</span>;
  }
  const ran = !job.live && job.started !== null && job.ended !== null;
  return (
    <>
      {ran ? <span>{clock(job.ended! - job.started!)}</span> : null}
      {job.notebook && props.grouping !== 'notebook' ? (
        <span className="jp-chutes-note">{nameOf(job.notebook)}</span>
      ) : null}
    </>
  );
}

/** How far it is, and how long the rest takes. */
export function Far(props: {
  progress: ProgressView;
  now: number;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { progress, now, trans } = props;
  const fraction = fractionOf(progress);
  const left = secondsLeft(progress, now);
  return (
    <>
      {fraction === null ? null : <Bar fraction={fraction} label={trans.__('Progress')} />}
      <span title={farText(progress)}>
        {fraction === null ? farText(progress) : `${Math.floor(fraction * 100)} %`}
      </span>
      {left === null || left < 1 ? null : (
        <span className="jp-chutes-left">{trans.__('%1 left', span(left))}</span>
      )}
    </>
  );
}

/** Since when nothing is known for sure. */
export function confirmedText(job: JobSummary, now: number, trans: TranslationBundle): string {
  return job.confirmed === null
    ? trans.__('never confirmed')
    : trans.__('last confirmed %1 ago', span(now - job.confirmed));
}

function titleOf(
  job: JobSummary,
  doubt: string,
  now: number,
  trans: TranslationBundle
): string {
  const lines = [job.label, job.reason ?? ''];
  if (doubt) {
    lines.push(confirmedText(job, now, trans), doubt);
  }
  if (job.notebook) {
    lines.push(job.notebook);
  }
  return lines.filter(Boolean).join('\n');
}
