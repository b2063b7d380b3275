"""What a job displays, in a browser: shown, and kept in its frame whatever it tries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import FrameLocator, Page, expect

pytestmark = pytest.mark.slow
SOON = 30_000
SHOW = """async (html) => {
  const { Results } = await import("/results.js");
  const results = new Results();
  document.getElementById("place").append(results.element);
  results.display({ number: 1, data: { "text/html": html } });
}"""


class Thief:
    """A server that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        thief = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                thief.asked.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"evil")

            do_POST = do_GET  # noqa: N815 - the name that the library looks for

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[Thief]:
        """Answer until this is left."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@pytest.fixture
def thief() -> Iterator[Thief]:
    with Thief().serving() as found:
        yield found


@pytest.fixture
def page(modules: Page) -> Page:
    modules.evaluate("document.cookie = 'secret=of-the-page'")
    return modules


def shown(page: Page, html: str) -> FrameLocator:
    """Display that, and return the frame that it is in."""
    page.evaluate(SHOW, html)
    return page.frame_locator("iframe").frame_locator("iframe")


def test_html_is_shown_with_its_scripts_and_styles_as_high_as_it_is(page: Page):
    frame = shown(
        page,
        '<p title="a &quot;quoted&quot; one" style="height: 300px">5 &lt; 6 &amp; 7</p>'
        "<script>document.body.append('ran')</script>",
    )
    expect(frame.get_by_title('a "quoted" one')).to_have_text("5 < 6 & 7")
    expect(frame.locator("body")).to_contain_text("ran")
    page.wait_for_function("parseInt(document.querySelector('iframe').style.height) > 300")


@pytest.mark.parametrize(
    "html",
    [
        "<script>location.href = 'URL/script'</script>",
        "<meta http-equiv=refresh content='0;url=URL/refresh'>",
        "<a id=link href='URL/link'>x</a><script>link.click()</script>",
    ],
)
def test_a_display_goes_nowhere(page: Page, thief: Thief, html: str):
    # A policy forbids a page to fetch, not to leave: that asks a server, too, and shows its page.
    before = page.url
    shown(page, html.replace("URL", thief.url))
    # What was refused is a page of the browser's own.
    while not any(frame.url.startswith("chrome-error:") for frame in page.frames):
        assert not thief.asked
        page.wait_for_event("framenavigated", timeout=SOON)
    assert thief.asked == []
    assert page.url == before


TRIES = """<body><script>
const said = (name) => document.body.append(` ${name}: refused;`);
document.addEventListener("securitypolicyviolation", (event) => {
  said(event.blockedURI);
  said(event.effectiveDirective);
});
const attempt = (name, act) => { try { act(); } catch { said(name); } };
attempt("parent", () => parent.document.body);
attempt("top", () => top.document.cookie);
attempt("cookie", () => document.cookie);
attempt("storage", () => localStorage.length);
attempt("leave", () => { top.location = "URL/top"; });
attempt("window", () => { if (!open("URL/window")) throw new Error(); });
fetch("URL/fetch").catch(() => said("fetch"));
new Image().src = "URL/image";
navigator.sendBeacon("URL/beacon", "x");
attempt("socket", () => new WebSocket("URL/socket".replace("http", "ws")));
for (const [tag, name] of [["script", "src"], ["iframe", "src"], ["object", "data"]]) {
  document.body.append(Object.assign(document.createElement(tag), { [name]: `URL/${tag}` }));
}
const style = { rel: "stylesheet", href: "URL/style" };
document.head.append(Object.assign(document.createElement("link"), style));
</script>"""


def test_a_display_reaches_neither_the_page_nor_a_server(page: Page, thief: Thief):
    before = page.url
    body = shown(page, TRIES.replace("URL", thief.url)).locator("body")
    elsewhere = ("parent", "top", "cookie", "storage", "leave", "window", "fetch")
    for name in (*elsewhere, "frame-src", "object-src"):
        expect(body).to_contain_text(f"{name}: refused", timeout=SOON)
    socket = thief.url.replace("http", "ws")
    for name in ("image", "beacon", "script", "style"):
        expect(body).to_contain_text(f"{thief.url}/{name}: refused", timeout=SOON)
    expect(body).to_contain_text(f"{socket}/socket: refused", timeout=SOON)
    assert thief.asked == []
    assert page.url == before
    assert len(page.context.pages) == 1
