/**
 * The outputs of a job while they arrive: folders, sizes, where each is, and a look at one.
 */
import { button, el, fill, keepFocus, say, switchOff } from "./dom.js";
import { preview } from "./preview.js";
import { plural, size, span } from "./words.js";

const WHERE = {
  worker: ["○", "on worker"],
  arriving: ["◔", "arriving"],
  here: ["✓", "here"],
  failed: ["✗", "failed"],
};
/** So many rows are in the page; a filter finds the others. */
const MOST_ROWS = 300;
const PAGE = 1000;
const MOST_LISTED = 5000;

/** A browser of a job's outputs. */
export class Files {
  /** @param {import("./actions.js").Actions} actions @param {(text: string) => void} complain */
  constructor(actions, complain) {
    this.actions = actions;
    this.complain = complain;
    this.folder = "";
    this.open = "";
    this.all = null;
    this.isOpen = false;
    this.timer = 0;
    this.path = null;
    /** @type {Map<string, HTMLElement>} the links that were asked for */
    this.downloads = new Map();
    this.crumbs = el("nav", { class: "chutes-crumbs", "aria-label": "Folder" });
    this.filter = /** @type {HTMLInputElement} */ (el("input", {
      type: "search", class: "chutes-search", placeholder: "Filter", "aria-label": "Filter files",
      oninput: () => this.paint(),
    }));
    this.where = el("span", { class: "chutes-acts" });
    this.rows = el("tbody", {});
    this.look = el("div", { class: "chutes-look" });
    this.look.hidden = true;
    this.empty = el("div", { class: "chutes-empty" }, "No files yet: what the job writes to its output folder comes here.");
    this.table = el("table", { class: "chutes-table chutes-files" },
      el("caption", { class: "chutes-hidden" }, "Files"), this.rows);
    this.element = el("div", { class: "chutes-pane", tabindex: -1 },
      el("div", { class: "chutes-over" }, this.crumbs, this.where, this.filter), this.empty, this.table, this.look);
  }

  /** Show the files as they are. */
  show(files) {
    this.files = files;
    this.empty.hidden = files.count > 0;
    this.filter.hidden = files.count < 12;
    this.paint();
    if (!this.isOpen || this.timer) return;
    // Soon, and once for all that changes until then.
    this.timer = setTimeout(() => {
      this.timer = 0;
      if (this.isOpen) void this.bring();
    }, 1500);
  }

  /** The tab was opened, or closed. */
  turned(open) {
    this.isOpen = open;
    if (!open) return;
    void this.findFolder();
    void this.bring();
  }

  /** Bring what the panel does not have by itself: all files, and how far each of them is. */
  async bring() {
    const server = await this.actions.server;
    if (!this.files?.count || (!server && this.files.count <= this.files.entries.length)) return;
    try {
      const all = [];
      do {
        const page = await this.actions.files({ offset: all.length, limit: PAGE });
        all.push(...page.files);
        if (page.files.length < PAGE) break;
      } while (all.length < MOST_LISTED);
      this.all = all;
      this.paint();
    } catch (error) {
      if (error.code !== "no_kernel") this.complain(error.message);
    }
  }

  /** Ask, once, how Lab's file browser calls the folder. */
  async findFolder() {
    const server = await this.actions.server;
    if (!server || this.path !== null || !this.files?.count) return;
    try {
      this.path = (await this.actions.files({ limit: 1 })).output_path ?? "";
    } catch {
      return; // only a shortcut is missing then
    }
    if (!this.path) return;
    // Lab's own way for a page to name a command; elsewhere it is a link to the folder.
    this.where.replaceChildren(el("a", {
      class: "chutes-button", href: `${server.base}tree/${this.path.split("/").map(encodeURIComponent).join("/")}`,
      target: "_blank", title: `Show ${this.path} in the file browser`,
      dataset: {
        commandlinkerCommand: "filebrowser:go-to-path",
        commandlinkerArgs: JSON.stringify({ path: this.path }),
      },
    }, "Open folder"));
  }

  paint() {
    keepFocus(this.element, () => this.paintAll());
  }

  paintAll() {
    const entries = this.all ?? this.files?.entries ?? [];
    const words = this.filter.value.toLowerCase();
    this.paintCrumbs();
    const rows = words ? entries.filter((each) => each.path.toLowerCase().includes(words)).map((each) => this.fileRow(each, each.path))
      : this.inFolder(entries);
    const shown = rows.slice(0, MOST_ROWS);
    const hidden = rows.length - shown.length + (this.all || words ? 0 : Math.max(0, (this.files?.count ?? 0) - entries.length));
    if (hidden > 0) {
      shown.push({ key: "", look: hidden, make: () => el("tr", {},
        el("td", { colspan: 5, class: "chutes-muted" }, `and ${hidden.toLocaleString("en")} more`)) });
    }
    fill(this.rows, shown);
  }

  inFolder(entries) {
    const start = this.folder ? `${this.folder}/` : "";
    const folders = new Map();
    const files = [];
    for (const entry of entries) {
      if (!entry.path.startsWith(start)) continue;
      const rest = entry.path.slice(start.length);
      const slash = rest.indexOf("/");
      if (slash < 0) files.push(this.fileRow(entry, rest));
      else {
        const name = rest.slice(0, slash);
        const sum = folders.get(name) ?? { count: 0, size: 0 };
        sum.count += 1;
        sum.size += entry.size;
        folders.set(name, sum);
      }
    }
    return [...[...folders].sort(([a], [b]) => a.localeCompare(b)).map(([name, sum]) => this.folderRow(start + name, name, sum)), ...files];
  }

  paintCrumbs() {
    const { count, bytes, here, folder } = this.files;
    const parts = this.folder ? this.folder.split("/") : [];
    const go = (path) => button(path ? path.split("/").pop() : "all files", `Go to ${path || "all files"}`, () => {
      this.folder = path;
      this.paint();
    }, "chutes-link");
    const total = `${plural(count, "file")}, ${size(bytes)}${here < count ? `, ${here.toLocaleString("en")} here` : ""}`;
    if (!parts.length) {
      this.crumbs.replaceChildren(el("span", { class: "chutes-muted", title: folder }, count ? total : ""),
        el("span", { class: "chutes-muted chutes-in", title: folder }, folder ? ` · ${folder}` : ""));
      return;
    }
    this.crumbs.replaceChildren(go(""), ...parts.flatMap((_, i) => [" / ",
      i === parts.length - 1 ? parts[i] : go(parts.slice(0, i + 1).join("/"))]));
  }

  folderRow(path, name, sum) {
    return { key: `${path}/`, look: sum, make: () => this.drawFolder(path, name, sum) };
  }

  /** Return a row that is drawn anew where anything in it has changed. */
  fileRow(entry, name) {
    const age = entry.modified ? `${span(Date.now() / 1000 - entry.modified)} ago` : "";
    const { path, size: bytes, state, arrived } = entry;
    const look = [name, bytes, state, arrived, age, path === this.open];
    return { key: path, look, make: () => this.row(entry, name, age) };
  }

  drawFolder(path, name, sum) {
    return el("tr", {},
      el("td", { class: "chutes-path" }, button(`${name}/`, `Open the folder ${name}`, () => {
        this.folder = path;
        this.paint();
      }, "chutes-link")),
      el("td", { class: "chutes-number" }, size(sum.size)),
      el("td", { class: "chutes-muted" }, plural(sum.count, "file")), el("td", {}), el("td", {}));
  }

  row(entry, name, age) {
    const [sign, word] = WHERE[entry.state] ?? ["·", entry.state];
    const part = entry.state === "arriving" && entry.size && entry.arrived
      ? ` ${Math.floor((100 * entry.arrived) / entry.size)} %` : "";
    const acts = el("td", { class: "chutes-acts" });
    if (entry.state !== "here") acts.append(this.fetchButton(entry));
    void this.addDownload(acts, entry);
    return el("tr", { dataset: { state: entry.state, open: String(entry.path === this.open) } },
      el("td", { class: "chutes-path" }, button(name, `Look at ${entry.path}`, () => this.toggle(entry), "chutes-link")),
      el("td", { class: "chutes-number" }, size(entry.size)),
      el("td", { class: "chutes-muted" }, age),
      el("td", { class: "chutes-muted chutes-state-cell" }, el("span", { class: "chutes-sign", "aria-hidden": "true" }, sign), ` ${word}${part}`),
      acts);
  }

  fetchButton(entry) {
    const made = button("Fetch", `Bring ${entry.path} here now`, async () => {
      switchOff(made, true);
      say(made, "Fetching…");
      try {
        const answer = await this.actions.fetch(entry.path, () => say(made, "After this cell"));
        const problem = answer?.files?.find((each) => each.problem)?.problem;
        if (problem) this.complain(problem.message);
        entry.state = answer?.files?.[0]?.here ? "here" : entry.state;
      } catch (error) {
        this.complain(error.message);
      }
      say(made, "Fetch");
      switchOff(made, false);
      this.paint();
    });
    return made;
  }

  async addDownload(cell, entry) {
    const known = this.downloads.get(entry.path);
    if (known) {
      cell.append(known);
      return;
    }
    const address = await this.actions.address("/files/content", { path: entry.path, download: true });
    if (!address) return;
    const link = el("a", { class: "chutes-button", href: address, download: entry.path.split("/").pop(),
      title: `Download ${entry.path}`, "aria-label": `Download ${entry.path}` }, "Download");
    this.downloads.set(entry.path, link);
    cell.append(link);
  }

  async toggle(entry) {
    if (this.open === entry.path) {
      this.close();
      return;
    }
    this.open = entry.path;
    this.paint();
    this.look.hidden = false;
    const close = button("Close", "Close the preview", () => this.close());
    const body = el("div", {}, el("div", { class: "chutes-empty" }, "Looking…"));
    this.look.replaceChildren(el("div", { class: "chutes-caption" }, el("span", { class: "chutes-path" }, entry.path), close), body);
    try {
      const found = await this.actions.preview(entry.path);
      const server = await this.actions.server;
      if (this.open === entry.path) body.replaceChildren(preview(found, server?.base ?? ""));
    } catch (error) {
      body.replaceChildren(el("div", { class: "chutes-empty" }, error.message));
    }
    this.look.scrollIntoView({ block: "nearest" });
  }

  close() {
    const name = `Look at ${this.open}`;
    const inside = this.look.contains(document.activeElement);
    this.open = "";
    this.look.hidden = true;
    this.look.replaceChildren();
    this.paint();
    if (!inside) return;
    const made = [...this.rows.querySelectorAll("button")].find((each) => each.getAttribute("aria-label") === name);
    (made ?? this.element).focus({ preventScroll: true });
  }
}
