"""The client's ends of the streams that a `relay` carries, for servers that forward no TCP."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from chutes_jupyter.agent import lanes
from chutes_jupyter.errors import ConnectFailed, ConnectionLost, WorkerError
from chutes_jupyter.transports.base import Stream

if TYPE_CHECKING:
    from collections.abc import Callable


#: How much of a refusal's reason is shown, in bytes.
_REASON = 500


class Say(Protocol):
    """Puts a frame in line for the worker."""

    def __call__(self, kind: int, flow: int, port: int = 0, body: bytes = b"") -> None:
        """Say it."""


class RelayStream(Stream):
    """One TCP connection from the worker, through its relay.

    Parameters
    ----------
    number, port : int
        Its flow, and where it leads on the worker.
    say : callable
        Puts a frame in line for the worker.
    gone : callable
        Called when it is closed.
    """

    def __init__(self, number: int, port: int, say: Say, gone: Callable[[], object]) -> None:
        self.number, self.port = number, port
        self._say, self._gone = say, gone
        self._changed = asyncio.Event()
        self._open = False
        self._failure: WorkerError | None = None
        self._chunks: deque[bytes] = deque()
        #: How much the worker may still send, and we.
        self._room_here = self._room_there = lanes.STREAM_WINDOW
        self._last_in = self._last_out = self._closed = False

    async def opened(self) -> None:
        """Wait until the worker has connected."""
        await self._until(lambda: self._open)

    async def read(self, n: int) -> bytes:
        """Return what has arrived; see `Stream.read`."""
        await self._until(lambda: bool(self._chunks) or self._last_in or self._closed)
        if not self._chunks:
            return b""
        data = self._chunks.popleft()
        if len(data) > n:
            self._chunks.appendleft(data[n:])
            data = data[:n]
        self._room_here += len(data)
        if self._failure is None and not self._last_in:
            self._say(lanes.ROOM, self.number, 0, lanes.ROOM_MADE.pack(len(data)))
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; see `Stream.write`."""
        rest = memoryview(data)
        while rest:
            await self._until(lambda: self._room_there > 0)
            piece = bytes(rest[: min(self._room_there, lanes.PIECE)])
            self._room_there -= len(piece)
            self._say(lanes.DATA, self.number, 0, piece)
            rest = rest[len(piece) :]

    def write_eof(self) -> None:
        """Say that nothing more will be written."""
        if self._failure is None and not self._last_out:
            self._last_out = True
            self._say(lanes.END, self.number)

    async def aclose(self) -> None:
        """Close both directions."""
        if self._closed:
            return
        self._closed = True
        if self._failure is None and not (self._last_in and self._last_out):
            self._say(lanes.CLOSE, self.number)
        self._changed.set()
        self._gone()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._failure is not None:
                # A copy: both directions may raise it.
                raise type(self._failure)(*self._failure.args)
            if self._closed:
                raise ConnectionLost("The connection is closed.")
            self._changed.clear()
            await self._changed.wait()

    # -- what the worker says ---------------------------------------------------------

    def take(self, kind: int, body: bytes) -> None:
        """Take one frame.

        Raises
        ------
        LaneError
            If it has no sense here.
        """
        if kind == lanes.OPENED and not self._open:
            self._open = True
        elif kind == lanes.REFUSED and not self._open:
            reason = body[:_REASON].decode("utf-8", "replace")
            where = f"no connection to 127.0.0.1:{self.port} there"
            self.fail(ConnectFailed(f"{where}: {reason}."))
        elif kind == lanes.DATA and body and len(body) <= self._room_here and not self._last_in:
            self._room_here -= len(body)
            self._chunks.append(body)
        elif kind == lanes.END and not self._last_in:
            self._last_in = True
        elif kind == lanes.ROOM:
            self._room_there += lanes.number(lanes.ROOM_MADE, body)[0]
            if self._room_there > lanes.STREAM_WINDOW:
                raise lanes.LaneError("more bytes of a stream taken than sent")
        elif kind == lanes.CLOSE:
            self.fail(ConnectionLost("The job closed the connection before its end."))
        else:
            raise lanes.LaneError(f"frame of kind {kind} in a stream")
        self._changed.set()

    def fail(self, failure: WorkerError) -> None:
        """Note why it is over."""
        self._failure = self._failure or failure
        self._changed.set()


class Streams:
    """All streams of one relay.

    Parameters
    ----------
    say : callable
        Puts a frame in line for the worker.
    """

    def __init__(self, say: Say) -> None:
        self._say = say
        self._streams: dict[int, RelayStream] = {}

    def new(self, number: int, port: int) -> RelayStream:
        """Return a stream that is not connected yet."""
        stream = RelayStream(number, port, self._say, lambda: self._streams.pop(number, None))
        self._streams[number] = stream
        return stream

    def take(self, kind: int, number: int, body: bytes) -> None:
        """Take one frame; those of streams that are closed here are dropped."""
        stream = self._streams.get(number)
        if stream is not None:
            stream.take(kind, body)

    def lose(self, reason: str) -> None:
        """End all: the channel is gone."""
        for stream in self._streams.values():
            stream.fail(ConnectionLost(reason))
