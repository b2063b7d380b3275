"""Waking up when a job directory changes: inotify where there is one, else the clock."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from typing import Any, Dict, Optional, Set

_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_DELETE = 0x8, 0x40, 0x200
#: Something was added or written.
WRITTEN = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE
#: Somebody who could write a file has gone, or has taken the file away.
LEFT = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_DELETE
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_EVENT = struct.Struct("iIII")
#: How often to look where nothing wakes us, in seconds (NFS, macOS).
POLL = 0.02


class Changes:
    """Watches folders; `fd` becomes readable when something in one of them changes.

    Parameters
    ----------
    mask : int
        Which changes: `WRITTEN` or `LEFT`.
    """

    def __init__(self, mask: int = WRITTEN) -> None:
        self._mask = mask
        self.fd: Optional[int] = None
        self._folders: Dict[int, str] = {}
        self._watches: Dict[str, int] = {}
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        if sys.platform.startswith("linux"):
            fd = self._libc.inotify_init1(_NONBLOCK_CLOEXEC)
            self.fd = fd if fd >= 0 else None

    def watch(self, folder: str) -> None:
        """Watch a folder; one that can't be watched is polled by the caller's clock."""
        if self.fd is None or folder in self._watches:
            return
        number = self._libc.inotify_add_watch(self.fd, os.fsencode(folder), self._mask)
        if number >= 0:
            self._folders[number] = folder
            self._watches[folder] = number

    def unwatch(self, folder: str) -> None:
        """Stop watching a folder."""
        number = self._watches.pop(folder, None)
        if number is not None:
            del self._folders[number]
            self._libc.inotify_rm_watch(self.fd, number)

    def close(self) -> None:
        """Watch nothing any more."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def watched(self, folder: str) -> bool:
        """Whether a change of this folder wakes us."""
        return folder in self._watches

    def take(self) -> Set[str]:
        """Return the folders that changed since the last call."""
        changed: Set[str] = set()
        if self.fd is None:
            return changed
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return changed
            offset = 0
            while offset < len(data):
                number, _, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size + length
                if number in self._folders:
                    changed.add(self._folders[number])
