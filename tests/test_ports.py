"""Forwards: a job's port on this machine, over every way to reach a worker."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import sys
import urllib.request
from collections.abc import AsyncIterator

import pytest

from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.config import Worker
from chutes_jupyter.models import Port
from chutes_jupyter.places import Place
from chutes_jupyter.ports import Forward, url
from chutes_jupyter.relay import Relay
from chutes_jupyter.transports import Connection, Process, Stream, transport_for
from tests.freeport import free_port
from tests.sshd import Sshd

OVER_OPENSSH = True

pytestmark = pytest.mark.anyio


class Link:
    """The connection to a worker, made again when it broke.

    Streams go through its server's own direct channels, or with `relayed` through the agent.
    """

    def __init__(self, worker: Worker, *, relayed: bool = False) -> None:
        self.worker = worker
        self.connection: Connection | None = None
        self.made = 0
        self.relay = Relay(self.channel) if relayed else None

    async def dial(self, port: int) -> Stream:
        if self.relay is not None:
            return await self.relay.open_stream(port)
        return await (await self()).open_tcp("127.0.0.1", port)

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Process]:
        process = await start_agent(await self(), self.worker, "relay")
        try:
            yield process
        finally:
            await process.aclose()

    async def __call__(self) -> Connection:
        if self.connection is None or self.connection.closed:
            if self.connection is not None:
                await self.connection.aclose()
            self.connection = await transport_for(self.worker).connect()
            self.made += 1
        return self.connection

    async def aclose(self) -> None:
        if self.relay is not None:
            await self.relay.aclose()
        if self.connection is not None:
            await self.connection.aclose()


@pytest.fixture(params=["direct", "relayed"])
async def link(any_worker: Worker, request: pytest.FixtureRequest) -> AsyncIterator[Link]:
    link = Link(any_worker, relayed=request.param == "relayed")
    yield link
    await link.aclose()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Nothing may reach the log as an unhandled exception."""
    caplog.set_level(logging.WARNING)
    yield
    assert [record.getMessage() for record in caplog.records] == []


async def serve(answer, **options) -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, **options)
    return server, server.sockets[0].getsockname()[1]


async def capitals(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer in capitals once the caller has said everything."""
    writer.write((await reader.read()).upper())
    writer.close()


async def opened(port: int, link: Link, proto: str = "tcp", place: Place | None = None) -> Forward:
    declared = Port("web", port, proto)
    forward = Forward(declared, lambda: link.dial(port), place)  # type: ignore[arg-type]
    await forward.open()
    return forward


async def ask(forward: Forward, data: bytes) -> bytes:
    assert forward.address is not None
    reader, writer = await asyncio.open_connection(*forward.address)
    writer.write(data)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_web_page_is_at_its_url(link: Link, quiet: None) -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    server, port = await serve(page)
    forward = await opened(port, link, "http")
    assert url("http", forward.address) == "http://{}:{}/".format(*forward.address)
    for _ in range(3):
        with await asyncio.to_thread(
            urllib.request.urlopen, url("http", forward.address)
        ) as answer:
            assert answer.read() == b"hello"
    await forward.aclose()
    assert forward.address is None
    server.close()


async def test_both_directions_end_on_their_own(link: Link, quiet: None) -> None:
    server, port = await serve(capitals)
    forward = await opened(port, link)
    assert url("tcp", forward.address) == "tcp://{}:{}".format(*forward.address)
    assert await ask(forward, b"all of it") == b"ALL OF IT"
    assert await asyncio.gather(*(ask(forward, b"%d!" % n) for n in range(40))) == [
        b"%d!" % n for n in range(40)
    ]
    await forward.aclose()
    server.close()


async def test_much_passes_whole_both_ways(link: Link, quiet: None) -> None:
    sent = bytes(range(256)) * 40_000

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server, port = await serve(echo)
    forward = await opened(port, link)
    reader, writer = await asyncio.open_connection(*forward.address)

    async def send() -> None:
        writer.write(sent)
        await writer.drain()
        writer.write_eof()

    _, got = await asyncio.gather(send(), reader.read())
    writer.close()
    assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()
    await forward.aclose()
    server.close()


async def test_who_does_not_read_holds_the_sender(link: Link, quiet: None) -> None:
    taken = 0

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        try:
            for _ in range(64):
                writer.write(b"x" * (1 << 20))
                await writer.drain()
                taken += 1
        except OSError:
            pass

    server, port = await serve(pour)
    forward = await opened(port, link)
    reader, writer = await asyncio.open_connection(*forward.address, limit=1024)
    assert await reader.read(1) == b"x"
    seen = -1
    while seen != taken:  # until nothing moves any more
        seen = taken
        await asyncio.sleep(0.3)
    # 64 MiB were on offer; kernels keep some, we next to nothing.
    assert taken < 32
    writer.transport.abort()
    await forward.aclose()
    server.close()


async def test_nobody_listens_yet(link: Link, quiet: None) -> None:
    port = free_port()
    forward = await opened(port, link)
    with pytest.raises(ConnectionResetError):
        await ask(forward, b"x")
    assert str(port) in forward.last_error
    server = await asyncio.start_server(capitals, "127.0.0.1", port)
    assert await ask(forward, b"x") == b"X"
    assert forward.last_error == ""
    await forward.aclose()
    server.close()


@pytest.mark.parametrize("relayed", [False, True])
async def test_a_break_is_a_reset_and_the_next_call_connects_again(
    ssh_worker: Worker, sshd: Sshd, quiet: None, relayed: bool
) -> None:
    begun = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        with contextlib.suppress(ConnectionResetError):  # the relay's way of telling
            await capitals(reader, writer)

    link = Link(ssh_worker, relayed=relayed)
    server, port = await serve(answer)
    forward = await opened(port, link)
    reader, writer = await asyncio.open_connection(*forward.address)
    writer.write(b"half a req")
    await begun.wait()
    sshd.drop()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert await ask(forward, b"again") == b"AGAIN"
    assert link.made == 2
    await forward.aclose()
    await link.aclose()
    server.close()


async def test_a_worker_out_of_reach_is_a_reset(quiet: None) -> None:
    link = Link(Worker("gone", host=f"me@127.0.0.1:{free_port()}"))
    forward = await opened(9000, link)
    with pytest.raises(ConnectionResetError):
        await ask(forward, b"x")
    assert "gone" in forward.last_error
    await forward.aclose()


@pytest.mark.parametrize("early", [True, False])
async def test_closing_closes_what_goes_through(link: Link, quiet: None, early: bool) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        with contextlib.suppress(ConnectionResetError):  # the relay's way of telling
            await reader.read()
        ended.set()
        writer.close()

    server, port = await serve(hold)
    forward = await opened(port, link)
    address = forward.address
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"x")
    if early:
        while link.made == 0:  # the connection stands, the channel in it is being opened
            await asyncio.sleep(0)
    else:
        await begun.wait()
    await forward.aclose()
    await forward.aclose()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    if not early or link.relay is None:  # a relay that is only being started connects to nobody
        await asyncio.wait_for(begun.wait(), 5)
        await asyncio.wait_for(ended.wait(), 5)  # the other end was told too
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    server.close()


async def test_its_address_is_not_that_of_localhost(link: Link) -> None:
    forwards = [await opened(9000, link) for _ in range(3)]
    hosts = {forward.address[0] for forward in forwards}
    if sys.platform == "linux":
        assert len(hosts) == 3
        assert "127.0.0.1" not in hosts
    assert all(host.startswith("127.") for host in hosts)
    for forward in forwards:
        await forward.aclose()


async def test_what_is_not_forwarded_says_so() -> None:
    async def never() -> Stream:
        raise AssertionError

    port = Port("ssh", 2202, "tcp")
    forward = Forward(port, never)
    await forward.open()
    assert forward.address is None
    assert "job.ssh_command" in forward.notice
    await forward.aclose()
    assert Forward(Port("web", 8080, "http"), never).notice == ""
