"""The TCP ports that the processes of a job listen on, found in Linux's /proc.

A job may open a server that it did not declare. Its supervisor tells which there are (`Watch`),
and the relay connects to one only where it is the job's at that moment (`ways`, `still`).
Elsewhere than on Linux none is found, so none is told and none can be reached.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Set, Tuple

from . import journal, processes
from .gpuwatch import SHARE
from .journal import JobDir

#: Below it are the system's own.
LOWEST = 1024
#: So many are told, the lowest.
MOST = 16
#: Of jobs with a door; nothing is forwarded to it.
_DOOR = 2202
#: How often a supervisor looks, and how long a socket must have stood to be told, in seconds.
PERIOD, _STOOD = 2.0, 1.9
#: Who changes his ports all the time is told of less often, in seconds, after so many changes.
_SELDOM, _FEW = 30.0, 50
_LISTEN = "0A"
#: So many sockets in a row that don't listen are behind the last one that does.
_OTHERS = 100
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - nothing of ours listens there
_MAPPED = "::ffff:"
#: Where whoever listens on all addresses is reached, in the order in which that is tried: a
#: machine may have IPv6 and no address of it.
_REACHED = {"0.0.0.0": ("127.0.0.1",), "::": ("::1", "127.0.0.1")}  # noqa: S104


class Listener(NamedTuple):
    """A socket that takes TCP connections."""

    inode: str
    host: str
    port: int


class Way(NamedTuple):
    """An address of this machine, and the sockets that may take a connection to it."""

    host: str
    takers: FrozenSet[str]


class Watch:
    """Tells what one job listens on without having declared it.

    Parameters
    ----------
    guardian : int
        The process that all of the job's are below.
    declared : iterable of dict
        The ports of its spec.
    tell : callable
        Writes an event.
    """

    def __init__(
        self, guardian: int, declared: Iterable[Dict[str, Any]], tell: Callable[..., object]
    ) -> None:
        self._guardian, self._tell = guardian, tell
        self._declared = {_DOOR, *(port["port"] for port in declared)}
        self._since: Dict[str, float] = {}
        self._told: List[Dict[str, Any]] = []
        self._changes = 0
        self._due = self._next_word = 0.0
        #: What was found last, and of which sockets and processes.
        self._seen: Tuple[Any, Set[str]] = (None, set())

    def look(self, now: float) -> None:
        """Look, if it is time, and tell what there is if that has changed."""
        if now < self._due:
            return
        began = time.thread_time()
        found = self._own()
        self._due = now + max(PERIOD, (time.thread_time() - began) / SHARE)
        self._since = {each.inode: self._since.get(each.inode, now) for each in found}
        stood = [each for each in found if now - self._since[each.inode] >= _STOOD]
        ports: Dict[int, bool] = {}
        for each in stood:
            ports[each.port] = ports.get(each.port, False) or each.host in _EVERYWHERE
        fresh = [{"port": port, "everywhere": ports[port]} for port in sorted(ports)[:MOST]]
        if fresh != self._told and now >= self._next_word:
            # On a full disk, this is what can be done without.
            with contextlib.suppress(OSError):
                self._tell("listening", ports=fresh)
                self._told = fresh
                self._changes += 1
                self._next_word = now + (_SELDOM if self._changes > _FEW else 0.0)

    def _own(self) -> List[Listener]:
        found = [each for each in listeners(_TABLES) if each.port not in self._declared]
        inodes = {each.inode for each in found}
        pids = processes.below(self._guardian) if inodes else []
        key = sorted(inodes), sorted(pids)
        if key != self._seen[0]:
            # Mostly neither has changed since, and the descriptors need not be gone through.
            self._seen = key, held(pids, inodes)
        return [each for each in found if each.inode in self._seen[1]]


def ways(job: JobDir, port: int) -> List[Way]:
    """Return where this machine reaches the sockets of a job's own processes on a port.

    An address counts only if every socket that may take a connection to it is the job's: one
    that listens on ::1 alone says nothing of 127.0.0.1, where somebody else may listen.

    What remains: a job can pass on what comes, and so lead to any service that it reaches
    itself; and it runs as the same user as this agent, so that it could deceive it about what
    belongs to that user, or, run as root, about everybody's. Of other users' processes the
    system shows nobody the descriptors, so their sockets are never taken for the job's.
    """
    found: List[Listener] = []
    there: List[Way] = []
    for table in _TABLES:
        # Those of IPv4 are enough where one of them is the job's, and the other table takes long.
        fresh = [] if there else [each for each in listeners((table,)) if each.port == port]
        if fresh:
            found += fresh
            there = _ways(found, held(_processes(job), {each.inode for each in found}))
    return there


def _ways(found: List[Listener], own: Set[str]) -> List[Way]:
    there = []
    for each in found:
        for host in _REACHED.get(each.host, (each.host,)) if each.inode in own else ():
            takers = _takers(found, host)
            if takers <= own:
                there.append(Way(host, takers))
    return there


def still(job: JobDir, port: int, way: Way) -> bool:
    """Whether a connection that was made since `ways` gave `way` was taken by the job.

    Only one socket at a time has an address (but for those of one user with SO_REUSEPORT). So
    if one that is there now was there before, no other one was there in between.
    """
    return any(now.host == way.host and now.takers & way.takers for now in ways(job, port))


def listeners(tables: Iterable[str]) -> List[Listener]:
    """Return every socket here that takes TCP connections of this machine; none without /proc.

    Sockets of other network namespaces are not among them: they can't be reached from here.
    """
    found = []
    for table in tables:
        with contextlib.suppress(OSError):  # no /proc, or no IPv6
            found += _rows(table)
    return [each for each in found if each.port >= LOWEST and _is_here(each.host)]


def _rows(table: str) -> List[Listener]:
    found, others = [], 0
    with open(table) as file:
        file.readline()
        for line in file:
            # Linux tells of listeners first. Of a busy machine's connections, ten thousands it may
            # be, it makes no more than are read.
            others += 1
            if others > _OTHERS:
                break
            row = line.split()
            if row[3] == _LISTEN:
                address, _, port = row[1].rpartition(":")
                found.append(Listener(row[9], _host(address), int(port, 16)))
                others = 0
    return found


def held(pids: Iterable[int], inodes: Set[str]) -> Set[str]:
    """Return which of these sockets those processes have open, as far as we may see."""
    sought = {"socket:[%s]" % inode: inode for inode in inodes}
    found: Set[str] = set()
    for pid in pids:
        folder = "/proc/%d/fd" % pid
        try:
            names = os.listdir(folder)
        except OSError:  # it has ended, or has become another user's
            continue
        for name in names:
            with contextlib.suppress(OSError):
                inode = sought.get(os.readlink("%s/%s" % (folder, name)))
                if inode is not None:
                    found.add(inode)
        if len(found) == len(sought):
            break
    return found


def _processes(job: JobDir) -> List[int]:
    """Return the processes of a job that runs."""
    child = journal.read_json(job.child)
    fields = processes.stat(child["pid"]) if child else None
    if child is None or fields is None or child != processes.identity(child["pid"]):
        return []
    # Nobody keeps it any more: who inherited its process may have others below him, too.
    return processes.below(int(fields[1])) if journal.owned(job) else []


def _takers(found: List[Listener], host: str) -> FrozenSet[str]:
    """Return the sockets that may take a connection to an address of their port."""
    if ":" in host:
        return frozenset(each.inode for each in found if each.host in (host, "::"))
    near = frozenset(each.inode for each in found if each.host in (host, "0.0.0.0"))  # noqa: S104
    # One that has all addresses of both kinds is there only where no other one has them.
    return near or frozenset(each.inode for each in found if each.host == "::")


def _host(text: str) -> str:
    """Return an address that the kernel wrote as words in this machine's order of bytes."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack("=%dI" % len(words), *words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    host = socket.inet_ntop(family, packed)
    # The same socket as one of IPv4.
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


def _is_here(host: str) -> bool:
    return host in _EVERYWHERE or host == "::1" or host.startswith("127.")
