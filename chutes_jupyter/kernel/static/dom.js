/**
 * What all parts share that make elements.
 *
 * What comes from a worker goes into a page as text alone: `el` sets `textContent`, attributes
 * and listeners, and there is no way to give it HTML.
 */

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `class`, `on…` listeners, `dataset`, properties
 *   written with a leading dot, and plain attributes; null and false leave one out.
 * @param {...(Node|string|number|null|undefined)} children texts stay texts
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) made[name.slice(1)] = value;
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((each) => each !== null && each !== undefined).map((each) =>
    each instanceof Node ? each : String(each)));
  return made;
}

/**
 * Make an element of SVG.
 *
 * @param {string} tag
 * @param {Record<string, string|number>} [attributes]
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/**
 * Set a text only where it differs, so that a selection in it stays.
 *
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Make a small button.
 *
 * @param {string} text what is on it
 * @param {string} title what it does, in words
 * @param {() => void} act
 * @param {string} [kind] one more class
 * @returns {HTMLButtonElement}
 */
export function button(text, title, act, kind = "") {
  const made = /** @type {HTMLButtonElement} */ (el("button", {
    type: "button", class: `chutes-button ${kind}`, title, "aria-label": title,
    onclick: () => { if (!isOff(made)) act(); },
  }, text));
  return made;
}

/**
 * Switch a button off, or on again. It keeps the focus: a person at the keyboard would otherwise
 * find themselves at the top of the page.
 *
 * @param {Element} made
 * @param {boolean} off
 */
export function switchOff(made, off) {
  if (off) made.setAttribute("aria-disabled", "true");
  else made.removeAttribute("aria-disabled");
}

/** Return whether a button is off. */
export function isOff(made) {
  return made.getAttribute("aria-disabled") === "true";
}

/** What the keyboard can reach. */
const CONTROLS = "a[href], button, input, select, summary, [tabindex]";

function controls(parent) {
  return [...parent.querySelectorAll(CONTROLS)].filter((each) => each.checkVisibility());
}

function nameOf(element) {
  return element.getAttribute("aria-label") ?? element.textContent;
}

/**
 * Change what is in an element, and leave the focus where it was: on the control of the same
 * name, else on one near its place.
 *
 * @param {HTMLElement} parent
 * @param {() => void} change
 */
export function keepFocus(parent, change) {
  const page = /** @type {Document|ShadowRoot} */ (parent.getRootNode());
  const active = page.activeElement;
  if (!active || active === parent || !parent.contains(active)) {
    change();
    return;
  }
  const name = nameOf(active);
  const place = controls(parent).indexOf(active);
  change();
  if (page.activeElement === active && active.checkVisibility()) return;
  const left = controls(parent);
  const next = left.find((each) => nameOf(each) === name) ?? left[Math.min(place, left.length - 1)];
  if (!next) parent.tabIndex = -1;
  (next ?? parent).focus({ preventScroll: true });
}

/** For each element that `fill` has filled, what stands in it. */
const filled = new WeakMap();

/**
 * Fill an element with rows, of which only those are made that look other than before.
 *
 * @param {HTMLElement} parent
 * @param {{key: string, look: any, make: () => HTMLElement}[]} rows `key`: what it is of; `look`:
 *   what it shows
 */
export function fill(parent, rows) {
  const before = filled.get(parent) ?? new Map();
  const now = new Map();
  for (const { key, look, make } of rows) {
    const shown = JSON.stringify(look);
    const old = before.get(key);
    now.set(key, old?.shown === shown ? old : { shown, make });
  }
  keepFocus(parent, () => {
    for (const [key, old] of before) if (now.get(key) !== old) old.element.remove();
    let place = parent.firstElementChild;
    for (const row of now.values()) {
      row.element ??= row.make();
      if (row.element === place) place = place.nextElementSibling;
      else parent.insertBefore(row.element, place);
    }
  });
  filled.set(parent, now);
}

/**
 * Keep single keys from Lab's commands (d d deletes a cell) while something in an element has the
 * focus; Ctrl+S and the like are Lab's. Lab listens at the document, after the window. What has
 * the focus must carry the mark itself: some of Lab's commands are for it, whatever it is, and
 * those are found before a mark above it.
 *
 * @param {Element} element
 * @returns {() => void} what ends it
 */
export function keepKeys(element) {
  const onKey = (event) => {
    if (!element.contains(event.target)) return;
    const single = !event.ctrlKey && !event.metaKey && !event.altKey;
    event.target.toggleAttribute("data-lm-suppress-shortcuts", single);
  };
  window.addEventListener("keydown", onKey, true);
  return () => window.removeEventListener("keydown", onKey, true);
}

/**
 * Put a text on the clipboard, also where the page has no right to the newer way.
 *
 * @param {string} text
 * @returns {Promise<boolean>} whether it is there
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = /** @type {HTMLTextAreaElement} */ (el("textarea", { ".value": text }));
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * Make a button that copies a text, and says for a moment that it did.
 *
 * @param {string} title what is copied, in words
 * @param {() => string} text
 * @returns {HTMLButtonElement}
 */
export function copyButton(title, text) {
  const made = button("Copy", title, async () => {
    const done = await copy(text());
    made.textContent = done ? "Copied" : "Not copied";
    setTimeout(() => { made.textContent = "Copy"; }, 1500);
  });
  return made;
}

/**
 * Let the browser save bytes or a text as a file.
 *
 * @param {BlobPart} content
 * @param {string} name
 */
export function saveAs(content, name) {
  const url = URL.createObjectURL(new Blob([content]));
  const link = /** @type {HTMLAnchorElement} */ (el("a", { href: url, download: name }));
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
