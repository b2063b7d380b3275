"""A job's way to the GPUs that it asks for: its turn in the line, and which it gets."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import time
from typing import Any, Dict, List, Mapping, Optional, Tuple

from . import cards, gpu, processes
from .changes import LEFT, Changes
from .gpu import Gpu
from .journal import EventWriter, JobDir
from .tickets import Folder, Seen, Ticket

#: What CUDA reads: which GPUs a process may see.
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: How often to look where nothing tells us that the line has moved, and where something does.
_POLL, _DOZE = 1.0, 10.0
#: Who leaves closes its ticket a moment before its GPUs: so soon to look again, and how often.
_SOON, _AGAIN = 0.02, 10
#: What the driver said so long ago is still so, in seconds.
_FRESH = 2.0
#: Others wait behind whoever only wants to look, in seconds.
_GLANCE = 4.0
#: So many of the processes that use a GPU are named.
_NAMED = 3


class TooFew(Exception):
    """The worker has fewer GPUs than the job asks for."""


class Turn:
    """A job's turn: from its place in the line to the end of the job.

    The place is taken as soon as this is made, so that jobs get GPUs in the order in which
    they came; a fault on the way to it is raised by `take`.

    Parameters
    ----------
    job : JobDir
        The job.
    spec : dict
        Its spec, with ``gpus`` and ``node_selector``.
    """

    def __init__(self, job: JobDir, spec: Dict[str, Any]) -> None:
        self._wants = int(spec["gpus"])
        self._selector = spec.get("node_selector")
        self._facts: Dict[str, Any] = {
            "label": "%s-%s" % (spec["name"], job.id[:6]),
            "wants": self._wants,
            # The warden: everything of the job is below it.
            "pid": os.getppid(),
        }
        #: What the environment of the job gets.
        self.environment: Dict[str, str] = {}
        self._locks: List[int] = []
        self._told: Optional[str] = None
        self._gpus: Optional[List[Gpu]] = None
        self._asked = 0.0
        self._soon = 0
        self._fault: Optional[OSError] = None
        self._ticket: Optional[Ticket] = None
        if not self._wants:
            self.environment[VISIBLE] = ""
            return
        try:
            self._folder = Folder.of(job.root, os.environ)
            self._ticket = self._folder.draw(job.id, self._facts)
            self._changes = Changes(LEFT)
            self._changes.watch(self._folder.path)
        except OSError as error:
            self._fault = error

    # -- waiting ----------------------------------------------------------------------

    @property
    def fd(self) -> Optional[int]:
        """A descriptor that is readable when the line may have moved."""
        return None if self._ticket is None else self._changes.fd

    def patience(self) -> float:
        """Return how long to wait for that at the most, in seconds."""
        if self._soon:
            return _SOON
        pause = _DOZE if self._changes.watched(self._folder.path) else _POLL
        return pause * (0.8 + 0.4 * os.urandom(1)[0] / 255)  # not all at once

    def stir(self) -> None:
        """Take note that the line may have moved."""
        self._changes.take()
        self._soon = _AGAIN

    def take(self, events: EventWriter) -> bool:
        """Take the GPUs if it is this job's turn and they are free; say so, or what it waits for.

        Raises
        ------
        TooFew
            If the worker will never have as many.
        OSError
            If the driver or the folder of the line fails.
        """
        if self._fault is not None:
            raise self._fault
        if self._ticket is None:
            return True
        if self._gpus is None and not self._choose(events):
            self._leave_line()
            return True
        self._soon = max(0, self._soon - 1)
        ahead = self._ahead()
        if ahead:
            self._soon = 0  # only the first has anything to look at again
        chosen = self._lock() if not ahead else []
        if chosen:
            self._begin(chosen, events)
            return True
        what = "%d GPU%s" % (self._wants, "s" if self._wants > 1 else "")
        place = "%d ahead" % ahead if ahead else "next in line"
        text = "waiting for %s, %s" % (what, place)
        if text != self._told:
            events.write("waiting", message=text)
            self._told = text
        return False

    def _choose(self, events: EventWriter) -> bool:
        """Find out which GPUs will do; return False where the job goes without."""
        found, self._asked = gpu.ask(), time.monotonic()
        visible = visible_of(found or [], os.environ.get(VISIBLE))
        why = _unshared(found, visible)
        if why is not None:
            # What can't be checked for a NodeSelector either, its client has told already.
            if found is not None or self._selector is None:
                events.write("notice", message="%s: it has no GPU of its own" % why)
            return False
        fitting = [each for each in visible if self._fits(each)]
        if len(fitting) < self._wants:
            raise TooFew(self._too_few(found or [], visible, fitting))
        if self._folder.fault is not None:
            text = "GPUs are shared with jobs of this folder alone: %s" % self._folder.fault
            events.write("notice", message=text)
        self._gpus = fitting
        self._facts["among"] = [each["uuid"] for each in fitting]
        if self._ticket is not None:
            self._ticket.tell(self._facts)
        return True

    def _fits(self, each: Gpu) -> bool:
        return self._selector is None or cards.fits(each, self._selector)

    def _too_few(self, found: List[Gpu], visible: List[Gpu], fitting: List[Gpu]) -> str:
        has = "the worker has %d (%s)" % (len(found), cards.names(found))
        if len(visible) < len(found):
            has += ", of which its jobs may use %d" % len(visible)
        if len(fitting) < len(visible):
            has += ", of which %d fit the NodeSelector" % len(fitting)
        plural = "s" if self._wants > 1 else ""
        return "the job asks for %d GPU%s; %s" % (self._wants, plural, has)

    def _ahead(self) -> int:
        """Return how many wait before this job for GPUs that it could get, too."""
        ours = set(self._facts["among"])
        count = 0
        for seen in self._folder.tickets():
            if self._ticket is not None and seen.order >= self._ticket.order:
                break
            among = seen.facts["among"]
            # Who has just come may take any.
            count += seen.waits and (among is None or bool(ours & set(among)))
        return count

    def _lock(self) -> List[Gpu]:
        """Lock as many GPUs as are wanted, those first that nobody uses; none if there are less."""
        held: Dict[str, int] = {}
        for each in self._gpus or []:
            fd = self._folder.lock(each["uuid"])
            if fd is not None:
                held[each["uuid"]] = fd
        chosen: List[Gpu] = []
        try:
            if len(held) >= self._wants:
                now = self._now()
                free = [each for each in now if each["uuid"] in held]
                free.sort(key=lambda each: (len(each["processes"]), each["index"]))
                chosen = free[: self._wants] if len(free) >= self._wants else []
        finally:
            mine = {each["uuid"] for each in chosen}
            for uuid, fd in held.items():
                if uuid in mine:
                    self._locks.append(fd)
                else:
                    os.close(fd)
        return sorted(chosen, key=lambda each: int(each["index"]))

    def _now(self) -> List[Gpu]:
        """Return the GPUs that will do as the driver sees them now."""
        if time.monotonic() - self._asked > _FRESH:
            known = set(self._facts["among"])
            found, self._asked = gpu.ask() or [], time.monotonic()
            self._gpus = [each for each in found if each["uuid"] in known]
            if len(self._gpus) < self._wants:
                raise TooFew(self._too_few(found, found, self._gpus))
        return self._gpus or []

    # -- having them ------------------------------------------------------------------

    def _begin(self, chosen: List[Gpu], events: EventWriter) -> None:
        names = [each["uuid"] for each in chosen]
        self.environment[VISIBLE] = ",".join(names)
        if self._ticket is not None:
            self._ticket.tell(dict(self._facts, among=[], has=names))
            self._ticket.rename("has")
        self._changes.close()
        if self._told is not None:
            events.write("state", state="starting")
        numbers = ", ".join(str(each["index"]) for each in chosen)
        plural = "s" if len(chosen) > 1 else ""
        text = "GPU%s %s (%s)" % (plural, numbers, cards.names(chosen))
        events.write("gpus", message=text, gpus=names)
        for each in chosen:
            if each["processes"]:
                events.write("notice", message=_used(each))

    @property
    def fds(self) -> Tuple[int, ...]:
        """What whoever keeps the job must keep open: the GPUs are taken as long as one has it."""
        if self._ticket is None or not self._locks:
            return ()
        return (self._ticket.fd, *self._locks)

    def hand_over(self, sock: socket.socket) -> None:
        """Send what must be kept open to the warden, and close the socket."""
        with sock:
            if self.fds:
                fds = array.array("i", self.fds)
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
                with contextlib.suppress(BrokenPipeError):  # the warden was killed
                    sock.sendmsg([b"!"], ancillary)

    def release(self, left: int) -> None:
        """Give the GPUs back, or leave the line.

        Parameters
        ----------
        left : int
            How many processes of the job could not be killed: while they have the locks, these
            stay.
        """
        for fd in self._locks:
            if not left:
                fcntl.flock(fd, fcntl.LOCK_UN)  # for all who have it open
            os.close(fd)
        self._locks = []
        self._leave_line()

    def _leave_line(self) -> None:
        if self._ticket is not None:
            self._ticket.remove()
            os.close(self._ticket.fd)
            self._ticket = None
            self._changes.close()
            self._folder.close()


def receive(sock: socket.socket) -> List[int]:
    """Return what `Turn.hand_over` sends: descriptors to keep open; none if it ends without."""
    fds = array.array("i")
    with sock:
        _, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(256 * fds.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return list(fds)


def visible_of(found: List[Gpu], text: Optional[str], whole: bool = True) -> List[Gpu]:
    """Return the GPUs that an environment lets its processes see.

    Parameters
    ----------
    text : str, optional
        Its ``CUDA_VISIBLE_DEVICES``.
    whole : bool
        Only those that can be shared out.
    """
    known = [each for each in found if not whole or (each["uuid"] and not each["mig"])]
    if text is None:
        return known
    seen: List[Gpu] = []
    for name in map(str.strip, text.split(",")):
        named = [
            each
            for each in known
            if name == str(each["index"])
            or (name[:4] == "GPU-" and str(each["uuid"]).startswith(name))
        ]
        if len(named) != 1:
            break  # CUDA stops reading there, too
        seen += [each for each in named if each not in seen]
    return seen


def _unshared(found: Optional[List[Gpu]], visible: List[Gpu]) -> Optional[str]:
    """Return why no GPU can be shared out here, or None."""
    if found is None:
        return "the worker has no GPU tools (NVML)"
    if not found:
        return "the worker has no GPU"
    if not any(each["uuid"] and not each["mig"] for each in found):
        return "the worker's GPUs are split into instances (MIG), which are not shared out"
    if not visible:
        return "%s of the worker leaves its jobs no whole GPU" % VISIBLE
    return None


def _used(each: Gpu) -> str:
    names = [processes.describe(process["pid"]) for process in each["processes"]]
    more = len(names) - _NAMED
    text = ", ".join(names[:_NAMED]) + (" and %d more" % more if more > 0 else "")
    return "GPU %d is also used by %s" % (each["index"], text)


# -- the whole worker -----------------------------------------------------------------


def survey(root: str, environment: Mapping[str, str]) -> Dict[str, Any]:
    """Return the worker's GPUs with who has them, and who waits.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    environment : mapping
        Of the worker's jobs.

    Returns
    -------
    dict
        ``gpus``: None without NVML, else each with ``index``, ``name``, ``memory_mib``,
        ``free_mib``, ``mig``, ``holder`` (``label`` and ``user``, or None) and ``others`` (the
        processes that are not its holder's, in words). ``waiting``: each with ``label``,
        ``user`` and ``wants``, in their order.
    """
    found = gpu.ask(_GLANCE)
    if not found:
        return {"gpus": found, "waiting": []}
    folder = Folder.of(root, environment)
    try:
        line = folder.tickets()
    finally:
        folder.close()
    holders = {uuid: seen for seen in line if not seen.waits for uuid in seen.facts["has"]}
    waiting = [dict(_who(seen), wants=seen.facts["wants"]) for seen in line if seen.waits]
    gpus = [_told(each, holders.get(each["uuid"])) for each in found]
    return {"gpus": gpus, "waiting": waiting}


def _told(each: Gpu, holder: Optional[Seen]) -> Dict[str, Any]:
    told = {key: each[key] for key in ("index", "uuid", "name", "memory_mib", "free_mib", "mig")}
    others = [
        processes.describe(process["pid"])
        for process in each["processes"]
        if holder is None or _is_foreign(process["pid"], holder)
    ]
    return dict(told, holder=None if holder is None else _who(holder), others=others)


def _is_foreign(pid: int, holder: Seen) -> bool:
    """Whether a process is not of the job that has the GPU; only said where it can be known."""
    warden = holder.facts["pid"]
    known = all(os.path.exists("/proc/%d" % each) for each in (pid, warden))
    return known and not processes.is_below(pid, warden)


def _who(seen: Seen) -> Dict[str, Any]:
    return {"label": seen.facts["label"], "user": processes.user_name(seen.owner)}
