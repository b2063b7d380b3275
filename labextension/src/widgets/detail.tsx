import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { JobSummary, JobView, PortItem, UndeclaredItem } from '../api';
import type { Details } from '../details';
import * as icons from '../icons';
import { hasDoor, hasPage, SSH_PORT } from '../jobcommands';
import type { JobsModel } from '../model';
import { farText } from '../readings';
import { CommandIDs } from '../tokens';
import { canCancel, clock, elapsed, size } from '../words';
import { Act, Bar, State } from './common';
import { confirmedText, Far } from './jobrow';

interface Props {
  model: JobsModel;
  details: Details;
  commands: CommandRegistry;
  now: number;
  trans: TranslationBundle;
}

/** The job that is chosen: what is known of it, and what can be done with it. */
export function Detail(props: Props): React.JSX.Element | null {
  const { model, details, now, trans } = props;
  const job = model.current;
  if (!job) {
    return null;
  }
  const view = details.view;
  const doubt = model.doubt(job);
  return (
    <section className="jp-chutes-detail" aria-label={trans.__('Job %1', job.label)}>
      <header className="jp-chutes-line">
        <strong className="jp-chutes-label">{job.label}</strong>
        <State state={job.state} trans={trans} />
        <span className="jp-chutes-where">{job.worker}</span>
      </header>
      <Acts {...props} job={job} />
      <Time job={job} now={now} trans={trans} />
      {job.progress ? (
        <p className="jp-chutes-line">
          <span>{farText(job.progress)}</span>
          <Far progress={job.progress} now={now} trans={trans} />
        </p>
      ) : null}
      {doubt ? (
        <p className="jp-chutes-doubt-text" role="status">
          {`${confirmedText(job, now, trans)}: ${doubt}`}
        </p>
      ) : null}
      {job.reason ? <p className="jp-chutes-reason">{job.reason}</p> : null}
      {view?.cancel_asked && job.live ? (
        <p role="status">{trans.__('A cancel is on its way.')}</p>
      ) : null}
      {view ? <Outputs view={view} trans={trans} /> : null}
      {details.ports.filter(isListed).map(port => (
        <Port key={port.name} {...props} job={job} port={port} />
      ))}
      {details.undeclared.map(port => (
        <Undeclared key={port.port} {...props} job={job} port={port} />
      ))}
      {view?.notices.map(notice => (
        <p key={notice} className="jp-chutes-notice">
          {notice}
        </p>
      ))}
      {details.trouble ? <p className="jp-chutes-doubt-text">{details.trouble}</p> : null}
    </section>
  );
}

/** The port of SSH has a button above: nothing listens there. */
const isListed = (port: PortItem): boolean => port.port !== SSH_PORT;

function Acts(props: Props & { job: JobSummary }): React.JSX.Element {
  const { job, commands, trans } = props;
  const run = (id: string): void => void commands.execute(id, { job: job.id });
  const enabled = (id: string): boolean => commands.isEnabled(id, { job: job.id });
  return (
    <div className="jp-chutes-acts" role="toolbar" aria-label={trans.__('What to do with it')}>
      {canCancel(job) ? (
        <Act
          icon={icons.stopIcon}
          label={trans.__('Cancel')}
          warn
          onClick={() => run(CommandIDs.cancel)}
        />
      ) : null}
      <Act icon={icons.logIcon} label={trans.__('Log')} onClick={() => run(CommandIDs.log)} />
      {job.live ? null : (
        <Act
          icon={job.state === 'failed' ? icons.errorIcon : icons.resultIcon}
          label={job.state === 'failed' ? trans.__('Error') : trans.__('Result')}
          onClick={() => run(CommandIDs.result)}
        />
      )}
      <Act
        icon={icons.filesIcon}
        label={trans.__('Outputs')}
        onClick={() => run(CommandIDs.outputs)}
      />
      <Act
        icon={icons.folderIcon}
        label={trans.__('Folder')}
        title={trans.__('Show the outputs in the file browser')}
        onClick={() => run(CommandIDs.files)}
      />
      {enabled(CommandIDs.cell) ? (
        <Act
          icon={icons.notebookIcon}
          label={trans.__('Cell')}
          title={trans.__('Go to the cell that made it')}
          onClick={() => run(CommandIDs.cell)}
        />
      ) : null}
      {hasDoor(job) ? (
        <Act
          icon={icons.terminalIcon}
          label={trans.__('Terminal')}
          title={trans.__('Open a terminal in the job')}
          onClick={() => run(CommandIDs.terminal)}
        />
      ) : null}
      {job.live ? null : (
        <Act
          icon={icons.againIcon}
          label={trans.__('Again')}
          title={trans.__('Run it again as a new job, with the same data')}
          onClick={() => run(CommandIDs.again)}
        />
      )}
      {enabled(CommandIDs.remove) ? (
        <Act
          icon={icons.removeIcon}
          label={trans.__('Remove')}
          onClick={() => run(CommandIDs.remove)}
        />
      ) : null}
    </div>
  );
}

function Time(props: {
  job: JobSummary;
  now: number;
  trans: TranslationBundle;
}): React.JSX.Element | null {
  const { job, now, trans } = props;
  const ran = elapsed(job, now);
  if (ran === null) {
    return null;
  }
  const of = job.timeout ? trans.__('%1 of %2', clock(ran), clock(job.timeout)) : clock(ran);
  return (
    <p className="jp-chutes-line">
      <span>{job.live ? trans.__('Runs for %1', of) : trans.__('Ran for %1', clock(ran))}</span>
      {job.live && job.timeout ? (
        <Bar fraction={Math.min(1, ran / job.timeout)} label={trans.__('Of its time')} />
      ) : null}
    </p>
  );
}

function Outputs(props: { view: JobView; trans: TranslationBundle }): React.JSX.Element | null {
  const { view, trans } = props;
  const { state, files_done, files_total, done, total, reason } = view.mirror;
  if (files_total === 0 && !reason) {
    return null;
  }
  const all = state === 'complete' || files_done === files_total;
  const files = trans._n('%1 file', '%1 files', files_total);
  return (
    <p className="jp-chutes-line">
      <span>
        {all
          ? trans.__('Outputs: %1 here, %2', files, size(total))
          : trans.__('Outputs: %1 of %2 here, %3', files_done, files, size(done))}
      </span>
      {all || total === 0 ? null : (
        <Bar fraction={done / total} label={trans.__('Outputs here')} />
      )}
      {reason ? <span className="jp-chutes-doubt-text">{reason}</span> : null}
    </p>
  );
}

function Port(props: Props & { job: JobSummary; port: PortItem }): React.JSX.Element {
  const { job, port, commands, trans } = props;
  const word = port.over
    ? trans.__('over')
    : port.ready
      ? trans.__('ready')
      : trans.__('not ready');
  const address = port.forward?.url || port.forward?.address;
  // Of one that was only shown the name is its number.
  const declared = port.name !== String(port.port);
  return (
    <div className="jp-chutes-line jp-chutes-port">
      <span
        className={`jp-chutes-dot${port.ready ? ' jp-mod-ready' : ''}`}
        aria-hidden="true"
      />
      <span>{`${declared ? `${port.name} ` : ''}${port.port}/${port.proto}`}</span>
      <span className="jp-chutes-muted">{word}</span>
      {port.tab && hasPage(port) && !port.over ? (
        <Act
          icon={icons.portIcon}
          label={trans.__('Open')}
          name={trans.__('Open %1 in a tab', port.name)}
          onClick={() =>
            void commands.execute(CommandIDs.port, { job: job.id, port: port.name })
          }
        />
      ) : null}
      {address && !port.over ? (
        <Act
          icon={icons.linkIcon}
          label={trans.__('Copy')}
          title={trans.__('Copy %1, its address on the machine of the server', address)}
          bare
          onClick={() => Clipboard.copyToSystem(address)}
        />
      ) : null}
      {port.notice ? <span className="jp-chutes-note">{port.notice}</span> : null}
    </div>
  );
}

/** A port that the job listens on and did not declare: it is opened only if somebody wants that. */
function Undeclared(
  props: Props & { job: JobSummary; port: UndeclaredItem }
): React.JSX.Element {
  const { job, port, commands, trans } = props;
  const name = String(port.port);
  return (
    <div className="jp-chutes-line jp-chutes-port">
      <span
        className="jp-chutes-muted"
        title={
          port.address === 'any'
            ? trans.__('It listens on all addresses of %1, and is not declared', job.worker)
            : trans.__(
                'It listens on a loopback address of %1, and is not declared',
                job.worker
              )
        }
      >
        {trans.__('%1 answers; show it?', name)}
      </span>
      <Act
        label={trans.__('Show')}
        name={trans.__('Show port %1 in a tab', name)}
        onClick={() =>
          void commands.execute(CommandIDs.port, { job: job.id, port: name, show: true })
        }
      />
    </div>
  );
}
