"""Room on the disk: what a full one is called, and blocks that are kept for a job's last words.

A job may fill the disk that its own journal lies on. So a job directory comes with a reserve
of real blocks, and the file of its events has room ahead: both are there before the job is.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from typing import Any, Optional

#: What the system says when there is no room.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
#: Given back when the disk is full: for the list of outputs and the last words, in bytes.
RESERVE = 256 * 1024
_KEEP_SIZE = 1
#: The file system can't, or the system has no such call.
_CANT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM)


def is_full(error: Optional[BaseException]) -> bool:
    """Whether an error says that the disk has no room, or this user's share of it is used up."""
    return isinstance(error, OSError) and error.errno in _FULL


def free(folder: str) -> int:
    """Return how many bytes this user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def sentence(folder: str, error: Optional[BaseException] = None) -> str:
    """Return that the disk is full, where, and what to do."""
    if isinstance(error, OSError) and error.errno != errno.ENOSPC:
        return (
            "the quota on the worker's disk is used up in %s; remove files there, or "
            "`jupyter chute clean`" % folder
        )
    return (
        "the worker's disk is full: %s has %d bytes free; remove files there, or "
        "`jupyter chute clean`" % (folder, free(folder))
    )


def allocate(fd: int, offset: int, size: int) -> bool:
    """Give a file blocks for these bytes without changing its size; False where that can't be.

    Raises
    ------
    OSError
        If the disk is full.
    """
    call = _fallocate()
    if call is None:
        return False
    if call(fd, _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(size)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANT:
        return False
    raise OSError(number, os.strerror(number))


def _fallocate() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    # off_t has 64 bits there only under that name, where longs are short.
    return getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)


def reserve(path: str) -> None:
    """Make a file whose blocks are really there.

    Raises
    ------
    OSError
        If the disk has no room for it.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if not allocate(fd, 0, RESERVE):
            left = memoryview(b"\xff" * RESERVE)
            while left:
                left = left[os.write(fd, left) :]
    finally:
        os.close(fd)


def give_back(path: str) -> None:
    """Remove a reserve, or any file that nobody needs any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
