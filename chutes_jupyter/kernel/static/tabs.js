/** One thing at a time: a row of tabs, and the body of the one that is open. */
import { el, keepFocus, say } from "./dom.js";

let number = 0;

/** Tabs that fold: the open one closes when it is chosen again. */
export class Tabs {
  /** @param {(name: string) => void} changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {Map<string, {tab: HTMLElement, body: HTMLElement, extra: HTMLElement}>} */
    this.all = new Map();
    this.open = "";
    this.last = "";
    this.list = el("div", { class: "chutes-tabs", role: "tablist", "aria-label": "Parts of the job", onkeydown: (event) => this.key(event) });
    this.tools = el("div", { class: "chutes-aside" });
    this.bar = el("div", { class: "chutes-tabbar" }, this.list, this.tools);
    this.body = el("div", { class: "chutes-body" });
    this.body.hidden = true;
  }

  /**
   * Add a tab.
   *
   * @param {string} name
   * @param {string} text
   * @param {HTMLElement} content what the keyboard scrolls, unless it has a place of its own for that
   * @param {HTMLElement} [tools] what stands at the right while it is open
   */
  add(name, text, content, tools) {
    number += 1;
    const id = `chutes-tab-${number}`;
    const label = el("span", {}, text);
    const extra = el("span", { class: "chutes-extra" });
    const tab = el("button", {
      type: "button", role: "tab", id, "aria-controls": `${id}-body`, class: "chutes-tab",
      "aria-selected": "false", tabindex: -1, onclick: () => this.choose(name),
    }, label, " ", extra);
    const body = el("div", { role: "tabpanel", id: `${id}-body`, "aria-labelledby": id, class: "chutes-tabbody" }, content);
    body.hidden = true;
    this.list.append(tab);
    this.body.append(body);
    this.all.set(name, { tab, body, extra, label, tools, content });
    this.stop();
  }

  /** Say what a tab has, and whether it is there at all. */
  update(name, shown, words = "", picture = null) {
    const { tab, extra } = this.all.get(name);
    if (tab.hidden === shown) {
      keepFocus(this.list, () => { tab.hidden = !shown; });
      this.stop();
    }
    if (picture) extra.replaceChildren(words ? `${words} ` : "", picture);
    else say(extra, words);
    if (!shown && this.open === name) this.choose(name);
  }

  /** Rename a tab. */
  rename(name, text) {
    say(this.all.get(name).label, text);
  }

  /** Open a tab, or close it if it is open. */
  choose(name) {
    // What is below a panel does not jump when a shorter part is opened.
    const before = this.body.hidden ? 0 : this.body.offsetHeight;
    this.open = this.open === name ? "" : name;
    this.last = name;
    this.stop();
    for (const [each, { tab, body, tools }] of this.all) {
      const on = each === this.open;
      tab.setAttribute("aria-selected", String(on));
      body.hidden = !on;
      if (tools && on) this.tools.replaceChildren(tools);
    }
    if (!this.all.get(this.open)?.tools) this.tools.replaceChildren();
    this.body.hidden = !this.open;
    this.body.style.minHeight = this.open && before ? `${Math.min(before, 340)}px` : "";
    this.changed(this.open);
  }

  key(event) {
    const names = [...this.all].filter(([, { tab }]) => !tab.hidden).map(([name]) => name);
    const at = names.findIndex((name) => this.all.get(name).tab === document.activeElement
      || this.all.get(name).tab.getRootNode().activeElement === this.all.get(name).tab);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = this.all.get(names[(to + names.length) % names.length]).tab;
    this.stop(next);
    next.focus();
  }

  /** Let the Tab key stop at one tab: the open one, the last one that was, or the first. */
  stop(tab) {
    const there = (name) => this.all.has(name) && !this.all.get(name).tab.hidden;
    const at = [this.open, this.last, ...this.all.keys()].find(there);
    const stop = tab ?? this.all.get(at)?.tab;
    for (const each of this.all.values()) each.tab.tabIndex = each.tab === stop ? 0 : -1;
  }
}
