/**
 * The panel of a job: what the kernel tells, put in its places.
 *
 * The kernel sets traits (`job`, `ports`, `undeclared`, `files`, `progress`, `metrics`, `usage`) and
 * sends the log and displays as messages; the view asks for those when it is ready and seen.
 */
import { Actions } from "./actions.js";
import { Details } from "./details.js";
import { el, keepFocus, keepKeys, saveAs } from "./dom.js";
import { Files } from "./files.js";
import { Follower } from "./follow.js";
import { Head, remarks } from "./head.js";
import { LogView } from "./log.js";
import { Notifier } from "./notify.js";
import { Ports } from "./ports.js";
import { Metrics, Progress } from "./progress.js";
import { Results } from "./results.js";
import { sparkline } from "./charts.js";
import { Tabs } from "./tabs.js";
import { Usage, usageWord } from "./usage.js";
import { TERMINAL } from "./words.js";

/** A kernel says something at least so often while a job lives, in milliseconds; twice that and
 * a little more of silence is worth a word. */
const SILENCE = 25_000;
/** A panel that is out of sight for so long asks for nothing more. */
const UNSEEN = 2000;

/** One view of a panel. */
export class PanelView {
  /** @param {any} model anywidget's */
  constructor(model) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2);
    this.seen = false;
    this.connected = true;
    this.hear();
    this.asked = "";
    /** What changed while nobody looked: shown when somebody does. */
    this.stale = false;
    /** @type {Map<number, any>} */
    this.unseen = new Map();
    this.complaint = "";
    this.advice = "";
    this.pouring = false;
    const job = model.get("job");
    this.actions = new Actions(job.id, (message) => model.send(message), () => this.connected);
    this.build();
    this.listen();
    this.showAll();
    const first = model.get("opened");
    if (first) this.tabs.choose(first);
  }

  build() {
    const complain = (text) => this.complain(text);
    this.notifier = new Notifier({
      say: (text) => this.advise(text),
      show: () => this.element.scrollIntoView({ block: "nearest" }),
    });
    this.head = new Head({ cancel: () => this.cancel() }, this.notifier.element);
    this.progress = new Progress();
    this.log = new LogView({
      load: (begin) => this.pourFrom({ earlier: begin }),
      follow: () => this.pourFrom({}),
      save: () => this.saveLog(),
    });
    this.files = new Files(this.actions, complain);
    this.results = new Results();
    this.metrics = new Metrics();
    this.ports = new Ports(this.actions, complain);
    this.usage = new Usage();
    this.details = new Details();
    this.tabs = new Tabs((name) => this.opened(name));
    this.tabs.add("log", "Log", this.log.element, this.log.tools);
    this.tabs.add("files", "Files", this.files.element);
    this.tabs.add("results", "Results", this.results.element);
    this.tabs.add("metrics", "Metrics", this.metrics.element);
    this.tabs.add("ports", "Ports", this.ports.element);
    this.tabs.add("usage", "Usage", this.usage.element);
    this.tabs.add("details", "Details", this.details.element);
    this.element = el("section", {
      class: "chutes-panel", "aria-label": `Job ${this.model.get("job").label}`,
    }, this.head.element, this.progress.element, this.tabs.bar, this.tabs.body);
  }

  listen() {
    const { model } = this;
    const on = (name, show) => model.on(`change:${name}`, () => {
      this.hear();
      if (this.seen) show();
      else this.stale = true;
    });
    model.on("change:job", () => this.showHead());
    on("job", () => this.showJob());
    on("ports", () => this.showPorts());
    on("undeclared", () => this.showPorts());
    on("files", () => this.showFiles());
    on("progress", () => this.showProgress());
    on("metrics", () => this.showProgress());
    on("usage", () => this.showUsage());
    model.on("msg:custom", (content, buffers) => this.take(content, buffers));
    const view = this;
    // eslint-disable-next-line func-names
    model.on("comm_live_update", function () {
      // Called with the view of anywidget as `this`: its model knows whether the kernel is there.
      if (this?.model && this.model.comm_live === false) view.lost();
    });
    this.sight = new IntersectionObserver((entries) => {
      this.inSight = entries[entries.length - 1].isIntersecting;
      this.look();
    }, { rootMargin: "150px" });
    this.sight.observe(this.element);
    this.onPage = () => this.look();
    document.addEventListener("visibilitychange", this.onPage);
    this.giveKeys = keepKeys(this.element);
    this.timer = setInterval(() => this.tick(), 1000);
  }

  /** Let go of everything. */
  close() {
    this.sight.disconnect();
    document.removeEventListener("visibilitychange", this.onPage);
    this.giveKeys();
    clearInterval(this.timer);
    clearTimeout(this.leaving);
    this.follower?.stop();
    this.notifier.close();
    this.log.close();
    this.pause();
  }

  // -- whether anybody looks -------------------------------------------------------------

  look() {
    const seen = Boolean(this.inSight) && !document.hidden;
    clearTimeout(this.leaving);
    if (seen === this.seen) return;
    if (!seen) {
      this.leaving = setTimeout(() => {
        this.seen = false;
        this.pause();
        this.follower?.stop();
      }, UNSEEN);
      return;
    }
    this.seen = true;
    if (this.stale) this.showAll();
    this.tick();
    this.pour();
    if (!this.told) {
      this.told = true;
      this.send({ do: "ready", view: this.id });
    }
    if (!this.connected) this.follower?.start();
  }

  tick() {
    if (!this.seen) return;
    this.head.tick();
    this.tellMore();
  }

  // -- the log ---------------------------------------------------------------------------

  /** Ask for the log from where it is, if somebody looks at it. */
  pour() {
    if (this.tabs.open !== "log" || !this.seen || this.pouring || this.log.over
      || this.log.detached || !this.connected) return;
    this.pouring = true;
    this.send({ do: "log", view: this.id, begin: this.log.end });
  }

  pause() {
    if (!this.pouring) return;
    this.pouring = false;
    this.send({ do: "pause", view: this.id });
  }

  /** Ask for the log from somewhere else: the part before a byte, or its end. */
  pourFrom(where) {
    if (!this.connected) return;
    this.pouring = true;
    this.send({ do: "log", view: this.id, begin: null, ...where });
  }

  async saveLog() {
    const name = `${this.job.label}.log`;
    const address = await this.actions.address("/log/file");
    if (address) el("a", { href: address, download: name }).click();
    else if (this.connected) {
      try {
        saveAs(await this.wholeLog(), name);
      } catch (error) {
        this.complain(error.message);
      }
    } else saveAs(this.log.text(), name);
  }

  /** Bring the whole log through the kernel, where there is no server to ask. */
  async wholeLog() {
    const parts = [];
    for (let begin = 0; ;) {
      const piece = await this.actions.kernel("piece", { begin });
      parts.push(piece.text);
      if (piece.end || piece.next <= begin) return parts.join("");
      begin = piece.next;
    }
  }

  // -- what the kernel says --------------------------------------------------------------

  send(message) {
    if (this.connected) this.model.send(message);
  }

  hear() {
    this.heard = performance.now();
    this.heardAt = new Date();
  }

  take(message, buffers) {
    this.hear();
    if (message.re !== undefined) this.actions.answered(message);
    else if (message.beat !== undefined) {
      this.head.clock(message.elapsed);
      this.tick();
    }
    else if (message.view !== undefined && message.view !== this.id) return;
    else if (message.fault) this.complain(message.fault);
    else if (message.log) {
      const bytes = buffers?.[0];
      if (message.log.stopped || message.log.over) this.pouring = false;
      this.log.push(message.log, bytes ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array());
    } else if (message.display) {
      this.unseen.set(message.display.number, message.display);
      this.stale = true;
      if (this.seen) this.showDisplays();
    }
  }

  get job() {
    return { ...this.model.get("job"), ...this.newer };
  }

  showAll() {
    this.stale = false;
    this.showHead();
    this.showJob();
    this.head.tick();
    this.showPorts();
    this.showFiles();
    this.showProgress();
    this.showUsage();
    this.showDisplays();
  }

  /** Show and tell the state, also while nobody looks: it is rare, and may be waited for. */
  showHead() {
    const { job } = this;
    if (this.element.dataset.state !== job.state) this.element.dataset.state = job.state;
    // Who stands on Cancel when it goes stands in the head then, which tells the end.
    keepFocus(this.head.element, () => {
      this.head.show(job);
      this.notifier.take(job, TERMINAL.has(job.state));
    });
  }

  showJob() {
    const { job } = this;
    if (job.cancel_sent && !this.asked) this.asked = "sent";
    this.head.cancelling(this.asked);
    this.tellMore();
    this.log.whenEmpty(TERMINAL.has(job.state) ? "It printed nothing." : "Nothing printed yet.");
    if (job.value !== null || job.traceback || job.withheld) this.results.ended(job);
    this.showResults();
    this.details.show(job);
    this.showPorts();
    this.tick();
  }

  tellMore() {
    const { job } = this;
    const lines = remarks(job);
    if (!this.connected) {
      const by = this.follower ? " What is shown comes from the Jupyter server." : "";
      lines.unshift({
        text: `Disconnected: the kernel of this panel is gone.${by} chutes_jupyter.attach("${job.label}") in a cell shows the job again.`,
        kind: "warning",
      });
    } else if (performance.now() - this.heard > SILENCE && !job.over) {
      lines.unshift({ text: `No word from the kernel since ${this.heardAt.toLocaleTimeString()}.`, kind: "warning" });
    }
    if (this.advice && !TERMINAL.has(job.state)) lines.push({ text: this.advice, kind: "warning" });
    if (this.complaint) lines.push({ text: this.complaint, kind: "fault" });
    this.head.tell(lines);
  }

  showPorts() {
    const [ports, undeclared] = [this.model.get("ports"), this.model.get("undeclared")];
    const ready = ports.filter((port) => port.ready && !port.over).length;
    const some = ports.length > 0 || (undeclared.length > 0 && !this.job.over) || this.job.ssh;
    this.tabs.update("ports", some, `${ports.length || ""}${ready ? " ●" : ""}`);
    this.ports.show(ports, undeclared, this.job);
  }

  showFiles() {
    const files = this.model.get("files");
    this.tabs.update("files", files.count > 0, files.count.toLocaleString("en"));
    this.files.show(files);
  }

  /** The newest that is known of what the job tells of itself, by the kernel or after it. */
  get readings() {
    return this.followed ?? {
      progress: this.model.get("progress"), metrics: this.model.get("metrics"), usage: this.model.get("usage"),
    };
  }

  showProgress() {
    const { progress, metrics } = this.readings;
    // Nobody tells the rate of a job that nobody follows.
    this.progress.show(progress, metrics, this.job.over || !(this.connected || this.followed));
    const count = Object.keys(metrics).length;
    this.tabs.update("metrics", count > 0, String(count));
    this.metrics.show(metrics);
  }

  showUsage() {
    const samples = this.readings.usage;
    const word = usageWord(samples);
    this.tabs.update("usage", Boolean(word), "", word ? sparkline(word.values.slice(-24), { low: 0, high: 100, width: 36 }) : null);
    if (word) this.tabs.rename("usage", word.text);
    this.usage.show(samples);
  }

  showDisplays() {
    for (const display of this.unseen.values()) this.results.display(display);
    this.unseen.clear();
    this.showResults();
  }

  showResults() {
    this.tabs.update("results", this.results.count > 0, String(this.results.count));
  }

  opened(name) {
    if (name === "log") this.pour();
    else this.pause();
    this.files.turned(name === "files");
  }

  // -- what a person does ----------------------------------------------------------------

  async cancel() {
    if (this.asked) return;
    this.asked = "sent";
    this.complaint = "";
    this.head.cancelling(this.asked);
    try {
      await this.actions.cancel(() => {
        this.asked = "after";
        this.head.cancelling(this.asked);
      });
      this.asked = "sent";
    } catch (error) {
      this.asked = "";
      this.complain(`Not cancelled: ${error.message}`);
    }
    this.head.cancelling(this.asked);
  }

  complain(text) {
    this.complaint = text;
    this.tellMore();
  }

  advise(text) {
    this.advice = text;
    this.tellMore();
  }

  // -- when the kernel is gone -----------------------------------------------------------

  async lost() {
    if (!this.connected || this.job.over) {
      this.connected = false;
      return;
    }
    this.connected = false;
    this.pouring = false;
    this.element.dataset.lost = "";
    this.actions.lost();
    this.showProgress();
    this.tellMore();
    const server = await this.actions.server;
    if (!server) {
      this.head.cancelling("gone");
      return;
    }
    this.follower = new Follower(server, this.job.id, {
      job: (view) => this.viewed(view),
      readings: (readings) => this.measured(readings),
      log: (piece, bytes) => this.log.push(piece, bytes),
      end: () => this.log.end,
    });
    if (this.seen) this.follower.start();
    this.tellMore();
  }

  /** Take what the server says of the job. */
  viewed(view) {
    this.newer = {
      state: view.state, reason: view.reason, elapsed: view.elapsed, trouble: view.outage,
      ended: view.ended, confirmed: view.confirmed, over: !view.live, gpus: view.gpus,
    };
    if (view.cancel_asked && !this.asked) this.asked = "sent";
    this.showHead();
    this.showJob();
  }

  /** Take what the server says that the job tells of itself. */
  measured({ progress, metrics, usage, displays }) {
    this.followed = { progress, metrics, usage };
    for (const display of displays) this.results.display(display);
    this.showProgress();
    this.showUsage();
    this.showResults();
  }
}

/** What anywidget calls for each view. */
export function render({ model, el: place }) {
  const view = new PanelView(model);
  place.append(view.element);
  return () => view.close();
}
