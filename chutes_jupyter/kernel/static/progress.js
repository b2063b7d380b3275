/** How far a job is: a bar with rate and time left, and its metrics beside it. */
import { chart, sparkline } from "./charts.js";
import { el, say } from "./dom.js";
import { figure, span } from "./words.js";

/** So many metrics stand in the line; all of them are in their own tab. */
const IN_LINE = 3;

/** The line of the progress. */
export class Progress {
  constructor() {
    this.what = el("span", { class: "chutes-doing" });
    this.fill = el("span", { class: "chutes-fill" });
    this.bar = el("span", { class: "chutes-bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100 }, this.fill);
    this.figures = el("span", { class: "chutes-muted chutes-figures" });
    this.metrics = el("span", { class: "chutes-metrics" });
    this.element = el("div", { class: "chutes-progress" }, this.what, this.bar, this.figures, this.metrics);
    this.element.hidden = true;
  }

  /** Show a progress, or none, and the metrics' newest values. */
  show(progress, metrics, over) {
    const names = Object.keys(metrics).slice(0, IN_LINE);
    this.element.hidden = !progress && !names.length;
    say(this.what, progress ? told(progress) : "");
    this.showBar(progress);
    say(this.figures, progress ? figures(progress, over) : "");
    this.metrics.replaceChildren(...names.map((name) => {
      const values = metrics[name].map(([, value]) => value);
      return el("span", { class: "chutes-metric" }, `${name} `,
        el("strong", {}, figure(values[values.length - 1])), sparkline(values.slice(-60)));
    }));
  }

  showBar(progress) {
    const known = Boolean(progress) && progress.total > 0;
    this.bar.hidden = !known;
    if (!known) return;
    const part = Math.max(0, Math.min(100, (100 * progress.done) / progress.total));
    this.fill.style.width = `${part.toFixed(1)}%`;
    this.bar.setAttribute("aria-valuenow", part.toFixed(0));
    this.bar.setAttribute("aria-valuetext", `${figure(progress.done)} of ${figure(progress.total)}`);
  }
}

function told({ description, done, total, unit }) {
  const words = [description || unit || ""];
  words.push(total > 0 ? `${figure(done)} of ${figure(total)}` : figure(done));
  return words.filter(Boolean).join(" ");
}

function figures({ done, total, rate, seconds_left: left, unit }, over) {
  const parts = [];
  if (total > 0) parts.push(`${Math.floor((100 * done) / total)} %`);
  if (!over && rate > 0) parts.push(`${figure(rate)} ${unit || "it"}/s`);
  if (!over && left !== null && left !== undefined && left > 0) parts.push(`${span(left)} left`);
  return parts.join(" · ");
}

/** All metrics as charts. */
export class Metrics {
  constructor() {
    this.element = el("div", { class: "chutes-pane chutes-charts", tabindex: 0, role: "group", "aria-label": "Metrics" });
    this.key = "";
  }

  show(metrics) {
    const key = Object.entries(metrics).map(([name, series]) => `${name} ${series.length} ${series[series.length - 1]}`).join();
    if (key === this.key) return;
    this.key = key;
    this.element.replaceChildren(...Object.entries(metrics).map(([name, series]) => chart(name, series)));
  }
}
