"""Finding and ending every process of a job, also those that tried to get away.

On Linux a *subreaper* inherits the orphans among its descendants, so a process that forked
twice, called setsid or cleared its environment is still found below its guardian. Elsewhere
the job's process group is all there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import sys
import time
from typing import Any, Dict, List, Optional, Set

#: Set in the environment of every program that a job starts: one of the last ways to find it.
MARK = "CHUTE_JOB_ID"

_PR_SET_CHILD_SUBREAPER = 36
#: So many looks in a row must find nobody: one may pass between two links of a chain of forks.
_QUIET = 3
#: For so long those who ended before they could be looked at are taken for the job's, in seconds:
#: on a busy machine others come and go all the time.
_HASTY = 2.0
#: How far up a process's parents are followed.
_DEPTH = 1000
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


def stat(pid: int) -> Optional[List[bytes]]:
    """Return the fields of /proc/PID/stat from the state on; None for the dead and zombies.

    Also None for those of others, where this user may not look at them (``hidepid=1``).
    """
    try:
        return _stat(pid)
    except PermissionError:
        return None


def _stat(pid: int) -> Optional[List[bytes]]:
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            # The command's name may hold brackets; what follows the last one is safe.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else fields


def _pids() -> List[int]:
    """Return the number of every process, the newest first.

    One that forks and exits again and again is only met by who looks at once.
    """
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    # Asked after that, so that it is none of them that came later.
    last = _last_pid()
    # Used up, the numbers begin again with low ones: those above the last one are old.
    return sorted(pids, key=lambda pid: (pid <= last, pid), reverse=True)


def _last_pid() -> int:
    """Return the number of the process that was started last; 0 where it isn't told."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0


def _parents() -> Dict[int, int]:
    """Return the parent of every process that is not a zombie."""
    parents = {}
    for pid in _pids():
        fields = stat(pid)
        if fields is not None:
            parents[pid] = int(fields[1])
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


def below(pid: int) -> List[int]:
    """Return every process below that one, without looking at all of the machine's."""
    found: List[int] = []
    rest = [pid]
    while rest:
        children = _children(rest.pop())
        if children is None:
            return descendants(pid)  # a kernel that doesn't list them
        found += children
        rest += children
    return found


def _children(pid: int) -> Optional[List[int]]:
    folder = "/proc/%d/task" % pid
    found: List[int] = []
    try:
        threads = os.listdir(folder)
    except OSError:  # it has ended
        return found
    for thread in threads:
        try:
            with open("%s/%s/children" % (folder, thread), "rb") as file:
                found += map(int, file.read().split())
        except FileNotFoundError:
            if thread == str(pid) and os.path.exists(folder):
                return None
        except OSError:
            continue
    return found


def is_below(pid: int, ancestor: int) -> bool:
    """Whether a process is another one or descends from it, as far as we may see."""
    for _ in range(_DEPTH):
        if pid == ancestor:
            return True
        try:
            fields = _stat(pid) if pid > 1 else None
        except PermissionError:
            return True
        if fields is None:
            return False
        pid = int(fields[1])
    return False


def describe(pid: int) -> str:
    """Return a process as ``python3 (pid 812, alice)``, as far as it can be known."""
    try:
        with open("/proc/%d/comm" % pid, "rb") as file:
            name = file.read(100).decode("utf-8", "replace").strip()
        owner = os.stat("/proc/%d" % pid).st_uid
    except OSError:  # it has ended, or is out of sight
        return "pid %d" % pid
    return "%s (pid %d, %s)" % (name, pid, user_name(owner))


def user_name(number: int) -> str:
    """Return the name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container's user without an entry
        return str(number)


def boot_id() -> str:
    """Return what tells this boot of the machine from any other; empty where unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:  # not Linux
        return ""


def identity(pid: int) -> Dict[str, Any]:
    """Return what tells a process from a later one with the same pid."""
    fields = stat(pid) if _LINUX else None
    return {"pid": pid, "start": int(fields[19]) if fields else 0, "boot": boot_id()}


class _Sought:
    """What tells the processes of a job where nobody is above them any more.

    Parameters
    ----------
    leader : dict, optional
        The `identity` of the job's first process, which opened a session.
    """

    def __init__(self, job_id: str, leader: Optional[Dict[str, Any]]) -> None:
        self._mark = ("%s=%s" % (MARK, job_id)).encode()
        self._session = None
        if leader is not None and leader["boot"] == boot_id():
            # A session's number is not used again while anyone is in it, so it is enough that
            # no later process has taken the leader's pid.
            now = stat(leader["pid"])
            if now is None or int(now[19]) == leader["start"]:
                self._session = leader["pid"]

    def __contains__(self, pid: int) -> bool:
        return bool(self.look(pid))

    def look(self, pid: int) -> Optional[bool]:
        """Say whether a process is sought; None if it had ended before it could be looked at."""
        if pid == os.getpid():
            return False
        fields = stat(pid)
        if fields is None:
            return None
        return int(fields[3]) == self._session or self._marked(pid)

    def _marked(self, pid: int) -> bool:
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                return self._mark in file.read().split(b"\0")
        except OSError:  # another user's process, or one that has just ended
            return False


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
        _kill_children(pid)
        if time.monotonic() > deadline:
            return descendants(pid) if _LINUX else []
        time.sleep(0.002)


def _kill_children(parent: int) -> None:
    """Kill the children of a process as they are met: a chain of forks is quicker than a list."""
    for pid in _pids() if _LINUX else []:
        fields = stat(pid)
        if fields is not None and int(fields[1]) == parent:
            send([pid], signal.SIGKILL)


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
    if not _LINUX:
        return []
    sought = _Sought(job_id, leader)
    deadline = time.monotonic() + patience
    # Below them there may be some who cleared their environment and left the session.
    first = [pid for pid in _pids() if pid in sought]
    send([below for pid in first for below in descendants(pid)], signal.SIGKILL)
    quiet = 0
    ended: Set[int] = set()
    hasty = time.monotonic() + _HASTY
    while True:
        left, before, ended = [], ended, set()
        for pid in _pids():
            found = sought.look(pid)
            if found:
                send([pid], signal.SIGKILL)
                left.append(pid)
            elif found is None:
                ended.add(pid)
        # Who ended before he was looked at may be a link of a chain of forks.
        unseen = ended - before and time.monotonic() < hasty
        quiet = 0 if left or unseen else quiet + 1
        if quiet == _QUIET or time.monotonic() > deadline:
            return left
        time.sleep(0.005)
