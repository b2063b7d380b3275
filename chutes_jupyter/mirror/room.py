"""Whether the disk here has room for what is to come."""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from chutes_jupyter.mirror.folder import MirrorFolder
    from chutes_jupyter.replies import Entry

#: How often a mirror that stopped for want of room looks whether there is some, in seconds.
PAUSE = 5.0
#: With a quota nothing tells that but trying: then it pauses longer and longer, so many times.
LONGEST = 64
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
#: Left free for our own notes, in bytes.
_MARGIN = 64 * 1024
_BLOCK = 4096


class NoRoom(Exception):
    """The disk here is full; it may be otherwise later."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that the disk has no room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def fitting(folder: MirrorFolder, entries: Iterable[Entry]) -> tuple[list[Entry], int]:
    """Return which files have room, in their order, and how many bytes lack for the rest."""
    there = free(folder.path)
    if there is None:
        return list(entries), 0
    arrived = folder.arrived()
    left = room = there - _MARGIN
    found = []
    for entry in entries:
        here = arrived.get(folder.partial_name(entry), 0) if arrived else 0
        need = -(-max(0, entry.size - here) // _BLOCK) * _BLOCK
        room -= need
        if need <= left:
            left -= need
            found.append(entry)
    return found, max(0, -room)


def free(path: Path) -> int | None:
    """Return how many bytes are free there; None where the file system does not say."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return usage.free if usage.total else None
