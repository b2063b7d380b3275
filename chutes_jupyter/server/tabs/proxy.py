"""Passes requests on to a web server, and its answers back, holding nothing of either.

It knows nothing of jobs, keys or pages: an address to connect to, and rules for headers.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from tornado.iostream import StreamClosedError
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from aiohttp.abc import ResolveResult
    from tornado.httputil import HTTPHeaders
    from tornado.web import RequestHandler

    Headers = list[tuple[str, str]]

#: A unix socket's path, or a host and port of this machine.
Address = str | tuple[str, int]

#: Pieces of a request's body that wait for a server which reads slowly.
_WAITING = 4
_PIECE = 256 * 1024
#: Header lines may be so long: session cookies and signed addresses are.
_HEADER = 256 * 1024
_HEADERS = 1024
#: Connections that nobody uses are closed before most servers do, in seconds: a request that is
#: sent just then would be lost, and not every one may be sent again.
_IDLE = 4.0
#: No limit of ours: the server's own, or the disk's.
_ANY_SIZE = 1 << 62
#: What aiohttp would add if the browser had not said it.
_NOTHING_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Unreachable(Exception):
    """Nobody answered there; nothing was passed back yet."""


@dataclass(frozen=True)
class Answer:
    """What goes back to the browser in place of a server's status and headers.

    Parameters
    ----------
    headers : list
        Names and values.
    status : int, optional
        Another status.
    page : str, optional
        A page in place of the server's body.
    """

    headers: Headers
    status: int | None = None
    page: str | None = None


class Rules(Protocol):
    """What is asked for, and which headers go which way."""

    @property
    def target(self) -> str:
        """The path and query to ask for, as they go over the wire."""

    def request(self, headers: HTTPHeaders) -> Headers:
        """Return the headers that the server gets for those of the browser."""

    def answer(self, status: int, headers: Headers) -> Answer:
        """Return what the browser gets for a server's answer."""


class _Fixed(aiohttp.abc.AbstractResolver):
    """Finds one address under every name."""

    def __init__(self, host: str) -> None:
        self._host = host

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            {
                "hostname": host,
                "host": self._host,
                "port": port,
                "family": family,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None:
        return None


class Upstream:
    """A web server, and the connections to it.

    Parameters
    ----------
    address : str or tuple
        Where it is reached.
    port : int
        The port that it has where it runs: it is called localhost with that port.
    """

    def __init__(self, address: Address, port: int) -> None:
        self.address, self.port = address, port
        self.host = f"localhost:{port}"
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """Return the client of this server, made in the running loop at the first call."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                auto_decompress=False,
                skip_auto_headers=_NOTHING_ADDED,
                read_bufsize=_PIECE,
                max_line_size=_HEADER,
                max_field_size=_HEADER,
                max_headers=_HEADERS,
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        # No limit: browsers have their own, and a stream holds a connection for hours.
        if isinstance(self.address, str):
            return aiohttp.UnixConnector(self.address, limit=0, keepalive_timeout=_IDLE)
        resolver = _Fixed(self.address[0])
        return aiohttp.TCPConnector(resolver=resolver, limit=0, keepalive_timeout=_IDLE)

    def url(self, target: str) -> URL:
        """Return the address of a path and query, exactly as they are written."""
        port = self.port if isinstance(self.address, str) else self.address[1]
        return URL(f"http://localhost:{port}{target}", encoded=True)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection of its own.

        Raises
        ------
        Unreachable
            If nobody listens.
        """
        try:
            if not isinstance(self.address, str):
                return await asyncio.open_connection(*self.address, limit=_HEADER)
            if sys.platform != "win32":
                return await asyncio.open_unix_connection(self.address, limit=_HEADER)
        except OSError as error:
            raise Unreachable(str(error)) from error
        raise Unreachable("this system has no unix sockets that can be used here")

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class Exchange:
    """One request, passed on while it comes, and its answer, passed back while it comes.

    Parameters
    ----------
    handler : RequestHandler
        Of the browser's request, with `stream_request_body`.
    upstream : Upstream
        Who answers.
    rules : Rules
        What is asked for, and which headers go which way.
    """

    def __init__(self, handler: RequestHandler, upstream: Upstream, rules: Rules) -> None:
        self._handler, self._upstream, self._rules = handler, upstream, rules
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        connection: Any = handler.request.connection
        connection.set_max_body_size(_ANY_SIZE)
        self._passing = asyncio.ensure_future(self._pass())
        # A browser that is gone does not ask why it failed.
        self._passing.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def take(self, piece: bytes) -> None:
        """Pass on a piece of the request's body; return when there is room for more."""
        if not self._passing.done():
            await self._put(piece)

    async def _put(self, piece: bytes | None) -> None:
        if not self._pieces.full():
            self._pieces.put_nowait(piece)
            return
        putting = asyncio.ensure_future(self._pieces.put(piece))
        try:
            # The server may answer without reading on.
            await asyncio.wait({putting, self._passing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()

    async def finish(self) -> None:
        """End the request's body, and wait until the answer is passed back.

        Raises
        ------
        Unreachable
            If there is none, and the browser has got nothing yet.
        """
        if not self._passing.done():
            await self._put(None)
        # Not by awaiting it: that would raise its being cancelled here, which is no fault.
        await asyncio.wait({self._passing})
        if not self._passing.cancelled():
            self._passing.result()

    def cancel(self) -> None:
        """Stop: the browser is gone."""
        self._passing.cancel()

    async def _body(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def _pass(self) -> None:
        handler, request = self._handler, self._handler.request
        has_body = "Content-Length" in request.headers or "Transfer-Encoding" in request.headers
        try:
            async with self._upstream.session().request(
                request.method or "GET",
                self._upstream.url(self._rules.target),
                headers=[("Host", self._upstream.host), *self._rules.request(request.headers)],
                data=self._body() if has_body else None,
                allow_redirects=False,
            ) as answer:
                await self._pass_back(answer)
        except StreamClosedError:
            return  # the browser is gone
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not handler._headers_written:
                raise Unreachable(str(error)) from error
            # What has come is not the whole, and the browser shall see that.
            abort(handler)

    async def _pass_back(self, answer: aiohttp.ClientResponse) -> None:
        handler = self._handler
        decided = self._rules.answer(answer.status, plain(answer.raw_headers))
        set_answer(handler, decided, answer.status, answer.reason)
        if decided.page is not None:
            handler.write(decided.page)
            return
        await handler.flush()
        async for piece in answer.content.iter_any():
            handler.write(piece)
            await handler.flush()


def plain(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers as text, without the spaces around values."""
    return [(name.decode("latin-1"), value.decode("latin-1").strip()) for name, value in raw]


def set_answer(handler: RequestHandler, decided: Answer, status: int, reason: str | None) -> None:
    """Set the status and headers of a handler."""
    for name in ("Server", "Content-Type", "Date"):  # tornado's
        handler.clear_header(name)
    handler.set_status(decided.status or status, None if decided.status else reason or "Unknown")
    add_headers(handler, decided.headers)


def add_headers(handler: RequestHandler, headers: Sequence[tuple[str, str]]) -> None:
    """Add headers to an answer, but for those that no header can be."""
    for name, value in headers:
        try:
            handler.add_header(name, value)
        except ValueError:  # control characters: nothing of worth is said with them
            continue


def abort(handler: RequestHandler) -> None:
    """Close the browser's connection at once."""
    stream = getattr(handler.request.connection, "stream", None)
    if stream is not None:
        stream.close()
