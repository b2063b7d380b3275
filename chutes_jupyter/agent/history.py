"""Which jobs this worker has, and what is left of those that were removed.

A worker may have ten thousand jobs, nearly all of them ended: what is said of one that has
ended is kept in one small file in its directory, and a client that has it is not told again.
Of a job that was removed a line remains, so that no client takes it for lost, and so that
one that slept since it sent the job does not start it a second time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from . import journal, readings, wire
from .journal import EventLog, JobDir

Summary = Dict[str, Any]

_PAGE = 500
#: So many characters of a reason are told of a job where there are too many long ones.
_BRIEF = 80
_KEPT = ("id", "name", "created", "notebook", "cell", "ports", "timeout", "upload")
#: Lines about removed jobs are kept so long, in seconds, once there are many.
_REMEMBERED = 90 * 86400.0
_MANY = 1024 * 1024


class History:
    """The jobs under one root, as a list of them shows them.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    check_alive : callable
        Ends a job whose supervisor is dead.
    """

    def __init__(self, root: str, check_alive: Callable[[JobDir, EventLog], None]) -> None:
        self.root = root
        self.removed = Removed(root)
        self._check_alive = check_alive

    # -- operations -------------------------------------------------------------------

    def jobs(self, header: Dict[str, Any]) -> Tuple[Dict[str, Any], bytes]:
        """List jobs in the order of their ids, a page at a time.

        Of those that have ended only what a client may not have yet: `newest` of one answer is
        `since` of the next. Or those named by `ids`, the removed ones too.
        """
        if "ids" in header:
            named = [self._named(str(name)) for name in header["ids"][:_PAGE]]
            jobs = [summary for summary in named if summary is not None]
            if wire.fitting(jobs) < len(jobs):
                # None of these may be missing; what each says can be had from its events.
                jobs = [dict(each, reason=str(each["reason"] or "")[:_BRIEF]) for each in jobs]
            return {"jobs": jobs, "next": None, "newest": 0.0, "unreadable": []}, b""
        limit = min(int(header["limit"]), _PAGE)
        since = float(header.get("since", 0.0))
        page: List[Summary] = []
        unreadable: List[Dict[str, str]] = []
        newest = 0.0
        room = wire.PAGE
        last = following = None
        for name in journal.job_ids(self.root):
            if name <= header["after"]:
                continue
            if len(page) + len(unreadable) >= limit or room <= 0:
                following = last
                break
            last = name
            job = JobDir(self.root, name)
            told = _modified(_kept_at(job))
            if told is None or told >= since:
                try:
                    page.append(self.summary(job))
                    room -= wire.json_size(page[-1])
                except (journal.JournalError, KeyError, TypeError, ValueError, OSError) as error:
                    # One that can't be read, or is just removed, must not hide the others.
                    unreadable.append({"id": name, "reason": str(error)[:1000]})
                    room -= wire.json_size(unreadable[-1])
                told = _modified(_kept_at(job))
            newest = max(newest, told or 0.0)
        answer = {"jobs": page, "next": following, "newest": newest, "unreadable": unreadable}
        return answer, b""

    # -- one job ----------------------------------------------------------------------

    def summary(self, job: JobDir) -> Summary:
        """Return what a list says of a job, read or, if it has ended, kept."""
        kept = journal.read_json(_kept_at(job))
        if isinstance(kept, dict):
            return kept
        job.check_format()
        spec = job.read_spec()
        log = EventLog(job)
        log.refresh()
        self._check_alive(job, log)
        log.refresh()
        summary = _summary(spec, log)
        summary["progress"] = readings.brief(job)
        if log.terminal:
            # It only saves time: a full disk must not keep anyone from listing jobs.
            with contextlib.suppress(OSError):
                journal.write_json(_kept_at(job), summary)
        return summary

    def _named(self, name: str) -> Optional[Summary]:
        job = JobDir(self.root, name)
        if job.exists():
            with contextlib.suppress(FileNotFoundError):  # removed this very moment
                return self.summary(job)
        found = self.removed.find(job.id)
        return None if found is None else dict(found, removed=True)


def _summary(spec: Dict[str, Any], log: EventLog) -> Summary:
    states = [event for event in log.events if event["type"] == "state"]
    started = [event["t"] for event in states if event["state"] == "running"]
    last: Dict[str, Any] = states[-1] if states else {}
    waits = [event for event in log.events if event["type"] == "waiting"]
    waiting = bool(waits) and waits[-1]["n"] > last["n"]
    summary: Summary = {key: spec.get(key) for key in _KEPT}
    summary.update(
        state=log.state,
        # Who follows the job counts as these do: others tell of no state.
        event=max((event["n"] for event in states + waits), default=0),
        started=started[0] if started else None,
        ended=last.get("t") if log.terminal else None,
        reason=last.get("reason"),
        waiting=waits[-1]["message"] if waiting else None,
    )
    return summary


def _kept_at(job: JobDir) -> str:
    return os.path.join(job.path, "summary.json")


def _modified(path: str) -> Optional[float]:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


class Removed:
    """What is remembered of removed jobs: a line each, in one file.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    """

    def __init__(self, root: str) -> None:
        self._path = os.path.join(root, "jobs", ".removed.jsonl")

    def note(self, summary: Summary) -> None:
        """Remember a job that is removed."""
        line = json.dumps(dict(summary, at=time.time()), separators=(",", ":"))
        with self._alone():
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _append_line(fd, line.encode("ascii"))
            finally:
                os.close(fd)

    def find(self, job_id: str) -> Optional[Summary]:
        """Return what is remembered of a job, or None."""
        wanted = b'"%s"' % job_id.encode("ascii", "replace")
        found: Optional[Summary] = None
        for line in self._lines():
            if wanted in line:
                summary = _parsed(line)
                if summary is not None and summary.get("id") == job_id:
                    found = summary
        return found

    def forget_old(self) -> None:
        """Drop what is old, once there is much."""
        try:
            if os.stat(self._path).st_size < _MANY:
                return
        except FileNotFoundError:
            return
        oldest = time.time() - _REMEMBERED
        with self._alone():
            parsed = [(line, _parsed(line)) for line in self._lines()]
            kept = [line for line, found in parsed if found and found.get("at", 0.0) >= oldest]
            journal.write_bytes(self._path, b"".join(line + b"\n" for line in kept))

    def _lines(self) -> List[bytes]:
        try:
            with open(self._path, "rb") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep the other connections' agents from writing meanwhile."""
        fd = os.open(self._path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _append_line(fd: int, line: bytes) -> None:
    """Add a line whole or not at all; behind half a line that a full disk has left, a new one."""
    size = os.fstat(fd).st_size
    torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    data = b"\n" * torn + line + b"\n"
    if os.write(fd, data) != len(data):
        os.ftruncate(fd, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _parsed(line: bytes) -> Optional[Summary]:
    try:
        found = json.loads(line.decode("ascii"))
    except ValueError:  # half a line
        return None
    return found if isinstance(found, dict) and "state" in found else None
