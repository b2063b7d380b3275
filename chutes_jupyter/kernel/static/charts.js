/** Small pictures of numbers: a line beside a figure, and a chart with its scale. */
import { el, svg } from "./dom.js";
import { figure } from "./words.js";

/**
 * Return the points of a line that fills a box.
 *
 * @param {number[]} values
 * @param {number} width
 * @param {number} height
 * @param {number} low what lies at the bottom
 * @param {number} high what lies at the top
 * @param {number[]} [places] where each value is, from left to right; evenly by default
 */
export function points(values, width, height, low, high, places) {
  const span = high - low || 1;
  const [first, last] = places ? [Math.min(...places), Math.max(...places)] : [0, values.length - 1];
  const across = last - first || 1;
  return values.map((value, i) => {
    const x = (((places ? places[i] : i) - first) / across) * width;
    const y = height - ((value - low) / span) * height;
    return `${x.toFixed(1)},${Math.max(0, Math.min(height, y)).toFixed(1)}`;
  }).join(" ");
}

/** Return the values that can be drawn, and how low and high they go. */
export function range(values) {
  const finite = values.filter(Number.isFinite);
  return { finite, low: Math.min(...finite), high: Math.max(...finite) };
}

/**
 * Return a line without a scale, to stand beside a figure.
 *
 * @param {number[]} values
 * @param {{low?: number, high?: number, width?: number}} [options]
 */
export function sparkline(values, { low, high, width = 56 } = {}) {
  const found = range(values);
  const height = 14;
  const made = svg("svg", {
    class: "chutes-spark", viewBox: `-1 -1 ${width + 2} ${height + 2}`, "aria-hidden": "true",
    width: width + 2, height: height + 2,
  });
  if (found.finite.length > 1) {
    const line = points(found.finite, width, height, low ?? found.low, high ?? found.high);
    made.append(svg("polyline", { points: line }));
  }
  return made;
}

/**
 * Return a chart of one metric: its name, its newest value, its line and its scale.
 *
 * @param {string} name
 * @param {[number, number][]} series steps and values
 */
export function chart(name, series) {
  const drawn = series.filter(([step, value]) => Number.isFinite(value) && Number.isFinite(step));
  const values = drawn.map(([, value]) => value);
  const steps = drawn.map(([step]) => step);
  const { low, high } = range(values);
  const { low: first, high: last } = range(steps); // a job may go back, and does after a restart
  const newest = series.length ? series[series.length - 1][1] : NaN;
  const [width, height] = [240, 80];
  const picture = svg("svg", {
    class: "chutes-chart", viewBox: `-2 -2 ${width + 4} ${height + 4}`, role: "img",
    "aria-label": `${name}: newest ${figure(newest)}, lowest ${figure(low)}, highest ${figure(high)}`,
    preserveAspectRatio: "none",
  });
  if (drawn.length > 1) {
    picture.append(svg("polyline", { points: points(values, width, height, low, high, steps) }));
  } else if (drawn.length) {
    picture.append(svg("circle", { cx: width / 2, cy: height / 2, r: 2.5 }));
  }
  const scale = drawn.length ? [figure(high), figure(low)] : ["", ""];
  const ends = drawn.length > 1 ? [`step ${figure(first)}`, figure(last)] : ["", ""];
  return el("figure", { class: "chutes-figure" },
    el("figcaption", {}, el("span", {}, name), el("strong", {}, figure(newest))),
    el("div", { class: "chutes-plot" }, picture,
      el("div", { class: "chutes-scale" }, el("span", {}, scale[0]), el("span", {}, scale[1]))),
    el("div", { class: "chutes-steps" }, el("span", {}, ends[0]), el("span", {}, ends[1])));
}
