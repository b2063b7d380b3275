"""A reverse proxy before Jupyter, as a hub has one: it passes everything on, and strips nothing."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import aiohttp
from aiohttp import WSMsgType, web

#: Of one connection alone.
HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


class Reverse:
    """Passes requests on to a Jupyter server, and remembers the paths.

    Parameters
    ----------
    target : str
        The server, without a slash at the end.
    """

    def __init__(self, target: str) -> None:
        self.target, self.paths = target, list[str]()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        kept = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP]
        kept += [("X-Forwarded-Proto", "http"), ("X-Forwarded-For", "203.0.113.7")]
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, timeout=NEVER
        ) as session:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._websocket(request, session, kept)
            async with session.request(
                request.method,
                self.target + request.raw_path,
                headers=kept,
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
            ) as reply:
                answer = web.StreamResponse(status=reply.status, reason=reply.reason)
                for name, value in reply.headers.items():
                    if name.lower() not in HOP:
                        answer.headers.add(name, value)
                await answer.prepare(request)
                async for piece in reply.content.iter_any():
                    await answer.write(piece)
                return answer

    async def _websocket(
        self, request: web.Request, session: aiohttp.ClientSession, kept: list[tuple[str, str]]
    ) -> web.StreamResponse:
        own = [(k, v) for k, v in kept if not k.lower().startswith("sec-websocket")]
        here = web.WebSocketResponse()
        async with session.ws_connect(self.target + request.raw_path, headers=own) as there:
            await here.prepare(request)
            await asyncio.wait(
                [asyncio.create_task(_pass(here, there)), asyncio.create_task(_pass(there, here))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        await here.close()
        return here


NEVER = aiohttp.ClientTimeout(total=None)
_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pass(source: _Socket, sink: _Socket) -> None:
    async for message in source:
        if message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)


@contextlib.contextmanager
def reverse_proxy(target: str) -> Iterator[tuple[str, Reverse]]:
    """Run one in a thread of its own; yields its address."""
    reverse = Reverse(target)
    started: list[int] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def run() -> None:
        app = web.Application(client_max_size=2**40)
        app.router.add_route("*", "/{path:.*}", reverse.handle)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        started.append(runner.addresses[0][1])
        ready.set()
        await over.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield f"http://127.0.0.1:{started[0]}", reverse
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)
        loop.close()
