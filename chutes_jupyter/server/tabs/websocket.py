"""Websockets: the browser's handshake goes to the server, and then bytes both ways."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders, HTTPInputError, parse_response_start_line
from tornado.iostream import StreamClosedError

from chutes_jupyter.server.tabs.proxy import Answer, Unreachable, set_answer

if TYPE_CHECKING:
    from tornado.iostream import IOStream
    from tornado.web import RequestHandler

    from chutes_jupyter.server.tabs.proxy import Rules, Upstream

_PIECE = 64 * 1024
#: Both ends say it of themselves, so it is no header that is passed on.
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#: What tells of a body: that of a refusal is not passed on.
_OF_BODIES = frozenset({"content-length", "content-encoding", "content-type"})


def wanted(headers: HTTPHeaders) -> bool:
    """Whether a request asks for a websocket."""
    return headers.get("Upgrade", "").strip().lower() == "websocket"


async def relay(handler: RequestHandler, upstream: Upstream, rules: Rules) -> None:
    """Bring a browser and a server together; return when one of them has left.

    Raises
    ------
    Unreachable
        If no server answers.
    """
    reader, writer = await upstream.connect()
    try:
        status, reason, headers = await _shake_hands(handler, upstream, rules, reader, writer)
        decided = rules.answer(status, list(headers.get_all()))
        if status != 101:
            kept = [each for each in decided.headers if each[0].lower() not in _OF_BODIES]
            set_answer(handler, Answer(kept, decided.status), status, reason)
            await handler.finish()
            return
        stream = handler.detach()
        stream.set_nodelay(True)
        try:
            lines = "".join(f"{name}: {value}\r\n" for name, value in decided.headers)
            await stream.write(f"HTTP/1.1 101 {reason}\r\n{_UPGRADE}{lines}\r\n".encode("latin-1"))
            await _splice(stream, reader, writer)
        finally:
            stream.close()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _shake_hands(
    handler: RequestHandler,
    upstream: Upstream,
    rules: Rules,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> tuple[int, str, HTTPHeaders]:
    headers = rules.request(handler.request.headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    head = f"GET {rules.target} HTTP/1.1\r\nHost: {upstream.host}\r\n{_UPGRADE}{lines}\r\n"
    writer.write(head.encode("latin-1"))
    try:
        raw = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, _, rest = raw.partition("\r\n")
        start = parse_response_start_line(first)
        return start.code, start.reason, HTTPHeaders.parse(rest)
    except (OSError, EOFError, asyncio.LimitOverrunError, HTTPInputError) as error:
        raise Unreachable(f"no handshake: {error}") from error


async def _splice(
    stream: IOStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    ways = [
        asyncio.ensure_future(_up(stream, writer)),
        asyncio.ensure_future(_down(reader, stream)),
    ]
    try:
        # A websocket says goodbye within its own frames: when one way ends, all is said.
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _up(stream: IOStream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(StreamClosedError, OSError):
        while True:
            writer.write(await stream.read_bytes(_PIECE, partial=True))
            await writer.drain()


async def _down(reader: asyncio.StreamReader, stream: IOStream) -> None:
    with contextlib.suppress(StreamClosedError, OSError):
        while piece := await reader.read(_PIECE):
            await stream.write(piece)
