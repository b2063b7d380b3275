"""The front end's modules in a browser's page, each as the file that it is."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import Page

from chutes_jupyter.kernel import frontend
from tests.kernel.lab import browser_page


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        page = (
            b"<!doctype html><meta charset=utf-8><link rel=stylesheet href=/panel.css>"
            b"<div id=place class=chutes-panel style='width: 900px'></div>"
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


@contextlib.contextmanager
def module_page(**options: int) -> Iterator[Page]:
    """Open a page that can import the modules by their names: ``/log.js``."""
    handler = functools.partial(_Quiet, directory=str(frontend.STATIC))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with browser_page(**options) as page:
            page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
            yield page
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


#: Makes a log in the page: `window.view`, and `window.print(text, stream)`.
LOG = """async () => {
  const { LogView } = await import("/log.js");
  window.view = new LogView({ load: (begin) => { window.asked = begin; }, save: () => {} });
  document.getElementById("place").append(view.tools, view.element);
  let end = 0;
  window.print = (text, stream = 1, more = {}) => {
    const bytes = new TextEncoder().encode(text);
    view.push({ begin: end, end: end + bytes.length, runs: [[0, stream]], ...more }, bytes);
    end += bytes.length;
  };
  const next = () => new Promise((done) => requestAnimationFrame(done));
  window.painted = async () => {
    await next();
    do await next(); while (view.frame || view.beat);
  };
}"""
