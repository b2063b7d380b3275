"""The buffer between a channel's callbacks and whoever reads it, with limits both ways.

It knows no SSH library: a channel is whatever has the methods of `Carrier`.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, cast

from chutes_jupyter.errors import ConnectionLost
from chutes_jupyter.transports.base import Process, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

#: How much of stderr is kept, in bytes.
STDERR_TAIL = 8 * 1024


class Carrier(Protocol):
    """What the buffer needs of the channel below it."""

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until they can be sent."""

    def write_eof(self) -> None:
        """Declare the end of what is written."""

    def close(self) -> None:
        """Close both directions."""

    def pause_reading(self) -> None:
        """Hand over no more bytes."""

    def resume_reading(self) -> None:
        """Hand over bytes again."""


class Buffer:
    """One channel's incoming bytes, its end, and the brake on its writers.

    The end has three kinds. The other side may have said that nothing more comes: then readers
    see ``b""``. The connection may have broken: then they see `ConnectionLost`, each time they
    ask. Or the channel was closed without a word while the connection stands: an end like the
    first.

    Parameters
    ----------
    limit : int
        With so many bytes unread, the channel is told to pause.
    lost : callable
        Returns why the connection is gone, or None while it stands.
    """

    def __init__(self, limit: int, lost: Callable[[], str | None]) -> None:
        self.carrier: Carrier | None = None
        self._limit = limit
        self._lost = lost
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._reading_paused = False
        self._changed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._eof = False
        self._closed_here = False
        self._broken: str | None = None

    # What the channel tells us.

    def data_received(self, data: bytes) -> None:
        """Keep what arrived, and pause the channel when that is too much."""
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()
        if self._size >= self._limit and not self._reading_paused and self.carrier:
            self._reading_paused = True
            self.carrier.pause_reading()

    def eof_received(self) -> None:
        """Note the end that the other side declared."""
        self._eof = True
        self._changed.set()

    def closed(self, error: Exception | None) -> None:
        """Note that the channel is gone, with the error if the connection broke."""
        if error is not None:
            self._broken = str(error) or type(error).__name__
        self.carrier = None
        self._closed.set()
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """Make writers wait."""
        if not self._closed.is_set():
            self._writable.clear()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._writable.set()

    # What the person's side asks.

    async def read(self, n: int) -> bytes:
        """Return up to `n` bytes, ``b""`` at the end; raise if the connection broke first."""
        while not self._chunks:
            if self._eof or self._closed_here:
                return b""
            if self._closed.is_set():
                self.check()
                return b""
            self._changed.clear()
            await self._changed.wait()
        return self._take(n)

    def _take(self, n: int) -> bytes:
        taken: list[bytes] = []
        while self._chunks and n > 0:
            chunk = self._chunks.popleft()
            if len(chunk) > n:
                self._chunks.appendleft(chunk[n:])
                chunk = chunk[:n]
            taken.append(chunk)
            n -= len(chunk)
            self._size -= len(chunk)
        if self._reading_paused and self._size <= self._limit // 2 and self.carrier:
            self._reading_paused = False
            self.carrier.resume_reading()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def write(self, data: bytes) -> None:
        """Send bytes and wait while the channel has too many unsent ones."""
        if self.carrier is None:
            self.check()
            raise ConnectionLost("The other end has closed this channel.")
        try:
            self.carrier.write(data)
        except OSError as error:
            self.check()
            raise ConnectionLost("The other end has closed this channel.") from error
        await self._writable.wait()
        if self._closed.is_set():
            self.check()

    def write_eof(self) -> None:
        """Declare the end of what we write, if the channel still stands."""
        if self.carrier is not None:
            self.carrier.write_eof()

    def check(self) -> None:
        """Raise `ConnectionLost` if the connection is gone."""
        reason = self._broken or self._lost()
        if reason is not None:
            raise ConnectionLost(reason)

    async def wait_closed(self) -> None:
        """Wait until the channel is gone."""
        await self._closed.wait()

    def close(self) -> None:
        """Close the channel; readers see its end."""
        self._closed_here = True
        self._changed.set()
        if self.carrier is not None:
            self.carrier.close()


class BufferedStream(Stream):
    """A stream over a channel, whose library calls the lower half of these methods.

    Parameters
    ----------
    buffer : Buffer
        Where the bytes wait.
    """

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    async def read(self, n: int) -> bytes:
        """Return what has arrived; see `Stream.read`."""
        return await self._buffer.read(n)

    async def write(self, data: bytes) -> None:
        """Send bytes; see `Stream.write`."""
        await self._buffer.write(data)

    def write_eof(self) -> None:
        """Say that nothing more will be written."""
        self._buffer.write_eof()

    async def aclose(self) -> None:
        """Close both directions."""
        self._buffer.close()

    # What the channel's library calls.

    def connection_made(self, chan: Any) -> None:
        """Take the channel."""
        self._buffer.carrier = cast("Carrier", chan)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the channel is gone."""
        self._buffer.closed(exc)

    def data_received(self, data: bytes, _datatype: int | None) -> None:
        """Take bytes."""
        self._buffer.data_received(data)

    def eof_received(self) -> bool:
        """Note the other side's end, and keep our own direction open."""
        self._buffer.eof_received()
        return True

    def pause_writing(self) -> None:
        """Make writers wait."""
        self._buffer.pause_writing()

    def resume_writing(self) -> None:
        """Let writers go on."""
        self._buffer.resume_writing()


class BufferedProcess(BufferedStream, Process):
    """A command over a channel: its stdout is kept for readers, of its stderr only the end."""

    def __init__(self, buffer: Buffer) -> None:
        super().__init__(buffer)
        self._stderr = bytearray()
        self._status: int | None = None
        self._ended = False

    async def wait(self) -> int | None:
        """Wait for the command's end; see `Process.wait`."""
        await self._buffer.wait_closed()
        if not self._ended:
            self._buffer.check()
        return self._status

    def stderr_tail(self) -> str:
        """Return the end of what was written to stderr."""
        return self._stderr.decode("utf-8", "replace").strip()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take bytes of stdout, or of stderr where the channel says so."""
        if datatype is None:
            super().data_received(data, datatype)
            return
        self._stderr += data
        del self._stderr[:-STDERR_TAIL]

    def exit_status_received(self, status: int) -> None:
        """Note how the command ended."""
        self._status, self._ended = status, True

    def exit_signal_received(self, name: str, *_: object) -> None:
        """Note the signal that ended the command."""
        number = getattr(signal, f"SIG{name}", None)
        self._status = None if number is None else -int(number)
        self._ended = True
