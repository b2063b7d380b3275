"""Anything at all, in place of what a sound relay sends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chutes_jupyter import relay as relay_module
from chutes_jupyter.agent import lanes
from chutes_jupyter.errors import AgentFailed, ConnectionLost
from chutes_jupyter.relay import Dropped, Lane, Relay
from chutes_jupyter.transports.base import Process

QUICK = settings(
    max_examples=200, deadline=5000, suppress_health_check=list(HealthCheck), database=None
)
FRAMES = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)),
        st.one_of(st.sampled_from([0, 9000, 9001]), st.integers(0, 2**16 - 1)),
        st.one_of(st.binary(max_size=40), st.sampled_from([bytes(8), b"\xff" * 8, b"\xff" * 4])),
    ),
    max_size=30,
)


def raw(kind: int, flow: int, port: int, body: bytes) -> bytes:
    return lanes._HEAD.pack(kind, flow, port, len(body)) + body


class Liar(Process):
    """A relay that says what it was told to say, and then nothing more, or its end."""

    def __init__(self, words: Sequence[bytes], *, ends: bool = True) -> None:
        self.words, self.ends = list(words), ends
        self.heard = 0
        self.told = asyncio.Event()

    async def read(self, n: int) -> bytes:
        if self.words:
            await asyncio.sleep(0)
            piece, self.words[0] = self.words[0][:n], self.words[0][n:]
            if not self.words[0]:
                self.words.pop(0)
            return piece or await self.read(n)
        self.told.set()
        if not self.ends:
            await asyncio.Event().wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.heard += len(data)

    def write_eof(self) -> None:
        self.ends = True

    async def aclose(self) -> None:
        pass

    async def wait(self) -> int | None:
        return 0

    def stderr_tail(self) -> str:
        return "\x1b[2Jlast words" * 3


class Endpoint:
    """A socket that keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[tuple[object, bytes]] = []

    def deliver(self, address: object, data: bytes) -> bool:
        self.got.append((address, data))
        return True


class Rig:
    """A relay whose worker lies, with a flow of datagrams and a stream that is being opened."""

    def __init__(self, words: Sequence[bytes], *, ends: bool = True) -> None:
        self.liar = Liar(words, ends=ends)
        self.relay = Relay(self.channel)
        self.lane = Lane(self.relay, 9000, lambda: None)
        self.lane.open()
        self.endpoint = Endpoint()
        self.channels = 0

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Process]:
        self.channels += 1
        if self.channels > 1:
            await asyncio.Event().wait()
        # The first flow and the first stream are there before the worker says anything.
        self.lane.send(self.endpoint, ("127.0.0.1", 1), b"question")
        yield self.liar

    async def hear(self) -> None:
        """Let the worker say everything, or be cut off."""
        stream = asyncio.ensure_future(self.relay.open_stream(9001))
        try:
            self.relay._start()
            await asyncio.wait_for(self._over(), 5)
        finally:
            stream.cancel()
            await asyncio.gather(stream, return_exceptions=True)

    async def _over(self) -> None:
        while not self.liar.told.is_set() and not self.relay.trouble:
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        await self.relay.aclose()


@QUICK
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_frames_or_an_error(data: bytes, size: int) -> None:
    decoder = lanes.Decoder()
    with contextlib.suppress(lanes.LaneError):
        for at in range(0, len(data), size):
            for kind, _, _, body in decoder.feed(data[at : at + size]):
                assert kind in lanes.KINDS
                assert len(body) <= lanes.MAX_BODY
    assert len(decoder._rest) <= len(data)


@QUICK
@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(lanes.KINDS)),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**16 - 1),
            st.one_of(st.binary(max_size=40), st.just(b"x" * lanes.MAX_BODY)),
        ),
        max_size=5,
    ),
    st.integers(1, 100_000),
)
def test_frames_come_back_from_any_pieces(frames: list[lanes.Frame], size: int) -> None:
    data = b"".join(lanes.encode(*frame) for frame in frames)
    decoder = lanes.Decoder()
    size = max(size, len(data) // 200 + 1)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == frames
    assert not decoder._rest


@QUICK
@given(FRAMES, st.integers(1, 60))
def test_whatever_frames_come_the_client_lives_and_stays_small(frames, size: int) -> None:
    data = b"".join(raw(*frame) for frame in frames)

    async def run() -> None:
        rig = Rig([data[at : at + size] for at in range(0, len(data), size)])
        await rig.hear()
        # Only the flow that was opened here was answered, and only to who had asked.
        assert {address for address, _ in rig.endpoint.got} <= {("127.0.0.1", 1)}
        assert len(rig.relay._flows) <= 1
        assert len(rig.relay._control) < 200
        assert rig.relay._running is not None
        assert not rig.relay._running.done()  # it goes on: the next channel may be sound
        assert "\x1b" not in rig.relay.trouble
        await rig.aclose()

    asyncio.run(run())


@QUICK
@given(st.binary(max_size=200))
def test_whatever_bytes_come_the_client_lives(data: bytes) -> None:
    async def run() -> None:
        rig = Rig([data])
        await rig.hear()
        assert rig.relay._running is not None
        assert not rig.relay._running.done()
        await rig.aclose()

    asyncio.run(run())


#: What it says of the stream that is being opened, whose number is given.
BREACHES: dict[str, Callable[[int], list[bytes]]] = {
    "an unknown kind": lambda n: [raw(99, n, 9000, b"")],
    "a length over the limit": lambda _: [lanes._HEAD.pack(lanes.DATAGRAM, 1, 9000, 65508)],
    "a datagram of a flow that nobody opened": lambda _: [raw(lanes.DATAGRAM, 99, 9000, b"x")],
    "an end of a flow that nobody opened": lambda _: [raw(lanes.CLOSE, 99, 9000, b"")],
    "bytes of a stream that nobody opened": lambda _: [raw(lanes.DATA, 99, 9000, b"x")],
    "more taken than sent": lambda _: [raw(lanes.TAKEN, 0, 0, lanes.COUNT.pack(10**6))],
    "counts of another size": lambda _: [raw(lanes.DROPPED, 0, 9000, b"x")],
    "more of a stream than its window": lambda n: [raw(lanes.DATA, n, 0, b"x" * 65000)] * 3,
    "room that was never used": lambda n: [raw(lanes.ROOM, n, 0, lanes.ROOM_MADE.pack(1))],
    "the same word twice": lambda n: [raw(lanes.OPENED, n, 0, b"")] * 2,
    "bytes after the end": lambda n: [raw(lanes.END, n, 0, b""), raw(lanes.DATA, n, 0, b"x")],
}


@pytest.mark.parametrize("words", BREACHES.values(), ids=BREACHES)
@pytest.mark.anyio
async def test_a_breach_ends_the_channel_with_words(words: Callable[[int], list[bytes]]) -> None:
    rig = Rig([], ends=False)
    stream = asyncio.ensure_future(rig.relay.open_stream(9001))
    while not rig.relay._streams._streams:
        await asyncio.sleep(0)
    (number,) = rig.relay._streams._streams
    with pytest.raises(AgentFailed, match="broke the protocol"):
        await rig.relay._read(Liar(words(number)))
    stream.cancel()
    await asyncio.gather(stream, return_exceptions=True)
    await rig.aclose()


@pytest.mark.anyio
async def test_a_worker_that_counts_wildly_is_not_believed_beyond_its_numbers() -> None:
    rig = Rig(
        [raw(lanes.DROPPED, 0, 9000, b"\xff" * 8)] * 3 + [raw(lanes.DROPPED, 0, 1, b"\1" * 8)]
    )
    await rig.hear()
    most = lanes.MOST_DROPS
    assert Dropped(rig.lane.up, rig.lane.down) in [(3 * most, 3 * most), (3 * most + 1, 3 * most)]
    assert set(rig.relay._lanes) == {9000}  # no lanes are made by a worker
    await rig.aclose()


@pytest.mark.anyio
async def test_a_worker_that_takes_nothing_makes_the_client_keep_little() -> None:
    rig = Rig([], ends=False)
    rig.relay._start()
    for number in range(20_000):
        rig.lane.send(rig.endpoint, ("127.0.0.1", number % 3000), bytes(number % 2000))
        if number % 100 == 0:
            await asyncio.sleep(0)
    assert rig.liar.heard <= relay_module.WINDOW + 64 * 1024
    assert rig.relay._queued <= relay_module.QUEUE
    assert len(rig.relay._flows) <= lanes.MAX_FLOWS
    assert rig.lane.up > 10_000
    # And every one of them is accounted for.
    kept = len(rig.relay._queue) + len(rig.relay._under_way)
    assert rig.lane.up + kept == 20_001
    await rig.aclose()


@pytest.mark.anyio
async def test_a_relay_that_ends_at_once_is_started_again_with_pauses() -> None:
    starts: list[float] = []

    @contextlib.asynccontextmanager
    async def channel() -> AsyncIterator[Process]:
        starts.append(time.monotonic())
        yield Liar([])

    relay = Relay(channel)
    lane = Lane(relay, 9000, lambda: None)
    lane.open()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        lane.send(Endpoint(), ("127.0.0.1", 1), b"again")
        await asyncio.sleep(0.001)
    assert 2 <= len(starts) <= 5
    await relay.aclose()


@pytest.mark.anyio
async def test_a_relay_that_ends_says_why_without_its_control_characters() -> None:
    rig = Rig([b""])
    with pytest.raises(ConnectionLost, match="last words") as caught:
        await rig.relay._read(Liar([]))
    assert "\x1b" not in str(caught.value)
    await rig.aclose()
