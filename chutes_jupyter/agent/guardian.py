"""The guardian: a tiny parent of the job's process that outlives the supervisor's death.

It is a subreaper, so whatever the job starts stays below it. The supervisor speaks to it
over a socket pair: ``T`` sends SIGTERM to everything below, ``K`` kills it until nothing is
left. When the socket closes, the supervisor is dead, and the job's processes follow.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import traceback
from typing import Callable, Dict, Sequence, Tuple

from . import processes


class BecomeJob(BaseException):
    """Unwinds a fresh process to the top of the program, where it becomes the job's.

    Parameters
    ----------
    become : callable
        Called there; returns what `execute.main` needs.
    """

    def __init__(self, become: Callable[[], Tuple[str, int]]) -> None:
        super().__init__()
        self.become = become


def fork(
    sock: socket.socket, become: Callable[[], Tuple[str, int]], keep: Sequence[int] = ()
) -> int:
    """Start a guardian with the job's process below it, and return the guardian's pid.

    Parameters
    ----------
    sock : socket.socket
        The guardian's end. It sends ``started PID``, ``exit STATUS PEAK`` (a wait
        status, and the most memory it had, in bytes) and ``gone LEFT`` (after ``K``; how many
        could not be killed), each on a line.
    become : callable
        What the job's process does first.
    keep : sequence of int
        Descriptors that stay open as long as anything of the job may live.

    Raises
    ------
    BecomeJob
        In the job's process, and only there.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        _guard(sock, become, keep)
    except BecomeJob:
        raise
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


def _guard(sock: socket.socket, become: Callable[[], Tuple[str, int]], keep: Sequence[int]) -> None:
    processes.become_subreaper()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        raise BecomeJob(become)
    _say(sock, "started %d" % child)
    processes.close_descriptors(sock.fileno(), wake_read, wake_write, *keep)
    _watch(sock, child, wake_read)


def _watch(sock: socket.socket, child: int, wake: int) -> None:
    ended: Dict[int, int] = {}
    peaks: Dict[int, int] = {}
    told = False
    while True:
        ready = select.select([sock.fileno(), wake], [], [])[0]
        if wake in ready:
            os.read(wake, 4096)
            processes.reap(ended, peaks)
        words = _hear(sock) if sock.fileno() in ready else b"-"
        if b"T" in words:
            processes.signal_below(os.getpid(), child, signal.SIGTERM)
        left = None
        if b"K" in words or not words:
            left = processes.kill_below(os.getpid(), child, ended, peaks)
        if not words:
            return
        if child in ended and not told:
            told = True
            _say(sock, "exit %d %d" % (ended[child], peaks[child]))
        if left is not None:
            _say(sock, "gone %d" % len(left))


def _hear(sock: socket.socket) -> bytes:
    """Return the supervisor's words; none when it is dead."""
    try:
        return sock.recv(64)
    except OSError:
        return b""


def _say(sock: socket.socket, line: str) -> None:
    try:
        sock.sendall(line.encode() + b"\n")
    except OSError:  # the supervisor is dead; the next recv says so
        return
