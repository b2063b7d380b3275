/** A look at one output file: text, JSON, a table, a picture, a sound, a notebook. */
import { el } from "./dom.js";
import { size } from "./words.js";

/**
 * Return what shows a preview, as the API or the kernel describes it.
 *
 * @param {any} found
 * @param {string} base the server's base URL, for pictures and sounds
 * @returns {HTMLElement}
 */
export function preview(found, base) {
  const made = el("div", { class: "chutes-preview" }, shown(found, base));
  if (found.cut) made.append(el("div", { class: "chutes-muted" }, `Only the beginning of ${size(found.size)}.`));
  return made;
}

function shown(found, base) {
  if (found.kind === "empty") return el("div", { class: "chutes-empty" }, "The file is empty.");
  if (found.kind === "table" && found.table) return table(found.table);
  if (found.kind === "notebook" && found.notebook) return notebook(found.notebook);
  const source = found.data ? `data:${found.media};base64,${found.data}` : found.content ? base + found.content : "";
  if (found.kind === "image" && source) return el("img", { src: source, alt: found.path });
  if (found.kind === "audio" && source) return el("audio", { src: source, controls: true, "aria-label": found.path });
  if (found.text !== null && found.text !== undefined) return el("pre", { class: "chutes-value" }, found.text);
  return el("div", { class: "chutes-empty" }, `No preview of this kind of file (${size(found.size)}).`);
}

function table([head = [], ...rows]) {
  return el("div", { class: "chutes-scroll" }, el("table", { class: "chutes-grid" },
    el("thead", {}, el("tr", {}, ...head.map((each) => el("th", { scope: "col" }, each)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((each) => el("td", {}, each)))))));
}

function notebook(cells) {
  return el("div", {}, ...cells.map((cell) => el("div", { class: "chutes-cell" },
    el("pre", { class: `chutes-value chutes-${cell.kind === "code" ? "code" : "prose"}` }, cell.source),
    ...cell.outputs.map((text) => el("pre", { class: "chutes-value chutes-muted" }, text)))));
}
