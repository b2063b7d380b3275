/**
 * The end of a job, told once, whoever hears of it: panels, sidebars, and other pages of them.
 *
 * In a page the sidebar of JupyterLab comes first: a panel offers it each end that it sees, and
 * tells by itself only what nobody took. Between pages the browser's locks say who was first.
 */

/** An offer of an end; who takes it prevents its default. */
export const ENDED = "chutes-jupyter:ended";
/** The question whether somebody in this page takes ends. */
export const TAKES = "chutes-jupyter:takes-ends";

const LOOKED_AT = "chutes-jupyter:looked-at";
/** Other pages hear of an end within a minute or so, in milliseconds. */
const HELD = 600_000;
/** Two soft tones, one above the other: hertz, and when, in seconds. */
const TONES = [[659.3, 0], [880, 0.18]];
const LENGTH = 0.5;
const LOUDNESS = 0.08;

/**
 * Offer something to whoever is in this page.
 *
 * @param {string} name
 * @param {any} [detail]
 * @returns {boolean} whether somebody took it
 */
export function offered(name, detail) {
  return !document.dispatchEvent(new CustomEvent(name, { cancelable: true, detail }));
}

/**
 * Be the first to tell an end in one way, of all pages of this origin.
 *
 * @param {string} way
 * @param {string} job its id
 * @returns {Promise<boolean>} whether nobody was before
 */
export async function first(way, job) {
  const name = `chutes-jupyter:${way}:${job}`;
  try {
    return await new Promise((resolve, reject) => {
      navigator.locks.request(name, { ifAvailable: true }, (lock) => {
        resolve(Boolean(lock));
        return lock ? new Promise((done) => { setTimeout(done, HELD); }) : undefined;
      }).catch(reject);
    });
  } catch {
    // No locks where a page is not secure, or has no origin: then this page alone is minded.
    const told = (window[Symbol.for("chutes-jupyter:told")] ??= new Set());
    return told.size !== told.add(name).size;
  }
}

/** Let other pages know, from now on, while this one is looked at. */
export function showWhenLookedAt() {
  /** @type {(() => void)|null} */
  let leave = null;
  const look = () => {
    if (document.hidden) {
      leave?.();
      leave = null;
    } else if (!leave && navigator.locks) {
      const left = new Promise((done) => { leave = () => done(undefined); });
      navigator.locks.request(LOOKED_AT, { mode: "shared" }, () => left).catch(() => {});
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
}

/**
 * Return whether this page, or another one that lets it know, is looked at.
 *
 * @returns {Promise<boolean>}
 */
export async function lookedAt() {
  if (!document.hidden) return true;
  try {
    const { held } = await navigator.locks.query();
    return (held ?? []).some((lock) => lock.name === LOOKED_AT);
  } catch {
    return false;
  }
}

/** Return whether the browser lets this page be heard: not before somebody has touched it. */
export function audible() {
  return "AudioContext" in window && navigator.userActivation?.hasBeenActive !== false;
}

/** Play two soft tones. */
export function chime() {
  if (!audible()) return;
  const context = new AudioContext();
  const begin = context.currentTime + 0.02;
  for (const [hertz, after] of TONES) {
    const tone = new OscillatorNode(context, { frequency: hertz });
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.setValueAtTime(0, begin + after);
    volume.gain.linearRampToValueAtTime(LOUDNESS, begin + after + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, begin + after + LENGTH);
    tone.connect(volume).connect(context.destination);
    tone.start(begin + after);
    tone.stop(begin + after + LENGTH);
    if (after === TONES[TONES.length - 1][1]) tone.onended = () => void context.close();
  }
}
