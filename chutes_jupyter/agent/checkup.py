"""What `worker test` asks of the worker itself: its folder, file locks there, and the way's width.

Locks are tried with two processes, as jobs use them: a file system may grant a lock to
everybody, or never answer. Whoever may hang is a child, so that nothing here waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Optional, Tuple

from . import wire

#: A lock that takes longer is of no use, in seconds.
PATIENCE = 10.0
#: Take the lock and keep it until there is no more input.
_HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
sys.stdout.write("held")
sys.stdout.flush()
sys.stdin.read()
"""
#: Try to take it.
_TRY = """
import errno, fcntl, sys
file = open(sys.argv[1], "a")
try:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError as error:
    if error.errno not in (errno.EACCES, errno.EAGAIN):
        raise
    sys.stdout.write("kept out")
else:
    sys.stdout.write("taken")
"""


def look(root: str) -> Dict[str, Any]:
    """Return the facts of the folder: room, kind of file system, and what fails there.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    """
    found = os.statvfs(root)
    fault = write_fault(root)
    return {
        "path": root,
        "free": found.f_bavail * found.f_frsize,
        "total": found.f_blocks * found.f_frsize,
        # Some file systems have no number of files: they say 0 of 0.
        "files_free": found.f_favail if found.f_files else None,
        "kind": file_system(root),
        "write_fault": fault,
        "lock_fault": None if fault else lock_fault(root),
    }


def write_fault(root: str) -> Optional[str]:
    """Return why no file can be made there, or None."""
    try:
        with tempfile.TemporaryFile(prefix=".check-", dir=root) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def file_system(path: str, table: str = "/proc/self/mountinfo") -> Optional[str]:
    """Return the kind of file system that a folder lies on; None where that can't be known."""
    best: Tuple[int, Optional[str]] = (-1, None)
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                mount, _, source = line.partition(" - ")
                point = _unescaped(mount.split(" ")[4])
                if _is_below(os.path.realpath(path), point) and len(point) >= best[0]:
                    best = (len(point), source.split(" ")[0])
    except (OSError, IndexError):  # not Linux
        return None
    return best[1]


def _unescaped(text: str) -> str:
    # Spaces and the like stand there in octal.
    for mark, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(mark, char)
    return text


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def lock_fault(root: str, patience: float = PATIENCE) -> Optional[str]:
    """Return what is wrong with file locks in a folder, or None."""
    handle, path = tempfile.mkstemp(prefix=".check-", dir=root)
    os.close(handle)
    holder = _run(_HOLD, path)
    try:
        said = _said(holder, patience)
        if said != "held":
            return said
        said = _tried(path, patience)
        if said != "kept out":
            return "two processes get the same lock" if said == "taken" else said
        _end(holder)
        said = _tried(path, patience)
        if said != "taken":
            return "a lock outlives who held it" if said == "kept out" else said
        return None
    finally:
        _end(holder)
        with contextlib.suppress(OSError):
            os.unlink(path)


def _run(code: str, path: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _tried(path: str, patience: float) -> str:
    process = _run(_TRY, path)
    try:
        return _said(process, patience)
    finally:
        _end(process)


def _said(process: "subprocess.Popen[bytes]", patience: float) -> str:
    """Return the first word of a child, or the last line of its trouble."""
    out: Any = process.stdout
    trouble: Any = process.stderr
    if not select.select([out], [], [], patience)[0]:
        return "no answer within %.0f s" % patience
    word = str(os.read(out.fileno(), 100).decode("ascii", "replace"))
    if word:
        return word
    lines: List[str] = trouble.read(16 * 1024).decode("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "a process ended early")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a child by force; one that hangs in the kernel is left to it."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def noise(size: int) -> bytes:
    """Return bytes that no compression shortens, as many as asked for and a frame takes."""
    return os.urandom(max(0, min(size, wire.MAX_BODY)))
