"""What this process knows of one job, and who is told when that changes.

It is changed in the background loop alone and read from any thread: every field holds a
value that is replaced, never one that is changed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.mirror import FileView, MirrorStatus
from chutes_jupyter.models import TERMINAL, Port
from chutes_jupyter.preflight import amount
from chutes_jupyter.readings import Readings
from chutes_jupyter.store import JobRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chutes_jupyter.preflight import Item
    from chutes_jupyter.replies import Event, RemoteError
    from chutes_jupyter.undeclared import Listener

_log = logging.getLogger(__name__)
_MAX_NOTICES = 50
#: How often it is told how much of something has come, in seconds.
_CARRIED_EVERY = 0.25
#: What a job waits for is shown in a line with others, in characters.
_WAITS_FOR = 200
#: A job of a year that changes its outputs all the time has not so many.
_MAX_EVENTS = 2_000_000


class Live:
    """The present state of one job in this process.

    Parameters
    ----------
    record : JobRecord
        What the store knows of it.
    """

    def __init__(self, record: JobRecord) -> None:
        self.id, self.name, self.worker = record.id, record.name, record.worker
        self.label = record.label
        self.timeout, self.upload = record.timeout, record.upload
        self.ports = tuple(Port(p["name"], p["port"], p["proto"]) for p in record.ports)
        self.created = record.created
        self.notebook, self.cell = record.notebook, record.cell
        self.state: str = record.state
        self.event = record.event
        self.started, self.ended = record.started, record.ended
        self.reason = record.reason
        self.confirmed = record.confirmed
        self.output_dir = Path(record.output_dir) if record.output_dir else None
        self.root = record.root
        #: How many events were read here, from the first on.
        self.seen = 0
        #: The number of the event that ended the job, as far as events were read here.
        self._end = 0
        self.error: RemoteError | None = None
        self.has_value: bool | None = None
        #: How many bytes what it returned has, where the worker said so.
        self.value_size: int | None = None
        #: Why the result is a pickle, which is read only from a trusted worker; None if it is not.
        self.untrusted: str | None = None
        self.python: str | None = None
        #: The GPUs that the worker gave it, in words.
        self.gpus: str | None = None
        self.cancel_by: str | None = None
        self.cancel_asked = False
        self.cancel_sent = False
        self.notices: tuple[str, ...] = ()
        #: What went along, where this process has submitted it.
        self.sent: tuple[Item, ...] = ()
        #: What is on its way between here and the worker, and how much of it has come.
        self.carried = ""
        self._carried_at = 0.0
        #: Whether the worker answered, since we follow the job.
        self.checked = False
        #: Whether the worker has it no more, once it had ended.
        self.removed = False
        #: Whether the mirror has seen a listing.
        self.listed = False
        #: Why the worker can't be reached at present.
        self.trouble: str | None = None
        #: Since when that is so, by this machine's clock.
        self.trouble_since: float | None = None
        #: What ended our following of the job, if something did.
        self.broken: Exception | None = None
        self.outputs_version = 0
        self.outputs_final = False
        self.mirror = MirrorStatus()
        self.mirror_over = False
        #: The files as the mirror sees them; made when asked for, since there may be many.
        self.list_files: Callable[[], list[FileView]] = list
        self.ready_ports: frozenset[str] = frozenset()
        #: What it listens on without having declared it, and what of that somebody asked for here.
        self.undeclared: tuple[Listener, ...] = ()
        self.shown: tuple[Port, ...] = ()
        self.tail = b""
        self.readings = Readings(progress=record.progress)
        #: Whether its worker has told the readings, since we look.
        self.looked = False
        self._subscribers: tuple[Callable[[], object], ...] = ()
        self._subscribing = threading.Lock()
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL

    @property
    def over(self) -> bool:
        """Whether nothing more will be learned of it here."""
        return self.terminal or self.broken is not None

    @property
    def reachable(self) -> tuple[Port, ...]:
        """The ports that have a door here: those that it declared, and those that were shown."""
        return (*self.ports, *self.shown)

    @property
    def offered(self) -> tuple[Listener, ...]:
        """What it listens on and could be shown."""
        known = {port.port for port in self.reachable if port.proto != "udp"}
        return () if self.over else tuple(x for x in self.undeclared if x.port not in known)

    @property
    def acknowledged(self) -> bool:
        """Whether the worker has the job."""
        return self.event > 0

    @property
    def elapsed(self) -> float | None:
        """For how many seconds the function has run; None before it began."""
        if self.started is None:
            return None
        end = self.ended if self.terminal and self.ended is not None else time.time()
        return max(0.0, end - self.started)

    def record(self) -> JobRecord:
        """Return what a list of jobs shows of it."""
        return JobRecord(
            id=self.id,
            name=self.name,
            worker=self.worker,
            state=self.state,
            event=self.event,
            created=self.created,
            started=self.started,
            ended=self.ended,
            reason=self.reason,
            notebook=self.notebook,
            cell=self.cell,
            output_dir=str(self.output_dir) if self.output_dir else None,
            ports=[{"name": p.name, "port": p.port, "proto": p.proto} for p in self.ports],
            timeout=self.timeout,
            upload=self.upload,
            confirmed=self.confirmed,
            root=self.root,
            progress=self.readings.progress,
        )

    def carry(self, what: str, done: int, total: int) -> None:
        """Tell how far something large is on its way; "" when it is there."""
        now = time.monotonic()
        if done < total and now - self._carried_at >= _CARRIED_EVERY:
            self._carried_at = now
            self.set(carried=f"{what}: {amount(done)} of {amount(total)}")
        elif done >= total:
            self.set(carried="")

    # -- changes, in the background loop ----------------------------------------------

    def set(self, **changes: object) -> None:
        """Change fields, and tell everybody if that changed anything."""
        changed = False
        if "trouble" in changes and (changes["trouble"] is None) != (self.trouble is None):
            self.trouble_since = None if changes["trouble"] is None else time.time()
        for name, value in changes.items():
            changed = changed or getattr(self, name) != value
            setattr(self, name, value)
        if changed:
            self.tell()

    def notice(self, message: str) -> None:
        """Add something that the person should read, once."""
        if message in self.notices or len(self.notices) >= _MAX_NOTICES:
            return
        self.set(notices=(*self.notices, message))

    def apply(self, events: Sequence[Event]) -> None:
        """Take numbered events, each once and in order, and tell of what they change.

        Raises
        ------
        AgentFailed
            If a number is missing or comes twice, the job goes on after its end, or there
            are more events than any job has.
        """
        for event in events:
            if event.n != self.seen + 1:
                raise AgentFailed(
                    f"The agent on {self.worker} sent event {event.n} of {self.label} "
                    f"after event {self.seen}."
                )
            if event.n > _MAX_EVENTS:
                raise AgentFailed(f"The agent on {self.worker} sends events without end.")
            if self._end and event.type in ("state", "waiting"):
                raise AgentFailed(f"The agent on {self.worker} ended {self.label} twice.")
            self.seen = event.n
            self._apply_one(event)
        if events:
            self.tell()

    def _apply_one(self, event: Event) -> None:
        if event.type == "state":
            self._apply_state(event)
        elif event.type == "notice":
            self.notice(event.message or "")
        elif event.type == "waiting":
            self._apply_waiting(event)
        elif event.type == "gpus":
            self.gpus = event.message
        elif event.type == "outputs":
            self.outputs_version, self.outputs_final = event.version, event.final
        elif event.type == "port" and event.ready:
            # Only those that were declared: a worker could name others without end.
            named = {port.name for port in self.ports if port.name == event.name}
            self.ready_ports |= named
        elif event.type == "listening":
            self.undeclared = tuple(event.ports)

    def _apply_state(self, event: Event) -> None:
        if event.state == "running":
            self.started, self.python = event.t, event.python
        elif event.state == "cancelling":
            self.cancel_by = event.by
        elif event.state in TERMINAL:
            self._end = event.n
            self.ended, self.reason = event.t, event.reason or None
            self.error, self.has_value = event.error, event.has_value
            self.value_size = event.value_size
            self.untrusted = None if event.has_value else event.untrusted
        # What the store knew may be newer than this, when the events are read again.
        if event.n > self.event and event.state is not None:
            self.state, self.event = event.state, event.n
            if event.state not in TERMINAL:
                self.reason = None  # what it waited for

    def _apply_waiting(self, event: Event) -> None:
        # On the worker's disk, but not started: `pending` with a reason, as its number tells.
        if event.n > self.event and self.state in ("pending", "starting"):
            self.state, self.event = "pending", event.n
            self.reason = (event.message or "")[:_WAITS_FOR]

    def confirm(self) -> None:
        """Note that the worker has just confirmed what is known."""
        self.confirmed = time.time()
        self.set(trouble=None, checked=True)

    def end_here(self, state: str, reason: str) -> None:
        """End the job by this machine's knowledge: the worker never had it, or has it no more."""
        self.set(state=state, reason=reason, ended=time.time(), has_value=False)

    # -- who is told ------------------------------------------------------------------

    def tell(self) -> None:
        """Wake whoever waits, and call the subscribers."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        for callback in self._subscribers:
            try:
                callback()
            except Exception:  # noqa: BLE001 - logged, and the rest goes on
                # A panel's fault must not end the following of its job.
                _log.exception("a subscriber of %s failed", self.label)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on these fields holds."""
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back after every change, in the background thread; return how to end that."""
        with self._subscribing:
            self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            with self._subscribing:
                self._subscribers = tuple(c for c in self._subscribers if c is not callback)

        return unsubscribe

    @property
    def watched(self) -> bool:
        """Whether anybody subscribed."""
        return bool(self._subscribers)
