"""The supervisor: one detached process that owns one job, from its start to its end.

It needs nobody: no client, no `serve`. It starts the job's process below a guardian, moves
both streams into the log, enforces the timeout, hands over a cancel, lists the outputs, and
writes every change of state as a numbered event.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
import traceback
from typing import Any, Dict, Optional, Tuple

from . import doors, endings, faults, guardian, listening, processes, space, temporary
from .journal import EventWriter, JobDir, write_json
from .ladder import EVENT, INTERRUPT, TERM, Ladder
from .logs import STDERR, STDOUT, LogWriter, last_words, open_pipe
from .memory import Memory
from .outputs import Listing, publish
from .ports import PortTaken, Reservations, prefixes
from .sending import LARGE
from .sharing import VISIBLE, TooFew, Turn
from .usage import Meter

#: After output, wait this long for more before the next read: wakeups are the whole cost,
#: here and all the way to the client. Short after a pause, longer in a stream, in seconds.
_LINGER, _LONG_LINGER, _STREAM = 0.002, 0.008, 4
#: A pipe that is this full is read again at once, in bytes.
_FULL = 256 * 1024
_SCAN_FIRST = 1.0
#: Outputs are looked at every 2 s at first, and after hours every 30 s.
_SCAN_LEAST, _SCAN_MOST, _SCAN_SHARE = 2.0, 30.0, 200.0


#: The person's own umask: the agent's files are private, a job's need not be. Who begins
#: with the agent's is told.
person_umask = 0o077


class Supervisor:
    """Runs one job; see the module's first words.

    Parameters
    ----------
    job : JobDir
        The job.
    events : EventWriter
        Its events, of which the first is there.
    warden : socket.socket
        The way to the warden, which keeps the job's GPUs taken, too.
    turn : Turn, optional
        The job's turn for these; None where it does not say how many it wants.
    """

    def __init__(
        self, job: JobDir, events: EventWriter, warden: socket.socket, turn: Optional[Turn]
    ) -> None:
        self.job, self.events = job, events
        self._warden, self._turn = warden, turn
        self.spec = job.read_spec()
        self._ladder = Ladder(float(self.spec["grace"]))
        self._reserved = Reservations(job.root, job.id)
        self._listing = Listing(job.output)
        self._log = LogWriter(job, self.spec.get("log_limit"), self._notice)
        self._selector = selectors.DefaultSelector()
        self._pipes: Dict[int, int] = {}
        self._raised: Optional[Dict[str, Any]] = None
        self._fault: Optional[Dict[str, Any]] = None
        self._returned = False
        #: Where the function was last seen.
        self._place = ""
        #: Why the result is one for clients that trust this worker, if it is.
        self._untrusted: Optional[str] = None
        self._began: Optional[float] = None
        self._status: Optional[int] = None
        self._peak = 0
        self._memory = Memory()
        self._gone: Optional[int] = None
        self._guardian_dead = False
        self._next_scan = time.monotonic() + _SCAN_FIRST
        self._heard = b""
        self._full: Optional[str] = None
        self._meter: Optional[Meter] = None

    # -- the way of a job -------------------------------------------------------------

    def run(self) -> None:
        """Take the job from `starting` to a terminal state."""
        processes.become_subreaper()
        try:
            self._open_control()
            if self._wait_for_gpus():
                # Not earlier: who waits must not keep others from their ports.
                self._reserved.take(self.spec["ports"])
                self._start()
                self._watch()
        except (PortTaken, TooFew) as error:
            self._finish("failed", str(error))
            return
        except Exception as error:
            # Our own fault, or the worker's: still end everything, and say so.
            self._gone = len(processes.kill_below(os.getpid(), None, {}))
            if not space.is_full(error):
                self._finish("failed", "the worker could not run it: %s" % error)
                raise
            self._hear_the_last(error)
        self._finish(*self._verdict())

    def _hear_the_last(self, error: Exception) -> None:
        """Take what is left of a job that was killed since the worker's disk is full."""
        self._full = space.sentence(self.job.folder, error)
        # Not earlier: the job would have taken this room, too.
        space.give_back(self.job.reserve)
        self.events.insist()
        self._log.end_soon()
        self._drain()
        while not self._over() and hasattr(self, "_child"):
            try:
                data = self._child.recv(65536)
            except OSError:
                break
            if not data:
                break
            self._take_words(data)
        self.events.write("notice", message=self._full)

    def _open_control(self) -> None:
        os.mkfifo(self.job.control, 0o600)
        # Read and write, so that it never ends when a writer goes away.
        self._control = os.open(self.job.control, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._control, selectors.EVENT_READ, self._on_control)
        if os.path.exists(self.job.cancel):
            self._ladder.start("cancel")

    def _wait_for_gpus(self) -> bool:
        """Wait until the job has the GPUs that it wants; return False if it is cancelled first."""
        turn = self._turn
        if turn is not None:
            fd = turn.fd
            if fd is not None:
                self._selector.register(fd, selectors.EVENT_READ, lambda _: turn.stir())
            while not self._ladder.started and not turn.take(self.events):
                for key, _ in self._selector.select(turn.patience()):
                    key.data(key.fileobj)
            if fd is not None:
                self._selector.unregister(fd)
            turn.hand_over(self._warden)
            return not self._ladder.started
        self._warden.close()
        return True

    def _start(self) -> None:
        out_read, out_write = open_pipe()
        err_read, err_write = open_pipe()
        self._child, child_end = socket.socketpair()
        self._guardian, guardian_end = socket.socketpair()
        taken = self._turn.fds if self._turn else ()

        def become_job() -> Tuple[str, int]:
            _reset_signals()
            null = os.open(os.devnull, os.O_RDONLY)
            for fd, target in ((null, 0), (out_write, 1), (err_write, 2)):
                os.dup2(fd, target)
            os.setsid()
            os.umask(person_umask)
            os.chdir(self.job.work)
            os.environ["TMPDIR"] = temporary.short(self.job.tmp, self.job.id)
            os.environ[processes.MARK] = self.job.id
            os.environ.update(self._turn.environment if self._turn else {})
            os.environ.update(prefixes(self.spec.get("prefixes")))
            if self.spec.get("ssh"):
                # On a full disk the job is worth more than its door.
                with contextlib.suppress(OSError):
                    doors.describe(self.job, person_umask)
            # While nobody else has their numbers: closed at last, they would close a file of
            # the function's that was given the same one.
            for held in (self._selector, self._child, self._guardian):
                held.close()
            # The GPUs are the job's as long as it lives, even if all who keep it were killed.
            processes.close_descriptors(child_end.fileno(), *taken)
            return self.job.path, child_end.detach()

        pid = guardian.fork(guardian_end, become_job, taken)
        for end in (child_end, guardian_end):
            end.close()
        for fd in (out_write, err_write):
            os.close(fd)
        environment = {**os.environ, **(self._turn.environment if self._turn else {})}
        self._meter = Meter(self.job, pid, environment.get(VISIBLE))
        self._ports = listening.Watch(pid, self.spec["ports"], self.events.write)
        for fd, stream in ((out_read, STDOUT), (err_read, STDERR)):
            self._pipes[fd] = stream
            self._selector.register(fd, selectors.EVENT_READ, self._on_pipe)
        for sock, handler in ((self._child, self._on_child), (self._guardian, self._on_guardian)):
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, handler)

    def _watch(self) -> None:
        """Serve pipes, words and clocks until every process of the job is gone."""
        stream = 0
        while self._gone is None or self._pipes:
            busy = 0
            for key, _ in self._selector.select(self._patience()):
                handled = key.data(key.fileobj)
                busy += handled or 0
            self._on_clock()
            if self._gone is not None:
                self._drain()
                continue
            stream = stream + 1 if busy else 0
            if 0 < busy < _FULL:
                time.sleep(_LINGER if stream < _STREAM else _LONG_LINGER)

    def _patience(self) -> Optional[float]:
        moments = [self._ladder.due(), self._next_scan if self.spec["upload"] else None]
        moments.append(self._meter.due() if self._meter else None)
        timeout = self.spec["timeout"]
        if timeout is not None and self._began is not None and not self._ladder.started:
            moments.append(self._began + timeout)
        known = [moment for moment in moments if moment is not None]
        return max(0.0, min(known) - time.monotonic()) if known else None

    # -- what is heard ----------------------------------------------------------------

    def _on_pipe(self, fd: int) -> int:
        size = self._log.pump(fd, self._pipes[fd])
        if size == 0:
            self._selector.unregister(fd)
            os.close(fd)
            del self._pipes[fd]
        return max(size, 0)

    def _drain(self) -> None:
        """Read what the dead left in the pipes; nobody can write to them any more."""
        for fd in list(self._pipes):
            while self._log.pump(fd, self._pipes[fd]) > 0:
                pass
            self._selector.unregister(fd)
            os.close(fd)
        self._pipes.clear()

    def _on_control(self, fd: int) -> None:
        os.read(fd, 4096)
        if os.path.exists(self.job.cancel) and not self._over():
            self._ladder.start("cancel")

    def _on_child(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self._selector.unregister(sock)
            return
        self._take_words(data)

    def _take_words(self, data: bytes) -> None:
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._on_word(json.loads(line.decode("utf-8")))

    def _on_word(self, word: Dict[str, Any]) -> None:
        if "running" in word:
            self._began = time.monotonic()
            if not self._ladder.started:
                self.events.write("state", state="running", python=word["running"])
        elif "notice" in word:
            self._notice(word["notice"])
        elif "place" in word:
            self._place = str(word["place"])[:1000]
        else:
            self._raised = word.get("raised")
            self._returned = self._raised is None
            self._untrusted = word.get("untrusted")
            # What still runs below the function that has ended gets half a grace to follow it.
            self._ladder.force()

    def _notice(self, message: str) -> None:
        self.events.write("notice", message=message)

    def _on_guardian(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(4096)
        except ConnectionResetError:
            data = b""
        if not data:
            self._guardian_dead = True
            self._selector.unregister(sock)
            ended: Dict[int, int] = {}
            self._gone = len(processes.kill_below(os.getpid(), None, ended))
            return
        for line in data.decode("ascii").splitlines():
            word, _, number = line.partition(" ")
            if word == "started":
                write_json(self.job.child, processes.identity(int(number)))
            elif word == "exit":
                self._status, self._peak = map(int, number.split())
                self._tell_guardian(b"K")  # the function's process is over: nothing stays
            elif word == "gone":
                self._gone = int(number)

    def _on_clock(self) -> None:
        now = time.monotonic()
        timeout = self.spec["timeout"]
        late = timeout is not None and self._began is not None and now >= self._began + timeout
        if late and not self._over():
            self._ladder.start("timeout")
        step = self._ladder.take()
        if step is not None:
            self._climb(step)
        if self.spec["upload"] and now >= self._next_scan and self._gone is None:
            self._look_at_outputs()
        self._measure(now)

    def _measure(self, now: float) -> None:
        if self._meter is None or self._gone is not None:
            return
        try:
            self._meter.take(now)
            self._ports.look(now)
        except Exception:
            # In the agent's log: the job is worth more than this.
            traceback.print_exc()
            self._meter.close()
            self._meter = None

    def _over(self) -> bool:
        """Whether the function has ended by itself, so that nothing can end it any more."""
        return self._over_in_words() or self._status is not None

    def _over_in_words(self) -> bool:
        """Whether the function has returned or raised."""
        return self._returned or self._raised is not None

    def _climb(self, step: str) -> None:
        if step == EVENT:
            self.events.write("state", state="cancelling", by=self._ladder.by)
            self._tell_child(b"cancel\n")
        elif step == INTERRUPT:
            self._tell_child(b"interrupt\n")
        elif not self._guardian_dead:
            self._tell_guardian(b"T" if step == TERM else b"K")

    def _tell_guardian(self, word: bytes) -> None:
        # If it has just been killed, its end of the socket says so next, and all is killed.
        with contextlib.suppress(OSError):
            self._guardian.send(word)

    def _tell_child(self, words: bytes) -> None:
        # A child that is gone or does not listen is what the later steps are for.
        with contextlib.suppress(OSError):
            self._child.send(words)

    # -- the end ----------------------------------------------------------------------

    def _look_at_outputs(self) -> None:
        began = time.monotonic()
        if self._listing.scan():
            self._tell_outputs(final=False)
        now = time.monotonic()
        age = now - (self._began or now)
        pause = min(max(age / _SCAN_SHARE, _SCAN_LEAST), _SCAN_MOST)
        self._next_scan = now + max(pause, 20 * (now - began))

    def _tell_outputs(self, final: bool) -> None:
        full = publish(self.job.outputs, self._listing, final)
        if full is not None:
            if final:
                told = space.sentence(self.job.folder, full)
                self._notice("the list of outputs is an older one: %s" % told)
            return
        self.events.write(
            "outputs",
            version=self._listing.version,
            files=len(self._listing.entries),
            bytes=self._listing.bytes,
            final=final,
        )

    def _finish(self, state: str, reason: str) -> None:
        self._collect(state)
        self._end(state, reason)

    def _collect(self, ending: str) -> None:
        if self._meter is not None:
            self._meter.close()
        self._log.close()
        self.events.insist()
        self.events.write("state", state="collecting")
        # Before the outputs are listed: a session may write there, too.
        doors.shut(self.job, ending)
        # Not later: what the job left may take long to hash.
        if self._turn:
            self._turn.release(self._gone or 0)
        if self._raised is not None and space.free(self.job.folder) < space.RESERVE:
            self._notice(space.sentence(self.job.folder))
        # Nobody is left who could take this room.
        space.give_back(self.job.reserve)
        if self.spec["upload"]:
            self._listing.settle()
            if self._listing.bytes > LARGE:
                # What takes long to hash takes longer to fetch: let that begin.
                self._tell_outputs(final=False)
            self._listing.hash()
        self._tell_outputs(final=True)

    def _verdict(self) -> Tuple[str, str]:
        by = self._ladder.by
        if by == "cancel":
            return "cancelled", "cancelled as asked" + self._last_seen()
        if by == "timeout":
            limit = "ran longer than its timeout of %d s" % self.spec["timeout"]
            return "timed_out", limit + self._last_seen()
        if self._returned:
            return "succeeded", ""
        if self._raised is not None:
            return "failed", str(self._raised["message"])
        if self._full is not None:
            return "failed", self._full
        if self._guardian_dead:
            return "failed", "the guardian of its processes was killed on the worker"
        return "failed", self._describe(self._status or 0) + self._last_seen()

    def _last_seen(self) -> str:
        """Return where the function was when it was made to end, "" if it ended by itself."""
        status = self._status
        killed = status is not None and os.WIFSIGNALED(status) and not self._over_in_words()
        # A plain function in its thread is left behind, wherever that is.
        interrupted = (self._raised or {}).get("type", "").endswith("CancelledError")
        if not killed and not interrupted:
            return ""
        fault = faults.read(self.job.faults)
        if fault is None and killed:
            # By what nobody hears coming. What is known is from just before.
            fault = faults.Fault(self._place, last_words(self.job))
            said = "; it was last seen in %s" % self._place if self._place else ""
        else:
            said = "; it was in %s" % fault.where if fault else ""
        if killed and fault and any(fault):
            name = endings.signal_name(os.WTERMSIG(status or 0))
            self._fault = {"type": name, "message": fault.where, "traceback": fault.text}
        return said

    def _describe(self, status: int) -> str:
        """Return how the function's process ended without having said so, in a sentence."""
        if not os.WIFSIGNALED(status):
            return "its process %s before the function returned" % endings.describe(status)
        if os.WTERMSIG(status) != signal.SIGKILL:
            return "its process %s" % endings.describe(status)
        peak = "its own peak was %s" % endings.size(self._peak)
        shortage = self._memory.shortage()
        if shortage is not None:
            return "its process was killed by SIGKILL, %s (%s)" % (shortage, peak)
        hint = "somebody killed it, or the worker ran out of memory"
        return "its process %s (%s; %s)" % (endings.describe(status), hint, peak)

    def _end(self, state: str, reason: str) -> None:
        if state == "failed" and self._raised is not None:
            # A process that the function had started may be why it failed.
            shortage = self._memory.shortage()
            if shortage is not None:
                self.events.write(
                    "notice", message="a process of this group was killed, " + shortage
                )
        if self._gone:
            self._notice("%d processes could not be killed" % self._gone)
        self._reserved.release()
        if os.path.exists(self.job.control):
            os.unlink(self.job.control)
        self.job.forget()
        has_value = os.path.exists(self.job.result)
        self.events.write(
            "state",
            state=state,
            reason=reason,
            error=self._raised or self._fault,
            has_value=has_value,
            value_size=os.path.getsize(self.job.result) if has_value else None,
            untrusted=self._untrusted,
            durable=True,
        )
        self.events.close()


def _reset_signals() -> None:
    """Give the job's process the signals that any new Python has."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    # There, a pipe that nobody reads is an exception. It would kill the job else, also when a
    # thread of its own wakes a loop that has just been closed.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
