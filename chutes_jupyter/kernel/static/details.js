/** Everything else that is known of a job, for who looks for it. */
import { copyButton, el, fill } from "./dom.js";
import { plural, size } from "./words.js";

/** The list of facts, and what went along with the job. */
export class Details {
  constructor() {
    this.list = el("dl", { class: "chutes-facts" });
    this.sent = el("div", {});
    this.element = el("div", { class: "chutes-pane chutes-details", tabindex: 0, role: "group", "aria-label": "Details" }, this.list, this.sent);
    this.key = "";
  }

  show(job) {
    const key = JSON.stringify(job);
    if (key === this.key) return;
    this.key = key;
    const facts = [
      ["Job", job.id, true],
      ["Submitted", moment(job.created)],
      ["Started", moment(job.started)],
      ["Ended", moment(job.ended)],
      ["Confirmed", job.over ? "" : moment(job.confirmed)],
      ["Reason", job.reason],
      ["GPUs", job.gpus],
      ["Python", job.python],
      ["Notebook", job.notebook],
      ["Outputs", job.folder, true],
      ["Attach", `chutes_jupyter.attach("${job.label}")`, true],
      ...(job.notices ?? []).map((text) => ["Note", text]),
    ];
    fill(this.list, facts.filter(([, text]) => text).map(([name, text, copied], i) => ({
      key: name === "Note" ? `${name} ${i}` : name, look: text,
      make: () => el("div", { class: "chutes-fact" }, el("dt", {}, name),
        el("dd", {}, copied ? el("code", {}, text) : text, copied ? copyButton(`Copy: ${name}`, () => text) : null)),
    })));
    this.showSent(job.sent);
  }

  showSent(sent) {
    const key = JSON.stringify(sent);
    if (key === this.sentKey) return; // it stays open
    this.sentKey = key;
    if (!sent?.count) {
      this.sent.replaceChildren();
      return;
    }
    const rows = sent.items.map((item) => el("tr", {}, el("td", { class: "chutes-path" }, item.name),
      el("td", { class: "chutes-number" }, item.size === null ? "" : size(item.size)),
      el("td", { class: "chutes-muted" }, item.kind)));
    if (sent.count > sent.items.length) {
      rows.push(el("tr", {}, el("td", { class: "chutes-muted" }, `and ${plural(sent.count - sent.items.length, "more")}`)));
    }
    this.sent.replaceChildren(el("details", {},
      el("summary", {}, `Sent with it: ${plural(sent.count, "name")}, ${size(sent.bytes)}`),
      el("table", { class: "chutes-table" }, el("tbody", {}, ...rows))));
  }
}

function moment(seconds) {
  return seconds ? new Date(seconds * 1000).toLocaleString() : "";
}
