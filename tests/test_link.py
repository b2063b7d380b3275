"""The client's end of a serve channel, against a peer that says anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chutes_jupyter.agent import wire
from chutes_jupyter.errors import AgentFailed, ConnectionLost, RequestRefused
from chutes_jupyter.link import AgentLink
from chutes_jupyter.transports.base import Process

pytestmark = pytest.mark.anyio


class Pair(Process):
    """A process whose other end the test holds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, n: int) -> bytes:
        try:
            return await self._reader.read(n)
        except OSError as error:
            raise ConnectionLost(str(error)) from error

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as error:
            raise ConnectionLost(str(error)) from error

    def write_eof(self) -> None:
        self._writer.write_eof()

    async def aclose(self) -> None:
        self._writer.close()

    async def wait(self) -> int | None:
        return 0

    def stderr_tail(self) -> str:
        return "Traceback: the agent's last words"


class Peer:
    """The agent's side, played by the test."""

    def __init__(self, link: AgentLink, process: Pair) -> None:
        self.link, self._process = link, process
        self._decoder = wire.Decoder()
        self._frames: list[wire.Frame] = []

    async def request(self) -> wire.Frame:
        while not self._frames:
            self._frames += self._decoder.feed(await self._process.read(65536))
        return self._frames.pop(0)

    async def reply(self, header: dict[str, Any], body: bytes = b"") -> None:
        await self.raw(wire.encode(header, body))

    async def raw(self, data: bytes) -> None:
        await self._process.write(data)

    async def close(self) -> None:
        await self._process.aclose()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    ours, theirs = socket.socketpair()
    process = Pair(*await asyncio.open_connection(sock=ours))
    link = AgentLink(process, "gpu1")
    far = Peer(link, Pair(*await asyncio.open_connection(sock=theirs)))
    yield far
    await link.aclose()
    await far.close()


async def test_answers_find_their_questions_in_any_order(peer: Peer) -> None:
    first = asyncio.create_task(peer.link.request("ping", job="a"))
    second = asyncio.create_task(peer.link.request("log", b"body", job="b"))
    (one, _), (two, body) = await peer.request(), await peer.request()
    assert (one["op"], one["job"], two["op"], body) == ("ping", "a", "log", b"body")
    await peer.reply({"id": two["id"], "ok": True, "n": 2}, b"second")
    await peer.reply({"id": one["id"], "ok": True, "n": 1})
    assert (await first).header["n"] == 1
    assert (await second).body == b"second"


async def test_a_refusal_carries_its_code(peer: Peer) -> None:
    asked = asyncio.create_task(peer.link.request("events", job="x"))
    header, _ = await peer.request()
    error = {"code": "unknown_job", "message": "no such job"}
    await peer.reply({"id": header["id"], "ok": False, "error": error})
    with pytest.raises(RequestRefused, match="no such job") as caught:
        await asked
    assert caught.value.code == "unknown_job"
    assert not peer.link.closed


async def test_a_long_answer_comes_frame_by_frame(peer: Peer) -> None:
    async def read() -> list[bytes]:
        return [reply.body async for reply in peer.link.stream("read", path="x")]

    asked = asyncio.create_task(read())
    header, _ = await peer.request()
    for number in range(100):
        more = number < 99
        await peer.reply({"id": header["id"], "ok": True, "more": more}, bytes([number]) * 1000)
    assert await asked == [bytes([number]) * 1000 for number in range(100)]


async def test_an_abandoned_answer_does_not_stop_the_others(peer: Peer) -> None:
    frames = peer.link.stream("read", path="x")
    asked = asyncio.ensure_future(anext(frames))
    header, _ = await peer.request()
    await peer.reply({"id": header["id"], "ok": True, "more": True}, b"1")
    assert (await asked).body == b"1"
    await frames.aclose()
    for number in range(200):
        await peer.reply({"id": header["id"], "ok": True, "more": number < 199}, bytes(1000))
    other = asyncio.create_task(peer.link.request("ping"))
    header, _ = await peer.request()
    await peer.reply({"id": header["id"], "ok": True})
    await asyncio.wait_for(other, 10)


async def test_a_cancelled_request_may_be_answered_late(peer: Peer) -> None:
    asked = asyncio.create_task(peer.link.request("events", job="x"))
    header, _ = await peer.request()
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    await peer.reply({"id": header["id"], "ok": True})
    other = asyncio.create_task(peer.link.request("ping"))
    header, _ = await peer.request()
    await peer.reply({"id": header["id"], "ok": True})
    await asyncio.wait_for(other, 10)


def framed(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("!II", len(header), len(body)) + header + body


MALFORMED: dict[str, Callable[[int], bytes]] = {
    "not a frame": lambda _: b"\xff" * 64,
    "header too long": lambda _: struct.pack("!II", wire.MAX_HEADER + 1, 0),
    "body too long": lambda _: struct.pack("!II", 2, wire.MAX_BODY + 1) + b"{}",
    "not JSON": lambda _: framed(b"{id: 1}"),
    "not an object": lambda _: framed(b"[1]"),
    "nested too deep": lambda _: framed(b"[" * 100_000),
    "no id": lambda _: framed(b'{"ok": true}'),
    "an id that nobody used": lambda n: framed(json.dumps({"id": n + 7, "ok": True}).encode()),
    "an id of another type": lambda n: framed(json.dumps({"id": str(n), "ok": True}).encode()),
    "a float for an id": lambda n: framed(json.dumps({"id": float(n), "ok": True}).encode()),
    "a bool for an id": lambda _: framed(b'{"id": true, "ok": true}'),
    "no ok": lambda n: framed(json.dumps({"id": n}).encode()),
    "ok of another type": lambda n: framed(json.dumps({"id": n, "ok": 1}).encode()),
    "an error without words": lambda n: framed(json.dumps({"id": n, "ok": False}).encode()),
    "an error of numbers": lambda n: framed(
        json.dumps({"id": n, "ok": False, "error": {"code": 1, "message": 2}}).encode()
    ),
    "more of another type": lambda n: framed(
        json.dumps({"id": n, "ok": True, "more": "yes"}).encode()
    ),
    "more where one frame belongs": lambda n: framed(
        json.dumps({"id": n, "ok": True, "more": True}).encode()
    ),
}


@pytest.mark.parametrize("kind", MALFORMED)
async def test_what_breaks_the_protocol_fails_every_request(peer: Peer, kind: str) -> None:
    asked = asyncio.create_task(peer.link.request("hello"))
    header, _ = await peer.request()
    other = asyncio.create_task(peer.link.request("ping"))
    await peer.request()
    await peer.raw(MALFORMED[kind](header["id"]))
    for task in (asked, other):
        with pytest.raises(AgentFailed, match="gpu1"):
            await asyncio.wait_for(task, 10)
    with pytest.raises(AgentFailed):
        await peer.link.request("ping")
    assert peer.link.closed


async def test_a_dead_agent_fails_every_request_with_its_last_words(peer: Peer) -> None:
    asked = [asyncio.create_task(peer.link.request("events", job=str(n))) for n in range(3)]
    for _ in asked:
        await peer.request()
    await peer.close()
    for task in asked:
        with pytest.raises(ConnectionLost, match="last words"):
            await asyncio.wait_for(task, 10)
    with pytest.raises(ConnectionLost):
        await peer.link.request("ping")


async def test_a_silent_agent_is_given_up(peer: Peer) -> None:
    with pytest.raises(ConnectionLost, match="has not answered"):
        await peer.link.request("ping", patience=0.1)
    assert peer.link.closed
