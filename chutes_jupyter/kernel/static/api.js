/**
 * The API of our server extension, for a page that this Jupyter server has served.
 *
 * It answers while the kernel is busy or dead. Elsewhere (VS Code, Colab, a server without the
 * extension) there is none, and `findServer` says so.
 */

/** What the API or the kernel says when something did not work. */
export class Problem extends Error {
  /** @param {{message?: string, hint?: string, code?: string}} said @param {number} [status] */
  constructor(said, status = 0) {
    super(said.message || "It did not work.");
    this.hint = said.hint ?? "";
    this.code = said.code ?? "";
    this.status = status;
  }
}

/** Requests to the server extension. */
export class Server {
  /** @param {string} base the server's base URL, ending with a slash @param {string} token */
  constructor(base, token) {
    this.base = base;
    this.root = `${base}chutes/api/v1`;
    this.token = token;
  }

  /**
   * Ask, and return what is answered.
   *
   * @param {string} method
   * @param {string} path below the API's root
   * @param {{query?: Record<string, any>, body?: any, signal?: AbortSignal}} [more]
   * @returns {Promise<any>}
   * @throws {Problem} if it did not work
   */
  async ask(method, path, { query = {}, body, signal } = {}) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "application/json" };
    if (this.token) headers.Authorization = `token ${this.token}`;
    const xsrf = cookie("_xsrf");
    if (xsrf) headers["X-XSRFToken"] = xsrf;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let answer;
    try {
      answer = await fetch(this.url(path, query), {
        method, headers, signal, credentials: "same-origin",
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem({ message: "The Jupyter server does not answer.", code: "unreachable" });
    }
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({ message: answer.statusText }));
      throw new Problem(said, answer.status);
    }
    return answer.status === 204 ? null : answer.json();
  }

  /** Return the address of something below the API's root. */
  url(path, query = {}) {
    const words = new URLSearchParams(
      Object.entries(query).filter(([, value]) => value !== undefined && value !== null)
        .map(([name, value]) => [name, String(value)]));
    const text = words.toString();
    return `${this.root}${path}${text ? `?${text}` : ""}`;
  }
}

/**
 * Return the server extension, or null where there is none.
 *
 * @param {Document} [page]
 * @returns {Promise<Server|null>}
 */
export async function findServer(page = document) {
  const told = page.getElementById("jupyter-config-data");
  if (!told) return null;
  let config;
  try {
    config = JSON.parse(told.textContent ?? "");
  } catch {
    return null;
  }
  if (typeof config.baseUrl !== "string") return null;
  const base = config.baseUrl.endsWith("/") ? config.baseUrl : `${config.baseUrl}/`;
  const server = new Server(base, config.token ?? "");
  try {
    const about = await server.ask("GET", "/about");
    return about?.api === 1 ? server : null;
  } catch (error) {
    // A server that is away for a moment is still there: what was asked of it will say so.
    return error instanceof Problem && error.code === "unreachable" ? server : null;
  }
}

function cookie(name) {
  const found = document.cookie.split("; ").find((each) => each.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}
