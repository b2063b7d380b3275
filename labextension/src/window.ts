import type { Row } from './rows';

/** How high the lines of the list are, in pixels; the style sheet has the same. */
export const HEIGHTS = { job: 46, group: 26 } as const;
/** So many lines more than can be seen are in the page, above and below. */
const AHEAD = 6;

/** Where each line begins, and behind them the height of all. */
export function offsetsOf(rows: readonly Row[]): number[] {
  const offsets = [0];
  for (const row of rows) {
    offsets.push(offsets.at(-1)! + HEIGHTS[row.kind]);
  }
  return offsets;
}

/** Which lines are in the page: from the first up to before the second number. */
export function visible(
  offsets: readonly number[],
  top: number,
  height: number
): [number, number] {
  const count = offsets.length - 1;
  const first = Math.max(0, lineAt(offsets, top) - AHEAD);
  const last = Math.min(count, lineAt(offsets, top + height) + 1 + AHEAD);
  return [first, last];
}

/** Which line is at that height. */
export function lineAt(offsets: readonly number[], y: number): number {
  let low = 0;
  let high = Math.max(0, offsets.length - 2);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (offsets[middle] <= y) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/** How far to scroll so that a line can be seen. */
export function scrollTo(
  offsets: readonly number[],
  index: number,
  top: number,
  height: number
): number {
  if (offsets[index] < top) {
    return offsets[index];
  }
  return offsets[index + 1] > top + height ? offsets[index + 1] - height : top;
}
