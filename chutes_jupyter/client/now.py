"""One output of a job, brought here at once: as it is now, although the job may write on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.errors import OutputsError
from chutes_jupyter.replies import Entry, ReadEnd, parse

if TYPE_CHECKING:
    from chutes_jupyter.client.follow import Follower
    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.mirror import MirrorFolder
    from chutes_jupyter.mirror.folder import PartialFile

#: So much is gathered before it goes to a thread.
_BATCH = 2 * 1024 * 1024


async def bring_now(client: JobClient, live: Live, path: str) -> int:
    """Bring a file into the job's folder here, and return its size.

    Whoever mirrors the job, be it another process, learns of the file at the end, and brings
    it again then if it has changed.

    Raises
    ------
    OutputsError
        If it arrived damaged, or can't lie here.
    RequestRefused
        If the worker has no such file.
    WorkerError
        If the worker can't be reached.
    """
    follower = client.follower(live)
    folder = await asyncio.to_thread(follower.place)
    folder.inside(path)  # refuses what leads elsewhere before anything is read
    partial = folder.apart()
    try:
        end = await _receive(follower, path, partial)
        await asyncio.to_thread(_put, folder, partial, path, end)
    except OSError as error:
        raise OutputsError(f"{path!r} can't be written here: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(partial.discard)
    return end.size


async def _receive(follower: Follower, path: str, partial: PartialFile) -> ReadEnd:
    """Write what the worker sends of a file; return what it says of the whole."""
    batch: list[bytes] = []
    gathered = 0
    async with follower.bulk.stream("read", job=follower.live.id, path=path, offset=0) as frames:
        async for reply in frames:
            batch.append(reply.body)
            gathered += len(reply.body)
            if gathered >= _BATCH or not reply.more:
                await asyncio.to_thread(partial.write, batch)
                batch, gathered = [], 0
            if not reply.more:
                return parse(ReadEnd, reply.header)
    raise OutputsError(f"{path!r} arrived without an end")


def _put(folder: MirrorFolder, partial: PartialFile, path: str, end: ReadEnd) -> None:
    """Check what arrived, and put it in its place."""
    partial.close()
    whole, _ = partial.hashes()
    if whole != end.sha256:
        raise OutputsError(f"{path!r} arrived damaged: its hash is not the worker's")
    # What arrived, which is less than the file has by now if it grew meanwhile.
    folder.place(
        partial,
        Entry(path=path, size=partial.size, mtime_ns=end.mtime_ns, sha256=whole, quiet=False),
        whole,
    )
