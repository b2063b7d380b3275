"""Finding and ending every process of a job, also those that tried to get away.

On Linux a *subreaper* inherits the orphans among its descendants, so a process that forked
twice, called setsid or cleared its environment is still found below its guardian. Elsewhere
the job's process group is all there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import Any, Dict, List, Optional

#: Set in the environment of every program that a job starts: one of the last ways to find it.
MARK = "CHUTE_JOB_ID"

_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform.startswith("linux")


def become_subreaper() -> bool:
    """Make this process inherit the orphans among its descendants; False where it can't."""
    if not _LINUX:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def close_descriptors(*keep: int) -> None:
    """Close every descriptor above 2 but those: a job's pipes must have no other holder."""
    folder = "/proc/self/fd" if _LINUX else "/dev/fd"
    for fd in [int(name) for name in os.listdir(folder)]:
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):  # the listing's own, closed by now
                os.close(fd)


def _stat(pid: int) -> Optional[List[bytes]]:
    """Return the fields of /proc/PID/stat from the state on; None for the dead and zombies."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            # The command's name may hold brackets; what follows the last one is safe.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else fields


def _parents() -> Dict[int, int]:
    """Return the parent of every process that is not a zombie."""
    parents = {}
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is not None:
            parents[int(name)] = int(fields[1])
    return parents


def descendants(pid: int) -> List[int]:
    """Return every living process below `pid`, without itself."""
    children: Dict[int, List[int]] = {}
    for child, parent in _parents().items():
        children.setdefault(parent, []).append(child)
    found: List[int] = []
    rest = [pid]
    while rest:
        below = children.get(rest.pop(), [])
        found += below
        rest += below
    return found


def boot_id() -> str:
    """Return what tells this boot of the machine from any other; empty where unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:  # not Linux
        return ""


def identity(pid: int) -> Dict[str, Any]:
    """Return what tells a process from a later one with the same pid."""
    fields = _stat(pid) if _LINUX else None
    return {"pid": pid, "start": int(fields[19]) if fields else 0, "boot": boot_id()}


def _session(leader: Dict[str, Any]) -> List[int]:
    """Return the processes of the session that this process opened, and all below them.

    A session's number is not used again while anyone is in it, so it is enough that no
    later process has taken the leader's pid.
    """
    if not _LINUX or leader["boot"] != boot_id():
        return []
    now = _stat(leader["pid"])
    if now is not None and int(now[19]) != leader["start"]:
        return []
    members = []
    for pid in _parents():
        fields = _stat(pid)
        if fields is not None and int(fields[3]) == leader["pid"]:
            members.append(pid)
    return members + [pid for member in members for pid in descendants(member)]


def marked(job_id: str) -> List[int]:
    """Return the processes of this user whose environment carries the job's mark."""
    if not _LINUX:
        return []
    wanted = ("%s=%s" % (MARK, job_id)).encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:  # another user's process, or one that has just ended
            continue
    return found


def send(pids: List[int], number: int) -> None:
    """Send a signal to each process that is still there and ours."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def signal_below(pid: int, group: Optional[int], number: int) -> None:
    """Send a signal to every descendant of `pid`, or to the group where /proc is missing."""
    if _LINUX:
        send(descendants(pid), number)
    elif group:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return


def reap(ended: Dict[int, int], peaks: Optional[Dict[int, int]] = None) -> bool:
    """Collect children that have ended, and say whether there is any other child.

    A subreaper without a child has no descendant either: orphans become its children.

    Parameters
    ----------
    ended : dict
        Takes their wait statuses.
    peaks : dict, optional
        Takes the most memory that each had, in bytes.
    """
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        ended[pid] = status
        if peaks is not None:
            peaks[pid] = used.ru_maxrss * (1024 if _LINUX else 1)


def kill_below(
    pid: int,
    group: Optional[int],
    ended: Dict[int, int],
    peaks: Optional[Dict[int, int]] = None,
    patience: float = 5.0,
) -> List[int]:
    """Kill every descendant of this process `pid`, again until none is left.

    Parameters
    ----------
    ended, peaks : dict
        Take what `reap` finds of the children that were collected on the way.

    Returns
    -------
    list of int
        Who is still alive after `patience` seconds; empty when all are gone.
    """
    deadline = time.monotonic() + patience
    while True:
        signal_below(pid, group, signal.SIGKILL)
        if not reap(ended, peaks):
            return []
        if time.monotonic() > deadline:
            return descendants(pid) if _LINUX else []
        time.sleep(0.002)


def sweep(job_id: str, leader: Optional[Dict[str, Any]], patience: float = 5.0) -> List[int]:
    """Kill what is left of a job whose guardian and supervisor are both gone.

    Parameters
    ----------
    leader : dict, optional
        The `identity` of the job's first process, where it was written down.

    Returns
    -------
    list of int
        Who is still alive after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        left = set(marked(job_id))
        if leader is not None:
            left.update(_session(leader))
        left.discard(os.getpid())
        if not left or time.monotonic() > deadline:
            return sorted(left)
        send(sorted(left), signal.SIGKILL)
        time.sleep(0.01)
