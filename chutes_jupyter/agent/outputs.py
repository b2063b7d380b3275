"""What a job wrote to its output folder: which files, whether they are quiet, their hashes.

Only regular files count. A link to a file inside the folder counts as a copy of that file;
links that leave the folder, links to folders, devices, fifos and sockets are refused, and
the listing says so.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import Any, BinaryIO, Dict, List, Optional, Tuple

from . import space
from .journal import write_json

#: A file is quiet when it has not changed for this long, in seconds.
QUIET = 2.0
#: How many files a listing names; more are refused with a reason.
MAX_FILES = 200_000
_PIECE = 1024 * 1024

Mark = Tuple[int, int, int]


class Entry:
    """One file: its path below the folder, and what tells whether it changed."""

    __slots__ = ("inode", "mtime_ns", "path", "quiet", "sha256", "size")

    def __init__(self, path: str, status: os.stat_result) -> None:
        self.path = path
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        self.inode = status.st_ino
        self.quiet = False
        self.sha256: Optional[str] = None

    @property
    def mark(self) -> Mark:
        """Changes whenever the file does."""
        return (self.size, self.mtime_ns, self.inode)

    def to_json(self) -> Dict[str, Any]:
        """Return the entry as the listing has it."""
        return {
            "path": self.path,
            "size": self.size,
            "mtime_ns": self.mtime_ns,
            "sha256": self.sha256,
            "quiet": self.quiet,
        }


class Listing:
    """The files of one output folder, scanned again and again."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.entries: Dict[str, Entry] = {}
        self.refused: List[Dict[str, str]] = []
        self.version = 0
        self._seen: Dict[str, Tuple[Mark, float]] = {}

    def scan(self) -> bool:
        """Look at every file, and say whether there is news."""
        before = [(e.path, e.mark, e.quiet) for e in self.entries.values()]
        refused_before = self.refused
        now = time.monotonic()
        entries, self.refused = _walk(self.folder)
        seen = {}
        for entry in entries:
            mark, since = self._seen.get(entry.path, (None, now))
            if mark != entry.mark:
                since = now
            seen[entry.path] = (entry.mark, since)
            entry.quiet = now - since >= QUIET
        self._seen = seen
        self.entries = {entry.path: entry for entry in entries}
        after = [(e.path, e.mark, e.quiet) for e in entries]
        news = after != before or self.refused != refused_before
        self.version += news
        return news

    def settle(self) -> None:
        """Look once more: nobody writes any more, so every file may be fetched."""
        self.scan()
        for entry in self.entries.values():
            entry.quiet = True
        self.version += 1

    def hash(self) -> None:
        """Hash every file of a settled listing; those that can't be read are refused."""
        for entry in list(self.entries.values()):
            try:
                with open_inside(self.folder, entry.path) as file:
                    entry.sha256 = hash_file(file)
            except OSError as error:
                del self.entries[entry.path]
                reason = "can't be read: %s" % (error.strerror or error)
                self.refused.append({"path": entry.path, "reason": reason})
        self.version += 1

    @property
    def bytes(self) -> int:
        """The sizes of all files together."""
        return sum(entry.size for entry in self.entries.values())

    def to_json(self, final: bool) -> Dict[str, Any]:
        """Return the listing as `outputs.json` holds it."""
        return {
            "version": self.version,
            "final": final,
            "entries": [entry.to_json() for entry in self.entries.values()],
            "refused": self.refused,
        }


def publish(path: str, listing: Listing, final: bool) -> Optional[OSError]:
    """Write a listing where readers look, or return why the disk has no room for it.

    What was written there before stays then: it names files that are still there to be read.
    """
    try:
        write_json(path, listing.to_json(final))
    except OSError as error:
        if space.is_full(error):
            return error
        raise
    return None


def _walk(folder: str) -> Tuple[List[Entry], List[Dict[str, str]]]:
    entries: List[Entry] = []
    refused: List[Dict[str, str]] = []
    real_root = os.path.realpath(folder)
    rest = [""]
    while rest:
        below = rest.pop()
        try:
            found = sorted(os.scandir(os.path.join(folder, below)), key=lambda item: item.name)
        except OSError as error:  # removed meanwhile, or closed to us: say so, go on
            refused.append({"path": below, "reason": "folder can't be read: %s" % error.strerror})
            continue
        for item in found:
            path = os.path.join(below, item.name)
            if item.is_dir(follow_symlinks=False):
                rest.append(path)
                continue
            entry, reason = _look(real_root, path)
            if entry is not None and len(entries) < MAX_FILES:
                entries.append(entry)
            elif entry is not None:
                reason = "more than %d files" % MAX_FILES
            if reason and len(refused) < 1000:
                refused.append({"path": path, "reason": reason})
    return entries, refused


def _look(real_root: str, path: str) -> Tuple[Optional[Entry], Optional[str]]:
    """Return the entry of a file, or why it is refused; neither if it went away meanwhile."""
    whole = os.path.join(real_root, path)
    try:
        status = os.lstat(whole)
        if stat.S_ISLNK(status.st_mode):
            target = os.path.realpath(whole)
            if not target.startswith(real_root + os.sep):
                return None, "a link that leaves the output folder"
            try:
                status = os.stat(target)
            except FileNotFoundError:
                return None, "a link to nothing"
            if stat.S_ISDIR(status.st_mode):
                return None, "a link to a folder"
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, error.strerror or str(error)
    if not stat.S_ISREG(status.st_mode):
        return None, _KINDS.get(stat.S_IFMT(status.st_mode), "not a regular file")
    return Entry(path, status), None


_KINDS = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_inside(folder: str, path: str) -> BinaryIO:
    """Open a regular file of the output folder, never one outside it.

    Raises
    ------
    OSError
        If there is no such regular file inside the folder.
    """
    real_root = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(real_root, path))
    if not target.startswith(real_root + os.sep):
        raise PermissionError("outside the output folder: %r" % path)
    # Not blocking, so that a fifo put there meanwhile can't hold us.
    fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PermissionError("not a regular file: %r" % path)
    return os.fdopen(fd, "rb", buffering=0)


def hash_file(file: BinaryIO) -> str:
    """Return the sha256 of what is left in an open file, in hexadecimal."""
    digest = hashlib.sha256()
    piece = bytearray(_PIECE)
    view = memoryview(piece)
    while True:
        size = file.readinto(piece)  # type: ignore[attr-defined]  # a raw file has it
        if not size:
            return digest.hexdigest()
        digest.update(view[:size])
