/**
 * What a job gave back: what it returned or raised, and what it displayed.
 *
 * Pictures and texts are shown as they are. HTML and SVG of a worker, which may be a stranger's,
 * are shown in a frame that has no origin, reaches no network, and can't leave its place.
 */
import { copyButton, el, keepFocus } from "./dom.js";
import { Terminal } from "./terminal.js";
import { LogView } from "./log.js";

/** What is shown of a display: the first of these that it has. */
const ORDER = ["text/html", "image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp",
  "text/markdown", "text/latex", "application/json", "text/plain"];
const POLICY = "default-src 'none'; img-src data: blob:; media-src data: blob:; font-src data:; "
  + "style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'";
/** What is shown tells its height; that is all that it may say. */
const MEASURE = "<script>new ResizeObserver(() => parent.postMessage("
  + "{chutesHeight: document.documentElement.scrollHeight}, '*')).observe(document.documentElement)</script>";
/** And the frame around it passes that on. */
const PASS_ON = "<script>onmessage = ({ source, data }) => { if (source === frames[0]) "
  + "parent.postMessage({ chutesHeight: Number(data?.chutesHeight) }, '*'); }</script>";
const HEAD = `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">`;
const MOST_SHOWN = 50;

/** The results of a job, the newest display last. */
export class Results {
  constructor() {
    this.value = el("div", {});
    this.shown = el("div", { class: "chutes-displays" });
    this.empty = el("div", { class: "chutes-empty" }, "Nothing yet: what the job displays and returns comes here.");
    this.element = el("div", { class: "chutes-pane chutes-results", tabindex: 0, role: "group", "aria-label": "Results" }, this.empty, this.shown, this.value);
    /** @type {Map<number, HTMLElement>} */
    this.byNumber = new Map();
    this.key = "";
  }

  /** How many things there are. */
  get count() {
    return this.byNumber.size + (this.value.childNodes.length ? 1 : 0);
  }

  /** Show one display, or replace the one of that number. */
  display({ number, data }) {
    const made = el("div", { class: "chutes-display" }, drawn(data));
    const before = this.byNumber.get(number);
    if (before) before.replaceWith(made);
    else this.shown.append(made);
    this.byNumber.set(number, made);
    if (this.byNumber.size > MOST_SHOWN) {
      const [oldest] = this.byNumber.keys();
      this.byNumber.get(oldest).remove();
      this.byNumber.delete(oldest);
    }
    this.empty.hidden = this.count > 0;
  }

  /** Show how the job ended. */
  ended({ value, traceback, withheld }) {
    const key = JSON.stringify([value, traceback, withheld]);
    if (key === this.key) return;
    this.key = key;
    const parts = [];
    if (traceback) {
      parts.push(el("div", { class: "chutes-caption" }, "Raised",
        copyButton("Copy the traceback", () => plain(traceback))), coloured(traceback));
    }
    if (value !== null && value !== undefined) {
      parts.push(el("div", { class: "chutes-caption" }, "Returned",
        copyButton("Copy what was returned", () => value)), el("pre", { class: "chutes-value" }, value));
    }
    if (withheld) parts.push(el("div", { class: "chutes-muted" }, withheld));
    keepFocus(this.value, () => this.value.replaceChildren(...parts));
    this.empty.hidden = this.count > 0;
  }
}

/** Return the page's part for what a job displayed. */
function drawn(data) {
  const kind = ORDER.find((each) => data[each] !== undefined);
  if (!kind) return el("div", { class: "chutes-muted" }, `A display of ${Object.keys(data).join(", ") || "nothing"}`);
  const content = data[kind];
  if (kind === "text/html" || kind === "image/svg+xml") return framed(String(content));
  if (kind.startsWith("image/")) {
    const url = `data:${kind};base64,${String(content).replace(/\s/g, "")}`;
    return el("img", { src: url, alt: data["text/plain"] ?? "A picture that the job displayed" });
  }
  const text = typeof content === "string" ? content : JSON.stringify(content, null, 2);
  return el("pre", { class: "chutes-value" }, text);
}

/**
 * Return a frame without an origin that shows HTML.
 *
 * It is a frame in a frame: a policy keeps a page from fetching anything, but not from going
 * elsewhere itself. What it may go to is up to the policy of the page around it, and that is ours.
 */
function framed(html) {
  const shown = HEAD
    + "<style>body{margin:4px;font-family:system-ui,sans-serif;font-size:13px;color:#111;background:#fff}"
    + "table{border-collapse:collapse;border:0}td,th{padding:2px 8px;border:0;border-bottom:1px solid #ddd;text-align:right}</style>"
    + `${MEASURE}<body>${html}`;
  const around = `${HEAD}<style>body{margin:0}iframe{border:0;display:block;width:100%;height:100vh}</style>${PASS_ON}`
    + `<body><iframe sandbox="allow-scripts" title="What the job displayed" srcdoc="${quoted(shown)}"></iframe>`;
  const frame = /** @type {HTMLIFrameElement} */ (el("iframe", {
    sandbox: "allow-scripts", srcdoc: around, title: "What the job displayed", class: "chutes-html",
    referrerpolicy: "no-referrer", loading: "lazy",
  }));
  const heard = (event) => {
    if (!frame.isConnected) window.removeEventListener("message", heard);
    if (event.source !== frame.contentWindow) return;
    const height = Number(event.data?.chutesHeight);
    if (height > 0) frame.style.height = `${Math.min(600, Math.max(30, Math.ceil(height) + 2))}px`;
  };
  window.addEventListener("message", heard);
  return frame;
}

/** Return a text as the value of an attribute in quotes. */
function quoted(text) {
  return text.replaceAll("&", "&amp;").replaceAll('"', "&quot;");
}

/** Return a text with a terminal's colours. */
export function coloured(text) {
  const view = new LogView({}, { limit: 10_000 });
  view.terminal.write(text);
  const lines = view.terminal.lines.map((line) => el("div", {}, ...view.pieces(line, 0, line.text.length, -1), "\n"));
  view.close();
  return el("pre", { class: "chutes-value chutes-traceback" }, ...lines);
}

function plain(text) {
  const terminal = new Terminal(10_000);
  terminal.write(text);
  return terminal.lines.map((line) => line.text).join("\n");
}
