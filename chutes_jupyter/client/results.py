"""What a job returned, on its way here: small values in memory, large ones through a file.

A large one lands beside the job's mirror, readable by its owner alone; a break goes on where it
was, and the whole is checked by its hash. It is then mapped, so that arrays in it take memory
only as they are used, and its name is gone: nobody else reads it, and nothing stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mmap
from typing import TYPE_CHECKING, TypeVar

from chutes_jupyter.errors import AgentFailed, ConnectionLost, OutputsError, ResultError
from chutes_jupyter.files import waiting_for_lock
from chutes_jupyter.mirror.fetch import Changed, Fetch
from chutes_jupyter.mirror.folder import MirrorFolder, PartialFile
from chutes_jupyter.mirror.room import free, is_full
from chutes_jupyter.replies import Entry, LargeResult, ReadEnd, parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from concurrent.futures import Executor
    from pathlib import Path

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.link import Reply

__all__ = ["LARGE", "Result", "bring"]

#: What is larger comes through a file, in bytes.
LARGE = 16 * 1024 * 1024
#: Left free on the disk here, in bytes.
_MARGIN = 1024 * 1024
#: Where it lies, in the folder of what we keep beside a mirror.
_FOLDER = "result"
_HOURS = 86_400.0

#: The bytes of a value: in memory, or of a file that is mapped.
Result = bytearray | mmap.mmap

T = TypeVar("T")


async def bring(
    live: Live,
    control: Session,
    bulk: Session,
    form: str,
    *,
    folder: Callable[[], MirrorFolder],
    executor: Executor,
    limit: int | None,
) -> Result | None:
    """Return the bytes of what a job returned; None if its worker has nothing.

    Parameters
    ----------
    live : Live
        The job, which has ended.
    control, bulk : Session
        The ways to its worker.
    form : str
        Which of its forms.
    folder : callable
        Returns the folder of its outputs, made its own (in a thread).
    executor : Executor
        Threads for disks and hashes.
    limit : int, optional
        The most bytes that may come here.

    Raises
    ------
    ResultError
        If it is too large, or has no room here.
    """

    def trouble(reason: str | None) -> None:
        live.set(trouble=reason)

    while True:
        await control.patient_link(trouble)
        try:
            found = await _small(control, live, form)
        except ConnectionLost as error:
            trouble(str(error))
        else:
            break
    if not isinstance(found, LargeResult):
        return found
    if limit is not None and found.size > limit:
        raise ResultError(
            f"The result of {live.label} has {found.size:,} bytes, and {limit:,} of a job may come "
            "here: raise mirror_limit_gb in chutes_workers.toml, and ask again."
        )
    way = _Large(live, bulk, form, found, executor)
    place = await asyncio.get_running_loop().run_in_executor(executor, folder)
    # Another process, or another task of this one, may be bringing it.
    async with waiting_for_lock(place.beside("result.lock"), patience=_HOURS):
        try:
            return await way.bring(place)
        finally:
            live.set(carried="")


async def _small(control: Session, live: Live, form: str) -> bytearray | LargeResult | None:
    digest = hashlib.sha256()
    # Not a list: in pieces of a byte each, it would be many times as large.
    value = bytearray()
    async with control.stream("result", job=live.id, form=form, limit=LARGE) as frames:
        async for reply in frames:
            if not reply.header.get("has_value"):
                return None
            if reply.header.get("large"):
                return parse(LargeResult, reply.header)
            value += reply.body
            if len(value) > LARGE:
                raise AgentFailed(f"{live.worker} sends more than the result of {live.label}.")
            digest.update(reply.body)
            if not reply.more:
                end = parse(ReadEnd, reply.header)
                if end.sha256 != digest.hexdigest():
                    raise AgentFailed(f"The result of {live.label} arrived damaged.")
    return value


class _Whole(Fetch):
    """Brings a result into its file; the worker's hash is of the whole, wherever it began."""

    def _is_sound(self, end: ReadEnd, whole: str, piece: str) -> bool:  # noqa: ARG002
        return whole == end.sha256


class _Large:
    """A large result: the source that `Fetch` reads."""

    def __init__(
        self, live: Live, bulk: Session, form: str, found: LargeResult, executor: Executor
    ) -> None:
        self._live, self._bulk, self._form, self._executor = live, bulk, form, executor
        self._entry = Entry(
            path=form, size=found.size, mtime_ns=found.mtime_ns, sha256=None, quiet=True
        )

    async def bring(self, place: MirrorFolder) -> mmap.mmap:
        """Bring it, through any number of losses; a damaged one once more."""
        path = place.beside(_FOLDER) / place.partial_name(self._entry)
        await self._in_thread(_clear, path)
        damaged = 0
        while True:
            await self._bulk.patient_link(self._trouble)
            self._check_room(path)
            partial = PartialFile(path, mode=0o600)
            way = _Whole(self, partial, self._entry, self._executor, self._progress)
            try:
                await way.run()
            except ConnectionLost as error:
                self._trouble(str(error))
            except Changed as error:
                raise AgentFailed(
                    f"{self._live.worker} sends another result of {self._live.label} than it said."
                ) from error
            except OutputsError as error:
                damaged += 1
                if damaged > 1:
                    raise ResultError(f"The result of {self._live.label}: {error}.") from error
            except OSError as error:
                if not is_full(error):
                    raise
                raise self._no_room(path) from error
            else:
                return await self._in_thread(_mapped, path)

    @contextlib.asynccontextmanager
    async def read(
        self,
        path: str,
        offset: int,
        *,
        hashed: bool,  # noqa: ARG002
    ) -> AsyncGenerator[AsyncIterator[Reply], None]:
        """Read it from `offset` on; `path` is its form, and it is always hashed."""
        fields = {"job": self._live.id, "form": path, "offset": offset}
        async with self._bulk.stream("result", **fields) as frames:
            yield frames

    def _trouble(self, reason: str | None) -> None:
        self._live.set(trouble=reason)

    def _progress(self, here: int) -> None:
        self._live.carry("its result arrives", here, self._entry.size)

    def _check_room(self, path: Path) -> None:
        here = path.stat().st_size if path.exists() else 0
        room = free(path)
        if room is not None and self._entry.size - here > room - _MARGIN:
            raise self._no_room(path)

    def _no_room(self, path: Path) -> ResultError:
        return ResultError(
            f"The result of {self._live.label} has {self._entry.size:,} bytes, and "
            f"{free(path) or 0:,} are free in {path.parents[3]}: make room, and ask again."
        )

    async def _in_thread(self, function: Callable[[Path], T], path: Path) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, path)


def _clear(path: Path) -> None:
    """Remove what others than this result have left in its folder."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in path.parent.iterdir():
        if other != path:
            other.unlink()


def _mapped(path: Path) -> mmap.mmap:
    """Return a file's bytes, for this process alone, and take its name away."""
    with path.open("rb") as file:
        # A copy on write: arrays in it can be written to, and the file stays as it is.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    with contextlib.suppress(PermissionError):  # Windows: the next one, or `clean`, removes it
        path.unlink()
    return mapped
