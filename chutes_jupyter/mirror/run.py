"""A mirror at work: look at the listing, bring what is new, wait for news, until the end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import sys
import unicodedata
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from chutes_jupyter.errors import ConnectionLost, OutputsError, RequestRefused
from chutes_jupyter.mirror import room
from chutes_jupyter.mirror.fetch import Changed, Output
from chutes_jupyter.mirror.room import NoRoom, is_full
from chutes_jupyter.mirror.status import FileState, FileView, MirrorStatus, Snapshot, Source
from chutes_jupyter.replies import Entry, path_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from chutes_jupyter.mirror.folder import MirrorFolder

#: Files that are under way at once; a big one goes alone among the big.
_AT_ONCE = 8
_BIG = 8 * 1024 * 1024
#: How often a file that changed, or arrived damaged, is tried again at the end.
_TRIES = 3
_LOCK_PAUSE = 0.5
_REPORT_PAUSE = 0.1
#: Pauses between two looks at a listing that has not changed, in seconds: from, to.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
_FOLDS_CASE = sys.platform in ("darwin", "win32")

_log = logging.getLogger(__name__)


T = TypeVar("T")


class _Stop(Exception):
    """Nothing more can be brought; the reason is the message."""


class Mirror:
    """Brings the outputs of one job.

    Parameters
    ----------
    source : Source
        The worker's side.
    folder : callable
        Returns the folder; called in a thread, when there is something to put into it.
    executor : Executor
        Threads for disks and hashes.
    limit : int, optional
        The most that all files together may have, in bytes.
    label : str
        What messages call the job.
    changed : callable
        Called, in the loop, whenever `status`, the files or `refused` changed.
    known : callable
        Whether an earlier mirror has put anything into the folder; called in a thread.
    """

    def __init__(
        self,
        source: Source,
        folder: Callable[[], MirrorFolder],
        executor: Executor,
        *,
        limit: int | None,
        label: str,
        changed: Callable[[], None],
        known: Callable[[], bool] = lambda: False,
    ) -> None:
        self.status = MirrorStatus()
        self.refused: dict[str, str] = {}
        self.folder: MirrorFolder | None = None
        #: Whether it is known which files are here already.
        self.looked = False
        self._make_folder = folder
        self._source, self._executor = source, executor
        self._limit, self._label = limit, label
        self._changed, self._known = changed, known
        self._entries: dict[str, Entry] = {}
        self._states: dict[str, FileState] = {}
        self._arriving: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        #: Which version of each file was put in place, and how often.
        self._brought: dict[str, tuple[Entry, int]] = {}
        self._faults: dict[str, str] = {}
        self._again = False
        self._misses = 0
        self._next_report = 0.0
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._big = asyncio.Lock()

    def list_files(self) -> list[FileView]:
        """Return the files of the newest listing, and where each is; from any thread."""
        placed = self.folder.placed if self.folder else {}
        states = self._states
        views = []
        for path, entry in self._entries.items():
            here = placed.get(path)
            sha256 = here.sha256 if here else entry.sha256
            views.append(FileView(path, entry.size, states.get(path, "worker"), sha256))
        return views

    async def run(self, *, again: bool = False) -> MirrorStatus:
        """Bring everything, until the final listing is here or nothing more can come.

        Parameters
        ----------
        again : bool
            Look at every file, also if everything was here once (it may have been deleted).
        """
        self._again = again
        try:
            with contextlib.ExitStack() as held:
                await self._run(held)
        except _Stop as stop:
            self._tell(state="stopped", reason=str(stop))
        except (OutputsError, OSError) as error:
            self._tell(state="stopped", reason=f"the outputs can't be written here: {error}")
        except RequestRefused as error:
            self._tell(state="stopped", reason=f"the worker refuses: {error}")
        return self.status

    async def _run(self, held: contextlib.ExitStack) -> None:
        version, pause = -1, _FIRST_PAUSE
        while True:
            snapshot = await self._source.listing()
            if snapshot.version == version:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                version, pause = snapshot.version, _FIRST_PAUSE
            self._take(snapshot)
            try:
                if bool(self._entries) or await self._in_thread(self._known):
                    waited = await self._open(held)
                    if waited:
                        continue  # what was listed before may be long over
                self.looked = True
                if self._is_done(snapshot):
                    self._tell(state="complete", reason=None)
                    return
                await self._bring(snapshot)
                if snapshot.final and await self._end(snapshot):
                    return
            except (NoRoom, OutputsError, OSError) as error:
                if not (isinstance(error, NoRoom) or is_full(error)):
                    raise
                await self._wait_for_room(snapshot, error)
                continue
            if not snapshot.final and not self._tries_left():
                await self._source.news(snapshot.version)

    async def _wait_for_room(self, snapshot: Snapshot, error: Exception) -> None:
        """Say that the disk is full, and wait until there is room, or other files to bring."""
        folder = self.folder
        pause = room.PAUSE * min(2**self._misses, room.LONGEST)
        self._misses += 1
        fits = False
        while not fits:
            reason = f"the disk is full: {error}"
            if folder is not None:
                missing = self._within_limit(await self._missing(snapshot))
                _, lack = await self._in_thread(room.fitting, folder, missing)
                need = f"needs {lack:,} more bytes" if lack else "it takes no more"
                reason = f"the disk of {folder.path} is full: {need}"
            self._tell(state="stopped", reason=f"{reason}; goes on when there is room")
            if await self._news_within(pause, snapshot) or folder is None:
                return
            # All that is missing may have been deleted here, or the limit be reached.
            found, _ = await self._in_thread(room.fitting, folder, missing)
            fits = bool(found) or not missing
        self._tell(state="arriving", reason=None)

    async def _news_within(self, pause: float, snapshot: Snapshot) -> bool:
        """Wait for a newer listing, but not longer than that; return whether there is one."""
        if snapshot.final:
            await asyncio.sleep(pause)
            return False
        try:
            async with asyncio.timeout(pause):
                await self._source.news(snapshot.version)
        except TimeoutError:
            return False
        return True

    async def _open(self, held: contextlib.ExitStack) -> bool:
        """Make the folder, and wait until no other process works in it; say if that took time."""
        if self.folder is not None:
            return False
        waited = False
        folder = await self._in_thread(self._make_folder)
        self.folder = folder
        while (lock := await self._in_thread(folder.try_lock)) is None:
            waited = True
            self._tell(reason="another process of this machine brings them")
            await self._in_thread(folder.reload)
            self.looked = True
            self._note_states()
            await asyncio.sleep(_LOCK_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311
        held.enter_context(lock)
        await self._in_thread(folder.reload)
        self.looked = True
        self._tell(reason=None)
        self._note_states()
        return waited

    def _is_done(self, snapshot: Snapshot) -> bool:
        """Whether all was here before; what the person deleted since is not brought again."""
        if not snapshot.final or self._again or self.folder is None:
            return False
        if self.folder.finished() != snapshot.version:
            return False
        self._note_states()
        return True

    # -- what there is ----------------------------------------------------------------

    def _take(self, snapshot: Snapshot) -> None:
        self.refused = {item.path: item.reason for item in snapshot.refused}
        entries: dict[str, Entry] = {}
        names: dict[str, str] = {}
        folders = _folders(entry.path for entry in snapshot.entries)
        for entry in snapshot.entries:
            fault = path_fault(entry.path) or _twin(names, entry.path)
            if not fault and _folded(entry.path) in folders:
                fault = "it is listed as a file and as a folder"
            if fault:
                self.refused[entry.path] = fault
            else:
                entries[entry.path] = entry
        self._entries = entries
        self._faults.clear()
        self._note_states()

    def _note_states(self) -> None:
        folder = self.folder
        here = {p for p in self._entries if folder and p in folder.placed and folder.exists(p)}
        self._states = {path: "here" if path in here else "worker" for path in self._entries}
        self._tell()

    async def _missing(self, snapshot: Snapshot) -> list[Entry]:
        folder = self.folder
        if folder is None:
            return []
        entries = [e for e in self._entries.values() if snapshot.final or e.quiet]
        return await self._in_thread(lambda: [e for e in entries if not folder.has(e)])

    # -- bringing it ------------------------------------------------------------------

    async def _bring(self, snapshot: Snapshot) -> None:
        folder = self.folder
        if folder is None:
            return
        if snapshot.version:
            if snapshot.final:
                await self._in_thread(folder.learn)
            # First, so that nothing old stands in the way of something new, nor fills the disk.
            unsure = () if snapshot.final else [item.path for item in snapshot.refused]
            await self._in_thread(folder.remove_others, list(self._entries), unsure)
        await self._in_thread(folder.drop_partials, list(self._entries.values()))
        missing = self._within_limit(await self._missing(snapshot))
        found, lack = await self._in_thread(room.fitting, folder, missing)
        try:
            async with asyncio.TaskGroup() as group:
                for entry in found:
                    group.create_task(self._bring_one(folder, entry))
        except ExceptionGroup as group:
            ours = [error for error in group.exceptions if isinstance(error, (_Stop, NoRoom))]
            raise (ours or group.exceptions)[0] from None
        if lack:
            raise NoRoom(f"{lack} bytes")
        if self.status.state == "stopped":
            self._tell(state="arriving", reason=None)
        else:
            # Progress is told rarely; how far it came, always: the next news may be hours away.
            self._tell()

    def _within_limit(self, missing: list[Entry]) -> list[Entry]:
        """Return what fits the limit, in the order of the listing."""
        if self._limit is None:
            return missing
        wanted = {entry.path for entry in missing}
        placed = self.folder.placed.values() if self.folder else ()
        left = self._limit - sum(here.size for here in placed if here.path not in wanted)
        allowed = []
        for entry in missing:
            if entry.size <= left:
                left -= entry.size
                allowed.append(entry)
        return allowed

    async def _bring_one(self, folder: MirrorFolder, entry: Entry) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if entry.size > _BIG:
                await stack.enter_async_context(self._big)
            await stack.enter_async_context(self._slots)
            self._states[entry.path] = "arriving"
            try:
                await self._fetch(folder, entry)
            except Changed:
                self._retry(entry, "it changes on the worker while it is read")
            except OutputsError as error:
                self._retry(entry, str(error))
            except RequestRefused as error:
                self._retry(entry, f"the worker refuses it: {error}")
            except OSError as error:
                if is_full(error):
                    raise NoRoom(str(error.strerror)) from error
                if error.errno == errno.EROFS:
                    raise _Stop(f"the disk here takes no more: {error.strerror}") from error
                self._fault(entry, error.strerror or str(error))
            else:
                self._misses = 0
                self._states[entry.path] = "here"
                self._tries.pop(entry.path, None)
                self._count(entry)
            finally:
                self._arriving.pop(entry.path, None)
                self._tell(rarely=True)

    async def _fetch(self, folder: MirrorFolder, entry: Entry) -> None:
        """Bring one file, going on where a broken connection left it."""

        def progress(size: int) -> None:
            self._arriving[entry.path] = size
            self._tell(rarely=True)

        while True:
            fetch = Output(self._source, folder, entry, self._executor, progress)
            try:
                await fetch.run()
            except ConnectionLost as error:
                # The source waits for the worker by itself; this is a cut in the middle.
                _log.info("%s: %s goes on after: %s", self._label, entry.path, error)
                continue
            return

    def _count(self, entry: Entry) -> None:
        """Give up a file that does not stay: one that is another's twin here takes turns."""
        before, times = self._brought.get(entry.path, (entry, 0))
        times = times + 1 if before == entry else 1
        self._brought[entry.path] = (entry, times)
        if times > _TRIES:
            self._fault(entry, "it was brought again and again, and did not stay as it was")

    def _retry(self, entry: Entry, reason: str) -> None:
        """Try again at the next look, a few times."""
        tries = self._tries.get(entry.path, 0) + 1
        self._tries[entry.path] = tries
        if tries >= _TRIES:
            self._fault(entry, reason)
        else:
            self._states[entry.path] = "worker"

    def _tries_left(self) -> bool:
        """Whether a file failed that is worth another look, also without news of it."""
        return bool(self._tries.keys() & self._entries.keys() - self._faults.keys())

    def _fault(self, entry: Entry, reason: str) -> None:
        self._faults[entry.path] = reason
        self._states[entry.path] = "failed"

    # -- the end ----------------------------------------------------------------------

    async def _end(self, snapshot: Snapshot) -> bool:
        """Say how it ended, if all was tried; return whether that is so."""
        missing = await self._missing(snapshot)
        over = {e.path for e in missing} - {e.path for e in self._within_limit(missing)}
        left = {e.path for e in missing} - over - set(self._faults)
        if left:
            return False
        if self._faults:
            path, reason = next(iter(self._faults.items()))
            raise _Stop(f"{len(self._faults)} files could not be brought; {path!r}: {reason}")
        if over:
            raise _Stop(self._over_limit())
        if self.folder is not None:
            await self._in_thread(self.folder.finish, snapshot.version)
        self._tell(state="complete", reason=None)
        return True

    def _over_limit(self) -> str:
        total = sum(entry.size for entry in self._entries.values())
        return (
            f"the outputs have {total / 1e9:.1f} GB, over the limit of "
            f"{(self._limit or 0) / 1e9:g} GB (mirror_limit_gb in the workers file); "
            "job.mirror.resume() brings them all the same"
        )

    def _tell(self, *, rarely: bool = False, **changes: object) -> None:
        """Update the status, and tell of it, for mere progress not too often."""
        clock = asyncio.get_running_loop().time
        now = clock()
        if rarely and now < self._next_report:
            return
        entries = self._entries
        here = [path for path, state in self._states.items() if state == "here"]
        self.status = replace(
            self.status,
            **changes,  # type: ignore[arg-type]  # fields of the status, by its only callers
            done=sum(entries[path].size for path in here) + sum(self._arriving.values()),
            total=sum(entry.size for entry in entries.values()),
            files_done=len(here),
            files_total=len(entries),
        )
        self._changed()
        # With very many files, counting them must not become the main work.
        self._next_report = clock() + max(_REPORT_PAUSE, 20 * (clock() - now))

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *args)


def _folded(path: str) -> str:
    """Return what a name is to this system."""
    return unicodedata.normalize("NFC", path).casefold() if _FOLDS_CASE else path


def _folders(paths: Iterable[str]) -> set[str]:
    """Return those of the paths that are also a folder of another one."""
    # Sorted, whatever lies in a folder follows it at once; sets of all folders could be huge.
    ordered = sorted(_folded(path) + "/" for path in paths)
    return {one[:-1] for one, next_ in pairwise(ordered) if one != next_ and next_.startswith(one)}


def _twin(names: dict[str, str], path: str) -> str | None:
    """Return which file has the same name here, where the file system knows no case."""
    if not _FOLDS_CASE:
        return None
    other = names.setdefault(_folded(path), path)
    return None if other == path else f"it is the same name here as {other!r}"
