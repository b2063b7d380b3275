"""A TCP proxy in front of an sshd that cuts, stalls, slows and swallows by command."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct

#: Closing with a linger time of 0 sends a reset instead of an end.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards to 127.0.0.1:`target` until told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        #: How many connections were accepted, and how many bytes passed.
        self.accepted, self.passed = 0, 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._stranded: list[asyncio.Event] = []
        self._fuse: int | None = None
        self._again: list[int] = []
        self._rate: float | None = None
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """How many connections go through here."""
        return len(self._pairs)

    def stall(self) -> None:
        """Hold everything back from now on, as a dead network would: no byte, no reset.

        What is held back may arrive late, once it flows again.
        """
        self._flowing.clear()

    def flow(self) -> None:
        """Let everything through again, at full speed."""
        self._rate, self._fuse = None, None
        self._flowing.set()

    def strand(self) -> None:
        """Hold back what present connections carry, and let new ones through."""
        held, self._flowing = self._flowing, asyncio.Event()
        held.clear()
        self._stranded.append(held)
        self._flowing.set()

    def release(self) -> None:
        """Let what was stranded arrive, late."""
        for held in self._stranded:
            held.set()
        self._stranded.clear()

    def slow(self, rate: float) -> None:
        """Let through so many bytes a second in each direction of each connection."""
        self._rate = rate

    def cut(self, *, one: random.Random | None = None, reset: bool = True) -> int:
        """Break every connection, or one of them; return how many that were."""
        self._fuse = None
        pairs = [one.choice(self._pairs)] if one and self._pairs else list(self._pairs)
        for pair in pairs:
            self._pairs.remove(pair)
            for writer in pair:
                if reset:
                    with contextlib.suppress(OSError):  # closed by the other end
                        raw = writer.get_extra_info("socket")
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()
        return len(pairs)

    def cut_after(self, size: int, *, times: int = 1) -> None:
        """Break every connection once so many further bytes have passed, `times` in a row."""
        self._fuse, self._again = size, [size] * (times - 1)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            above, below = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, below)
        self._pairs.append(pair)
        try:
            await asyncio.gather(self._copy(reader, below), self._copy(above, writer))
        finally:
            if pair in self._pairs:
                self._pairs.remove(pair)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flowing = self._flowing
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await flowing.wait()
                for piece in self._pieces(data):
                    if writer.is_closing():
                        return
                    if self._rate is not None:
                        await asyncio.sleep(len(piece) / self._rate)
                    self.passed += len(piece)
                    if self._fuse is not None:
                        self._fuse -= len(piece)
                        if self._fuse <= 0:
                            # In the middle of whatever it is: the rest never arrives.
                            writer.write(piece[: len(piece) + self._fuse])
                            again = self._again
                            self.cut(reset=False)
                            if again:
                                self.cut_after(again[0], times=len(again))
                            return
                    writer.write(piece)
                    await writer.drain()
        writer.close()

    def _pieces(self, data: bytes) -> list[bytes]:
        if self._rate is None:
            return [data]
        step = max(1, int(self._rate / 50))
        return [data[at : at + step] for at in range(0, len(data), step)]
