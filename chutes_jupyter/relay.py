"""The client's end of one worker's `relay`: datagrams and streams of all its jobs' ports.

The channel is opened when somebody needs it and again after every loss. Nothing here ever
waits for a slow line: what does not fit into its queue is dropped and counted. A worker may be
hostile: only flows that were opened here are answered, everything has a limit, and whatever
else comes ends the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from chutes_jupyter.agent import lanes
from chutes_jupyter.errors import AgentFailed, ChuteError, ConnectionLost
from chutes_jupyter.relaystreams import Streams

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from chutes_jupyter.transports.base import Process, Stream

__all__ = ["Address", "Dropped", "Lane", "Relay"]

#: So many bytes of datagrams wait here for the channel; an empty one counts `_OVERHEAD`.
QUEUE = 1024 * 1024
_OVERHEAD = 64
#: So many bytes are on their way to the agent: a log's requests never wait behind more.
WINDOW = 256 * 1024
_BATCH = 32 * 1024
_READ = 64 * 1024
#: A datagram that waited longer is worth nothing any more, in seconds.
STALE = 10.0
#: A flow that nothing passed for so long is closed, in seconds.
IDLE = 120.0
_SWEEP = 15.0
#: Pauses before the relay is started again, in seconds: from, growing by, to.
_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.2, 1.7, 30.0
#: For so long the worker may take to tell what it dropped last, in seconds.
_FAREWELL = 1.0
#: For so long a new stream waits for the relay, in seconds.
_PATIENCE = 30.0
#: A relay that ran for so long was a sound one, in seconds.
_SOUND = 5.0

#: Host and port of a program on this machine, as the system writes it.
Address = tuple[str, int] | tuple[str, int, int, int]


class Dropped(NamedTuple):
    """How many datagrams of a port were dropped on their way.

    What was under way when a connection broke counts, though some of it may have arrived.
    What a program did not read from its own socket in time is for that program to count.
    """

    #: From this machine to the job.
    up: int
    #: From the job to this machine.
    down: int


class Endpoint(Protocol):
    """A socket on this machine that leads to a port of a job."""

    def deliver(self, address: Address, data: bytes) -> bool:
        """Hand a datagram over at once; return whether that could be done."""


class Lane:
    """The datagrams of one port of one job, counted where they are dropped.

    Parameters
    ----------
    relay : Relay
        What carries them.
    port : int
        The job's port.
    changed : callable
        Called when more was dropped.
    """

    def __init__(self, relay: Relay, port: int, changed: Callable[[], None]) -> None:
        self._relay, self.port, self.changed = relay, port, changed
        self.up = self.down = 0

    def open(self) -> None:
        """Let datagrams pass."""
        self._relay.enter(self)

    def send(self, source: Endpoint, address: Address, data: bytes) -> None:
        """Send a datagram to the job, or count it as dropped."""
        self._relay.send(self, source, address, data)

    def count(self, *, up: int = 0, down: int = 0) -> None:
        """Count what was dropped."""
        if up or down:
            self.up += up
            self.down += down
            self.changed()

    async def ready(self) -> None:
        """Wait until datagrams can pass."""
        await self._relay.ready()

    async def close_flows_of(self, source: Endpoint) -> None:
        """Close the flows of one socket, and wait for the worker's count of what it dropped."""
        self._relay.close_flows(lambda flow: flow.source is source)
        await asyncio.sleep(0)
        await self._relay.settled()


@dataclass(eq=False)
class _Flow:
    """One program on this machine that sends to a port of a job."""

    number: int
    lane: Lane
    source: Endpoint
    address: Address
    used: float


class Relay:
    """The relay of one worker.

    Parameters
    ----------
    channel : callable
        Returns a context in which the agent's `relay` runs; entering waits while the worker
        can't be reached.
    """

    def __init__(self, channel: Callable[[], AbstractAsyncContextManager[Process]]) -> None:
        self._channel = channel
        #: Why it does not run, or "".
        self.trouble = ""
        self._lanes: dict[int, Lane] = {}
        self._flows: OrderedDict[int, _Flow] = OrderedDict()
        self._by_sender: dict[tuple[int, Address], _Flow] = {}
        self._last_flow = 0
        self._queue: deque[tuple[float, _Flow, bytes]] = deque()
        self._queued = 0
        self._control: deque[bytes] = deque()
        self._streams = Streams(self._say)
        #: What is sent and not yet taken: where each datagram ends in all bytes sent.
        self._under_way: deque[tuple[int, Lane]] = deque()
        self._sent = self._taken = 0
        self._work, self._up = asyncio.Event(), asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._process: Process | None = None
        self._changed = asyncio.Event()
        #: How often it has ended or could not be started.
        self._tries = 0

    # -- who uses it ------------------------------------------------------------------

    def enter(self, lane: Lane) -> None:
        """Carry the datagrams of a lane; its port is nobody else's while its job lives.

        It stays until a later job has that port: the worker may still tell what it dropped.
        """
        self._lanes[lane.port] = lane

    async def ready(self) -> None:
        """Start the relay, and wait until it runs.

        Raises
        ------
        ConnectionLost
            If the next try to start it fails.
        """
        self._start()
        tries = self._tries
        await self._until(lambda: self._up.is_set() or self._tries != tries)
        if not self._up.is_set():
            raise ConnectionLost(self.trouble)

    async def settled(self) -> None:
        """Wait until the worker has taken all that was said so far, if it does so soon."""
        target = self._sent + sum(map(len, self._control))
        tries = self._tries
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._until(
                    lambda: not self._up.is_set() or self._tries != tries or self._taken >= target
                )

    def _start(self) -> None:
        if self._running is None or self._running.done():
            self.trouble = ""
            self._running = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """End the channel, once the worker has told what it dropped."""
        running = self._running
        if running is None:
            return
        if self._process is not None and not running.done():
            self._process.write_eof()
            tries = self._tries
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._until(lambda: self._tries != tries)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self._running = None
        self._tell(up=False, trouble="The relay was closed.")

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    # -- datagrams out ----------------------------------------------------------------

    def send(self, lane: Lane, source: Endpoint, address: Address, data: bytes) -> None:
        """Queue a datagram, or drop it where there is no room."""
        size = len(data) + _OVERHEAD
        if self._queued + size > QUEUE or len(data) > lanes.MAX_BODY:
            lane.count(up=1)
            return
        flow = self._by_sender.get((id(source), address)) or self._open(lane, source, address)
        self._use(flow)
        self._queue.append((_now(), flow, data))
        self._queued += size
        self._work.set()
        self._start()

    def _open(self, lane: Lane, source: Endpoint, address: Address) -> _Flow:
        if len(self._flows) >= lanes.MAX_FLOWS:
            self._close_flow(next(iter(self._flows.values())))
        flow = _Flow(self._next_number(), lane, source, address, _now())
        self._flows[flow.number] = self._by_sender[id(source), address] = flow
        return flow

    def _next_number(self) -> int:
        # Never one again while a process lives: 4 billion are more than it opens.
        self._last_flow += 1
        return self._last_flow

    def _use(self, flow: _Flow) -> None:
        flow.used = _now()
        self._flows.move_to_end(flow.number)

    def close_flows(self, which: Callable[[_Flow], bool]) -> None:
        """Close the flows of which something is true."""
        closing = [flow for flow in self._flows.values() if which(flow)]
        for flow in closing:
            self._close_flow(flow)
        if not closing:
            return
        waiting, self._queue = self._queue, deque()
        for item in waiting:
            if item[1].number in self._flows:
                self._queue.append(item)
            else:
                self._queued -= len(item[2]) + _OVERHEAD
                item[1].lane.count(up=1)

    def _close_flow(self, flow: _Flow) -> None:
        self._forget(flow)
        if self._up.is_set():
            self._say(lanes.CLOSE, flow.number)

    def _forget(self, flow: _Flow) -> None:
        self._flows.pop(flow.number, None)
        self._by_sender.pop((id(flow.source), flow.address), None)

    # -- streams ----------------------------------------------------------------------

    async def open_stream(self, port: int, owner: str = "") -> Stream:
        """Open a TCP connection from the worker to a port of a job there.

        Parameters
        ----------
        port : int
            Where it leads.
        owner : str
            The id of a job whose own processes must listen there, as the worker looks at it for
            this very connection. With `lanes.ONLY_ASK` behind it nothing more is done.

        Raises
        ------
        ConnectFailed
            If nothing listens there, or somebody else does.
        ConnectionLost
            If the relay can't be started, or broke meanwhile.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                await self.ready()
        except TimeoutError:
            raise ConnectionLost("The worker can't be reached.") from None
        stream = self._streams.new(self._next_number(), port)
        self._say(lanes.OPEN, stream.number, port, owner.encode())
        try:
            await stream.opened()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    # -- the channel ------------------------------------------------------------------

    async def _run(self) -> None:
        """Keep the channel open."""
        pause = _FIRST_PAUSE
        while True:
            begun = _now()
            try:
                async with self._channel() as process:
                    begun, self._process = _now(), process
                    self._tell(up=True)
                    await self._serve(process)
            except ChuteError as error:
                self._tell(up=False, trouble=str(error))
            finally:
                self._lose()
            pause = _FIRST_PAUSE if _now() - begun > _SOUND else pause
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)

    def _tell(self, *, up: bool, trouble: str = "") -> None:
        told, self.trouble = self.trouble, trouble
        if up:
            self._up.set()
        else:
            self._up.clear()
            self._tries += 1
        self._changed.set()
        if told != trouble:
            for lane in self._lanes.values():
                lane.changed()

    async def _serve(self, process: Process) -> None:
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._read(process), self._write(process), self._sweep())
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _lose(self) -> None:
        """Take leave of a channel: what was under way in it is lost."""
        self._process = None
        self._up.clear()
        # The flows stay: the next relay opens them anew with their next datagram.
        lost, self._under_way = self._under_way, deque()
        self._control.clear()
        self._sent = self._taken = 0
        self._streams.lose(self.trouble or "The relay on the worker ended.")
        for _, lane in lost:
            lane.count(up=1)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            self.close_flows(lambda flow: flow.used < _now() - IDLE)

    # -- out --------------------------------------------------------------------------

    def _say(self, kind: int, flow: int, port: int = 0, body: bytes = b"") -> None:
        self._control.append(lanes.encode(kind, flow, port, body))
        self._work.set()

    async def _write(self, process: Process) -> None:
        while True:
            batch = self._take_batch()
            if batch:
                await process.write(batch)
            else:
                self._work.clear()
                await self._work.wait()

    def _take_batch(self) -> bytes:
        """Return what may be sent now, and note it as under way."""
        batch = bytearray()
        while self._control and len(batch) < _BATCH:
            batch += self._control.popleft()
        self._sent += len(batch)
        stale = _now() - STALE
        while self._queue and len(batch) < _BATCH:
            moment, flow, data = self._queue[0]
            # Not waiting for room that will never be: one always fits an empty window.
            if self._sent - self._taken + len(data) + lanes.HEAD_SIZE > WINDOW:
                break
            self._queue.popleft()
            self._queued -= len(data) + _OVERHEAD
            if moment < stale or flow.number not in self._flows:
                flow.lane.count(up=1)
                continue
            batch += lanes.encode(lanes.DATAGRAM, flow.number, flow.lane.port, data)
            self._sent += lanes.HEAD_SIZE + len(data)
            self._under_way.append((self._sent, flow.lane))
        return bytes(batch)

    # -- in ---------------------------------------------------------------------------

    async def _read(self, process: Process) -> None:
        decoder = lanes.Decoder()
        try:
            while data := await process.read(_READ):
                for frame in decoder.feed(data):
                    self._take(*frame)
                await asyncio.sleep(0)  # whatever a worker sends, others get their turn
        except lanes.LaneError as error:
            raise AgentFailed(f"The relay on the worker broke the protocol: {error}.") from error
        said = process.stderr_tail()
        raise ConnectionLost("The relay on the worker ended" + (f": {said}" if said else "."))

    def _take(self, kind: int, number: int, port: int, body: bytes) -> None:
        if kind == lanes.DATAGRAM:
            self._take_datagram(number, port, body)
        elif kind == lanes.TAKEN:
            self._take_count(*lanes.number(lanes.COUNT, body))
        elif kind == lanes.DROPPED:
            up, down = lanes.number(lanes.DROPS, body)
            if port in self._lanes:
                self._lanes[port].count(up=up, down=down)
        elif number > self._last_flow:
            raise lanes.LaneError("a flow that nobody opened")
        elif kind == lanes.CLOSE and number in self._flows:
            self._forget(self._flows[number])
        else:
            self._streams.take(kind, number, body)

    def _take_datagram(self, number: int, port: int, body: bytes) -> None:
        flow = self._flows.get(number)
        if flow is None:
            if number > self._last_flow:
                raise lanes.LaneError("a datagram of a flow that nobody opened")
            # An answer to who has gone: its flow was closed while that was under way.
            if port in self._lanes:
                self._lanes[port].count(down=1)
            return
        self._use(flow)
        if not flow.source.deliver(flow.address, body):
            flow.lane.count(down=1)

    def _take_count(self, taken: int) -> None:
        if not self._taken <= taken <= self._sent:
            raise lanes.LaneError("more bytes taken than sent")
        self._taken = taken
        while self._under_way and self._under_way[0][0] <= taken:
            self._under_way.popleft()
        self._work.set()
        self._changed.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
