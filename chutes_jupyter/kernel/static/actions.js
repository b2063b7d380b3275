/**
 * What a person can do with a job: by the server extension where it is, else by the kernel.
 *
 * The server answers while the kernel is busy or dead. The kernel answers as soon as it can:
 * at once where front ends have subshells, else when its cell ends, and who asked is told that.
 */
import { findServer, Problem } from "./api.js";

/** After so many milliseconds without a word, a kernel is busy. */
const BUSY_AFTER = 1200;

/** The actions on one job. */
export class Actions {
  /**
   * @param {string} job its id
   * @param {(message: any) => void} send to the kernel
   * @param {() => boolean} connected whether the kernel is there
   */
  constructor(job, send, connected) {
    this.job = job;
    this.send = send;
    this.connected = connected;
    /** @type {Map<number, {resolve: Function, reject: Function, heard: Function}>} */
    this.waiting = new Map();
    this.number = 0;
    /** @type {Promise<import("./api.js").Server|null>} */
    this.server = findServer();
  }

  /** Take the kernel's word: that it has heard, or what came of it. */
  answered(message) {
    const found = this.waiting.get(message.re);
    if (!found) return;
    if (message.heard) {
      found.heard();
      return;
    }
    this.waiting.delete(message.re);
    if (message.problem) found.reject(new Problem(message.problem));
    else found.resolve(message.body);
  }

  /** Tell all who wait for the kernel that it is gone. */
  lost() {
    for (const each of this.waiting.values()) {
      each.reject(new Problem({ message: "The kernel is gone.", code: "no_kernel" }));
    }
    this.waiting.clear();
  }

  /**
   * Ask the kernel.
   *
   * @param {string} act
   * @param {any} [about]
   * @param {() => void} [busy] called if it does not hear at once
   * @returns {Promise<any>}
   */
  kernel(act, about = {}, busy = () => {}) {
    if (!this.connected()) {
      return Promise.reject(new Problem({ message: "The kernel is gone.", code: "no_kernel" }));
    }
    this.number += 1;
    const number = this.number;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(busy, BUSY_AFTER);
      const heard = () => clearTimeout(timer);
      const settled = (settle) => (value) => {
        heard();
        settle(value);
      };
      this.waiting.set(number, { resolve: settled(resolve), reject: settled(reject), heard });
      this.send({ do: act, id: number, ...about });
    });
  }

  /**
   * Ask the server extension, or the kernel where there is none.
   *
   * @param {[string, string, object?]} request method, path below the job, query and body
   * @param {[string, object?]} instead act and what about, for the kernel
   * @param {() => void} [busy]
   */
  async either([method, path, more], [act, about], busy) {
    const server = await this.server;
    if (server) {
      try {
        return await server.ask(method, `/jobs/${this.job}${path}`, more);
      } catch (error) {
        // The server may know less than the kernel, such as a worker of another folder.
        if (error.code !== "unreachable" || !this.connected()) throw error;
      }
    }
    return this.kernel(act, about, busy);
  }

  /** Cancel the job; `busy` is called where that waits for a cell. */
  cancel(busy) {
    return this.either(["POST", "/cancel", { body: { wait: 5 } }], ["cancel"], busy);
  }

  /** Return a page of the job's files. */
  files(query) {
    return this.either(["GET", "/files", { query }], ["files", query]);
  }

  /** Return a look at a file. */
  preview(path) {
    return this.either(["GET", "/files/preview", { query: { path } }], ["preview", { path }]);
  }

  /** Bring a file here now. */
  fetch(path, busy) {
    return this.either(["POST", "/files/fetch", { body: { paths: [path] } }], ["fetch", { path }], busy);
  }

  /** Return how the job's ports are. */
  ports() {
    return this.either(["GET", "/ports"], ["ports"]);
  }

  /**
   * Have a port shown that the job did not declare: by the kernel, whose list then has it with its
   * address, and by the server, whose tabs can then open it.
   *
   * @returns {Promise<any>} what can show its page has done so
   */
  async show(port) {
    const server = await this.server;
    const here = this.connected() ? this.kernel("show", { port }) : null;
    if (!server) return here ?? this.kernel("show", { port });
    here?.catch(() => {}); // a kernel that is busy or gone has no say in a tab
    return server.ask("POST", `/jobs/${this.job}/ports/${port}/show`, {});
  }

  /** Return the command that opens a shell in the job. */
  ssh(busy) {
    return this.either(["POST", "/ssh"], ["ssh"], busy);
  }

  /** Return where a port can be opened in a tab; only the server can say. */
  async tab(port) {
    const server = await this.server;
    if (!server) return null;
    const path = `/jobs/${this.job}/ports/${encodeURIComponent(port)}/tab`;
    return server.ask("POST", path, { body: { browser_origin: location.origin } });
  }

  /** Return the address of something of the job on the server, or null without one. */
  async address(path, query) {
    const server = await this.server;
    return server ? server.url(`/jobs/${this.job}${path}`, query) : null;
  }
}
