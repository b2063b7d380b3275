/**
 * Telling a person, who looks elsewhere, that a job has ended: by the browser, and by a sound.
 *
 * Both are off until they are switched on here, and remembered for all panels of this origin.
 * Where JupyterLab's sidebar is, it tells of ends, by its own settings: then this shows nothing.
 */
import { el, svg } from "./dom.js";
import { audible, chime, ENDED, first, offered, TAKES } from "./ends.js";
import { stateWord } from "./words.js";

/** Panels of one page tell each other that a switch was turned; browsers tell other pages. */
const TURNED = "chutes-jupyter:wishes";
const BLOCKED = "Notifications are blocked for this page. Allow them in the browser's settings for this site "
  + "(beside the address), then press the bell again.";
const UNANSWERED = "Notifications are not allowed yet: press the bell again, and answer the browser with Allow.";
const BELL = "M8 1.8a4 4 0 0 0-4 4v2.9L2.7 11v.7h10.6V11L12 8.7V5.8a4 4 0 0 0-4-4zM6.4 13a1.7 1.7 0 0 0 3.2 0z";
const SPEAKER = "M2.5 6v4h2.4L8.3 13V3L4.9 6z";
const WAVES = "M10.3 5.6a3.4 3.4 0 0 1 0 4.8M12 3.9a5.8 5.8 0 0 1 0 8.2";
const CROSS = "M10.6 6.2l3.6 3.6M14.2 6.2l-3.6 3.6";
const SLASH = "M2.2 1.8l11.6 12.4";

/** The two switches, and the word at the end. */
export class Notifier {
  /**
   * @param {{say: (text: string) => void, show: () => void}} owner `say`: what a person must
   *   know, or nothing; `show`: bring the panel into sight
   */
  constructor(owner) {
    this.owner = owner;
    /** The state that was seen last. */
    this.state = "";
    this.bell = toggle("Notify me when the job ends", () => this.turnBell(),
      [BELL], [BELL, SLASH]);
    this.sound = toggle("Play a sound when the job ends", () => this.turnSound(),
      [SPEAKER, WAVES], [SPEAKER, CROSS]);
    this.element = el("span", { class: "chutes-wishes" }, this.bell, this.sound);
    this.onTurned = () => this.paint();
    window.addEventListener(TURNED, this.onTurned);
    window.addEventListener("storage", this.onTurned);
    this.paint();
  }

  /** Let go of everything. */
  close() {
    window.removeEventListener(TURNED, this.onTurned);
    window.removeEventListener("storage", this.onTurned);
  }

  paint() {
    this.bell.setAttribute("aria-pressed", String(wanted("notify") && allowance() === "granted"));
    this.sound.setAttribute("aria-pressed", String(wanted("sound")));
  }

  /**
   * Take how a job is; an end that comes while somebody could see it live is told.
   *
   * @param {{id: string, label: string, state: string, reason: string|null, elapsed: number|null}} job
   * @param {boolean} over whether it has ended
   */
  take(job, over) {
    const before = this.state;
    this.state = job.state;
    const hidden = over || offered(TAKES);
    if (this.element.hidden !== hidden) this.element.hidden = hidden;
    if (!over || !before || before === job.state || this.told) return;
    this.told = true;
    const { id, label, state, reason, elapsed } = job;
    if (!offered(ENDED, { id, label, state, reason, elapsed })) void this.tell(job);
  }

  async tell(job) {
    if (wanted("sound") && audible() && await first("sound", job.id)) chime();
    if (!wanted("notify") || allowance() !== "granted") return;
    if (!await first("browser", job.id)) return;
    try {
      const said = new Notification(`${job.label}: ${stateWord(job.state).word}`, { tag: `chutes-${job.id}` });
      said.onclick = () => {
        window.focus();
        said.close();
        this.owner.show();
      };
    } catch (error) {
      this.owner.say(`The browser shows no notification: ${error.message}`);
    }
  }

  async turnBell() {
    const on = this.bell.getAttribute("aria-pressed") !== "true";
    let problem = "";
    if (on) {
      // The browser asks only now: nobody is asked who did not want it.
      if (allowance() === "default") await Notification.requestPermission();
      problem = { granted: "", denied: BLOCKED, default: UNANSWERED, none: noneText() }[allowance()];
    }
    this.owner.say(problem);
    wish("notify", on && !problem);
  }

  turnSound() {
    const on = !wanted("sound");
    wish("sound", on);
    if (on) chime(); // this is how it sounds
  }
}

/** Return whether the browser lets this page notify; `none` where it has no such thing. */
function allowance() {
  return "Notification" in window ? Notification.permission : "none";
}

function noneText() {
  return window.isSecureContext ? "This browser shows no notifications. The sound beside the bell works."
    : "Browsers show notifications only of pages on https or localhost. The sound beside the bell works.";
}

/** What was wished in this page and could not be stored: it holds until the page is closed. */
const wishes = (window[Symbol.for("chutes-jupyter:wishes")] ??= {});

function wanted(name) {
  try {
    return wishes[name] ?? localStorage.getItem(`chutes-jupyter:${name}`) === "on";
  } catch {
    return false;
  }
}

function wish(name, on) {
  try {
    if (on) localStorage.setItem(`chutes-jupyter:${name}`, "on");
    else localStorage.removeItem(`chutes-jupyter:${name}`);
    delete wishes[name];
  } catch {
    wishes[name] = on;
  }
  window.dispatchEvent(new CustomEvent(TURNED));
}

/** Return a switch with a picture for on and one for off. */
function toggle(name, act, on, off) {
  const drawn = (kind, paths) => svg("svg", {
    class: kind, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true",
  }, ...paths.map((d) => svg("path", { d })));
  return el("button", {
    type: "button", class: "chutes-toggle", title: name, "aria-label": name, "aria-pressed": "false", onclick: act,
  }, drawn("chutes-on", on), drawn("chutes-off", off));
}
