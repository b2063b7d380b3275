"""Is a declared port free on this worker, and if not, who has it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import Any, Dict, List, Optional, Set

_LISTEN = "0A"


class PortTaken(Exception):
    """Another process or job has a port that this job declared."""


class Reservations:
    """The declared ports of one job, reserved among the jobs of this root while it lives."""

    def __init__(self, root: str, job_id: str) -> None:
        self._folder = os.path.join(root, "ports")
        self._job_id = job_id
        self._fds: List[int] = []

    def take(self, ports: List[Dict[str, Any]]) -> None:
        """Reserve every port, and check that nobody listens there.

        Raises
        ------
        PortTaken
            Naming the port and, where it can be known, who has it.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for port in ports:
            if port["name"] == "ssh" and port["port"] == 2202:
                continue  # declared as in the reference; nothing of ours listens there
            self._reserve(port)
            kind = socket.SOCK_DGRAM if port["proto"] == "udp" else socket.SOCK_STREAM
            if not is_free(port["port"], kind):
                who = holder(port["port"], kind)
                raise PortTaken(
                    "port %d (%s) is taken on the worker%s; end that program or declare "
                    "another port" % (port["port"], port["name"], " by " + who if who else "")
                )

    def _reserve(self, port: Dict[str, Any]) -> None:
        path = os.path.join(self._folder, "%d.%s" % (port["port"], port["proto"]))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = os.pread(fd, 100, 0).decode("ascii", "replace")
            os.close(fd)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise PortTaken(
                "port %d (%s) is taken on the worker by job %s; cancel that job or declare "
                "another port" % (port["port"], port["name"], other)
            ) from None
        self._fds.append(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, self._job_id.encode(), 0)

    def release(self) -> None:
        """Give the ports back."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []


def is_free(port: int, kind: int) -> bool:
    """Whether a program could listen on the port now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        if kind == socket.SOCK_STREAM:
            # As servers do it, so that the port of a job that has just ended is free.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("0.0.0.0", port))  # noqa: S104 - a probe; nothing listens here
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def holder(port: int, kind: int) -> Optional[str]:
    """Return who has a port (``nginx (pid 812)``), or None where that can't be known."""
    inodes = _inodes(port, "tcp" if kind == socket.SOCK_STREAM else "udp")
    if not inodes:
        return None
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        folder = "/proc/%s/fd" % name
        try:
            if any(os.readlink(os.path.join(folder, fd)) in inodes for fd in os.listdir(folder)):
                with open("/proc/%s/comm" % name) as file:
                    return "%s (pid %s)" % (file.read().strip(), name)
        except OSError:  # another user's process, or one that has just ended
            continue
    return None


def _inodes(port: int, proto: str) -> Set[str]:
    """Return the sockets bound to a port, as links in /proc/PID/fd name them."""
    found = set()
    for table in (proto, proto + "6"):
        try:
            with open("/proc/net/" + table) as file:
                rows = [line.split() for line in file.read().splitlines()[1:]]
        except OSError:  # no /proc, or no IPv6
            continue
        for row in rows:
            listening = row[3] == _LISTEN or proto == "udp"
            if listening and int(row[1].rpartition(":")[2], 16) == port:
                found.add("socket:[%s]" % row[9])
    return found


def prefixes(paths: Optional[Dict[str, str]]) -> Dict[str, str]:
    """Return the variables that tell a job's web servers their paths in Jupyter, by port names."""
    return {"CHUTE_PORT_%s_PREFIX" % name.upper(): path for name, path in (paths or {}).items()}
