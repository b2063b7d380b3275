"""From a request to a job that needs nobody, and the end of a job whose keepers were killed.

Three processes keep a job. The *warden* is the parent of the supervisor, which is the parent
of the guardian, which is the parent of the job's process; each is a subreaper. So whoever of
them is killed, and even two at once, another one inherits what the job started, and ends it.
The warden does nothing else: when the supervisor dies before the job has ended, it kills all
that is left and writes `lost`. Where all three died, the next `serve` does that.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import traceback
from typing import Any, Callable, Dict, NoReturn, Optional

from . import doors, endings, guardian, journal, processes, sharing, space
from .journal import EventLog, EventWriter, JobDir, Lock, read_json
from .outputs import Listing, publish
from .supervise import Supervisor


def launch(job: JobDir, notice: Optional[str] = None) -> Dict[str, Any]:
    """Start a detached supervisor and wait until the job is `starting`, or why it can't be.

    The warden stays a child of this process, which therefore ignores SIGCHLD.

    Parameters
    ----------
    notice : str, optional
        What the person should read about this job.

    Returns
    -------
    dict
        ``{"state": …, "event": n}``, or ``{"error": message}``.
    """
    reading, writing = os.pipe()
    if os.fork() == 0:
        _apart(lambda: _watch_over(job, writing, notice), job.errors)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read()
    if not told:
        return {"error": "the supervisor died before the job started; see %s" % job.errors}
    reply: Dict[str, Any] = json.loads(told.decode())
    return reply


def recover(job: JobDir, reason: Optional[str] = None) -> None:
    """End, in a process of its own, a job whose keepers are gone: `lost`, with what there is.

    Parameters
    ----------
    reason : str, optional
        Why; otherwise one is found, and a job without any event is left as it is.
    """
    _fork_orphan(lambda: _recover(job, reason), job.errors)


def sweep(root: str) -> None:
    """End, in a process of its own, every job of a root whose keepers are gone."""
    _fork_orphan(lambda: _sweep(root), os.path.join(root, "agent.log"))


def _sweep(root: str) -> None:
    processes.close_descriptors()
    for name in journal.job_ids(root):
        job = JobDir(root, name)
        # The control pipe is there from before a job's first process to its terminal state.
        try:
            if os.path.exists(job.control) and not journal.owned(job):
                _recover(job, None)
        except Exception:
            # One that can't be read or written must not keep the others from their end.
            traceback.print_exc()


def _fork_orphan(body: Callable[[], None], errors: str) -> None:
    pid = os.fork()
    if pid == 0:
        if os.fork():
            os._exit(0)
        _apart(body, errors)
    os.waitpid(pid, 0)


def _apart(body: Callable[[], None], errors: str) -> NoReturn:
    """Run `body` in a new session, away from every descriptor and signal of `serve`."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for fd, target in ((null, 0), (null, 1), (log, 2)):
            os.dup2(fd, target)
        # Whatever ends the login must not end the job with it.
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        body()
    except guardian.BecomeJob:
        raise
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


def _watch_over(job: JobDir, answer: int, notice: Optional[str]) -> None:
    processes.become_subreaper()
    ours, theirs = socket.socketpair()
    supervisor = os.fork()
    if supervisor == 0:
        ours.close()
        _apart(lambda: _supervise(job, answer, notice, theirs), job.errors)
    theirs.close()
    processes.close_descriptors(ours.fileno())
    # The locks of its GPUs; open here, too, until nothing of the job is left.
    sharing.receive(ours)
    ended: Dict[int, int] = {}
    # Who is not the supervisor came to us when it died, and is met below.
    while supervisor not in ended:
        pid, status = os.waitpid(-1, 0)
        ended[pid] = status
    left = processes.kill_below(os.getpid(), None, ended)
    if ended[supervisor] != 0:
        reason = "its supervisor on the worker %s" % endings.describe(ended[supervisor])
        _recover(job, reason, len(left))


def _supervise(job: JobDir, answer: int, notice: Optional[str], warden: socket.socket) -> None:
    processes.close_descriptors(answer, warden.fileno())
    lock = Lock(job)
    if not lock.take(patience=1.0):
        # Another supervisor was faster: the job is started exactly once.
        _answer(answer, EventLog(job))
        return
    events = EventWriter(job)
    if events.state is None:
        spec = job.read_spec()
        # Before anyone hears that the job is here: who comes later stands behind it.
        turn = None if spec.get("gpus") is None else sharing.Turn(job, spec)
        events.write("state", state="starting", boot=processes.boot_id(), durable=True)
        if notice:
            events.write("notice", message=notice)
        _answer(answer, EventLog(job))
        Supervisor(job, events, warden, turn).run()
    else:
        _answer(answer, EventLog(job))
    lock.release()


def _answer(fd: int, log: EventLog) -> None:
    log.refresh()
    number = log.events[-1]["n"] if log.events else 0
    os.write(fd, json.dumps({"state": log.state, "event": number}).encode())
    os.close(fd)


def _recover(job: JobDir, reason: Optional[str], unkillable: int = 0) -> None:
    """Write the end of a job that nobody keeps; without a reason, find one."""
    processes.close_descriptors()
    lock = Lock(job)
    # With patience: somebody who only asks whether it is owned holds it for a moment.
    if lock.take(patience=1.0):
        try:
            _end(job, reason, unkillable)
        finally:
            lock.release()


def _end(job: JobDir, reason: Optional[str], unkillable: int) -> None:
    log = EventLog(job)
    log.refresh()
    # Without a first event nothing was started, and a submit may still start it.
    if log.terminal or (log.state is None and reason is None):
        return
    events = EventWriter(job)
    child = read_json(job.child)
    doors.shut(job, "lost")
    left = len(processes.sweep(job.id, child)) + unkillable
    space.give_back(job.reserve)
    events.insist()
    if left:
        events.write("notice", message="%d processes could not be killed" % left)
    if read_json(job.spec)["upload"]:
        listing = Listing(job.output)
        listing.version = (read_json(job.outputs) or {}).get("version", 0)
        listing.settle()
        listing.hash()
        publish(job.outputs, listing, final=True)
    if os.path.exists(job.control):
        os.unlink(job.control)
    job.forget()
    now = processes.boot_id()
    if reason is None and (log.events[0].get("boot") or (child or {}).get("boot") or now) != now:
        reason = "the worker was restarted while it ran"
    events.write(
        "state",
        state="lost",
        reason=reason or "its supervisor on the worker died",
        error=None,
        has_value=False,
        durable=True,
    )
