"""A stand-in for Jupyter with tabs in it, and an app behind a unix socket: no job, no browser."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from chutes_jupyter.models import Port
from chutes_jupyter.server.tabs.backend import Look
from chutes_jupyter.server.tabs.gate import Tickets
from chutes_jupyter.server.tabs.handlers import ENTER
from chutes_jupyter.server.tabs.labels import Labels, Tab
from chutes_jupyter.server.tabs.proxy import Upstream
from chutes_jupyter.server.tabs.router import add_routes

JUPYTER = "Jupyter itself"
TOKEN = "the-token-of-jupyter"
OPENER = "http://localhost:8888"
#: What a browser says with a page's own requests, and when it goes to a page.
FETCH = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
GO = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
#: The same within a tab.
GO_ON = {**GO, "Sec-Fetch-Site": "same-origin"}

PORT = Port("web", 8501, "http")

_numbers = itertools.count()


class Jupyter(RequestHandler):
    def get(self) -> None:
        self.write(JUPYTER)

    post = put = delete = get


@dataclass
class Backend:
    """What a backend shows to handlers."""

    upstream: Upstream
    prefix: str
    port: Port = PORT
    label: str = "train-3f9c2a"
    ready: bool = True
    over: bool = False
    state: str = "running"
    trouble: str = ""
    prefixed: bool = False
    looked_again: int = 0

    async def look(self) -> Look:
        return Look(self.prefixed)

    def look_again(self) -> None:
        self.looked_again += 1


@dataclass
class Reply:
    """An answer, as it came over the wire."""

    status: int
    reason: str
    headers: HTTPHeaders
    body: bytes
    whole: bool = True

    def all(self, name: str) -> list[str]:
        return self.headers.get_list(name)


@dataclass
class Stage:
    """Everything that runs, and how it is asked."""

    port: int
    labels: Labels
    tickets: Tickets
    backend: Backend
    base: str
    seen: list[web.Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tab = self.new_tab()
        self.path = self.labels.path(self.backend)

    def new_tab(self, backend: Backend | None = None) -> Tab:
        # A port has one tab below each domain.
        domain = "localhost" if backend is None else f"other{next(_numbers)}.localhost"
        tab = self.labels.host(backend or self.backend, "origin", domain, "http")
        tab.openers.add(OPENER)
        return tab

    @property
    def host(self) -> str:
        return f"{self.tab.name}:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    @property
    def key(self) -> str:
        return f"__Host-chutes-tab={self.tab.key}"

    def enter(self, ticket: str) -> str:
        return ENTER + ticket

    async def ask(
        self,
        target: str = "/",
        *,
        method: str = "GET",
        host: str | None = None,
        body: bytes | None = None,
        raw: bytes = b"",
        own: bool = True,
        **headers: str,
    ) -> Reply:
        """Ask over a socket, byte for byte; with `own` as the tab's page, with its key."""
        lines = {"Host": host or self.host}
        if own:
            lines |= {**FETCH, "Cookie": self.key}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        text = f"{method} {target} HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in lines.items()
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        try:
            writer.write(text.encode("latin-1") + raw + b"\r\n" + (body or b""))
            return await asyncio.wait_for(read_reply(reader, method), 30)
        finally:
            writer.close()

    async def at(self, rest: str = "/", **options: Any) -> Reply:
        """Ask the tab that is a path, as its page does."""
        options = {"own": False, "Origin": "null", **options}
        host = options.pop("host", f"localhost:{self.port}")
        return await self.ask(self.path.name + rest, host=host, **options)


async def read_reply(reader: asyncio.StreamReader, method: str = "GET") -> Reply:
    """Read one answer, whatever its length is told by."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, _, rest = head.partition("\r\n")
    _, status, *reason = first.split(" ", 2)
    headers = HTTPHeaders.parse(rest)
    reply = Reply(int(status), reason[0] if reason else "", headers, b"")
    if method == "HEAD" or reply.status in (101, 204, 304):
        return reply
    try:
        if "chunked" in headers.get("Transfer-Encoding", ""):
            while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
                reply.body += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            reply.body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        reply.body += getattr(error, "partial", b"")
        reply.whole = False
    return reply


@contextlib.asynccontextmanager
async def stage(
    folder: Path, app: Callable[[web.Request], Any], *, base: str = "/", domain: str = ""
) -> AsyncIterator[Stage]:
    """Run Jupyter's stand-in and an app: a function that answers requests."""
    path = folder / "app"
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        return await app(request)

    runner = web.ServerRunner(
        web.Server(answer, max_line_size=300_000, max_field_size=300_000), shutdown_timeout=0.1
    )
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    labels, tickets = Labels(), Tickets()
    jupyter = Application([(r".*", Jupyter)])
    # As Jupyter's own extensions do; it must not come before the tabs.
    jupyter.add_handlers(".*$", [(r".*", Jupyter)])
    place = f"{base}chutes/tab/"
    upstream = Upstream(str(path), 8501)
    shared = {
        "labels": labels,
        "tickets": tickets,
        "is_secret": lambda text: text == TOKEN,
        "place": place,
    }
    add_routes(jupyter, domain, ["localhost", "lab.localhost"], shared)
    server = HTTPServer(jupyter, max_body_size=1024 * 1024)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    backend = Backend(upstream, f"{place}5ec3e7")
    try:
        yield Stage(port, labels, tickets, backend, base, seen)
    finally:
        server.stop()
        await server.close_all_connections()
        await upstream.aclose()
        await runner.cleanup()
