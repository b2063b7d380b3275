"""What passes through a tab: everything of HTTP, as it comes, and nothing held."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.tabs.stage import FETCH, GO, GO_ON, Stage, read_reply, stage

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
FILE = bytes(range(256)) * 64


class App:
    """One of everything that web servers do."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "file.bin"
        self.file.write_bytes(FILE)
        self.go_on = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        name = request.path.strip("/").replace("-", "_") or "echo"
        return await getattr(self, f"on_{name}", self.on_echo)(request)

    async def on_echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response(
            {
                "method": request.method,
                "target": request.raw_path,
                "size": len(body),
                "headers": [[k.decode(), v.decode()] for k, v in request.raw_headers],
            }
        )

    async def on_slow(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"first\n")
        await self.go_on.wait()
        await reply.write(b"second\n")
        return reply

    async def on_events(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        try:
            while True:
                await reply.write(b"data: 1\n\n")
                await asyncio.sleep(0.05)
        finally:
            self.gone.set()
        return reply

    async def on_quiet(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"first\n")
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.05)
        self.gone.set()
        return reply

    async def on_file(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(self.file)

    async def on_zipped(self, request: web.Request) -> web.Response:
        zipped = gzip.compress(b"text " * 1000)
        return web.Response(body=zipped, headers={"Content-Encoding": "gzip"})

    async def on_hash(self, request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for piece in request.content.iter_any():
            digest.update(piece)
            size += len(piece)
        return web.Response(text=f"{size} {digest.hexdigest()}")

    async def on_much(self, request: web.Request) -> web.StreamResponse:
        size = int(request.query["size"])
        reply = web.StreamResponse(headers={"Content-Length": str(size)})
        await reply.prepare(request)
        for _ in range(size // MIB):
            await reply.write(bytes(MIB))
        return reply

    async def on_refuse(self, request: web.Request) -> web.Response:
        return web.Response(status=413, text="too much", headers={"Connection": "close"})

    async def on_broken(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        if "length" in request.query:
            reply.content_length = 1000
        await reply.prepare(request)
        await reply.write(b"a part")
        request.transport.abort()  # type: ignore[union-attr]
        return reply

    async def on_teapot(self, request: web.Request) -> web.Response:
        return web.Response(status=418, reason="I am a teapot", text="short")

    async def on_nothing(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def on_same(self, request: web.Request) -> web.Response:
        return web.Response(status=304, headers={"ETag": '"x"'})

    async def on_large(self, request: web.Request) -> web.Response:
        return web.Response(text=request.headers["X-Large"][:5], headers={"X-Back": "b" * 100_000})

    async def on_chat(self, request: web.Request) -> web.WebSocketResponse:
        chat = web.WebSocketResponse(protocols=("chat.v1",), max_msg_size=0)
        await chat.prepare(request)
        await chat.send_str(request.headers.get("Origin", "no origin"))
        async for message in chat:
            if message.data == "close":
                await chat.close(code=4001, message=b"as you like")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await chat.send_str(message.data[::-1])
            else:
                await chat.send_bytes(message.data)
        self.gone.set()
        return chat

    async def on_no_chat(self, request: web.Request) -> web.Response:
        return web.Response(status=401, text="no", headers={"X-Why": "not you"})


@pytest.fixture
async def app(tmp_path: Path) -> App:
    return App(tmp_path)


@pytest.fixture(params=["origin", "path", "path that the app knows"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def here(tmp_path: Path, app: App) -> AsyncIterator[Stage]:
    async with stage(tmp_path, app) as found:
        yield found


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_method_passes(here: Stage, method: str) -> None:
    body = b"some words" if method in ("POST", "PUT", "PATCH") else None
    reply = await here.ask("/a/b?c=d&e", method=method, body=body)
    assert reply.status == 200
    assert f'"method": "{method}", "target": "/a/b?c=d&e"'.encode() in reply.body
    assert f'"size": {len(body or b"")}'.encode() in reply.body
    at = await here.at("/a/b?c=d&e", method=method, body=body)
    assert f'"method": "{method}", "target": "/a/b?c=d&e"'.encode() in at.body


async def test_head_has_the_length_and_no_body(here: Stage) -> None:
    reply = await here.ask("/file", method="HEAD")
    assert (reply.status, reply.headers["Content-Length"]) == (200, str(len(FILE)))


async def test_answers_come_as_they_are(here: Stage) -> None:
    teapot = await here.ask("/teapot")
    assert (teapot.status, teapot.reason, teapot.body) == (418, "I am a teapot", b"short")
    assert (await here.ask("/nothing")).status == 204
    same = await here.ask("/same")
    assert (same.status, same.headers["ETag"]) == (304, '"x"')


async def test_a_part_of_a_file(here: Stage) -> None:
    part = await here.ask("/file", Range="bytes=1000-1999")
    assert (part.status, part.headers["Content-Range"]) == (206, f"bytes 1000-1999/{len(FILE)}")
    assert part.body == FILE[1000:2000]
    assert (await here.ask("/file", Range="bytes=99999999-")).status == 416


async def test_what_is_zipped_stays_so(here: Stage) -> None:
    reply = await here.ask("/zipped", Accept_Encoding="gzip")
    assert reply.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(reply.body) == b"text " * 1000


async def test_large_headers_pass_both_ways(here: Stage) -> None:
    reply = await here.ask("/large", X_Large="a" * 50_000)
    assert (reply.body, len(reply.headers["X-Back"])) == (b"aaaaa", 100_000)


async def test_a_stream_comes_piece_by_piece(here: Stage, app: App) -> None:
    for path, host in (("/slow", here.host), (f"{here.path.name}/slow", "localhost")):
        app.go_on.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {here.key}\r\n\r\n"
        writer.write(head.encode())
        # The second piece is made only after the first was seen here.
        first = await asyncio.wait_for(reader.readuntil(b"first\n"), 20)
        assert b"200" in first
        app.go_on.set()
        await asyncio.wait_for(reader.readuntil(b"second\n"), 20)
        writer.close()


@pytest.mark.parametrize(("path", "first"), [("/events", b"data: 1\n\n"), ("/quiet", b"first\n")])
async def test_a_stream_ends_with_the_page(here: Stage, app: App, path: str, first: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    head = f"GET {path} HTTP/1.1\r\nHost: {here.host}\r\nCookie: {here.key}\r\n\r\n"
    writer.write(head.encode())
    await asyncio.wait_for(reader.readuntil(first), 20)
    writer.close()
    # The app learns that nobody listens any more.
    await asyncio.wait_for(app.gone.wait(), 20)


async def test_a_connection_is_used_again(here: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    for n in range(3):
        line = f"GET /echo?{n} HTTP/1.1\r\nHost: {here.host}\r\nCookie: {here.key}\r\n\r\n"
        writer.write(line.encode())
        assert f"echo?{n}".encode() in (await read_reply(reader)).body
    writer.close()


async def test_our_own_pages_keep_the_connection(here: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    here.backend.ready = False
    for status in (503, 503, 403):
        key = here.key if status == 503 else "no=key"
        writer.write(f"GET / HTTP/1.1\r\nHost: {here.host}\r\nCookie: {key}\r\n\r\n".encode())
        assert (await read_reply(reader)).status == status
    writer.close()


async def test_any_size_passes_both_ways_in_little_memory(here: Stage) -> None:
    """And is no more than a request may have: 1 MiB of Jupyter on this stage."""
    size = 256 * MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    digest = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for n in range(size // MIB):
            piece = n.to_bytes(4, "big") * (MIB // 4)
            digest.update(piece)
            yield piece

    headers = {**FETCH, "Host": here.host, "Cookie": here.key}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        url = f"http://127.0.0.1:{here.port}"
        async with session.post(f"{url}/hash", data=body(), headers=headers) as reply:
            assert await reply.text() == f"{size} {digest.hexdigest()}"
        got = 0
        async with session.get(f"{url}/much?size={size}", headers=headers) as reply:
            async for piece in reply.content.iter_any():
                got += len(piece)
        assert got == size
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # KiB; client, tab and app are all in this process


async def test_an_answer_before_the_whole_body_is_passed_on(here: Stage) -> None:
    reply = await here.ask("/refuse", method="POST", body=os.urandom(8 * MIB))
    assert (reply.status, reply.body) == (413, b"too much")


@pytest.mark.parametrize("query", ["", "?length"])
async def test_an_answer_that_breaks_is_seen_to_be_broken(here: Stage, query: str) -> None:
    reply = await here.ask(f"/broken{query}")
    assert (reply.status, reply.body, reply.whole) == (200, b"a part", False)


async def test_what_does_not_answer_yet_is_waited_for(here: Stage) -> None:
    here.backend.ready = False
    for reply in (await here.ask("/", **GO_ON), await here.at("/", **GO)):
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
        assert b'data-chutes="waiting"' in reply.body
        assert b"web of train-3f9c2a" in reply.body
        assert b'http-equiv="refresh"' in reply.body
    assert here.seen == []


async def test_an_app_that_went_away_is_waited_for(tmp_path: Path, here: Stage) -> None:
    (tmp_path / "app").unlink()
    for method in ("GET", "POST"):
        reply = await here.ask("/", method=method, body=b"x" * MIB * 2)
        assert reply.status == 503
    assert here.backend.looked_again == 2
    socket = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": here.origin}
    assert (await here.ask("/chat", **socket)).status == 503


# -- websockets


@pytest.mark.parametrize("way", ["origin", "path"])
async def test_a_websocket_both_ways(here: Stage, app: App, way: str) -> None:
    if way == "origin":
        path, host, origin = "/chat", here.host, here.origin
    else:
        path, host, origin = f"{here.path.name}/chat", f"localhost:{here.port}", "null"
    headers = {"Host": host, "Cookie": here.key, "Origin": origin}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.ws_connect(
            f"http://127.0.0.1:{here.port}{path}",
            headers=headers,
            protocols=("chat.v1",),
            compress=15,
            max_msg_size=0,
        ) as chat,
    ):
        assert chat.protocol == "chat.v1"
        # What servers compare with their own name.
        assert await chat.receive_str(timeout=20) == "http://localhost:8501"
        for word in ("hello", "x" * MIB, ""):
            await chat.send_str(word)
            assert await chat.receive_str(timeout=20) == word[::-1]
        large = os.urandom(3 * MIB)
        await chat.send_bytes(large)
        assert await chat.receive_bytes(timeout=20) == large
        await chat.send_str("close")
        end = await chat.receive(timeout=20)
        assert (end.data, end.extra) == (4001, "as you like")
    await asyncio.wait_for(app.gone.wait(), 20)


async def test_a_refused_websocket_says_why(here: Stage) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": here.origin}
    key = base64.b64encode(os.urandom(16)).decode()
    reply = await here.ask("/no-chat", Sec_WebSocket_Version="13", Sec_WebSocket_Key=key, **headers)
    assert (reply.status, reply.headers["X-Why"]) == (401, "not you")


async def test_a_websocket_ends_with_the_app(here: Stage, app: App) -> None:
    headers = {"Host": here.host, "Cookie": here.key, "Origin": here.origin}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.ws_connect(f"http://127.0.0.1:{here.port}/chat", headers=headers) as chat,
    ):
        await chat.receive_str(timeout=20)
        here.seen[-1].transport.abort()  # type: ignore[union-attr]
        assert (await chat.receive(timeout=20)).type in (
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSE,
        )
