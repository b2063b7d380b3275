"""Datagrams to a udp port of a job and back, over every way to reach a worker."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from chutes_jupyter import relay as relay_module
from chutes_jupyter.agent import lanes
from chutes_jupyter.agent.kernel_drops import kernel_drops
from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.config import Worker
from chutes_jupyter.datagrams import UdpForward
from chutes_jupyter.models import Port
from chutes_jupyter.places import Place
from chutes_jupyter.relay import Dropped, Lane, Relay
from chutes_jupyter.transports import Connection, Process, transport_for
from tests.conftest import add_to_ssh_config
from tests.sshd import Sshd
from tests.transports.proxy import Proxy

pytestmark = pytest.mark.anyio
PATIENCE = 20.0
OVER_OPENSSH = True
BUFFER = 4 * 1024 * 1024


class Way:
    """A relay of a worker, with a connection that is made again when it broke."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.connection: Connection | None = None
        self.relay = Relay(self.channel)
        self.started = 0
        self.told = 0

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Process]:
        if self.connection is None or self.connection.closed:
            self.connection = await transport_for(self.worker).connect()
        process = await start_agent(self.connection, self.worker, "relay")
        self.started += 1
        try:
            yield process
        finally:
            await process.aclose()

    async def forward(self, port: int, place: Place | None = None) -> UdpForward:
        lane = Lane(self.relay, port, self._changed)
        forward = UdpForward(Port("dns", max(port, 8002), "udp"), lane, place)
        await forward.open()
        return forward

    def _changed(self) -> None:
        self.told += 1

    async def aclose(self) -> None:
        await self.relay.aclose()
        if self.connection is not None:
            await self.connection.aclose()


@pytest.fixture
async def way(any_worker: Worker) -> AsyncIterator[Way]:
    found = Way(any_worker)
    yield found
    await found.aclose()


class Server:
    """A job's server: answers each datagram with what `answer` makes of it, or not at all."""

    def __init__(self, answer: Callable[[bytes], bytes | None], port: int = 0) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.sock.bind(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]
        self.answer = answer
        self.got: list[bytes] = []
        self.sender = ("", 0)
        asyncio.get_running_loop().add_reader(self.sock, self._read)

    def _read(self) -> None:
        for _ in range(64):
            try:
                data, self.sender = self.sock.recvfrom(lanes.MAX_BODY + 1)
            except BlockingIOError:
                return
            self.got.append(data)
            answer = self.answer(data)
            if answer is not None:
                self.sock.sendto(answer, self.sender)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()


@contextlib.contextmanager
def client(forward: UdpForward) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.setblocking(False)
        assert forward.address is not None
        sock.connect(forward.address)
        yield sock


async def receive(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    return await asyncio.wait_for(loop.sock_recv(sock, lanes.MAX_BODY + 1), PATIENCE)


async def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return await receive(sock)


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        await asyncio.sleep(0.01)


def drops(forward: UdpForward) -> Dropped:
    lane = forward._lane
    return Dropped(lane.up + forward.unread, lane.down)


async def test_each_of_many_clients_gets_its_own_answers(way: Way) -> None:
    # Like DNS: a name in, an address out; who asks at the same time gets its own.
    names = {b"%d.example" % n: b"10.0.%d.%d" % (n // 256, n % 256) for n in range(400)}
    server = Server(names.get)
    forward = await way.forward(server.port)

    async def resolve(asked: list[bytes]) -> None:
        with client(forward) as sock:
            for name in asked:
                assert await ask(sock, name) == names[name]

    every = list(names)
    await asyncio.gather(*(resolve(every[n::8]) for n in range(8)))
    assert drops(forward) == (0, 0)
    await forward.aclose()
    server.close()


async def test_sizes_and_boundaries_stay_up_to_the_largest(way: Way) -> None:
    server = Server(lambda data: data)
    forward = await way.forward(server.port)
    sizes = [0, 1, 0, 1472, 1473, 8192, 9, lanes.MAX_BODY - 1, lanes.MAX_BODY, 0, 3]
    sent = [bytes([n]) * size for n, size in enumerate(sizes)]
    with client(forward) as sock:
        assert await ask(sock, b"x" * lanes.MAX_BODY) == b"x" * lanes.MAX_BODY
        for data in sent:
            sock.send(data)
        # In order, one for one: nothing joined, nothing cut.
        assert [await receive(sock) for _ in sent] == sent
    assert server.got[1:] == sent
    assert drops(forward) == (0, 0)
    await forward.aclose()
    server.close()


BURST = 10_000


async def test_of_a_burst_to_the_job_what_did_not_arrive_is_counted(way: Way) -> None:
    server = Server(lambda data: data if data == b"hello" else None)
    forward = await way.forward(server.port)
    with client(forward) as sock:
        assert await ask(sock, b"hello") == b"hello"
        for n in range(BURST):
            sock.send(b"%d" % n)

        def known() -> int:
            # What a program leaves unread in its own socket is its own affair.
            return len(server.got) - 1 + drops(forward).up + kernel_drops(server.sock)

        await until(lambda: known() == BURST, "sent = received + dropped")
    print(f"{way.worker.name}: {len(server.got) - 1} up, {drops(forward).up} dropped")
    assert len(server.got) > 500
    assert drops(forward).down == 0
    assert bool(drops(forward).up) == bool(way.told)
    await forward.aclose()
    server.close()


async def test_of_a_burst_from_the_job_what_did_not_arrive_is_counted(way: Way) -> None:
    server = Server(lambda data: data)
    forward = await way.forward(server.port)
    with client(forward) as sock:
        await ask(sock, b"hello")
        got = 0

        def known() -> int:
            nonlocal got
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.recv(lanes.MAX_BODY)
                    got += 1
            return got + drops(forward).down + kernel_drops(sock)

        # Large ones, and nobody here reads meanwhile: more than anything between may keep.
        for _ in range(BURST):
            server.sock.sendto(b"x" * 1000, server.sender)
        await until(lambda: known() == BURST, "sent = received + dropped")
    print(f"{way.worker.name}: {got} down, {drops(forward).down} dropped")
    assert got > 100
    assert drops(forward).down > 0
    assert drops(forward).up == 0
    assert way.told
    await forward.aclose()
    server.close()


async def test_a_server_that_does_not_listen_yet_refuses_and_later_answers(way: Way) -> None:
    gone = Server(lambda data: data)
    gone.close()
    forward = await way.forward(gone.port)
    with client(forward) as sock:
        for n in range(5):
            sock.send(b"%d" % n)
        await until(lambda: drops(forward).up == 5, "what was refused is counted")
        server = Server(lambda data: data, gone.port)
        assert await ask(sock, b"now") == b"now"
    assert server.got == [b"now"]
    assert way.started == 1
    await forward.aclose()
    server.close()


@pytest.mark.parametrize("whole", [True, False], ids=["connection", "relay alone"])
async def test_after_a_break_the_same_address_answers_again(
    ssh_worker: Worker, sshd: Sshd, whole: bool
) -> None:
    way = Way(ssh_worker)
    server = Server(lambda data: data)
    forward = await way.forward(server.port)
    address = forward.address
    with client(forward) as sock:
        assert await ask(sock, b"before") == b"before"
        if whole:
            sshd.drop()
        else:
            os.kill(relays(ssh_worker)[0], signal.SIGKILL)
        # Datagrams get lost, and whoever sends them asks again.
        answer = None
        while answer != b"after":
            with contextlib.suppress(TimeoutError):
                sock.send(b"after")
                answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 99), 1)
    assert forward.address == address
    assert way.started == 2
    await forward.aclose()
    await way.aclose()
    server.close()


async def test_what_was_under_way_at_a_break_counts_as_dropped(
    ssh_worker: Worker, sshd: Sshd
) -> None:
    way = Way(ssh_worker)
    server = Server(lambda data: None)
    forward = await way.forward(server.port)
    await way.relay.ready()
    (relay,) = relays(way.worker)
    os.kill(relay, signal.SIGSTOP)  # it takes nothing any more
    with client(forward) as sock:
        for n in range(50):
            sock.send(b"%d" % n)
        await until(lambda: len(way.relay._under_way) == 50, "they are under way")
        assert drops(forward) == (0, 0)
        sshd.drop()
        os.kill(relay, signal.SIGCONT)
        await until(lambda: drops(forward).up == 50, "they are counted")
    await forward.aclose()
    await way.aclose()
    server.close()


async def test_a_slow_line_drops_and_keeps_no_more_than_its_limits(
    sshd: Sshd, home: Path, tmp_path: Path
) -> None:
    async with Proxy(sshd.port) as proxy:
        add_to_ssh_config(home, dataclasses.replace(sshd, port=proxy.port), "slow1")
        way = Way(Worker("slow1", host="slow1", dir=str(tmp_path / "worker")))
        server = Server(lambda data: None)
        forward = await way.forward(server.port)
        await way.relay.ready()
        assert way.connection is not None
        proxy.slow(200_000)
        with client(forward) as sock:
            loop = asyncio.get_running_loop()
            for _ in range(100):
                for _ in range(10):
                    await loop.sock_sendall(sock, bytes(60_000))
                await asyncio.sleep(0)
            assert way.relay._queued <= relay_module.QUEUE
            assert way.relay._sent - way.relay._taken <= relay_module.WINDOW
            assert drops(forward).up > 900
            # Beside all that, another channel of the connection waits for one window at the most.
            begun = time.monotonic()
            process = await way.connection.start("echo here")
            assert await process.read(100) == b"here\n"
            waited = time.monotonic() - begun
            print(f"beside a flood of datagrams over 200 kB/s: {waited:.2f} s for a command")
            assert waited < 2.5 * relay_module.WINDOW / 200_000
        proxy.flow()
        await forward.aclose()
        await way.aclose()
        server.close()


async def test_flows_have_a_limit_and_an_end(
    ssh_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MAX_FLOWS", 4)
    monkeypatch.setattr(relay_module, "IDLE", 1.0)
    monkeypatch.setattr(relay_module, "_SWEEP", 0.1)
    way = Way(ssh_worker)
    server = Server(lambda data: data)
    forward = await way.forward(server.port)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(forward)) for _ in range(6)]
        for number, sock in enumerate(clients):
            assert await ask(sock, b"%d" % number) == b"%d" % number
        # The first two had to go, and come back when they speak again.
        assert len(way.relay._flows) == 4
        await until(lambda: sockets_to(server.port) == 4, "the worker closed the oldest two")
        assert await ask(clients[0], b"again") == b"again"
        await until(lambda: sockets_to(server.port) == 0, "all flows ended by themselves")
        assert not way.relay._flows
        assert await ask(clients[5], b"and again") == b"and again"
    await forward.aclose()
    await way.aclose()
    server.close()


async def test_nothing_stays_of_a_relay(way: Way) -> None:
    server = Server(lambda data: data)
    forward = await way.forward(server.port)
    with client(forward) as sock:
        await ask(sock, b"x")
    assert relays(way.worker)
    assert sockets_to(server.port) == 1
    address = forward.address
    await forward.aclose()
    assert forward.address is None
    await until(lambda: sockets_to(server.port) == 0, "its flows are closed")
    await way.relay.aclose()
    await until(lambda: not relays(way.worker), "the worker's process is gone")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)  # free
    server.close()


async def test_what_the_worker_dropped_last_is_told_at_the_end(ssh_worker: Worker) -> None:
    way = Way(ssh_worker)
    gone = Server(lambda data: data)
    gone.close()
    forward = await way.forward(gone.port)
    await way.relay.ready()
    with client(forward) as sock:
        for _ in range(3):
            sock.send(b"x")
        await until(lambda: way.relay._sent, "they are on their way")
    await forward.aclose()
    await way.aclose()
    assert forward._lane.up == 3


def relays(worker: Worker) -> list[int]:
    """Return the processes that are the relay of a test's own worker."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            loader = max(words, key=len)
            constants = f"ROOT = {worker.dir!r}".encode(), b"PROGRAM = 'relay'"
            ours = all(constant in _decoded(loader) for constant in constants)
            if ours and "python" in (entry / "comm").read_text():
                found.append(int(entry.name))
    return found


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def sockets_to(port: int) -> int:
    """Return how many udp sockets of this machine are connected to a port of its own."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(line.split()[2] == f"0100007F:{port:04X}" for line in lines)
