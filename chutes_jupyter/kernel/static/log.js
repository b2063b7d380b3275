/**
 * A job's log: a list of any length of which only the visible rows are in the page.
 *
 * It takes bytes with the place that they have in the log, and asks for no more than its owner
 * gives it. Rows have one height, long lines take several of them; everything is painted once
 * in an animation frame, and nothing while it can't be seen.
 */
import { button, copy, el, isOff, say, switchOff } from "./dom.js";
import { Terminal } from "./terminal.js";
import { plural } from "./words.js";

const STDERR = 2;
/** Rows that are kept ready above and below the visible ones. */
const AHEAD = 16;
/**
 * Logs that go on are painted on the same beats of the page's clock, in milliseconds: of many
 * panels beside each other the page then changes in few frames, and each costs it about as much
 * as one panel's.
 */
const BEAT = 125;
/** What an error looks like, in the words of Python, shells and loggers. */
const ERROR = /Traceback \(most recent call last\)|^\s*(?:\w+\.)*\w*(?:Error|Exception)\b(?::|$)|\b(?:ERROR|FATAL|CRITICAL|panic)\b|\b(?:fatal|error): /;
/** Characters that take two columns; the rest takes one. */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
// eslint-disable-next-line no-control-regex
const NARROW = /^[\x00-\u02ff]*$/;

/**
 * A piece of a log.
 *
 * @typedef {object} Piece
 * @property {number} begin the offset of its first byte in the log
 * @property {number} end the offset behind its last byte
 * @property {[number, number][]} runs from which byte of the piece on which stream wrote it
 * @property {boolean} [reset] whether it follows on nothing that came before
 * @property {boolean} [over] whether nothing comes any more
 * @property {boolean} [stopped] whether the rest comes only when it is asked for
 */

/**
 * What the owner of a log does for it.
 *
 * @typedef {object} Owner
 * @property {(begin: number) => void} [load] give the part of the log before that byte, too
 * @property {() => void} [follow] give the end of the log, and what follows
 * @property {() => void} [save] let the person save all of it
 */

/** The list, and the tools that belong to it. */
export class LogView {
  /**
   * @param {Owner} owner
   * @param {{rows?: number, limit?: number}} [options] `rows`: how high it grows
   */
  constructor(owner, options = {}) {
    this.owner = owner;
    this.maxRows = options.rows ?? 15;
    this.terminal = new Terminal(options.limit ?? 200_000);
    /** Where the next piece begins, or null before the first. */
    this.end = null;
    this.begin = 0;
    this.over = false;
    this.following = true;
    /** For each line that is kept, its first row, counted from the very first row of all. */
    this.first = [];
    /** The row behind the last one. */
    this.rowCount = 0;
    this.columns = 0;
    this.rowHeight = 0;
    this.grown = 0;
    /** @type {Map<number, HTMLElement>} */
    this.shown = new Map();
    this.frame = 0;
    /** What waits for the next beat. */
    this.beat = 0;
    /** When it was painted last, and where its rows were. */
    this.paintedAt = -Infinity;
    this.paintedTop = -1;
    /** A byte whose line is to be on top, once it is there; and that line. */
    this.anchor = null;
    this.target = -1;
    this.detached = false;
    this.query = "";
    /** Lines in which the query was found, counted from the very first. */
    this.found = [];
    this.at = -1;
    this.marked = -1;
    this.newDecoders();
    this.build();
  }

  newDecoders() {
    this.decoders = { 1: new TextDecoder(), [STDERR]: new TextDecoder() };
  }

  build() {
    this.spacer = el("div", { class: "chutes-log-spacer" });
    this.view = el("div", {
      class: "chutes-log", tabindex: 0, role: "log", "aria-label": "Log", "aria-live": "off",
      onscroll: () => this.scrolled(), onkeydown: (event) => this.key(event),
      oncopy: (event) => this.copied(event),
    }, this.spacer);
    this.earlier = button("", "Bring the part before this one", () => this.loadEarlier(), "chutes-earlier");
    this.earlier.hidden = true;
    this.empty = el("div", { class: "chutes-empty" }, "Nothing printed yet.");
    this.latest = button("↓ Follow", "Go to the end and follow", () => this.follow(), "chutes-latest");
    this.latest.hidden = true;
    this.element = el("div", { class: "chutes-log-frame" }, this.earlier, this.empty, this.view, this.latest);
    this.view.hidden = true;
    this.input = /** @type {HTMLInputElement} */ (el("input", {
      type: "search", placeholder: "Search", "aria-label": "Search the log", class: "chutes-search",
      oninput: () => this.search(this.input.value), onkeydown: (event) => this.searchKey(event),
    }));
    this.count = el("span", { class: "chutes-count", role: "status" });
    this.tools = el("div", { class: "chutes-tools", role: "toolbar", "aria-label": "Log" },
      this.input, this.count,
      this.errorButton = button("First error", "Jump to the first error", () => this.firstError()),
      this.copyButton = button("Copy", "Copy what is selected, or all lines", () => this.copyAll()),
      this.owner.save ? button("Save", "Save the whole log as a file", () => this.owner.save()) : null,
    );
    this.observer = new ResizeObserver(() => this.measure());
    this.observer.observe(this.view);
  }

  /** Let go of what the page holds for it. */
  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.beat);
  }

  /**
   * Take a piece.
   *
   * @param {Piece} piece
   * @param {Uint8Array} bytes
   */
  push(piece, bytes) {
    if (piece.reset || this.end === null) this.restart(piece.begin);
    else if (piece.begin !== this.end) return; // sent before it was asked for another part
    const runs = piece.runs.length ? piece.runs : [[0, 1]];
    let from = 0;
    let stream = 1;
    for (const [start, next] of [...runs, [bytes.length, 0]]) {
      if (start > from) this.take(bytes.subarray(from, start), stream);
      from = Math.max(from, start);
      stream = next === STDERR ? STDERR : 1;
    }
    this.end = piece.end;
    this.over = Boolean(piece.over);
    this.detached = Boolean(piece.stopped);
    this.places.push([this.terminal.total, piece.end]);
    this.keepPlace(piece, bytes);
    this.planOnBeat();
  }

  /** Stay at the lines that were first, when the part before them came. */
  keepPlace(piece, bytes) {
    if (this.anchor === null || piece.end <= this.anchor) return;
    let below = 0;
    for (const byte of bytes.subarray(Math.max(0, this.anchor - piece.begin))) below += byte === 10;
    this.target = this.terminal.total - below;
    this.anchor = null;
  }

  take(bytes, stream) {
    let text = this.decoders[stream].decode(bytes, { stream: true });
    if (this.skipping) {
      // It begins in the middle of a line, whose first part is not here.
      const newline = text.indexOf("\n");
      text = newline < 0 ? "" : text.slice(newline + 1);
      this.skipping = newline < 0;
    }
    this.terminal.write(text, stream === STDERR);
  }

  restart(begin) {
    this.terminal.reset();
    this.gone = 0;
    this.newDecoders();
    this.begin = begin;
    this.skipping = begin > 0;
    /** After which line of all which byte comes. */
    this.places = [];
    this.first = [];
    this.rowCount = 0;
    this.found = [];
    this.clearRows();
  }

  clearRows() {
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
  }

  /** Whether nothing was printed yet, in words of the owner. */
  whenEmpty(text) {
    say(this.empty, text);
  }

  /** Paint in the next frame. */
  plan() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint());
  }

  /** Paint at once after a pause, else on the next beat. */
  planOnBeat() {
    const now = performance.now();
    if (now - this.paintedAt > 2 * BEAT) this.plan();
    if (this.frame || this.beat) return;
    this.beat = window.setTimeout(() => this.plan(), BEAT - (now % BEAT));
  }

  // -- where lines are -------------------------------------------------------------------

  measure() {
    const probe = el("div", { class: "chutes-row", style: "visibility:hidden;right:auto" }, "M".repeat(50));
    this.spacer.append(probe);
    const { width, height } = probe.getBoundingClientRect();
    probe.remove();
    const room = this.view.clientWidth - 28; // the padding of a row, and a little air
    if (!width || room <= 0) return;
    const columns = Math.max(20, Math.floor(room / ((width - 24) / 50)));
    if (columns === this.columns && height === this.rowHeight) {
      this.plan();
      return;
    }
    this.columns = columns;
    this.rowHeight = height;
    this.lay(this.terminal.dropped);
    this.clearRows();
    this.plan();
  }

  /** Return where the rows of a text begin in it. */
  breaks(text) {
    if (text.length <= this.columns && NARROW.test(text)) return [0];
    const starts = [0];
    if (NARROW.test(text)) {
      for (let at = this.columns; at < text.length; at += this.columns) starts.push(at);
      return starts;
    }
    let used = 0;
    let at = 0;
    for (const char of text) {
      const width = WIDE.test(char) ? 2 : 1;
      if (used + width > this.columns) {
        starts.push(at);
        used = 0;
      }
      used += width;
      at += char.length;
    }
    return starts;
  }

  /** Count rows anew, from a line on that is counted from the very first. */
  lay(line) {
    const { lines, dropped } = this.terminal;
    let index = Math.max(0, line - dropped);
    let row = index < this.first.length ? this.first[index] : this.rowCount;
    for (; index < lines.length; index += 1) {
      this.first[index] = row;
      const text = lines[index].text;
      row += text.length * 2 <= this.columns ? 1 : this.breaks(text).length;
    }
    this.rowCount = row;
  }

  /** Return which line a row belongs to, as an index. */
  lineAt(row) {
    let low = 0;
    let high = this.first.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.first[middle] <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // -- painting --------------------------------------------------------------------------

  paint() {
    this.frame = 0;
    clearTimeout(this.beat);
    this.beat = 0;
    this.paintedAt = performance.now();
    const any = this.terminal.lines.length > 0;
    if (this.view.hidden === any) {
      this.view.hidden = !any;
      this.empty.hidden = any;
    }
    if (!any) return;
    if (!this.columns) {
      this.measure();
      if (!this.columns) return;
    }
    this.update();
    const base = this.first[0] ?? 0;
    const rows = this.rowCount - base;
    this.spacer.style.height = `${rows * this.rowHeight}px`;
    // It grows with the first lines, and never shrinks: what is below must not jump.
    this.grown = Math.max(this.grown, Math.min(rows, this.maxRows));
    this.view.style.minHeight = `${this.grown * this.rowHeight + 12}px`;
    if (this.target >= 0) {
      const index = Math.max(0, Math.min(this.target - this.terminal.dropped, this.first.length - 1));
      this.view.scrollTop = Math.max(0, this.first[index] - base - 1) * this.rowHeight;
      this.target = -1;
    } else if (this.following) this.view.scrollTop = this.spacer.offsetHeight;
    this.paintRows(base);
    this.earlier.hidden = this.begin === 0 || this.view.scrollTop > 4 * this.rowHeight;
    if (!this.earlier.hidden) say(this.earlier, "↑ Load earlier lines");
    this.latest.hidden = this.following && !this.detached;
  }

  /** Take over what changed in the lines. */
  update() {
    const terminal = this.terminal;
    const gone = terminal.dropped - this.gone;
    if (gone > 0) {
      const before = this.first[0] ?? 0;
      this.first.splice(0, gone);
      const removed = (this.first[0] ?? this.rowCount) - before;
      if (!this.following) this.view.scrollTop -= removed * this.rowHeight;
      while (this.places.length && this.places[0][0] <= terminal.dropped) {
        this.begin = this.places.shift()[1];
      }
    }
    this.gone = terminal.dropped;
    const changed = terminal.takeChange();
    if (changed >= terminal.total) return;
    const firstRow = this.first[changed - terminal.dropped] ?? this.rowCount;
    this.lay(changed);
    for (const [row, element] of this.shown) {
      if (row >= firstRow) element.dataset.old = "";
    }
    if (this.query) this.findFrom(changed);
  }

  paintRows(base) {
    this.paintedTop = this.view.scrollTop;
    const top = Math.floor(this.paintedTop / this.rowHeight) + base;
    const count = Math.ceil(this.view.clientHeight / this.rowHeight);
    const from = Math.max(base, top - AHEAD);
    const upto = Math.min(this.rowCount, top + count + AHEAD);
    for (const [row, element] of this.shown) {
      if (row < from || row >= upto) {
        element.remove();
        this.shown.delete(row);
      }
    }
    for (let row = from; row < upto; row += 1) {
      let element = this.shown.get(row);
      if (!element) {
        element = el("div", { class: "chutes-row" });
        this.shown.set(row, element);
        this.spacer.append(element);
        this.fill(element, row);
      } else if ("old" in element.dataset) this.fill(element, row);
      element.style.transform = `translateY(${(row - base) * this.rowHeight}px)`;
    }
  }

  fill(element, row) {
    const index = this.lineAt(row);
    const line = this.terminal.lines[index];
    const starts = this.breaks(line.text);
    const part = row - this.first[index];
    const [from, upto] = [starts[part], starts[part + 1] ?? line.text.length];
    const number = index + this.terminal.dropped;
    element.className = `chutes-row${line.err ? " chutes-err" : ""}${
      number === this.marked ? " chutes-marked" : ""}`;
    delete element.dataset.old;
    element.dataset.line = String(number);
    element.dataset.row = String(row);
    element.replaceChildren(...this.pieces(line, from, upto, number));
  }

  /** Return the nodes of a part of a line: by its styles, and by what was searched for. */
  pieces(line, from, upto, number) {
    const nodes = [];
    const runs = line.runs ?? [line.text.length, 0];
    let at = from;
    for (let i = 0; i < runs.length && at < upto; i += 2) {
      const end = Math.min(runs[i], upto);
      if (end <= at) continue;
      nodes.push(...this.lit(line.text, at, end, runs[i + 1], number));
      at = end;
    }
    if (at < upto) nodes.push(...this.lit(line.text, at, upto, 0, number));
    return nodes;
  }

  lit(text, from, upto, style, number) {
    if (!this.query) return [this.styled(text.slice(from, upto), style)];
    const nodes = [];
    const lower = text.toLowerCase();
    let at = from;
    for (;;) {
      const hit = lower.indexOf(this.query, Math.max(0, at === from ? from - this.query.length + 1 : at));
      if (hit < 0 || hit >= upto) break;
      const [begin, end] = [Math.max(hit, at), Math.min(hit + this.query.length, upto)];
      if (end <= at) break;
      if (begin > at) nodes.push(this.styled(text.slice(at, begin), style));
      const now = this.found[this.at] === number ? " chutes-hit-now" : "";
      nodes.push(el("mark", { class: `chutes-hit${now}` }, this.styled(text.slice(begin, end), style)));
      at = end;
    }
    if (at < upto) nodes.push(this.styled(text.slice(at, upto), style));
    return nodes;
  }

  styled(text, style) {
    if (!style) return document.createTextNode(text);
    const { fg, bg, flags } = this.terminal.styles.list[style];
    const classes = flags ? flags.split(" ").map((flag) => `chutes-${flag}`) : [];
    const made = el("span", {}, text);
    const [front, back] = flags.includes("inverse") ? [bg || "back", fg || "front"] : [fg, bg];
    if (front.startsWith("#")) made.style.color = front;
    else if (front) classes.push(`chutes-fg-${front}`);
    if (back.startsWith("#")) made.style.backgroundColor = back;
    else if (back) classes.push(`chutes-bg-${back}`);
    made.className = classes.join(" ");
    return made;
  }

  // -- moving ----------------------------------------------------------------------------

  scrolled() {
    if (this.following && this.view.scrollTop === this.paintedTop) return; // it went there itself
    const below = this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight;
    this.following = below < (this.rowHeight || 1);
    this.plan();
  }

  /** Go to the end, and stay there. */
  follow() {
    this.following = true;
    if (this.detached) {
      this.detached = false;
      this.owner.follow?.();
    }
    this.marked = -1;
    this.plan();
    this.view.focus({ preventScroll: true });
  }

  loadEarlier() {
    this.following = false;
    this.anchor = this.begin;
    this.owner.load?.(this.begin);
    this.view.focus({ preventScroll: true }); // the button goes
  }

  key(event) {
    if (event.key === "/" && event.target === this.view) {
      event.preventDefault();
      this.input.focus();
    } else if (event.key === "End") this.follow();
  }

  /** Go to a line, counted from the very first. */
  go(line) {
    const index = line - this.terminal.dropped;
    if (index < 0 || index >= this.first.length) return;
    this.following = false;
    this.marked = line;
    const row = this.first[index] - this.first[0];
    this.view.scrollTop = Math.max(0, (row - 3) * this.rowHeight);
    this.refresh();
  }

  refresh() {
    for (const element of this.shown.values()) element.dataset.old = "";
    this.plan();
  }

  firstError() {
    const { lines, dropped } = this.terminal;
    const index = lines.findIndex((line) => ERROR.test(line.text));
    if (index >= 0) {
      this.go(index + dropped);
      this.view.focus({ preventScroll: true });
    } else this.flash(this.errorButton, this.begin ? "None in this part" : "No error");
  }

  flash(made, text) {
    const before = made.textContent;
    if (isOff(made)) return;
    switchOff(made, true);
    made.textContent = text;
    setTimeout(() => {
      made.textContent = before;
      switchOff(made, false);
    }, 1500);
  }

  // -- searching -------------------------------------------------------------------------

  search(text) {
    this.query = text.toLowerCase();
    this.found = [];
    this.at = -1;
    this.marked = -1;
    if (this.query) this.findFrom(this.terminal.dropped);
    if (this.found.length) {
      this.at = 0;
      this.go(this.found[0]);
    }
    this.tell();
    this.refresh();
  }

  findFrom(line) {
    const { lines, dropped } = this.terminal;
    while (this.found.length && this.found[this.found.length - 1] >= line) this.found.pop();
    for (let i = Math.max(0, line - dropped); i < lines.length; i += 1) {
      if (lines[i].text.toLowerCase().includes(this.query)) this.found.push(i + dropped);
    }
    this.tell();
  }

  tell() {
    const place = this.at >= 0 && this.at < this.found.length ? `${this.at + 1} of ` : "";
    say(this.count, this.query ? `${place}${plural(this.found.length, "line")}` : "");
  }

  step(by) {
    if (!this.found.length) return;
    this.at = (this.at + by + this.found.length) % this.found.length;
    this.go(this.found[this.at]);
    this.tell();
  }

  searchKey(event) {
    if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") {
      this.input.value = "";
      this.search("");
      this.follow();
    } else return;
    event.preventDefault();
  }

  // -- taking along ----------------------------------------------------------------------

  /** Return the lines that are here, as a text. */
  text() {
    return this.terminal.lines.map((line) => `${line.text}\n`).join("");
  }

  /** Return what is selected in the list, long lines whole as they are. */
  selected() {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed || !this.view.contains(selection.anchorNode)) return "";
    const rows = [...this.shown.values()]
      .filter((row) => selection.containsNode(row, true))
      .sort((a, b) => Number(a.dataset.row) - Number(b.dataset.row));
    if (rows.length < 2) return selection.toString();
    const range = selection.getRangeAt(0);
    let text = "";
    let last = "";
    for (const row of rows) {
      const part = range.cloneRange();
      if (!row.contains(range.startContainer)) part.setStartBefore(row);
      if (!row.contains(range.endContainer)) part.setEndAfter(row);
      if (last && last !== row.dataset.line) text += "\n";
      text += part.toString();
      last = row.dataset.line;
    }
    return text;
  }

  copied(event) {
    const text = this.selected();
    if (!text) return;
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  }

  async copyAll() {
    const done = await copy(this.selected() || this.text());
    this.flash(this.copyButton, done ? "Copied" : "Not copied");
  }
}
