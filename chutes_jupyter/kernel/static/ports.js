/** The ports of a job: where each can be opened from here, or why it can't. */
import { button, copyButton, el, fill, keepFocus, switchOff } from "./dom.js";

const WEB = /^https?:\/\//;

/** The list of ports, and the way in by ssh. */
export class Ports {
  /** @param {import("./actions.js").Actions} actions @param {(text: string) => void} complain */
  constructor(actions, complain) {
    this.actions = actions;
    this.complain = complain;
    this.rows = el("tbody", {});
    this.door = el("div", { class: "chutes-door" });
    this.element = el("div", { class: "chutes-pane chutes-ports" },
      el("table", { class: "chutes-table" }, el("caption", { class: "chutes-hidden" }, "Ports"), this.rows), this.door);
  }

  /** Show the ports as they are. */
  show(ports, undeclared, job) {
    const offers = job.over ? [] : undeclared;
    fill(this.rows, [
      ...ports.map((port) => ({ key: port.name, look: port, make: () => this.row(port) })),
      ...offers.map((port) => ({ key: `offer ${port}`, look: port, make: () => this.offer(port) })),
    ]);
    if (job.ssh && !job.over && !this.door.firstChild) this.showDoor();
    if (job.over && this.door.firstChild) this.door.replaceChildren();
  }

  row(port) {
    const sign = port.over ? "■" : port.ready ? "●" : "◌";
    const word = port.over ? "closed" : port.ready ? "ready" : "waits for the job's server";
    const where = el("td", { class: "chutes-wide" });
    if (WEB.test(port.url)) {
      where.append(el("a", { href: port.url, target: "_blank", rel: "noopener noreferrer" }, port.url));
    } else if (port.url) where.append(el("code", {}, port.url));
    if (port.notice) where.append(el("span", { class: "chutes-muted" }, ` ${port.notice}`));
    const act = el("td", { class: "chutes-acts" });
    if (port.url) act.append(copyButton(`Copy the address of ${port.name}`, () => port.url));
    if (port.proto === "http" && !port.over) this.offerTab(act, port);
    return el("tr", { dataset: { ready: String(port.ready && !port.over) } },
      el("th", { scope: "row" }, port.name),
      // Of one that was not declared the name is its number.
      el("td", { class: "chutes-muted" }, port.name === String(port.port) ? port.proto : `${port.port}/${port.proto}`),
      el("td", { class: "chutes-ready" }, el("span", { class: "chutes-sign", "aria-hidden": "true" }, sign), ` ${word}`),
      where, act);
  }

  /** A port that the job listens on and did not declare: opened only if somebody wants that. */
  offer(port) {
    return el("tr", { class: "chutes-offer" },
      el("th", { scope: "row" }, String(port)),
      el("td", { class: "chutes-muted chutes-wide", colspan: "3" }, "answers; show it?"),
      el("td", { class: "chutes-acts" }, button("Show", `Show port ${port}, which the job did not declare`, async () => {
        const server = await this.actions.server;
        if (server) this.openPage(String(port), () => this.actions.show(port));
        else this.actions.show(port).catch((error) => this.complain(error.message));
      })));
  }

  async offerTab(cell, port) {
    const server = await this.actions.server;
    if (!server) return;
    cell.append(button("Open", `Open ${port.name} in a tab of this Jupyter`, () => this.openPage(port.name)));
  }

  /** Open the page of a port, once something was done for that. */
  async openPage(port, first = async () => {}) {
    // Opened at once: a browser lets nobody open one later.
    const page = window.open("", "_blank");
    try {
      await first();
      const found = await this.actions.tab(port);
      if (page) {
        page.opener = null;
        page.location.href = found.url;
      }
    } catch (error) {
      page?.close();
      this.complain(error.message);
    }
  }

  showDoor() {
    const line = el("code", { class: "chutes-command" });
    const open = button("SSH command", "Show the command that opens a shell in the job", async () => {
      switchOff(open, true);
      try {
        const { command } = await this.actions.ssh(() => { open.textContent = "After this cell"; });
        line.textContent = command;
        keepFocus(this.door, () => {
          this.door.replaceChildren(line, copyButton("Copy the ssh command", () => command));
        });
      } catch (error) {
        this.complain(error.message);
        switchOff(open, false);
        open.textContent = "SSH command";
      }
    });
    this.door.replaceChildren(open);
  }
}
