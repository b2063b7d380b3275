import { PageConfig, PathExt } from '@jupyterlab/coreutils';

import type { JobSummary } from './api';

/** What the server calls a notebook, or null where it does not show it. */
export function notebookPath(
  notebook: string | null,
  root: string = PageConfig.getOption('serverRoot')
): string | null {
  if (!notebook || notebook.endsWith('/')) {
    return null;
  }
  if (!notebook.startsWith('/')) {
    return notebook;
  }
  const relative = root && PathExt.relative(root, notebook);
  return relative && !relative.startsWith('..') ? relative : null;
}

/** A cell, as far as it tells whose it is. */
export interface CellText {
  id: string;
  source: string;
  outputs: string;
}

/**
 * Which cell made a job: the one it was submitted from, where that is known and still there; else
 * one that shows it, else the one that defines its function.
 */
export function cellOf(job: JobSummary, cells: readonly CellText[]): number | null {
  const submitted = (cell: CellText): boolean => job.cell !== null && cell.id === job.cell;
  const shows = (cell: CellText): boolean =>
    cell.outputs.includes(job.label) || cell.outputs.includes(job.id);
  const name = job.name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const definition = new RegExp(
    `^\\s*(%%chute_job\\s+(.*\\s)?${name}(\\s|$)|(async\\s+)?def\\s+${name}\\b)`,
    'm'
  );
  const defines = (cell: CellText): boolean => definition.test(cell.source);
  for (const test of [submitted, shows, defines]) {
    // The last one is the newest.
    const index = cells.map(test).lastIndexOf(true);
    if (index >= 0) {
      return index;
    }
  }
  return null;
}
