/**
 * What a terminal would show of a stream: lines with colours, progress bars that stay one line.
 *
 * Carriage returns, backspaces, cursor movements and erasures are done as terminals do them, on
 * the last lines alone: that is all that tqdm and rich need. It holds no DOM.
 */

/** The cursor moves among so many last lines, as on a terminal of that height. */
const SCREEN = 120;
/** A line has no more characters than these: what is longer is cut, and says so. */
const MAX_LINE = 20_000;
/** No colour, no weight. */
const PLAIN = 0;

// Among them what turns the reading order of text around: a stranger's line must read as it is.
// eslint-disable-next-line no-control-regex
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]/;
// eslint-disable-next-line no-control-regex
const CSI = /^\x1b\[([0-?]*)([ -/]*)([@-~])/;
// eslint-disable-next-line no-control-regex
const OSC = /^\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/;
// eslint-disable-next-line no-control-regex
const SHORT = /^\x1b[ -/]*[0-Z\\^-~]/;
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

/**
 * One line: its text, and its style from place to place.
 *
 * @typedef {object} Line
 * @property {string} text
 * @property {number[]|null} runs pairs of an end and a style; null for plain text
 * @property {boolean} err whether stderr wrote any of it
 */

/** Styles that were seen, by what they are made of. */
class Styles {
  constructor() {
    /** @type {Map<string, number>} */
    this.numbers = new Map([["", PLAIN]]);
    /** @type {{fg: string, bg: string, flags: string}[]} */
    this.list = [{ fg: "", bg: "", flags: "" }];
  }

  /** @param {{fg: string, bg: string, flags: Set<string>}} pen @returns {number} */
  number(pen) {
    const flags = [...pen.flags].sort().join(" ");
    const key = pen.fg || pen.bg || flags ? `${pen.fg}|${pen.bg}|${flags}` : "";
    let found = this.numbers.get(key);
    if (found === undefined) {
      // A worker could name 16 million colours: past a number, the last style serves.
      if (this.list.length >= 4096) return PLAIN;
      found = this.list.length;
      this.numbers.set(key, found);
      this.list.push({ fg: pen.fg, bg: pen.bg, flags });
    }
    return found;
  }
}

/**
 * Where a stream writes: a line, counted from the very first, or none where the next thing that
 * it writes begins one; and its pen.
 */
class Cursor {
  constructor() {
    /** @type {number|null} */
    this.row = null;
    this.column = 0;
    this.pen = { fg: "", bg: "", flags: new Set() };
    this.style = PLAIN;
    /** The beginning of an escape sequence whose rest is still to come. */
    this.rest = "";
  }
}

/**
 * Lines as a terminal shows them, the newest `limit` of them.
 *
 * Each stream has a cursor of its own. What one of them writes while the other is in the middle
 * of a line goes above that line: a progress bar on stderr stays below what is printed, which a
 * terminal would mix up with it.
 */
export class Terminal {
  /** @param {number} limit how many lines are kept */
  constructor(limit = 200_000) {
    this.limit = limit;
    this.styles = new Styles();
    this.reset();
  }

  /** Forget everything. */
  reset() {
    /** @type {Line[]} */
    this.lines = [];
    /** How many lines were dropped before the first one that is kept. */
    this.dropped = 0;
    /** The first line, counted from the very first, that changed since `takeChange`. */
    this.changed = 0;
    this.cursors = [new Cursor(), new Cursor()];
    /** The cursor of the stream that writes, and that of the other one. */
    [this.own, this.other] = this.cursors;
    this.err = false;
  }

  /** How many lines there were, dropped ones included. */
  get total() {
    return this.dropped + this.lines.length;
  }

  /** Return the first line that changed, counted from the very first, and begin anew. */
  takeChange() {
    const first = this.changed;
    this.changed = this.total;
    return first;
  }

  /**
   * Take what a stream wrote.
   *
   * @param {string} text
   * @param {boolean} [err] whether it was stderr
   */
  write(text, err = false) {
    this.err = err;
    [this.own, this.other] = err ? [this.cursors[1], this.cursors[0]] : this.cursors;
    const all = this.own.rest + text;
    this.own.rest = "";
    let at = 0;
    while (at < all.length) {
      const next = this.plain(all, at);
      at = next < all.length ? this.control(all, next) : next;
    }
    if (this.lines.length > this.limit * 1.1) this.drop(this.lines.length - this.limit);
  }

  /** Take text up to the next control character that is no line end; return where that is. */
  plain(all, at) {
    for (;;) {
      const newline = all.indexOf("\n", at);
      const end = newline < 0 ? all.length : newline;
      const part = all.slice(at, end);
      const found = part.search(CONTROL);
      if (found >= 0) {
        if (found) this.put(part.slice(0, found));
        return at + found;
      }
      if (part) this.put(part);
      if (newline < 0) return all.length;
      this.newline();
      at = newline + 1;
    }
  }

  newline() {
    this.line();
    const next = this.own.row + 1;
    // Below the last line, or at one that the other stream writes: the next text begins a line.
    this.own.row = next >= this.total || next === this.other.row ? null : next;
    this.own.column = 0;
  }

  /** Return the line under the cursor. */
  line() {
    const { own, other } = this;
    if (own.row === null && other.row === this.total - 1 && this.isBlank(other.row)) {
      // A bar that was wiped away is no line.
      own.row = other.row;
      other.row = null;
      other.column = 0;
      Object.assign(this.lines[this.lines.length - 1], { text: "", runs: null, err: this.err });
    }
    if (own.row === null) {
      const above = other.row !== null;
      own.row = above ? other.row : this.total;
      if (own.row < this.changed) this.changed = own.row;
      const made = { text: "", runs: null, err: this.err };
      if (above) {
        this.lines.splice(own.row - this.dropped, 0, made);
        other.row += 1;
      } else this.lines.push(made);
      return made;
    }
    if (own.row < this.changed) this.changed = own.row;
    return this.lines[own.row - this.dropped];
  }

  isBlank(row) {
    return this.lines[row - this.dropped]?.text.trim() === "";
  }

  /** Write over what is under the cursor, as a terminal does. */
  put(text) {
    const line = this.line();
    const { own } = this;
    const begin = own.column;
    if (begin >= MAX_LINE) return;
    if (text.includes("\t")) text = expanded(text, begin);
    if (begin + text.length > MAX_LINE) text = `${text.slice(0, MAX_LINE - begin)} …`;
    const end = begin + text.length;
    own.column = end;
    if (this.err) line.err = true;
    if (!line.text && begin === 0) {
      line.text = text;
      line.runs = own.style === PLAIN ? null : [end, own.style];
      return;
    }
    const before = line.text.length < begin ? line.text.padEnd(begin) : line.text;
    if (line.runs !== null || own.style !== PLAIN) this.mix(line, before.length, begin, end);
    line.text = before.slice(0, begin) + text + before.slice(end);
  }

  /** Give the characters from `begin` to `end` of a line the present style. */
  mix(line, length, begin, end) {
    const old = line.runs ?? [length, PLAIN];
    if (old[old.length - 2] < length) old.push(length, PLAIN);
    const runs = [];
    let from = 0;
    let put = false;
    const add = (upto, style) => {
      if (upto <= (runs.length ? runs[runs.length - 2] : 0)) return;
      if (runs.length && runs[runs.length - 1] === style) runs[runs.length - 2] = upto;
      else runs.push(upto, style);
    };
    for (let i = 0; i < old.length; i += 2) {
      const [upto, style] = [old[i], old[i + 1]];
      if (from < begin) add(Math.min(upto, begin), style);
      if (!put && upto >= begin) {
        add(end, this.own.style);
        put = true;
      }
      if (upto > end) add(upto, style);
      from = upto;
    }
    if (!put) add(end, this.own.style);
    line.runs = runs;
  }

  /** Do what a control character or sequence says; return where the text goes on. */
  control(all, at) {
    const char = all[at];
    const { own } = this;
    if (char === "\r") {
      own.column = 0;
      return at + 1;
    }
    if (char === "\b") {
      own.column = Math.max(0, own.column - 1);
      return at + 1;
    }
    if (char !== "\x1b") return at + 1;
    const tail = all.slice(at, at + 4096);
    const sequence = CSI.exec(tail);
    if (sequence) {
      this.sequence(sequence[1], sequence[3]);
      return at + sequence[0].length;
    }
    const other = OSC.exec(tail) ?? SHORT.exec(tail);
    if (other) return at + other[0].length;
    if (tail.length < 4096 && at + tail.length === all.length) {
      own.rest = tail;
      return all.length;
    }
    return at + 1;
  }

  sequence(parameters, final) {
    const { own } = this;
    const first = Math.min(Number.parseInt(parameters, 10) || 0, 10_000);
    const count = first || 1;
    if (final === "m") this.colour(parameters);
    else if (final === "A" || final === "F") this.up(count, final === "F");
    else if (final === "B" || final === "E") this.down(count, final === "E");
    else if (final === "C") own.column = Math.min(MAX_LINE, own.column + count);
    else if (final === "D") own.column = Math.max(0, own.column - count);
    else if (final === "G") own.column = Math.min(MAX_LINE, count - 1);
    else if (final === "K") this.eraseLine(first);
    else if (final === "J") this.eraseBelow(first);
  }

  up(count, home) {
    const top = Math.max(this.dropped, this.total - SCREEN);
    const from = this.own.row ?? this.total;
    if (this.lines.length) {
      this.own.row = Math.min(Math.max(top, from - count), this.total - 1);
    }
    if (home) this.own.column = 0;
  }

  down(count, home) {
    // The last line is the bottom: only a line end goes below it.
    if (this.own.row !== null) {
      this.own.row = Math.max(this.own.row, Math.min(this.own.row + count, this.total - 1));
    }
    if (home) this.own.column = 0;
  }

  eraseLine(how) {
    const line = this.line();
    const { column } = this.own;
    if (how === 2) {
      line.text = "";
      line.runs = null;
    } else if (how === 1) {
      line.text = " ".repeat(Math.min(column, line.text.length)) + line.text.slice(column);
    } else {
      line.text = line.text.slice(0, column);
      line.runs = cut(line.runs, column);
    }
  }

  eraseBelow(how) {
    if (how !== 0) return; // the screen's history stays
    this.eraseLine(0);
    for (const line of this.lines.slice(this.own.row + 1 - this.dropped)) {
      line.text = "";
      line.runs = null;
    }
  }

  /** Change the pen by the numbers of an `m` sequence. */
  colour(parameters) {
    const { own } = this;
    const numbers = parameters.split(/[;:]/).map((each) => Number.parseInt(each, 10) || 0);
    for (let i = 0; i < numbers.length; i += 1) {
      const number = numbers[i];
      if (number === 38 || number === 48) {
        const [colour, used] = extended(numbers, i + 1);
        own.pen[number === 38 ? "fg" : "bg"] = colour;
        i += used;
      } else own.pen = changed(own.pen, number);
    }
    own.style = this.styles.number(own.pen);
  }

  drop(count) {
    this.lines.splice(0, count);
    this.dropped += count;
    for (const cursor of this.cursors) {
      if (cursor.row !== null && cursor.row < this.dropped) cursor.row = null;
    }
    this.changed = Math.max(this.changed, this.dropped);
  }
}

/** Return a pen after one number of an `m` sequence. */
function changed(pen, number) {
  if (number === 0) return { fg: "", bg: "", flags: new Set() };
  if (FLAGS[number]) pen.flags.add(FLAGS[number]);
  else if (OFF[number]) OFF[number].forEach((each) => pen.flags.delete(each));
  else if (number >= 30 && number <= 37) pen.fg = String(number - 30);
  else if (number >= 90 && number <= 97) pen.fg = String(number - 82);
  else if (number >= 40 && number <= 47) pen.bg = String(number - 40);
  else if (number >= 100 && number <= 107) pen.bg = String(number - 92);
  else if (number === 39) pen.fg = "";
  else if (number === 49) pen.bg = "";
  return pen;
}

/** Return a text with spaces for its tabs, if it begins in a column. */
function expanded(text, column) {
  const parts = text.split("\t");
  let made = parts[0];
  for (const part of parts.slice(1)) {
    made += " ".repeat(8 - ((column + made.length) % 8)) + part;
  }
  return made;
}

/** Return the colour that begins at `i`, and how many numbers it took. */
function extended(numbers, i) {
  if (numbers[i] === 5) return [palette(numbers[i + 1] ?? 0), 2];
  if (numbers[i] === 2) {
    const [r, g, b] = [1, 2, 3].map((k) => Math.min(255, numbers[i + k] ?? 0));
    return [`#${((1 << 24) | (r << 16) | (g << 8) | b).toString(16).slice(1)}`, 4];
  }
  return ["", 1];
}

/** Return one of the 256 colours: a number below 16 stays the theme's. */
function palette(number) {
  if (number < 16) return String(number);
  if (number > 231) {
    const grey = Math.min(238, 8 + (number - 232) * 10).toString(16).padStart(2, "0");
    return `#${grey.repeat(3)}`;
  }
  const steps = [0, 95, 135, 175, 215, 255];
  const rest = number - 16;
  return `#${[Math.floor(rest / 36), Math.floor(rest / 6) % 6, rest % 6]
    .map((step) => steps[step].toString(16).padStart(2, "0")).join("")}`;
}

/** Return runs up to a place. */
function cut(runs, upto) {
  if (runs === null) return null;
  const kept = [];
  let from = 0;
  for (let i = 0; i < runs.length && from < upto; i += 2) {
    kept.push(Math.min(runs[i], upto), runs[i + 1]);
    from = runs[i];
  }
  return kept.length ? kept : null;
}
