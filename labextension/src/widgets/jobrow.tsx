import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { JobSummary } from '../api';
import { gpuOf, progressOf } from '../readings';
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
  const progress = job.live ? progressOf(job) : null;
  const gpu = job.live ? gpuOf(job) : [];
  if (progress || gpu.length > 0) {
    return (
      <>
        {progress && progress.fraction !== null ? (
          <>
            <Bar fraction={progress.fraction} label={trans.__('Progress')} />
            <span>{`${Math.floor(progress.fraction * 100)} %`}</span>
          </>
        ) : (
          progress && <span>{`${progress.done} ${progress.unit}`.trim()}</span>
        )}
        {progress && progress.secondsLeft !== null ? (
          <span className="jp-chutes-left">
            {trans.__('%1 left', span(progress.secondsLeft))}
          </span>
        ) : null}
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
