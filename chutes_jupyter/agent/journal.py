"""The job directory: the names of its files, numbered events, and who owns it.

The directory is the truth about a job. Its supervisor alone writes it, under a lock that the
kernel releases when the supervisor dies; anyone of the same user may read it at any time.
Files that are read whole are written beside and renamed; the log and the events only grow.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import space, temporary

Event = Dict[str, Any]

#: The format of a job directory. It goes up when an agent that knows only the old one would
#: misread the new: another meaning of a file, a new state, another lock. New files, new types
#: of events and new fields change nothing for those who don't know them, so they don't count.
FORMAT = 1

TERMINAL = frozenset({"succeeded", "failed", "cancelled", "timed_out", "lost"})
_ID = re.compile(r"[0-9a-f]{32}\Z")
#: What a job may be ended as before it arrived, the first where nobody knows.
_WITHDRAWN = ("cancelled", "lost")
#: The events' file has room for this much more, whatever else fills the disk, in bytes.
_AHEAD = 32 * 1024
#: How long the last words of a job wait for room, and the longest pause, in seconds.
_PATIENCE, _PAUSE = 600.0, 5.0
#: What is left of texts in an event that finds no room otherwise, in characters: what the last
#: events need of the room ahead, even if each of these takes six bytes.
_SHORT = 500


class JournalError(Exception):
    """The job directory isn't there, or isn't what it should be."""


class OtherFormat(JournalError):
    """The job directory is of a format that this agent does not read."""


class JobDir:
    """Every path of one job.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    job_id : str
        32 hexadecimal digits; anything else is refused, since it becomes part of a path.
    """

    def __init__(self, root: str, job_id: str) -> None:
        if not isinstance(job_id, str) or not _ID.match(job_id):
            raise JournalError("not a job id: %r" % (job_id,))
        self.root = root
        self.id = job_id
        self.folder = os.path.join(root, "jobs")
        self.path = os.path.join(self.folder, job_id)
        self.format = os.path.join(self.path, "format")
        self.spec = os.path.join(self.path, "spec.json")
        self.payload = os.path.join(self.path, "payload.bin")
        self.events = os.path.join(self.path, "events.jsonl")
        self.log = os.path.join(self.path, "log")
        self.log_index = os.path.join(self.path, "log.idx")
        self.output = os.path.join(self.path, "output")
        self.tmp = os.path.join(self.path, "tmp")
        self.work = os.path.join(self.path, "work")
        self.outputs = os.path.join(self.path, "outputs.json")
        self.result = os.path.join(self.path, "result.bin")
        #: In place of it: what only clients read that trust this worker.
        self.pickled = os.path.join(self.path, "result.pickle")
        self.control = os.path.join(self.path, "control")
        self.cancel = os.path.join(self.path, "cancel.json")
        self.child = os.path.join(self.path, "child.json")
        self.faults = os.path.join(self.path, "faults")
        self.lock = os.path.join(self.path, "lock")
        self.errors = os.path.join(self.path, "agent.log")
        self.modules = os.path.join(self.path, "modules")
        self.reserve = os.path.join(self.path, "reserve")
        self.door = os.path.join(self.path, "door")
        #: What the job tells of itself (`telling`, `showing`), and what it uses (`usage`).
        self.progress = os.path.join(self.path, "progress.json")
        self.metrics = os.path.join(self.path, "metrics.jsonl")
        self.displays = os.path.join(self.path, "displays.json")
        self.shown = os.path.join(self.path, "displays")
        self.usage = os.path.join(self.path, "usage.jsonl")

    def exists(self) -> bool:
        """Whether the job was ever claimed here."""
        return os.path.exists(self.spec)

    def withdrawn(self) -> Optional[str]:
        """Return as what the job was ended before it arrived here, or None; see `withdraw`."""
        try:
            with open(self.path, "rb") as file:
                word = file.read(64).decode("ascii", "replace")
        except (FileNotFoundError, IsADirectoryError):
            return None
        # Empty where its writer died right after it had made the file.
        return word if word in _WITHDRAWN else _WITHDRAWN[0]

    def check_format(self) -> None:
        """Raise `OtherFormat` unless this agent reads the directory."""
        try:
            with open(self.format, "rb") as file:
                number = int(file.read(20))
        except FileNotFoundError:
            return  # from before formats were numbered
        except ValueError:
            number = -1
        if not 1 <= number <= FORMAT:
            raise OtherFormat(
                "job %s was started by a newer chutes_jupyter (journal %d; this one reads %d): "
                "upgrade here with  pip install -U chutes_jupyter" % (self.id, number, FORMAT)
            )

    def forget(self) -> None:
        """Remove what the function was given: no secret in it outlives the job; and a link."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.payload)
        temporary.forget(self.tmp, self.id)

    def read_spec(self) -> Dict[str, Any]:
        """Return the spec that the job was submitted with."""
        spec = read_json(self.spec)
        if not isinstance(spec, dict):
            raise JournalError("no spec in %s" % self.path)
        return spec


def job_ids(root: str) -> List[str]:
    """Return the ids of every job under `root`, sorted."""
    try:
        with os.scandir(os.path.join(root, "jobs")) as entries:
            return sorted(e.name for e in entries if _ID.match(e.name) and e.is_dir())
    except FileNotFoundError:
        return []


def claim(root: str, spec: Dict[str, Any], payload: bytes, staged: Optional[str]) -> bool:
    """Make the job directory, whole or not at all, and say whether this call made it.

    Parameters
    ----------
    payload : bytes
        The payload, unless `staged` names a file that holds it.
    """
    job = JobDir(root, spec["id"])
    # Not named by a process: in a container the same number comes again after each start, and
    # meets what one before it left that was killed right here.
    fresh = os.path.join(root, "jobs", ".new-%s-%s" % (job.id, os.urandom(8).hex()))
    os.makedirs(fresh, mode=0o700)
    try:
        _furnish(fresh, spec, payload, staged)
    except OSError:
        discard(fresh)
        raise
    try:
        os.rename(fresh, job.path)
    except OSError as error:
        # ENOTDIR: the mark of `withdraw` stands there.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        discard(fresh)
        return False
    sync_folder(os.path.dirname(job.path))
    return True


def withdraw(job: JobDir, state: str) -> Optional[str]:
    """Let a job that has not arrived never start; return as what it was ended, None if it is here.

    A late `submit` may still lie in a dying connection. A plain file in the place of the job
    directory keeps it out: of the two that come first, the file system lets one alone stand.
    """
    if state not in _WITHDRAWN:
        raise ValueError("a job is withdrawn as one of %s" % (_WITHDRAWN,))
    os.makedirs(os.path.dirname(job.path), mode=0o700, exist_ok=True)
    try:
        fd = os.open(job.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return job.withdrawn()
    with os.fdopen(fd, "wb") as file:
        file.write(state.encode("ascii"))
    return state


def _furnish(fresh: str, spec: Dict[str, Any], payload: bytes, staged: Optional[str]) -> None:
    """Fill a new job directory, with what its events and last words will need."""
    space.reserve(os.path.join(fresh, "reserve"))
    fd = os.open(os.path.join(fresh, "events.jsonl"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        space.allocate(fd, 0, _AHEAD)
    finally:
        os.close(fd)
    if staged is None:
        write_bytes(os.path.join(fresh, "payload.bin"), payload)
    else:
        os.rename(staged, os.path.join(fresh, "payload.bin"))
    write_bytes(os.path.join(fresh, "format"), b"%d\n" % FORMAT)
    write_json(os.path.join(fresh, "spec.json"), spec)
    for name in ("output", "tmp", "work"):
        os.mkdir(os.path.join(fresh, name), 0o700)


def discard(path: str) -> None:
    """Remove a folder that holds only plain files and empty folders of our own."""
    for entry in os.listdir(path):
        inner = os.path.join(path, entry)
        if os.path.isdir(inner):
            os.rmdir(inner)
        else:
            os.unlink(inner)
    os.rmdir(path)


def write_bytes(path: str, data: bytes) -> None:
    """Write a file that is there whole or not at all, readable by its owner alone."""
    write_pieces(path, [data])


def write_pieces(path: str, pieces: Sequence[Any]) -> None:
    """Write a file of bytes-like pieces; see `write_bytes`."""
    beside = "%s.%d.new" % (path, os.getpid())
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(beside, path)
    except OSError:
        os.unlink(beside)
        raise


def write_json(path: str, value: Any) -> None:
    """Write a value as JSON; see `write_bytes`."""
    write_bytes(path, json.dumps(value, separators=(",", ":")).encode("ascii"))


def mark(path: str, value: Any) -> None:
    """Write a file that matters by being there: on a full disk an empty one will do."""
    try:
        write_json(path, value)
    except OSError as error:
        if not space.is_full(error):
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def read_json(path: str) -> Any:
    """Return what a JSON file holds, or None where there is no such file."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read().decode("utf-8"))
    except FileNotFoundError:
        return None


def sync_folder(path: str) -> None:
    """Make the entries of a folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Lock:
    """The right to write a job directory; the kernel gives it back when its holder dies.

    A POSIX record lock: a child made by fork does not hold it, and it works on NFS. It is
    also lost when the process closes *any* descriptor of the file, so the file has no other
    use.
    """

    def __init__(self, job: JobDir) -> None:
        self._path = job.lock
        self._fd: Optional[int] = None

    def take(self, patience: float = 0.0) -> bool:
        """Try to become the owner, for `patience` seconds at the most."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    os.close(fd)
                    raise
            else:
                self._fd = fd
                return True
            if time.monotonic() >= deadline:
                os.close(fd)
                return False
            time.sleep(0.005)

    def release(self) -> None:
        """Give the ownership back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def owned(job: JobDir) -> bool:
    """Whether some process owns the job directory: its supervisor lives."""
    lock = Lock(job)
    if not lock.take():
        return True
    lock.release()
    return False


class EventLog:
    """The numbered events of one job, read piece by piece as they are written."""

    def __init__(self, job: JobDir) -> None:
        self._path = job.events
        self._offset = 0
        self.events: List[Event] = []

    def refresh(self) -> bool:
        """Read what was added, and say whether that was anything."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        self.events.extend(json.loads(line.decode("utf-8")) for line in whole.splitlines())
        return bool(whole)

    @property
    def state(self) -> Optional[str]:
        """The newest state, or None before the first event."""
        for event in reversed(self.events):
            if event["type"] == "state":
                return str(event["state"])
        return None

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL


class EventWriter:
    """Adds numbered events; only the owner of the job directory may have one.

    A line is there whole or not at all. On a full disk `write` raises; once `insist` was
    called it makes do with little room, and waits for that.
    """

    def __init__(self, job: JobDir) -> None:
        log = EventLog(job)
        log.refresh()
        self.state = log.state
        self._number = log.events[-1]["n"] if log.events else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(job.events, flags, 0o600)
        _cut_torn_tail(job.events)
        self._size = os.fstat(self._fd).st_size
        self._room = 0
        self._insists = False
        self._look_ahead()

    def insist(self) -> None:
        """Let no full disk keep an event from being written: shorten it, and wait for room."""
        self._insists = True

    def write(self, type: str, durable: bool = False, **fields: Any) -> int:
        """Add an event and return its number; `durable` makes it survive a power cut.

        Raises
        ------
        OSError
            If the disk is full; nothing of the event is there then.
        """
        event = dict(fields, n=self._number + 1, t=time.time(), type=type)
        try:
            self._put(event)
        except OSError as error:
            if not (self._insists and space.is_full(error)):
                raise
            self._put_shortened(event)
        self._number += 1
        if durable:
            os.fsync(self._fd)
        self._look_ahead()
        if type == "state":
            self.state = fields["state"]
        return self._number

    def _put(self, event: Event) -> None:
        line = json.dumps(event, separators=(",", ":")).encode("ascii") + b"\n"
        if len(line) > self._room and space.allocate(self._fd, self._size, len(line)):
            self._room = len(line)
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            os.ftruncate(self._fd, self._size)
            self._room = 0
            raise
        self._size += len(line)
        self._room = max(0, self._room - len(line))

    def _put_shortened(self, event: Event) -> None:
        event = shortened(event)
        deadline, pause = time.monotonic() + _PATIENCE, 0.05
        while True:
            try:
                return self._put(event)
            except OSError as error:
                if not space.is_full(error) or time.monotonic() > deadline:
                    raise
            time.sleep(pause)
            pause = min(pause * 1.5, _PAUSE)

    def _look_ahead(self) -> None:
        """Have room for the next events, while there is some."""
        if self._room < _AHEAD // 2:
            # Full by now: what is there already stays, and the next event may still fit.
            with contextlib.suppress(OSError):
                if space.allocate(self._fd, self._size, _AHEAD):
                    self._room = _AHEAD

    def close(self) -> None:
        """Close the file, and give back the room ahead."""
        with contextlib.suppress(OSError):  # its blocks are no harm
            # Only a change of size makes every file system let go of what lies behind it.
            os.ftruncate(self._fd, self._size + 1)
            os.ftruncate(self._fd, self._size)
        os.close(self._fd)


def shortened(value: Any) -> Any:
    """Return an event whose long texts have lost their beginning, and whose lists are empty."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, str) and len(value) > _SHORT:
        return "…" + value[-_SHORT:]
    return [] if isinstance(value, list) else value


def _cut_torn_tail(path: str) -> None:
    """Drop half a line that a writer left when it died in the middle of it."""
    with open(path, "r+b") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            file.truncate(whole)


def read_piece(path: str, offset: int, limit: int) -> Tuple[bytes, int]:
    """Return up to `limit` bytes of a file from `offset` on, and the file's size."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b"", 0
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, min(limit, max(0, size - offset)), offset), size
    finally:
        os.close(fd)
