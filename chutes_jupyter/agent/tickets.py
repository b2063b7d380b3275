"""The line for a worker's GPUs: a folder with a ticket of every job and a lock of every GPU.

The folder is the machine's, so that all its people share its GPUs, whatever the folders of
their jobs are. Nothing in it is believed for what it says alone: a ticket counts while a lock
is held on it, and its owner is the owner of the file. A lock belongs to the processes that
have its file open, and is free when the last of them is gone, however it went.

It is an agreement, not a fence: who wants to take a GPU past it can, as without it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

#: Names another folder, where people don't see the same /run/lock or /tmp.
SETTING = "CHUTES_GPU_LOCKS"
_PLACES = ("/run/lock", "/tmp")  # noqa: S108 - only where it is as it should be; see `_shared`
_NAME = "chutes-gpus"
_TICKET = re.compile(r"([0-9]{20})-([0-9a-f]{32})\.(waits|has)\Z")
_UUID = re.compile(r"[A-Za-z0-9-]{1,100}\Z")
_SIZE = 4096
#: /run/lock is small, 5 MiB on Debian, and others need it, too: so many tickets at the most.
LONGEST = 800
_MOST = 10_000
#: A sticky *file* is left alone by what cleans /tmp of old files (systemd-tmpfiles).
_KEPT = 0o1644
_SHARED = 0o1777
#: Whoever has just made the folder opens it to others at once, in seconds.
_MOMENT = 1.0
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

Facts = Dict[str, Any]


class Seen(NamedTuple):
    """A ticket as others see it."""

    name: str
    #: When its job came, in nanoseconds since the worker's start, and the job's id.
    order: Tuple[int, str]
    waits: bool
    #: Who the file belongs to.
    owner: int
    facts: Facts


class Folder:
    """Where the jobs of one machine agree on its GPUs.

    Parameters
    ----------
    path : str
        The folder, which is made if it is not there.
    mode : int
        Of the folder.

    Raises
    ------
    OSError
        If it is not a folder that others can't turn against us.
    """

    def __init__(self, path: str, mode: int = 0o700) -> None:
        self.path = path
        #: Why it is not the machine's own.
        self.fault: Optional[str] = None
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        self._fd = _open_folder(path, mode)

    @classmethod
    def of(cls, root: str, environment: Mapping[str, str]) -> "Folder":
        """Return the machine's folder; where there can't be one, that of an agent's root."""
        path = environment.get(SETTING) or _shared()
        try:
            if path is None:
                raise OSError("neither %s nor %s is open to all" % _PLACES)
            return cls(path, _SHARED)
        except OSError as error:
            own = cls(os.path.join(root, "gpus"))
            own.fault = str(error)
            return own

    def close(self) -> None:
        """Leave the folder; locks stay."""
        os.close(self._fd)

    # -- the GPUs ---------------------------------------------------------------------

    def lock(self, uuid: str) -> Optional[int]:
        """Return a descriptor that holds a GPU, or None while others have it."""
        if not _UUID.match(uuid):
            raise OSError(errno.EINVAL, "no GPU is called %.100r" % uuid)
        name = uuid + ".lock"
        while True:
            fd = self._open_lock(name)
            if not _take(fd, fcntl.LOCK_EX):
                os.close(fd)
                return None
            if self._is_at(fd, name):
                return fd
            os.close(fd)  # another one has taken its place meanwhile

    def _open_lock(self, name: str) -> int:
        while True:
            # Not both in one call: systems refuse O_CREAT for another one's file in such a place.
            with contextlib.suppress(FileNotFoundError):
                return _regular(os.open(name, os.O_RDONLY | _OPEN, dir_fd=self._fd))
            # A name that nobody can have taken before us.
            fresh = ".new-%s" % os.urandom(16).hex()
            fd = self._make(fresh)
            try:
                # There with its mode, or not at all; never in the place of one that is there.
                os.link(fresh, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
                return fd
            except FileExistsError:
                os.close(fd)
            finally:
                os.unlink(fresh, dir_fd=self._fd)

    def _make(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN
        fd = os.open(name, flags, 0o600, dir_fd=self._fd)
        os.fchmod(fd, _KEPT)
        return fd

    def _is_at(self, fd: int, name: str) -> bool:
        try:
            there = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

    # -- the line ---------------------------------------------------------------------

    def tickets(self) -> List[Seen]:
        """Return the tickets of jobs that live, in the order in which these came."""
        found = []
        for name in sorted(os.listdir(self._fd))[:_MOST]:
            match = _TICKET.match(name)
            seen = self._look(name, int(match[1]), match[2]) if match else None
            if seen is not None:
                found.append(seen)
        return found

    def _look(self, name: str, moment: int, job: str) -> Optional[Seen]:
        try:
            fd = _regular(os.open(name, os.O_RDONLY | _OPEN, dir_fd=self._fd))
        except OSError:  # gone, or nothing of ours
            return None
        try:
            if _take(fd, fcntl.LOCK_SH):
                self._clean(fd, name)
                return None
            waits = name.endswith("waits")
            return Seen(name, (moment, job), waits, os.fstat(fd).st_uid, _facts(fd))
        finally:
            os.close(fd)

    def _clean(self, fd: int, name: str) -> None:
        """Remove the ticket of a dead job, if it is this person's own."""
        if os.fstat(fd).st_uid == os.geteuid() and self._is_at(fd, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._fd)

    def draw(self, job: str, facts: Facts) -> "Ticket":
        """Return a new ticket, behind all that are there.

        Raises
        ------
        OSError
            If there are too many, or there is no room for one.
        """
        if len(os.listdir(self._fd)) > LONGEST and len(self.tickets()) >= LONGEST:
            raise OSError(errno.EBUSY, "more than %d jobs want GPUs here" % LONGEST)
        fresh = ".new-%s" % os.urandom(16).hex()
        fd = self._make(fresh)
        # Locked before it has its name: nobody ever sees a ticket of a living job unlocked.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ticket = Ticket(self._fd, fd, fresh, (time.monotonic_ns(), job))
        ticket.tell(facts)
        ticket.rename("waits")
        return ticket


class Ticket:
    """A job's place in the line, held by whoever has `fd`."""

    def __init__(self, folder: int, fd: int, name: str, order: Tuple[int, str]) -> None:
        self._folder, self._name = folder, name
        self.fd, self.order = fd, order

    def tell(self, facts: Facts) -> None:
        """Write what others may know of the job, all of it."""
        text = json.dumps(facts, separators=(",", ":")).encode("ascii")
        # In one go and of one length: who reads it meanwhile has the old or the new.
        os.pwrite(self.fd, text[:_SIZE].ljust(_SIZE), 0)

    def rename(self, state: str) -> None:
        """Show that the job ``waits``, or ``has`` what it waited for."""
        name = "%020d-%s.%s" % (*self.order, state)
        os.rename(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._name = name

    def remove(self) -> None:
        """Leave the line."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)


def _shared() -> Optional[str]:
    """Return the machine's folder for this, the same for every user; None if there is no place.

    The place belongs to root and is sticky: what others have put there, we can't be made to
    lose, and they can't replace what we have.
    """
    for place in _PLACES:
        with contextlib.suppress(OSError):
            there = os.lstat(place)
            mode = stat.S_IMODE(there.st_mode)
            if stat.S_ISDIR(there.st_mode) and there.st_uid == 0 and mode & _SHARED == _SHARED:
                return os.path.join(place, _NAME)
    return None


def _open_folder(path: str, wanted: int) -> int:
    """Open a folder that is ours alone, or one where nobody can take away what others made."""
    deadline = time.monotonic() + _MOMENT
    while True:
        there = os.lstat(path)
        mode = stat.S_IMODE(there.st_mode)
        if not stat.S_ISDIR(there.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "%s is not a folder" % path)
        if there.st_uid == os.geteuid() and mode != wanted:
            os.chmod(path, wanted)  # just made, or its maker died right then
            mode = wanted
        if mode & _SHARED == _SHARED or (there.st_uid == os.geteuid() and not mode & 0o022):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            if os.path.samestat(there, os.fstat(fd)):
                return fd
            os.close(fd)
        if time.monotonic() > deadline:
            raise PermissionError(errno.EPERM, "%s has the mode %o, not 1777" % (path, mode))
        time.sleep(0.01)


def _regular(fd: int) -> int:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "a file of another kind lies in the place of a lock")
    return fd


def _take(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        return False
    return True


def _facts(fd: int) -> Facts:
    """Return what a ticket says, of the shape that it should have."""
    try:
        told = json.loads(os.pread(fd, _SIZE, 0).decode("ascii"))
    except (ValueError, RecursionError):
        told = None
    told = told if isinstance(told, dict) else {}
    label, wants, pid = told.get("label"), told.get("wants"), told.get("pid")
    return {
        "label": label if isinstance(label, str) and label.isprintable() else "",
        "wants": wants if isinstance(wants, int) else 0,
        "pid": pid if isinstance(pid, int) else 0,
        "among": _names(told.get("among")),
        "has": _names(told.get("has")) or [],
    }


def _names(told: Any) -> Optional[List[str]]:
    if not isinstance(told, list):
        return None
    return [name for name in told if isinstance(name, str)]
