import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { JobsModel } from '../model';
import type { Grouping } from '../rows';
import { nameOf, STATES, stateWord } from '../words';

/** What is looked for, and by what the list is cut. */
export function Filters(props: {
  model: JobsModel;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { model, trans } = props;
  const { filter } = model;
  const states = new Map(model.facets('state'));
  const ended = model.jobs.size - model.liveCount;
  return (
    <div className="jp-chutes-filters">
      <input
        type="search"
        className="jp-chutes-search jp-mod-styled"
        placeholder={trans.__('Filter jobs')}
        aria-label={trans.__('Filter jobs')}
        value={filter.text}
        onChange={event => model.setFilter({ text: event.target.value })}
      />
      <div className="jp-chutes-selects">
        <Choice
          label={trans.__('State')}
          value={filter.state}
          options={[
            ['', trans.__('All states')],
            ['live', `${trans.__('live')} (${model.liveCount})`],
            ['ended', `${trans.__('ended')} (${ended})`],
            ...STATES.filter(state => states.has(state) || state === filter.state).map(
              (state): [string, string] => [
                state,
                `${stateWord(state, trans)} (${states.get(state) ?? 0})`
              ]
            )
          ]}
          choose={state => model.setFilter({ state })}
        />
        <Choice
          label={trans.__('Worker')}
          value={filter.worker}
          options={[
            ['', trans.__('All workers')],
            ...named(model.facets('worker'), filter.worker)
          ]}
          choose={worker => model.setFilter({ worker })}
        />
        <Choice
          label={trans.__('Notebook')}
          value={filter.notebook}
          options={[
            ['', trans.__('All notebooks')],
            ...named(model.facets('notebook'), filter.notebook)
          ]}
          choose={notebook => model.setFilter({ notebook })}
        />
        <Choice
          label={trans.__('Group by')}
          value={model.grouping}
          options={[
            ['none', trans.__('No groups')],
            ['state', trans.__('By state')],
            ['worker', trans.__('By worker')],
            ['notebook', trans.__('By notebook')]
          ]}
          choose={grouping => model.setGrouping(grouping as Grouping)}
        />
      </div>
    </div>
  );
}

/** Values and how many have them; what is chosen is there even if nothing has it any more. */
function named(facets: Array<[string, number]>, chosen: string): Array<[string, string]> {
  const all: Array<[string, number]> =
    chosen && !facets.some(([value]) => value === chosen) ? [...facets, [chosen, 0]] : facets;
  return all.map(([value, count]) => [value, `${nameOf(value)} (${count})`]);
}

function Choice(props: {
  label: string;
  value: string;
  options: Array<[string, string]>;
  choose: (value: string) => void;
}): React.JSX.Element {
  return (
    <select
      className={`jp-chutes-select${props.value && props.value !== 'none' ? ' jp-mod-set' : ''}`}
      aria-label={props.label}
      title={props.label}
      value={props.value}
      onChange={event => props.choose(event.target.value)}
    >
      {props.options.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </select>
  );
}
