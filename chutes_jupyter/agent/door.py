"""One session in a running job, as the program of a channel of its own.

It answers one request, and then the channel is an SSH connection: an ``sshd -i`` made for this
session alone speaks on it. Two processes keep what the session starts. Each is a subreaper
and outlives the other's death, so that nothing of a session is left when the job has ended:
the *watch*, which is the parent of sshd and waits for the end of the job, and its parent, the
*keeper*. What somebody lets run when he leaves goes on until then.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
import traceback
from typing import Any, Callable, Dict, NoReturn, Optional, Tuple

from . import doors, journal, processes, warden, wire
from .changes import Changes
from .journal import JobDir, JournalError
from .sshd import Session, Shut

#: The longest request, in bytes.
_REQUEST = 64 * 1024
#: How long the door of a job waits that is starting, in seconds.
_PATIENCE = 10.0
#: Who was told to end has so long to do it, in seconds.
_GRACE = 0.5
#: How often to ask whether anybody keeps the job, and to look where nothing wakes us.
_CHECK, _POLL = 2.0, 0.1


def main(root: str, agent_hash: str, _umask: Optional[int] = None) -> int:
    """Answer one request on standard input and output, and be its SSH server.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    agent_hash : str
        The hash that names this version of the agent.
    _umask : int, optional
        The person's; sessions have that of their job.
    """
    os.umask(0o077)
    _write(wire.MARKER)
    try:
        job, session = _open(os.path.abspath(os.path.expanduser(root)), agent_hash, _hear())
    except Shut as shut:
        return _refuse(shut.code, str(shut))
    except JournalError as error:
        return _refuse("unknown_job", str(error))
    except (OSError, KeyError, TypeError, ValueError, wire.WireError) as error:
        return _refuse("io", "%s: %s" % (type(error).__name__, error))
    try:
        _write(wire.encode({"ok": True, **session.facts}))
    except OSError:  # nobody is there any more
        session.close()
        return 0
    return _serve(job, session)


def _open(root: str, agent_hash: str, header: Dict[str, Any]) -> Tuple[JobDir, Session]:
    job = JobDir(root, header["job"])
    if not job.exists():
        raise Shut("unknown_job", "no job %s on this worker" % job.id)
    job.check_format()
    code = os.path.join(root, "agents", agent_hash)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return job, Session(job, list(header["keys"]), code)
        except Shut as shut:
            if shut.code != "not_open" or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


# -- words, before it is an SSH connection --------------------------------------------


def _hear() -> Dict[str, Any]:
    """Return the request, without a byte of what follows it."""
    beginning = _read(wire.LEAD)
    size = wire.length(beginning)
    if size > _REQUEST:
        raise ValueError("a request of %d bytes" % size)
    ((header, _),) = wire.Decoder().feed(beginning + _read(size))
    return header


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            raise ValueError("the connection closed before the request")
        data += piece
    return data


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


def _refuse(code: str, message: str) -> int:
    with contextlib.suppress(OSError):  # nobody is there to hear it
        _write(wire.encode({"ok": False, "error": {"code": code, "message": message}}))
    return 0


# -- the session ----------------------------------------------------------------------


def _serve(job: JobDir, session: Session) -> int:
    """Let sshd have the channel, and wait until the session is over."""
    over, tell_over = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        os.close(over)
        _apart(lambda: _keep(job, session, tell_over))
    os.close(tell_over)
    # It is the only one that has this end of the pipe, and closes it when sshd has ended.
    os.read(over, 1)
    return 0


def _apart(body: Callable[[], None]) -> NoReturn:
    """Run `body` away from the signals of the channel, and end."""
    try:
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        body()
    except BaseException:  # noqa: BLE001 - no exception may unwind to what was forked
        with contextlib.suppress(OSError):
            os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


def _keep(job: JobDir, session: Session, tell_over: int) -> None:
    processes.become_subreaper()
    ours, theirs = socket.socketpair()
    watch = os.fork()
    if watch == 0:
        ours.close()
        _apart(lambda: _Watch(job, session, tell_over, theirs).run())
    os.close(tell_over)
    theirs.close()
    _leave(0, 1, 2)
    ended: Dict[int, int] = {}
    while watch not in ended:
        pid, status = os.waitpid(-1, 0)
        ended[pid] = status
    # Whoever the watch left is ours by now: there is nobody, unless it was killed.
    processes.kill_below(os.getpid(), None, ended)
    session.close()
    if not journal.owned(job):
        # The job has lost all its keepers. Only now: who ends it must not be below us.
        warden.recover(job)


def _leave(*descriptors: int) -> None:
    """Let go of the channel: it ends when its last holder has."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in descriptors:
        os.dup2(null, fd)
    os.close(null)


class _Watch:
    """The parent of sshd: ends the session with the job, and what it left."""

    def __init__(
        self, job: JobDir, session: Session, tell_over: int, keeper: socket.socket
    ) -> None:
        self._job, self._session = job, session
        self._tell_over: Optional[int] = tell_over
        self._keeper = keeper
        self._changes = Changes()
        self._ended: Dict[int, int] = {}
        self._next_check = 0.0

    def run(self) -> None:
        """Be there until nobody of the session is left, or the job has ended."""
        processes.become_subreaper()
        wake, wake_write = os.pipe()
        for fd in (wake, wake_write):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._changes.watch(self._job.door)
        sshd = self._start()
        _leave(0, 1)
        heard = [wake, self._keeper.fileno()]
        if self._changes.fd is not None:
            heard.append(self._changes.fd)
        while processes.reap(self._ended):
            if sshd in self._ended:
                self._over()
            state = self._state()
            if state is not None:
                self._end_all(state, sshd)
                break
            ready = select.select(heard, [], [], self._patience())[0]
            if wake in ready:
                os.read(wake, 4096)
            if self._keeper.fileno() in ready:
                # Nothing is ever said there: the keeper is dead.
                break
            self._changes.take()
        processes.kill_below(os.getpid(), sshd, self._ended)
        self._over()
        self._session.close()

    def _patience(self) -> float:
        return _CHECK if self._changes.watched(self._job.door) else _POLL

    def _start(self) -> int:
        """Start sshd on the channel, and return its process."""
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                os.setsid()
                for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                environment = dict(os.environ, **{processes.MARK: self._job.id})
                # -i: on standard input and output; -e: what goes wrong to standard error
                words = [self._session.sshd, "-i", "-e", "-f", self._session.config]
                os.execve(self._session.sshd, words, environment)  # noqa: S606 - as meant
            except BaseException:  # noqa: BLE001 - as above
                os.write(2, traceback.format_exc().encode("utf-8", "replace"))
            os._exit(127)
        return pid

    def _state(self) -> Optional[str]:
        """Return how the job has ended, if it has; or is `lost`, since nobody keeps it."""
        state = doors.ended_as(self._job)
        now = time.monotonic()
        if state is None and now >= self._next_check:
            self._next_check = now + _CHECK
            state = None if journal.owned(self._job) else "lost"
        return state

    def _end_all(self, state: str, sshd: int) -> None:
        """Tell whoever is there, and give them a moment to end by themselves."""
        if sshd not in self._ended:
            words = doors.farewell(self._session.label, state) + "; this session is closed.\n"
            with contextlib.suppress(OSError):  # nobody is there to hear it
                os.write(2, words.encode("utf-8", "replace"))
        processes.signal_below(os.getpid(), sshd, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        while processes.reap(self._ended) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _over(self) -> None:
        """Say, once, that the SSH connection has ended; others may still run."""
        if self._tell_over is not None:
            _leave(2)
            os.close(self._tell_over)
            self._tell_over = None
