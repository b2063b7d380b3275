"""The bytes of one output, from here where it is here, else from its worker.

Everything here runs in the background loop, disks in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, Literal

from chutes_jupyter.errors import OutputsError, WaitTimeout, WorkerError
from chutes_jupyter.replies import path_fault
from chutes_jupyter.server.outputs import Here, listing
from chutes_jupyter.server.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chutes_jupyter.replies import Entry
    from chutes_jupyter.server.cases import Case

_PIECE = 256 * 1024
#: A link or a pipe that somebody put in place of the file is not followed, or waited for.
_GUARDED = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_BINARY", "O_NONBLOCK"))


@dataclass(frozen=True)
class Output:
    """One output, found.

    Parameters
    ----------
    case : Case
        Whose.
    path : str
        Below the output folder.
    size : int
        In bytes.
    modified : int
        In nanoseconds since the epoch, as the worker has it.
    source : {"here", "worker"}
        From where it is read.
    """

    case: Case
    path: str
    size: int
    modified: int
    source: Literal["here", "worker"]

    async def read(self, start: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield so many bytes from an offset on; fewer, if the file has become shorter."""
        pieces = self._read_here(start) if self.source == "here" else self._read_there(start)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece[:length]
                length -= len(piece)
                if length <= 0:
                    return

    async def head(self, length: int) -> bytes:
        """Return the first bytes of the file."""
        found = bytearray()
        async with contextlib.aclosing(self.read(0, length)) as pieces:
            async for piece in pieces:
                found += piece
        return bytes(found)

    async def _read_here(self, start: int) -> AsyncGenerator[bytes, None]:
        file = await asyncio.to_thread(_open_here, self.case, self.path)
        try:
            await asyncio.to_thread(file.seek, start)
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece
        finally:
            file.close()

    async def _read_there(self, start: int) -> AsyncGenerator[bytes, None]:
        case = self.case
        fields = {"job": case.live.id, "path": self.path, "offset": start, "hash": False}
        async with case.bulk.stream("read", **fields) as frames:
            async for reply in frames:
                if reply.body:
                    yield reply.body


async def find(case: Case, path: str) -> Output:
    """Find an output: here, where that is the newest there is, else on the worker.

    Raises
    ------
    ApiError
        If there is none of that path.
    OutputsError
        If the path is none that a file could have here.
    WorkerError
        If only the worker could have it, and can't be asked.
    """
    if fault := path_fault(path):
        raise OutputsError(f"{path!r}: {fault}")
    entry: Entry | None = None
    trouble: WorkerError | WaitTimeout | None = None
    if case.live.acknowledged and not case.live.removed:
        try:
            entry = next((e for e in (await listing(case)).entries if e.path == path), None)
        except (WorkerError, WaitTimeout) as error:
            trouble = error
    found = await asyncio.to_thread(_here, case, path, entry)
    if found is not None:
        return found
    if entry is not None:
        return Output(case, path, entry.size, entry.mtime_ns, "worker")
    if trouble is not None:
        raise trouble
    raise ApiError(
        HTTPStatus.NOT_FOUND,
        "file_not_found",
        f"{case.live.label} has no output {path!r}.",
        "GET /jobs/{job}/files lists what there is.",
    )


def _here(case: Case, path: str, entry: Entry | None) -> Output | None:
    """Return what is here of a file, unless the worker has something newer."""
    here = Here.of(case)
    if here.folder is None or not here.has(path):
        return None
    if entry is not None and not here.current(entry):
        return None
    status = here.folder.inside(path).lstat()
    return Output(case, path, status.st_size, status.st_mtime_ns, "here")


def _open_here(case: Case, path: str) -> BinaryIO:
    folder = Here.of(case).folder
    if folder is None:
        raise OutputsError(f"{path!r} is no longer here")
    target = folder.inside(path)
    if not target.resolve().is_relative_to(folder.path.resolve()):
        raise OutputsError(f"{path!r} leads out of the folder here")
    try:
        handle = os.open(target, os.O_RDONLY | _GUARDED)
    except OSError as error:
        raise OutputsError(f"{path!r} can't be read here: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OutputsError(f"{path!r} is no file here")
    return os.fdopen(handle, "rb")
