import type { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import type { JobsModel } from '../model';
import type { Row } from '../rows';
import { offsetsOf, scrollTo, visible } from '../window';
import { nameOf, stateWord } from '../words';
import { JobRow } from './jobrow';

/** What a key does to the place in the list: where it goes from there. */
const MOVES: Record<string, (index: number, count: number) => number> = {
  ArrowDown: index => index + 1,
  ArrowUp: index => index - 1,
  PageDown: index => index + 10,
  PageUp: index => index - 10,
  Home: () => 0,
  End: (_, count) => count - 1
};

/** All jobs that match, of which only those that can be seen are in the page. */
export function JobList(props: {
  model: JobsModel;
  now: number;
  trans: TranslationBundle;
  /** What Enter and a double click do. */
  open: () => void;
  /** What Delete does. */
  cancel: () => void;
}): React.JSX.Element {
  const { model, now, trans } = props;
  const rows = model.rows;
  const box = React.useRef<HTMLDivElement>(null);
  const [view, setView] = React.useState({ top: 0, height: 600 });
  const offsets = React.useMemo(() => offsetsOf(rows), [rows]);
  const [first, last] = visible(offsets, view.top, view.height);

  React.useLayoutEffect(() => {
    const node = box.current!;
    const measure = (): void => setView({ top: node.scrollTop, height: node.clientHeight });
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    return () => observer.disconnect();
  }, []);

  const at = rows.findIndex(row => row.kind === 'job' && row.job.id === model.chosen);

  // What was chosen stays in sight, also when what is said of it takes room from the list; until
  // the person scrolls away.
  const held = React.useRef(false);
  React.useLayoutEffect(() => {
    held.current = true;
  }, [model.chosen]);
  React.useLayoutEffect(() => {
    const node = box.current!;
    if (held.current && at >= 0) {
      node.scrollTop = scrollTo(offsets, at, node.scrollTop, node.clientHeight);
    }
    // Only when it was chosen, or there is another height: not whenever a job moves.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [model.chosen, view.height]);

  const move = (event: React.KeyboardEvent): void => {
    if (event.key === 'Enter' && at >= 0) {
      props.open();
    } else if (event.key === 'Delete' && at >= 0) {
      props.cancel();
    } else if (event.key in MOVES) {
      const index = jobFrom(rows, at, MOVES[event.key](at, rows.length));
      if (index !== null) {
        const row = rows[index] as Extract<Row, { kind: 'job' }>;
        model.choose(row.job.id);
      }
    } else {
      return;
    }
    event.preventDefault();
  };

  return (
    <div
      ref={box}
      className="jp-chutes-list"
      role="listbox"
      tabIndex={0}
      aria-label={trans.__('Jobs')}
      aria-activedescendant={
        at >= first && at < last ? `jp-chutes-row-${model.chosen}` : undefined
      }
      onKeyDown={move}
      onWheel={() => {
        held.current = false;
      }}
      onScroll={event => {
        const { scrollTop, clientHeight } = event.currentTarget;
        setView({ top: scrollTop, height: clientHeight });
      }}
    >
      <div className="jp-chutes-spacer" role="presentation" style={{ height: offsets.at(-1) }}>
        {rows.slice(first, last).map((row, index) => {
          const style = { transform: `translateY(${offsets[first + index]}px)` };
          return row.kind === 'group' ? (
            <Group
              key={`group ${row.key}`}
              row={row}
              model={model}
              trans={trans}
              style={style}
            />
          ) : (
            <JobRow
              key={row.job.id}
              job={row.job}
              doubt={model.doubt(row.job)}
              chosen={row.job.id === model.chosen}
              place={first + index + 1}
              count={rows.length}
              grouping={model.grouping}
              now={now}
              trans={trans}
              style={style}
              choose={() => model.choose(row.job.id)}
              open={props.open}
            />
          );
        })}
      </div>
    </div>
  );
}

/** The job that is nearest to a place, seen from another. */
function jobFrom(rows: readonly Row[], from: number, to: number): number | null {
  const goal = Math.max(0, Math.min(rows.length - 1, to));
  const step = goal >= from ? 1 : -1;
  for (const direction of [step, -step]) {
    for (let index = goal; index >= 0 && index < rows.length; index += direction) {
      if (rows[index].kind === 'job') {
        return index;
      }
    }
  }
  return null;
}

function Group(props: {
  row: Extract<Row, { kind: 'group' }>;
  model: JobsModel;
  trans: TranslationBundle;
  style: React.CSSProperties;
}): React.JSX.Element {
  const { row, model, trans, style } = props;
  const closed = model.closed.has(row.key);
  const Caret = closed ? caretRightIcon : caretDownIcon;
  return (
    <button
      type="button"
      className="jp-chutes-group"
      style={style}
      title={row.key}
      aria-expanded={!closed}
      onClick={() => model.fold(row.key)}
    >
      <Caret.react tag="span" />
      <span className="jp-chutes-group-name">{groupName(row.key, model, trans)}</span>
      <span className="jp-chutes-count">
        {row.live ? trans.__('%1 live of %2', row.live, row.count) : row.count}
      </span>
    </button>
  );
}

function groupName(key: string, model: JobsModel, trans: TranslationBundle): string {
  if (model.grouping === 'state') {
    return stateWord(key, trans);
  }
  return key ? nameOf(key) : trans.__('no notebook');
}
