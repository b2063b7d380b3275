/**
 * A table of jobs: filtered, sorted, cancelled and opened, a thousand of them and more.
 *
 * The kernel sets the trait `rows`; while the table can be seen and a job in it lives, it is
 * asked for them anew every few seconds. Only the visible rows are in the page.
 */
import { Actions } from "./actions.js";
import { button, el, keepFocus, keepKeys, say, switchOff } from "./dom.js";
import { clock, ENDING, plural, stateWord, TERMINAL } from "./words.js";

const ROW = 28;
const AHEAD = 8;
const MOST_VISIBLE = 12;
const REFRESH = 5000;

/** The columns: what is shown, and what is sorted by. */
const COLUMNS = [
  { name: "Job", sort: (job) => job.label },
  { name: "State", sort: (job) => job.state },
  { name: "Worker", sort: (job) => job.worker },
  { name: "Started", sort: (job) => job.started ?? job.created },
  { name: "Elapsed", sort: (job) => elapsed(job) ?? -1 },
  { name: "Notebook", sort: (job) => job.notebook },
  { name: "", sort: null },
];

/** One view of the table. */
export class JobsView {
  /** @param {any} model anywidget's */
  constructor(model) {
    this.model = model;
    this.by = 3;
    this.down = true;
    this.asked = new Map();
    this.actions = new Actions("", (message) => model.send(message), () => true);
    /** @type {Map<number, HTMLElement>} */
    this.shown = new Map();
    this.build();
    model.on("change:rows", () => this.taken());
    model.on("msg:custom", (message) => {
      if (message.re !== undefined) this.actions.answered(message);
    });
    this.sight = new IntersectionObserver((entries) => {
      this.seen = entries[entries.length - 1].isIntersecting;
      this.refresh();
    });
    this.sight.observe(this.element);
    this.giveKeys = keepKeys(this.element);
    this.timer = setInterval(() => this.refresh(), REFRESH);
    this.taken();
  }

  /** Let go of everything. */
  close() {
    this.sight.disconnect();
    this.giveKeys();
    clearInterval(this.timer);
  }

  build() {
    this.text = /** @type {HTMLInputElement} */ (el("input", {
      type: "search", class: "chutes-search", placeholder: "Filter", "aria-label": "Filter jobs by any word",
      oninput: () => this.sift(),
    }));
    this.state = this.choice("State");
    this.worker = this.choice("Worker");
    this.notebook = this.choice("Notebook");
    this.count = el("span", { class: "chutes-muted", role: "status" });
    this.heads = COLUMNS.map(({ name, sort }, i) => el("span", { role: "columnheader", class: "chutes-cell-head" },
      sort ? button(name, `Sort by ${name.toLowerCase()}`, () => this.sortBy(i), "chutes-link") : name));
    this.spacer = el("div", { class: "chutes-jobs-spacer", role: "rowgroup" });
    this.list = el("div", { class: "chutes-jobs-list", onscroll: () => this.plan(), tabindex: 0, "aria-label": "Jobs" }, this.spacer);
    this.told = el("div", { class: "chutes-said chutes-fault", role: "alert" });
    this.told.hidden = true;
    this.element = el("section", { class: "chutes-panel chutes-jobs", "aria-label": "Jobs" },
      el("div", { class: "chutes-jobs-top" }, el("strong", {}, "Jobs"), this.count, this.text, this.state, this.worker, this.notebook),
      this.told,
      el("div", { role: "table", "aria-label": "Jobs" },
        el("div", { class: "chutes-jobs-row chutes-jobs-head", role: "row" }, ...this.heads), this.list));
  }

  choice(name) {
    return /** @type {HTMLSelectElement} */ (el("select", {
      class: "chutes-search chutes-choice", "aria-label": name, onchange: () => this.sift(),
    }));
  }

  refresh() {
    if (!this.seen || document.hidden) return;
    if (this.rows.some((job) => !TERMINAL.has(job.state))) this.model.send({ do: "refresh" });
  }

  /** New rows came. */
  taken() {
    this.rows = this.model.get("rows");
    this.came = performance.now();
    const live = this.rows.filter((job) => !TERMINAL.has(job.state)).length;
    offer(this.state, "all states", [["live", `live (${live})`], ...values(this.rows, (job) => job.state)]);
    offer(this.worker, "all workers", values(this.rows, (job) => job.worker));
    offer(this.notebook, "all notebooks", values(this.rows, (job) => job.notebook));
    this.sift();
  }

  sortBy(column) {
    this.down = this.by === column ? !this.down : column === 3;
    this.by = column;
    this.sift();
  }

  /** Filter and sort. */
  sift() {
    const words = this.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = this.state.value;
    this.found = this.rows.filter((job) => (!state || (state === "live" ? !TERMINAL.has(job.state) : job.state === state))
      && (!this.worker.value || job.worker === this.worker.value)
      && (!this.notebook.value || job.notebook === this.notebook.value)
      && words.every((word) => `${job.label} ${job.state} ${job.worker} ${job.notebook} ${job.reason}`.toLowerCase().includes(word)));
    const { sort } = COLUMNS[this.by];
    const sign = this.down ? -1 : 1;
    this.found.sort((a, b) => sign * (sort(a) < sort(b) ? -1 : sort(a) > sort(b) ? 1 : 0));
    this.heads.forEach((head, i) => {
      head.setAttribute("aria-sort", i === this.by ? (this.down ? "descending" : "ascending") : "none");
    });
    const all = this.rows.length;
    say(this.count, this.found.length === all ? plural(all, "job") : `${this.found.length.toLocaleString("en")} of ${plural(all, "job")}`);
    this.list.style.height = `${Math.max(1, Math.min(this.found.length, MOST_VISIBLE)) * ROW}px`;
    this.spacer.style.height = `${this.found.length * ROW}px`;
    keepFocus(this.spacer, () => {
      for (const row of this.shown.values()) row.remove();
      this.shown.clear();
      this.paint();
    });
  }

  plan() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  paint() {
    const top = Math.floor(this.list.scrollTop / ROW);
    const from = Math.max(0, top - AHEAD);
    const upto = Math.min(this.found.length, top + MOST_VISIBLE + AHEAD);
    for (const [index, row] of this.shown) {
      if (index < from || index >= upto) {
        row.remove();
        this.shown.delete(index);
      }
    }
    for (let index = from; index < upto; index += 1) {
      if (this.shown.has(index)) continue;
      const row = this.row(this.found[index]);
      row.style.transform = `translateY(${index * ROW}px)`;
      this.shown.set(index, row);
      this.spacer.append(row);
    }
  }

  row(job) {
    const { sign, word } = stateWord(job.state);
    const spent = elapsed(job);
    const cell = (text, kind = "") => el("span", { role: "cell", class: kind, title: text }, text);
    const acts = el("span", { role: "cell", class: "chutes-acts" });
    if (!ENDING.has(job.state)) acts.append(this.cancelButton(job));
    acts.append(button("Open", `Open the panel of ${job.label}`, () => this.open(job)));
    const age = job.confirmed_ago > 60 && !TERMINAL.has(job.state) ? ", not confirmed lately" : "";
    return el("div", { class: "chutes-jobs-row chutes-job", role: "row", dataset: { state: job.state } },
      cell(job.label, "chutes-label"),
      el("span", { role: "cell", class: "chutes-state", title: `${job.reason ?? ""}${age}` },
        el("span", { class: "chutes-sign", "aria-hidden": "true" }, sign), ` ${word}${age ? " ?" : ""}`),
      cell(job.worker), cell(moment(job.started), "chutes-muted"),
      cell(spent === null ? "" : clock(spent), "chutes-muted"), cell(job.notebook, "chutes-muted"), acts);
  }

  cancelButton(job) {
    const made = button(this.asked.get(job.id) ?? "Cancel", `Cancel ${job.label}`, async () => {
      this.say(job, made, "Cancel sent");
      const actions = this.actions;
      actions.job = job.id;
      try {
        await actions.either(["POST", "/cancel", { body: { wait: 5 } }], ["cancel", { job: job.id }],
          () => this.say(job, made, "After this cell"));
        this.model.send({ do: "refresh" });
      } catch (error) {
        this.asked.delete(job.id);
        this.complain(`${job.label} is not cancelled: ${error.message}`);
      }
    });
    switchOff(made, this.asked.has(job.id));
    return made;
  }

  say(job, made, word) {
    this.asked.set(job.id, word);
    switchOff(made, true);
    say(made, word);
  }

  async open(job) {
    try {
      await this.actions.kernel("open", { job: job.id }, () => this.complain("The kernel is busy: the panel opens when its cell ends."));
      this.complain("");
    } catch (error) {
      this.complain(error.message);
    }
  }

  complain(text) {
    this.told.hidden = !text;
    say(this.told, text);
  }
}

/** Return a point of time: today's without the date. */
function moment(seconds) {
  if (!seconds) return "";
  const then = new Date(seconds * 1000);
  const today = then.toDateString() === new Date().toDateString();
  return today ? then.toLocaleTimeString() : then.toLocaleDateString();
}

function elapsed(job) {
  return job.elapsed ?? null;
}

/** Return each value of the rows once, with how often it is there. */
function values(rows, of) {
  const counts = new Map();
  for (const row of rows) {
    const value = of(row);
    if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return [...counts].sort(([a], [b]) => a.localeCompare(b))
    .map(([value, count]) => [value, `${value.replaceAll("_", " ")} (${count.toLocaleString("en")})`]);
}

function offer(select, all, choices) {
  const before = select.value;
  select.replaceChildren(el("option", { value: "" }, all),
    ...choices.map(([value, text]) => el("option", { value }, text)));
  select.value = choices.some(([value]) => value === before) ? before : "";
  select.hidden = choices.length < 2;
}

/** What anywidget calls for each view. */
export function render({ model, el: place }) {
  const view = new JobsView(model);
  place.append(view.element);
  return () => view.close();
}
