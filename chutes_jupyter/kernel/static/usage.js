/** What a job uses of its worker: GPU, memory and CPU, as lines with their numbers. */
import { sparkline } from "./charts.js";
import { el } from "./dom.js";
import { size } from "./words.js";

const MIB = 1024 * 1024;

/** Return what the tab of the usage says: its shortest word, and its line. */
export function usageWord(samples) {
  const newest = samples[samples.length - 1];
  if (!newest) return null;
  const gpus = newest.gpus ?? [];
  const values = samples.map((each) => (gpus.length ? busiest(each) : each.cpu_percent ?? 0));
  const now = values[values.length - 1];
  // As wide for 3 as for 93: the tabs behind it stay where they are.
  const figure = String(Math.round(now)).padStart(3, "\u2007");
  return { text: `${gpus.length ? "GPU" : "CPU"} ${figure} %`, values };
}

function busiest(sample) {
  return Math.max(0, ...(sample.gpus ?? []).map((gpu) => gpu.percent ?? 0));
}

/** The lines of everything that is sampled. */
export class Usage {
  constructor() {
    this.element = el("div", { class: "chutes-pane chutes-usage", tabindex: 0, role: "group", "aria-label": "Usage" });
  }

  show(samples) {
    const rows = [];
    const newest = samples[samples.length - 1];
    if (!newest) {
      this.element.replaceChildren(el("div", { class: "chutes-empty" }, "Nothing sampled yet."));
      return;
    }
    (newest.gpus ?? []).forEach((gpu, i) => {
      const of = (read) => samples.map((each) => read(each.gpus?.[i] ?? {}) ?? 0);
      const name = gpu.name ? `GPU ${gpu.index ?? i} · ${gpu.name}` : `GPU ${gpu.index ?? i}`;
      rows.push(row(name, `${Math.round(gpu.percent ?? 0)} %`, of((each) => each.percent), 100));
      const total = gpu.total_mib ?? 0;
      const used = gpu.memory_mib ?? 0;
      const parts = [total ? `${size(used * MIB)} of ${size(total * MIB)}` : size(used * MIB)];
      if (gpu.own_mib !== null && used > gpu.own_mib) parts.push(`${size(gpu.own_mib * MIB)} are the job's`);
      rows.push(row("its memory", parts.join(", "), of((each) => each.memory_mib), total || undefined));
    });
    const cpu = samples.map((each) => each.cpu_percent ?? 0);
    rows.push(row("CPU", `${Math.round(newest.cpu_percent ?? 0)} %`, cpu, undefined));
    const memory = samples.map((each) => each.memory_mib ?? 0);
    rows.push(row("Memory", size((newest.memory_mib ?? 0) * MIB), memory, undefined));
    this.element.replaceChildren(el("table", { class: "chutes-table" },
      el("caption", { class: "chutes-hidden" }, "What the job uses"), el("tbody", {}, ...rows)));
  }
}

function row(name, words, values, high) {
  const top = high ?? Math.max(1, ...values);
  return el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "chutes-number" }, words),
    el("td", { class: "chutes-wide" }, sparkline(values, { low: 0, high: top, width: 200 })));
}
