"""What a tab answers: the gate first, then a page of ours or the app."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler, stream_request_body

from chutes_jupyter.server.tabs import gate, pages, websocket
from chutes_jupyter.server.tabs.headers import COOKIE, Asked, OriginRules, PathRules, cookie, within
from chutes_jupyter.server.tabs.proxy import Exchange, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.server.tabs.backend import Backend
    from chutes_jupyter.server.tabs.gate import Tickets
    from chutes_jupyter.server.tabs.labels import Labels, Tab
    from chutes_jupyter.server.tabs.proxy import Rules

_log = logging.getLogger(__name__)

#: Ours, on the host of every tab.
OWN = "/__chutes__/"
ENTER, PROBE = f"{OWN}enter/", f"{OWN}probe"
_DAV = ("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH")
_SANDBOX = "sandbox allow-scripts allow-forms allow-downloads"


@stream_request_body
class TabHandler(RequestHandler):
    """A request to a tab; the two kinds of tabs differ in who may come in, and in the rules."""

    SUPPORTED_METHODS = (*RequestHandler.SUPPORTED_METHODS, *_DAV)

    _exchange: Exchange | None = None
    _tab: Tab | None = None
    #: What we answer ourselves, once the request is read.
    _own_answer: str | None = None
    _read = False

    def initialize(
        self, labels: Labels, tickets: Tickets, is_secret: Callable[[str], bool], place: str
    ) -> None:
        """Take what all requests share; below `place` are the tabs that are paths."""
        self._labels, self._tickets, self._is_secret = labels, tickets, is_secret
        self._place = place

    # -- passing on -------------------------------------------------------------------

    @property
    def _navigation(self) -> bool:
        return gate.is_page(self.request.method or "", self.request.headers)

    def _asked(self, tab: Tab, target: str, scheme: str) -> Asked:
        port = tab.backend.port.port
        return Asked(target, self.request.host, scheme, port, self._navigation)

    async def _pass_on(self, backend: Backend, rules: Rules) -> None:
        if websocket.wanted(self.request.headers):
            try:
                await websocket.relay(self, backend.upstream, rules)
            except Unreachable:
                self._wait(backend)
        else:
            self._exchange = Exchange(self, backend.upstream, rules)

    async def data_received(self, chunk: bytes) -> None:
        """Pass a piece of the body on."""
        if self._exchange is not None:
            await self._exchange.take(chunk)

    async def _finish(self) -> None:
        self._read = True
        if self._exchange is not None and self._tab is not None:
            try:
                await self._exchange.finish()
            except Unreachable:
                self._tab.backend.look_again()
                self._wait(self._tab.backend)
        elif self._own_answer is not None:
            self.finish(self._own_answer or None)

    get = head = post = put = patch = delete = options = _finish
    propfind = proppatch = mkcol = copy = move = lock = unlock = report = search = _finish

    def on_connection_close(self) -> None:
        """Stop: the browser is gone."""
        if self._exchange is not None:
            self._exchange.cancel()

    # -- pages of our own -------------------------------------------------------------

    def _say(self, status: int, page: str) -> None:
        """Answer with a page of our own."""
        self._set_page(status)
        self._answer(page)

    def _set_page(self, status: int) -> None:
        self.set_status(status)
        self.add_header("Content-Security-Policy", pages.POLICY)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")

    def _answer(self, body: str = "") -> None:
        """Answer now, or once the request is read: before, that would end the connection."""
        headers = self.request.headers
        if self._read:
            self.finish(body or None)
        elif "Content-Length" in headers or "Transfer-Encoding" in headers:
            self.set_header("Connection", "close")  # nobody wants the rest
            self.finish(body or None)
        else:
            self._own_answer = body

    def _send_to(self, path: str, status: int = 302) -> None:
        self.set_status(status)
        self.set_header("Location", path)
        self._answer()

    def _wait(self, backend: Backend) -> None:
        """Say that the app does not answer yet, or any more."""
        if backend.over:
            self._say(410, pages.over())
            return
        self.set_header("Retry-After", "1")
        words = (backend.port.name, backend.label, backend.state, backend.trouble)
        self._say(503, pages.waiting(*words))

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Answer what went wrong with a page of our own."""
        self._set_page(status_code)
        self.finish(pages.failed(self._reason))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is not the request's fault; without its address, which is a secret."""
        if not isinstance(value, HTTPError):
            _log.error("a request to a tab failed", exc_info=(typ, value, tb))

    def _check_target(self) -> str:
        target = self.request.uri or ""
        if not target.startswith("/") or "#" in target:
            raise HTTPError(400, reason="Only paths can be asked for")
        return target


class OriginHandler(TabHandler):
    """A request to a host that is a tab's own."""

    def set_default_headers(self) -> None:
        """Protect every answer, errors included."""
        self.clear_header("Server")
        if self._tab is not None:
            # Without a tab there is only a page of ours, which says so wherever it is shown.
            allowed = " ".join(["frame-ancestors 'self'", *sorted(self._tab.openers)])
            self.set_header("Content-Security-Policy", allowed)
        self.set_header("X-Content-Type-Options", "nosniff")
        # To nginx and its like: what a job sends is passed on as it comes.
        self.set_header("X-Accel-Buffering", "no")
        self.set_header("Referrer-Policy", "same-origin")

    async def prepare(self) -> None:
        """Let the request in, or refuse it."""
        target = self._check_target()
        name = self.request.host_name.rstrip(".")
        tab = self._tab = self._labels.find(name)
        self.set_default_headers()  # now that it is known whose they are
        if tab is None:
            self._say(*((410, pages.over()) if self._labels.is_gone(name) else _nothing_here()))
        elif target.startswith(OWN):
            self._own(tab, urlsplit(target).path)
        elif why := self._why_not(tab):
            self._say(403, pages.refused(why))
        elif tab.backend.over or not tab.backend.ready:
            self._wait(tab.backend)
        elif target == "/" and self._navigation and (await tab.backend.look()).prefixed:
            # It was told the path that it has in Jupyter, and is there, not here.
            self._send_to(f"{tab.backend.prefix}/")
        else:
            asked = self._asked(tab, await self._as_app_knows(tab, target), tab.scheme)
            await self._pass_on(tab.backend, OriginRules(asked, self._is_secret))

    async def _as_app_knows(self, tab: Tab, target: str) -> str:
        """Return a path without the tab's other one, for apps that write it and are not there."""
        prefix = tab.backend.prefix
        if not within(target, prefix) or (await tab.backend.look()).prefixed:
            return target
        rest = target[len(prefix) :]
        return rest if rest.startswith("/") else f"/{rest}"

    def _why_not(self, tab: Tab) -> str:
        headers = self.request.headers
        return gate.why_not(
            headers,
            own=f"{tab.scheme}://{self.request.host}",
            key=tab.key,
            shown=cookie(headers, COOKIE),
            websocket=websocket.wanted(headers),
        )

    def _own(self, tab: Tab, path: str) -> None:
        if path == PROBE and self.request.method == "GET":
            self._answer_probe(tab)
        elif path.startswith(ENTER) and self.request.method == "GET":
            self._enter(tab, path[len(ENTER) :])
        else:
            self._say(*_nothing_here())

    def _answer_probe(self, tab: Tab) -> None:
        """Tell Jupyter's page that this host leads here; it says nothing that is not known."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Origin")
        if (origin := self.request.headers.get("Origin", "")) in tab.openers:
            self.set_header("Access-Control-Allow-Origin", origin)
        self.set_header("Content-Type", "application/json")
        self._answer('{"tab": true}')

    def _enter(self, tab: Tab, ticket: str) -> None:
        """Change a ticket for the key, and go on to the app."""
        good = self._tickets.redeem(ticket, tab.name) and self._navigation
        # A page that is loaded again has its key already.
        if not good and not gate.has_key(tab.key, cookie(self.request.headers, COOKIE)):
            self._say(403, pages.refused("its link was used before, or is too old"))
            return
        if good:
            # Not set_cookie: it knows no Partitioned before Python 3.14.
            line = f"{COOKIE}={tab.key}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
            self.add_header("Set-Cookie", line)
        self.set_header("Referrer-Policy", "no-referrer")
        self._say(200, pages.entered())


class PathHandler(TabHandler):
    """A request to a path of the Jupyter server that is a tab: the path is the key."""

    def set_default_headers(self) -> None:
        """Protect every answer, errors included."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", _SANDBOX)
        self.set_header("X-Content-Type-Options", "nosniff")
        # To nginx and its like: what a job sends is passed on as it comes.
        self.set_header("X-Accel-Buffering", "no")
        self.set_header("Referrer-Policy", "no-referrer")
        # Pages in the sandbox have the origin null; without credentials this says no more.
        self.set_header("Access-Control-Allow-Origin", "null")
        self.set_header("Access-Control-Expose-Headers", "*")

    async def prepare(self) -> None:
        """Let the request in, or refuse it."""
        target = self._check_target()
        headers = self.request.headers
        secret, slash, rest = _split(target[len(self._place) :])
        prefix = self._place + secret
        tab = self._tab = self._labels.find(prefix)
        is_socket = websocket.wanted(headers)
        if tab is None:
            self._say(*((410, pages.over()) if self._labels.is_gone(prefix) else _nothing_here()))
        elif why := gate.why_no_path(self.request.method or "", headers, websocket=is_socket):
            self._say(403, pages.refused(why))
        elif "Access-Control-Request-Method" in headers and self.request.method == "OPTIONS":
            self._allow()
        elif not slash:
            self._send_to(f"{prefix}/{rest}")
        elif tab.backend.over or not tab.backend.ready:
            self._wait(tab.backend)
        else:
            strip = not (await tab.backend.look()).prefixed
            asked = self._asked(tab, f"/{rest}" if strip else target, self._scheme(tab))
            await self._pass_on(tab.backend, PathRules(asked, prefix, strip))

    def _scheme(self, tab: Tab) -> str:
        """Return how the browser reached us, also where somebody else speaks TLS for us."""
        seen = f"https://{self.request.host}"
        return "https" if seen in tab.openers else self.request.protocol

    def _allow(self) -> None:
        """Let a page in the sandbox ask its own app anything: to browsers it is another site."""
        headers = self.request.headers
        for name in ("Method", "Headers"):
            if asked := headers.get(f"Access-Control-Request-{name}"):
                plural = "Methods" if name == "Method" else name
                self.set_header(f"Access-Control-Allow-{plural}", asked)
        self.set_status(204)
        self._answer()


def _split(rest: str) -> tuple[str, str, str]:
    """Return the secret of a path, the slash behind it if there is one, and what follows."""
    path, mark, query = rest.partition("?")
    secret, slash, below = path.partition("/")
    return secret, slash, below + mark + query


def _nothing_here() -> tuple[int, str]:
    return 404, pages.nothing()
