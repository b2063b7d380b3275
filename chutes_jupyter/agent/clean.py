"""Removing what has ended: job directories, and what interrupted work left behind.

A job is taken away by a rename under its lock, so that it is there whole or not at all, and
nobody takes away what lives. What was taken away is then deleted in small steps between other
requests; a `serve` that dies meanwhile leaves the rest to the next one.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import stat
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from . import journal
from .history import History
from .journal import TERMINAL, EventLog, JobDir, JournalError, Lock
from .modules import ModuleStore

Pair = Tuple[Dict[str, Any], bytes]

#: So long a step of deleting may take before others have their turn, in seconds.
_STEP = 0.02
#: A supervisor that has just said how its job ended may need a moment to go, in seconds.
_LAST_MOMENT = 0.5
_DAY = 86400.0
#: An agent that was not started for so long may go: its client is gone, or sends it again.
_UNUSED = 30 * _DAY
#: Instead of a version: the client takes the job's outputs for dealt with.
WHATEVER = -1
_GONE = ".gone-"
_LEFT = (".new-", ".old-", ".stage-")
_MARK = re.compile(r"[0-9a-f]{32}\Z")
#: Raised where a job can't be touched, and where what its files say makes no sense.
_UNTOUCHABLE, _UNREADABLE = (JournalError, OSError), (KeyError, TypeError, ValueError)


class Cleaner:
    """Removes jobs under one root, and leftovers.

    Parameters
    ----------
    history : History
        Knows the jobs, and remembers those that are removed.
    agent_hash : str
        The hash that names this version of the agent.
    """

    def __init__(self, history: History, agent_hash: str) -> None:
        self._history, self._hash = history, agent_hash
        self._root = history.root
        self._jobs = os.path.join(history.root, "jobs")

    def remove(self, header: Dict[str, Any]) -> Iterator[Pair]:
        """Remove jobs that have ended.

        `jobs` are pairs of an id and the version of its outputs that the client has whole
        (None: it has none; -1: it does not matter). With `dry` nothing is changed, and with
        `sweep` leftovers go too. Each frame says what was done with some of them.
        """
        pairs = [(JobDir(self._root, name), version) for name, version in header["jobs"]]
        return self._remove(pairs, bool(header.get("dry")), bool(header.get("sweep")))

    def _remove(
        self, pairs: List[Tuple[JobDir, Optional[int]]], dry: bool, sweep: bool
    ) -> Iterator[Pair]:
        for job, version in pairs:
            freed = 0
            why: Optional[str] = None
            try:
                for size in _in_steps(self._remove_one(job, version, dry)):
                    freed += size
                    yield {"more": True, "done": []}, b""
            except _Kept as kept:
                why = str(kept)
            except _UNTOUCHABLE as error:
                why = "it can't be removed: %s" % error
            except _UNREADABLE as error:
                # A power cut may leave such a file. The others must not stay for it.
                why = "what it says of itself can't be read (%s): see %s" % (error, job.path)
            done = {"id": job.id, "removed": why is None, "bytes": freed, "reason": why or ""}
            yield {"more": True, "done": [done]}, b""
        swept = 0
        if sweep and not dry:
            for size in _in_steps(self._sweep()):
                swept += size
                yield {"more": True, "done": []}, b""
        yield {"more": False, "done": [], "swept": swept}, b""

    def _check(self, job: JobDir, version: Optional[int]) -> None:
        """Raise `_Kept` if a job is kept."""
        if not job.exists():
            return
        state = self._history.summary(job)["state"]
        if state is None:
            raise _Kept("it has not started yet")
        if state not in TERMINAL:
            raise _Kept("it is %s" % state)
        listing = journal.read_json(job.outputs) or {"entries": [], "version": 0}
        count = len(listing["entries"])
        if count and version not in (WHATEVER, listing["version"]):
            raise _Kept("output files of it are on the worker alone (%d in all)" % count)

    def _remove_one(self, job: JobDir, version: Optional[int], dry: bool) -> Iterator[int]:
        """Remove a job, or only look if `dry`; yield what that frees."""
        hidden = os.path.join(self._jobs, "%s%s-%d" % (_GONE, job.id, os.getpid()))
        try:
            self._check(job, version)
            summary = None if dry else self._take_away(job, hidden)
        except (_Kept, *_UNTOUCHABLE, *_UNREADABLE):
            if os.path.lexists(job.path):
                raise
            return  # another clean was faster, and what was read here was half a job
        yield from _walk(job.path if dry else hidden, delete=not dry)
        if summary is not None:
            # The disk was too full for a line; there is room now.
            self._history.removed.note(summary)

    def _take_away(self, job: JobDir, hidden: str) -> Optional[Dict[str, Any]]:
        """Take a job's directory away; return what is still to be remembered of it."""
        lock = Lock(job)
        if not lock.take(patience=_LAST_MOMENT):
            raise _Kept("its supervisor has not left yet")
        try:
            log = EventLog(job)
            log.refresh()
            if not log.terminal:
                raise _Kept("it is %s" % log.state)
            summary: Optional[Dict[str, Any]] = self._history.summary(job)
            with contextlib.suppress(OSError):
                self._history.removed.note(summary or {})
                summary = None
            os.rename(job.path, hidden)
            return summary
        finally:
            lock.release()

    # -- what nobody misses -----------------------------------------------------------

    def _sweep(self) -> Iterator[int]:
        """Delete what interrupted work left behind; yield what that frees."""
        self._history.removed.forget_old()
        agents = os.path.join(self._root, "agents")
        for folder in (self._jobs, agents):
            for name in _names(folder):
                path = os.path.join(folder, name)
                if name.startswith(_GONE) or (name.startswith(_LEFT) and _age(path) > _DAY):
                    yield from _quietly(path)
                elif _MARK.match(name) and _age(path) > 90 * _DAY and os.path.isfile(path):
                    os.unlink(path)  # the mark of a job that was withdrawn before it came
        for path in ModuleStore(self._root).sweep():
            yield from _quietly(path)
        for name in _names(agents):
            path = os.path.join(agents, name)
            unused = _age(os.path.join(path, "ok")) > _UNUSED and _age(path) > _UNUSED
            if name.startswith(".") or name == self._hash or not unused or _in_use(name):
                continue
            # Renamed first: half an agent must not be found.
            gone = os.path.join(agents, "%s%s-%d" % (_GONE, name, os.getpid()))
            with contextlib.suppress(OSError):  # another connection is at it
                os.rename(path, gone)
                yield from _quietly(gone)


class _Kept(Exception):
    """Why a job is kept."""


def mark_used(root: str, agent_hash: str) -> None:
    """Note that an agent was started; it goes when that was long ago."""
    with contextlib.suppress(OSError):  # a full or foreign disk: then it is sent again one day
        os.utime(os.path.join(root, "agents", agent_hash, "ok"))


def _in_use(agent_hash: str) -> bool:
    """Whether a process here names that agent: a warm interpreter, what it forked, a `serve`."""
    wanted = agent_hash.encode("ascii", "replace")
    for name in _names("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb") as file:
                words = file.read().split(b"\0")
        except OSError:  # it has just ended
            continue
        for word in words:
            if wanted in word:
                return True
            # The loader of a `serve` travels encoded.
            with contextlib.suppress(ValueError):
                if len(word) > 64 and wanted in base64.b64decode(word, validate=True):
                    return True
    return False


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _age(path: str) -> float:
    """Return how long ago a path changed, in seconds; 0 for one that is not there."""
    try:
        return time.time() - os.lstat(path).st_mtime
    except OSError:
        return 0.0


def _in_steps(pieces: Iterator[int]) -> Iterator[int]:
    """Add sizes up, and let go every now and then."""
    until = time.monotonic() + _STEP
    total = 0
    for size in pieces:
        total += size
        if time.monotonic() >= until:
            yield total
            total = 0
            until = time.monotonic() + _STEP
    yield total


def _quietly(path: str) -> Iterator[int]:
    """Delete what need not go now; the next sweep tries again."""
    try:
        yield from _walk(path, delete=True)
    except OSError:
        return


def _walk(top: str, delete: bool) -> Iterator[int]:
    """Yield the size on disk of everything below a path, itself too, and delete it if asked.

    No link is followed. What somebody else deletes meanwhile is passed over.
    """
    rest, folders = [top], []
    while rest:
        path = rest.pop()
        try:
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
                if delete and status.st_mode & 0o700 != 0o700:
                    os.chmod(path, 0o700)  # a job may write-protect its own folders
                rest += [os.path.join(path, name) for name in os.listdir(path)]
                yield status.st_blocks * 512
                continue
            if delete:
                os.unlink(path)
        except FileNotFoundError:
            continue
        yield status.st_blocks * 512 // status.st_nlink
    for folder in reversed(folders):
        if delete:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(folder)
