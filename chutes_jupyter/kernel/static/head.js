/**
 * The top of a panel: one line for one glance, and a second one only when there is need.
 */
import { button, el, fill, say, switchOff } from "./dom.js";
import { clock, ENDING, plural, stateWord, TERMINAL } from "./words.js";

/** So many notices stand in the head, the newest. */
const NOTICES = 2;

/** The line of the name, the state, the worker, the time, and Cancel. */
export class Head {
  /** @param {{cancel: () => void}} owner @param {HTMLElement} switches what stands before Cancel */
  constructor(owner, switches) {
    this.sign = el("span", { class: "chutes-sign", "aria-hidden": "true" });
    this.word = el("span", { class: "chutes-word" });
    this.state = el("span", { class: "chutes-state", role: "status" }, this.sign, this.word);
    this.label = el("span", { class: "chutes-label" });
    this.where = el("span", { class: "chutes-muted chutes-where" });
    this.time = el("span", { class: "chutes-time" });
    this.fill = el("span", { class: "chutes-fill" });
    this.bar = el("span", { class: "chutes-timebar", "aria-hidden": "true" }, this.fill);
    this.cancel = button("Cancel", "Cancel the job", owner.cancel, "chutes-cancel");
    this.more = el("div", { class: "chutes-more", "aria-live": "polite" });
    this.element = el("div", { class: "chutes-head" },
      el("div", { class: "chutes-line" }, this.state, this.label, this.where,
        el("span", { class: "chutes-when" }, this.time, this.bar),
        el("span", { class: "chutes-doings" }, switches, this.cancel)),
      this.more);
    this.job = null;
    /** When its clock was told. */
    this.told = 0;
  }

  /** Show what is known of the job, but for its clock: that is `tick`'s. */
  show(job) {
    this.job = job;
    this.told = performance.now();
    const { sign, word } = stateWord(job.state);
    if (this.element.dataset.state !== job.state) this.element.dataset.state = job.state;
    say(this.sign, sign);
    say(this.word, job.state === "pending" && job.reason ? `pending: ${job.reason}` : word);
    say(this.label, job.label);
    say(this.where, job.gpus && !TERMINAL.has(job.state) ? `${job.worker} · ${job.gpus}` : job.worker);
    if (this.where.title !== this.where.textContent) this.where.title = this.where.textContent;
    this.cancel.hidden = TERMINAL.has(job.state);
  }

  /** Move the clock on; the kernel says only when something changes. */
  tick() {
    const job = this.job;
    if (!job) return;
    const moving = job.elapsed !== null && !TERMINAL.has(job.state);
    const elapsed = moving ? job.elapsed + (performance.now() - this.told) / 1000 : job.elapsed;
    const limited = job.timeout !== null && !TERMINAL.has(job.state);
    this.bar.hidden = !limited || elapsed === null;
    if (elapsed === null) say(this.time, limited ? `timeout ${clock(job.timeout)}` : "");
    else say(this.time, limited ? `${clock(elapsed)} of ${clock(job.timeout)}` : clock(elapsed));
    if (limited && elapsed !== null) {
      this.fill.style.width = `${Math.min(100, (100 * elapsed) / job.timeout).toFixed(1)}%`;
    }
  }

  /** Take a fresh reading of the job's clock. */
  clock(elapsed) {
    if (!this.job || elapsed === null) return;
    this.job = { ...this.job, elapsed };
    this.told = performance.now();
  }

  /**
   * Say how far a cancel is.
   *
   * @param {""|"sent"|"after"|"gone"} how `after`: it waits for the kernel's cell
   */
  cancelling(how) {
    const state = this.job?.state ?? "";
    const words = { "": "Cancel", sent: "Cancel sent", after: "After this cell", gone: "Cancel" };
    const word = state === "cancelling" ? "Cancelling…" : words[how];
    say(this.cancel, word);
    switchOff(this.cancel, Boolean(how) || ENDING.has(state));
    const title = how === "after" ? "The kernel is busy: it cancels the job when its cell ends"
      : `Cancel ${this.job?.label ?? "the job"}`;
    this.cancel.title = title;
    this.cancel.setAttribute("aria-label", word === "Cancel" ? title : word);
  }

  /**
   * Show the lines that there is need for. Each is read out once, when it comes; one that counts
   * is not read out at every count.
   *
   * @param {{text: string, kind: "note"|"warning"|"fault", counts?: boolean}[]} lines
   */
  tell(lines) {
    fill(this.more, lines.filter((each) => each.text).map(({ text, kind, counts }) => ({
      key: text, look: kind,
      make: () => el("div", { class: `chutes-said chutes-${kind}`, "aria-live": counts ? "off" : null }, text),
    })));
  }
}

/** Return the lines that a job's state, worker and outputs need. */
export function remarks(job) {
  const lines = [{ text: job.trouble, kind: "warning" }];
  if (job.state === "collecting" || (TERMINAL.has(job.state) && job.arriving)) {
    const { files_done: done, files_total: total } = job.mirror;
    if (total) lines.push({ text: `collecting ${done} of ${plural(total, "file")}`, kind: "note", counts: true });
  }
  lines.push({ text: job.carried, kind: "note" });
  // What a person should read: all of it is in the details.
  if (!job.over) lines.push(...job.notices.slice(-NOTICES).map((text) => ({ text, kind: "note" })));
  lines.push({ text: job.outputs, kind: "warning" }, { text: job.fault, kind: "fault" });
  if (TERMINAL.has(job.state) && job.reason && job.state !== "succeeded") {
    lines.push({ text: job.reason, kind: job.state === "cancelled" ? "note" : "fault" });
  }
  return lines;
}
