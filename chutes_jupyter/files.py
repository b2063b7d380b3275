"""Files of our own on this machine: put in place whole, private, and locked between processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def write_private(path: Path, data: bytes) -> None:
    """Put a file in place whole, readable by this person alone (0600)."""
    # A link (people keep such files in a repository of dotfiles) stays a link.
    target = Path(os.path.realpath(path))
    handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(beside).unlink()
        raise


@contextlib.contextmanager
def file_lock(path: Path, *, timeout: float = 10.0) -> Iterator[None]:
    """Hold a lock between processes on the file `path`, which is made and left there.

    Raises
    ------
    ConfigError
        If another process holds it for longer than `timeout` seconds.
    """
    with _opened(path) as handle:
        deadline = time.monotonic() + timeout
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                raise _held(path)
            time.sleep(0.02)
        with _unlocking(handle):
            yield


@contextlib.asynccontextmanager
async def waiting_for_lock(path: Path, *, patience: float = 10.0) -> AsyncIterator[None]:
    """Hold a lock as `file_lock` does, without stopping the event loop while waiting for it.

    Raises
    ------
    ConfigError
        If another process holds it for longer than `patience` seconds.
    """
    with _opened(path) as handle:
        deadline = time.monotonic() + patience
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                raise _held(path)
            await asyncio.sleep(0.02)
        with _unlocking(handle):
            yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _unlocking(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        # A child that was forked meanwhile shares the file, and would hold the lock on.
        _unlock(handle)


def _held(path: Path) -> ConfigError:
    return ConfigError(f"{path}: another process holds this lock; try again.")


def _try_lock(handle: int) -> bool:
    """Lock an open file if nobody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_UN)
