/** How states, numbers and times are said, in the panel and in the sidebar. It holds no DOM. */

/** The states in which nothing changes any more. */
export const TERMINAL = new Set(["succeeded", "failed", "cancelled", "timed_out", "lost"]);

/** The states in which there is nothing to cancel any more. */
export const ENDING = new Set([...TERMINAL, "cancelling", "collecting"]);

/** A sign for each state, so that nobody needs the colours. */
const SIGNS = {
  pending: "◌",
  starting: "◔",
  running: "●",
  cancelling: "◐",
  collecting: "◕",
  succeeded: "✓",
  failed: "✗",
  cancelled: "■",
  timed_out: "!",
  lost: "?",
};

/**
 * Return the sign of a state.
 *
 * @param {string} state
 * @returns {string}
 */
export function sign(state) {
  return SIGNS[state] ?? "·";
}

/**
 * Return a state's word with its sign.
 *
 * @param {string} state
 * @returns {{sign: string, word: string}}
 */
export function stateWord(state) {
  return { sign: sign(state), word: state.replaceAll("_", " ") };
}

/**
 * Return a number of bytes as `12 B`, `3.4 MB`.
 *
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.95 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${units[unit]}`;
}

/**
 * Return a span of time as `0:42` or `1:06:40`.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * Return a span of time in words: `4 s`, `8 min`, `2.5 h`, `3 d`.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  const hours = whole / 3600;
  if (whole < 172800) return `${hours < 10 ? hours.toFixed(1) : Math.round(hours)} h`;
  return `${Math.round(whole / 86400)} d`;
}

/**
 * Return a count with its word: `1 file`, `2 files`.
 *
 * @param {number} count
 * @param {string} word in the singular
 * @returns {string}
 */
export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

/**
 * Return a number as people read it: four digits that count, no noise behind them.
 *
 * @param {number} value
 * @returns {string}
 */
export function figure(value) {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return value.toLocaleString("en");
  const small = Math.abs(value);
  if (small >= 1e6 || small < 1e-3) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}
