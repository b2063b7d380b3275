"""One file from a worker: read, hashed and written at once, checked, put in place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from chutes_jupyter.errors import OutputsError
from chutes_jupyter.replies import Entry, ReadEnd, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from chutes_jupyter.mirror.folder import MirrorFolder, PartialFile
    from chutes_jupyter.mirror.status import Reading, Source

#: So much is gathered before it goes to a thread: for less, the way there costs more.
_BATCH = 2 * 1024 * 1024

T = TypeVar("T")


class Changed(Exception):
    """The file on the worker is not the one that was listed; look again."""


class Fetch:
    """The way of one file; made anew for each try.

    Parameters
    ----------
    source : Reading
        The worker's side.
    partial : PartialFile
        The file on its way.
    entry : Entry
        Which version of which file.
    executor : Executor
        Threads for hashing and writing.
    progress : callable
        Told how many bytes of the file are here.
    """

    def __init__(
        self,
        source: Reading,
        partial: PartialFile,
        entry: Entry,
        executor: Executor,
        progress: Callable[[int], None],
    ) -> None:
        self._source, self._partial, self._entry = source, partial, entry
        self._executor, self._progress = executor, progress
        self._writing: asyncio.Future[Any] | None = None
        self._batch: list[bytes] = []
        self._gathered = 0

    async def run(self) -> None:
        """Bring the file, or what is missing of it.

        Raises
        ------
        Changed
            If the worker has another version by now; what had come is dropped.
        OutputsError
            If it arrived damaged, or can't lie here.
        WorkerError
            If the connection broke; what has come is kept for the next try.
        """
        try:
            offset = await self._in_thread(self._partial.resume, self._entry.size)
            end = await self._receive(offset)
            await self._written()
            await self._in_thread(self._finish, end)
        except (Changed, OutputsError):
            await self._in_thread(self._partial.discard)
            raise
        finally:
            await self._let_go()

    async def _receive(self, offset: int) -> ReadEnd:
        received = offset
        entry = self._entry
        async with self._source.read(entry.path, offset, hashed=entry.sha256 is None) as frames:
            async for reply in frames:
                received += len(reply.body)
                if received > entry.size:
                    # Leaving here ends the transfer, however much the worker would send.
                    raise Changed
                await self._gather(reply.body)
                if not reply.more:
                    return self._check(parse(ReadEnd, reply.header), received)
        raise Changed

    def _check(self, end: ReadEnd, received: int) -> ReadEnd:
        same = (end.size, end.mtime_ns) == (self._entry.size, self._entry.mtime_ns)
        if end.changed or not same or received != self._entry.size:
            raise Changed
        return end

    async def _gather(self, data: bytes) -> None:
        if data:
            self._batch.append(data)
            self._gathered += len(data)
        if self._gathered >= _BATCH:
            await self._written()
            batch, self._batch, self._gathered = self._batch, [], 0
            # Not waited for: the next batch is read while this one is written.
            self._writing = self._start(self._partial.write, batch)

    async def _written(self) -> None:
        if self._writing is not None:
            await self._writing
            self._writing = None
            self._progress(self._partial.size)

    def _finish(self, end: ReadEnd) -> None:
        """Write the rest, check the whole, and do with it what is to be done (in a thread)."""
        entry = self._entry
        self._partial.write(self._batch)
        self._partial.close()
        whole, piece = self._partial.hashes()
        if not self._is_sound(end, whole, piece):
            raise OutputsError(f"{entry.path!r} arrived damaged: its hash is not the worker's")
        self._take(whole)

    def _is_sound(self, end: ReadEnd, whole: str, piece: str) -> bool:
        """Whether the worker's hash is that of the file, or of what came of it this time."""
        known = self._entry.sha256
        return whole == known if known else piece == end.sha256

    def _take(self, whole: str) -> None:
        """Take the file, which is here and has that hash."""

    async def _let_go(self) -> None:
        """Keep what has arrived, also when this is cancelled or the connection broke."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        self._partial.close()

    def _start(self, function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._executor, function, *args)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        return await self._start(function, *args)


class Output(Fetch):
    """The way of an output into its place.

    Parameters
    ----------
    folder : MirrorFolder
        Where it goes.
    """

    def __init__(
        self,
        source: Source,
        folder: MirrorFolder,
        entry: Entry,
        executor: Executor,
        progress: Callable[[int], None],
    ) -> None:
        super().__init__(source, folder.partial(entry), entry, executor, progress)
        self._folder = folder

    def _take(self, whole: str) -> None:
        self._folder.place(self._partial, self._entry, whole)
