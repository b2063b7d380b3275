"""The pipes of one command or stream that an `ssh` carries, and how their ends are told apart.

A pipe ends in the same way whether the other side closed it or `ssh` died. So each end is
believed only after the master said that it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.transports.channel import BufferedProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chutes_jupyter.transports.channel import BufferedStream
    from chutes_jupyter.transports.openssh.mux import MuxSocket

#: What the system is asked to hold in a pipe, in bytes: fewer changes between ssh and us.
_PIPE_SIZE = 256 * 1024


class Pipes:
    """Pipes to the master for stdin, stdout and perhaps stderr, and the stream above them.

    Parameters
    ----------
    stream : BufferedStream
        Takes what arrives.
    stands : callable
        Asks the master whether it lives.
    stderr : bool
        Whether there is one.
    """

    def __init__(
        self, stream: BufferedStream, stands: Callable[[], Awaitable[bool]], *, stderr: bool
    ) -> None:
        self.stream, self._stands = stream, stands
        self.mux: MuxSocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._writer: asyncio.WriteTransport | None = None
        self._readers: list[asyncio.ReadTransport] = []
        self._ends: list[asyncio.Event] = []
        stdin, ours = os.pipe()
        #: The other ends, for the master.
        self.theirs = [stdin]
        self._stdin = os.fdopen(ours, "wb", 0)
        self._outs = []
        for _ in range(2 if stderr else 1):
            ours, theirs = os.pipe()
            _widen(ours)
            self._outs.append(os.fdopen(ours, "rb", 0))
            self.theirs.append(theirs)

    def close_theirs(self) -> None:
        """Close our copies of the master's ends."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    async def connect(self) -> None:
        """Tie the pipes to the loop."""
        loop = asyncio.get_running_loop()
        self.stream.connection_made(self)
        kinds = [None, 1]  # stdout, and stderr as the channels of SSH number it
        for file, kind in zip(self._outs, kinds, strict=False):
            reading = _Reading(self.stream, kind)
            self._ends.append(reading.ended)
            transport, _ = await loop.connect_read_pipe(functools.partial(_same, reading), file)
            self._readers.append(transport)
        self._writer, _ = await loop.connect_write_pipe(lambda: _Writing(self.stream), self._stdin)

    def follow(self, done: Callable[[Pipes], object]) -> None:
        """Watch for the end, and call `done` after it."""

        def end(task: asyncio.Task[None]) -> None:
            self._close_all()
            done(self)
            if not task.cancelled() and (error := task.exception()):
                raise error

        self._task = asyncio.create_task(self._follow(), name="chutes ssh channel")
        self._task.add_done_callback(end)

    async def _follow(self) -> None:
        assert self.mux is not None  # noqa: S101 - set before
        stdout, *others = self._ends
        await stdout.wait()
        if await self._stands():
            self.stream.eof_received()
        status = await self.mux.ended()
        for ended in others:
            await ended.wait()
        if status is None:
            await self._stands()  # notes the loss, if it was one
        elif isinstance(self.stream, BufferedProcess):
            self.stream.exit_status_received(status)

    def _close_all(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self.mux is not None:
            self.mux.close()
        for reader in self._readers:
            reader.close()
        if self._writer is None:
            self._stdin.close()
        elif not self._writer.is_closing() or self._writer.get_write_buffer_size():
            self._writer.abort()  # once: asyncio closes a pipe that is closing a second time
        for file in self._outs[len(self._readers) :]:
            file.close()
        self.stream.connection_lost(None)

    # What the buffer needs of its channel.

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until they can be sent."""
        if self._writer is None or self._writer.is_closing():
            raise BrokenPipeError("the other end reads no more")
        self._writer.write(data)

    def write_eof(self) -> None:
        """Declare the end of what is written, once it is sent."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.close()

    def close(self) -> None:
        """Close both directions, and what was opened on the worker."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._close_all()

    def pause_reading(self) -> None:
        """Hand over no more of stdout."""
        with contextlib.suppress(RuntimeError):
            self._readers[0].pause_reading()

    def resume_reading(self) -> None:
        """Hand over stdout again."""
        with contextlib.suppress(RuntimeError):
            self._readers[0].resume_reading()


def _widen(fd: int) -> None:
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # the person's share of pipes is used up
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


def _same(reading: _Reading) -> _Reading:
    return reading


class _Reading(asyncio.Protocol):
    """Hands what a pipe brings to the stream."""

    def __init__(self, stream: BufferedStream, kind: int | None) -> None:
        self._stream, self._kind = stream, kind
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._stream.data_received(data, self._kind)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.ended.set()


class _Writing(asyncio.BaseProtocol):
    """Brakes the writers of a stream."""

    def __init__(self, stream: BufferedStream) -> None:
        self._stream = stream

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._stream.resume_writing()
