"""Following one job: from its submit to its end, through any number of losses."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chutes_jupyter.client.deliver import (
    Delivery,
    Submission,
    Undeliverable,
    Withdrawn,
    withdraw,
)
from chutes_jupyter.client.doors import Door, Doors
from chutes_jupyter.client.logs import keep_tail
from chutes_jupyter.client.outputs import JobOutputs
from chutes_jupyter.client.readings import Reader
from chutes_jupyter.client.results import Result, bring
from chutes_jupyter.errors import RequestRefused
from chutes_jupyter.mirror import Mirror, MirrorFolder
from chutes_jupyter.models import TERMINAL
from chutes_jupyter.replies import EventPage, JobPage, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.records import Records
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.client.tunnels import Tunnels
    from chutes_jupyter.mirror.status import MirrorState

_WAIT = 25.0
#: A job that its worker does not know may still be on its way from another process.
ON_ITS_WAY = 120.0
_ON_ITS_WAY_PAUSE = 1.0
NEVER_REACHED = "never reached the worker"
_WITHDRAWN = {"cancelled": "cancelled before the worker had it", "lost": NEVER_REACHED}
NOT_THERE = "the worker has no record of it any more"
_MAX_REFUSED = 20
#: The pause after an answer that came at once and brought nothing, in seconds: no sound agent
#: gives one.
_NOTHING = 0.5

_log = logging.getLogger(__name__)


class Follower:
    """Everything that this process does for one job.

    Parameters
    ----------
    live : Live
        What is known of it; kept up to date here.
    control, bulk : Session
        The ways to its worker.
    tunnels : Tunnels
        The ways to its ports.
    records : Records
        The store.
    folder : callable
        Returns the folder of its outputs, made its own (in a thread).
    executor : Executor
        Threads for disks and hashes.
    limit : int, optional
        The most bytes of outputs.
    """

    def __init__(
        self,
        live: Live,
        control: Session,
        bulk: Session,
        tunnels: Tunnels,
        records: Records,
        *,
        folder: Callable[[], MirrorFolder],
        executor: Executor,
        limit: int | None,
    ) -> None:
        self.live, self.control, self.bulk = live, control, bulk
        self.doors = Doors(live, tunnels)
        self._records, self._folder = records, folder
        self._executor, self._limit = executor, limit
        self._delivery: Delivery | None = None
        self._delivering: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reader = Reader(control, live, records.tell)

    # -- starting and stopping --------------------------------------------------------

    def start(self, submission: Submission | None = None, *, mirror: bool = True) -> None:
        """Follow the job from now on; with a submission, hand it to its worker first."""
        if submission is not None:
            self.live.notices, self.live.sent = submission.notices, submission.sent
            self._delivery = Delivery(self.control, self.live, submission)
        self._spawn("follow", self._run)
        self._spawn("doors", self.doors.run)
        if mirror:
            self.start_mirror()
        if self.live.watched:
            self.start_tail()

    def start_once(self, *, mirror: bool) -> None:
        """Follow the job, if that is not so already."""
        if not self.started:
            self.start(mirror=mirror)
        elif mirror and "mirror" not in self._tasks:
            self.start_mirror()

    @property
    def started(self) -> bool:
        """Whether the job is or was followed here."""
        return "follow" in self._tasks

    @property
    def delivering(self) -> bool:
        """Whether the job is on its way to its worker."""
        live = self.live
        over = live.acknowledged or live.over
        return self._delivery is not None and not over

    def start_tail(self) -> None:
        """Keep the end of the log and the readings, for whoever shows them."""
        self._spawn("tail", lambda: keep_tail(self.control, self.live))
        self.start_readings()

    def start_readings(self) -> None:
        """Keep the readings up to date, as long as somebody looks."""
        self._reader.look()
        if not self._reader.over:
            self._spawn("readings", self._reader.run)

    async def show_port(self, number: int) -> Door:
        """Open a port that the job did not declare; see `Doors.show`."""
        door = await self.doors.show(number)
        if door.port in self.live.shown:
            self._spawn(f"port {number}", lambda: self.doors.keep(door))
        return door

    def start_mirror(self, *, again: bool = False, limit: int | None = None) -> None:
        """Bring the outputs.

        Parameters
        ----------
        again : bool
            Also after it has stopped, or was complete once: then without a limit, or the given.
        """
        if again:
            self._limit = limit
            self.live.set(mirror_over=False)
            task = self._tasks.get("mirror")
            if task is not None:
                task.cancel()
                del self._tasks["mirror"]
        self._spawn("mirror", lambda: self._run_mirror(again))

    def _spawn(self, name: str, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._tasks.get(name)
        if task is None or task.done():
            self._tasks[name] = asyncio.create_task(self._guard(name, function))

    async def _guard(self, name: str, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep why a task ended before its time: for those who wait, or as a notice."""
        live = self.live
        try:
            await function()
        except Exception as error:  # noqa: BLE001 - shown, or raised where somebody waits
            _log.warning("%s: %s ended: %s", live.label, name, error, exc_info=True)
            if name == "follow":
                live.set(broken=error)
            elif name == "mirror":
                self._end_mirror("stopped", str(error))
            else:
                live.notice(f"{name}: {error}")

    async def aclose(self) -> None:
        """Stop following; the job goes on."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # -- the way of the job -----------------------------------------------------------

    async def _run(self) -> None:
        live = self.live
        if self._delivery is not None and not await self._deliver(self._delivery):
            return
        while not live.terminal or live.seen < live.event:
            try:
                terminal = await self._next_events()
            except RequestRefused as error:
                if error.code == "removed":
                    await self._removed()
                elif error.code != "unknown_job" or not await self._unknown():
                    raise
                continue
            if terminal:
                break

    async def _deliver(self, delivery: Delivery) -> bool:
        """Hand the job over; return whether the worker has it."""
        live = self.live
        self._delivering = asyncio.create_task(self._acknowledge(delivery))
        try:
            await self._delivering
        except Undeliverable as error:
            await self._end_here("failed", str(error))
        except Withdrawn as end:
            await self._end_here(end.state, _WITHDRAWN[end.state])
        except asyncio.CancelledError:
            if not live.cancel_asked or delivery.sent:
                self._delivering.cancel()
                raise
            await self._end_here("cancelled", "cancelled before it was sent to the worker")
        return live.acknowledged

    async def _acknowledge(self, delivery: Delivery) -> None:
        live = self.live
        await delivery.run()
        # What it became since then comes as events.
        if not live.acknowledged:
            root = self.control.hello.root if self.control.hello else None
            live.confirmed = time.time()
            live.set(state="starting", event=1, root=root, trouble=None)
            await self._records.save(live)
        if live.cancel_asked:
            await self._send_cancel()

    async def _next_events(self) -> bool:
        """Read the next events, waiting for them; return whether the job has ended."""
        live = self.live
        asked = time.monotonic()
        reply = await self.control.persist(
            "events", trouble=self._trouble, job=live.id, after=live.seen, wait=_WAIT
        )
        page = parse(EventPage, reply.header)
        before = live.event, live.seen
        live.confirm()
        live.apply(page.events)
        if (live.event, live.seen) != before:
            await self._records.save(live)
        else:
            await self._records.confirm(live)
        if not page.events and not page.terminal and time.monotonic() - asked < _NOTHING:
            await asyncio.sleep(_NOTHING)
        last = page.events[-1].state if page.events else None
        return page.terminal and (not page.events or last in TERMINAL)

    def _trouble(self, reason: str | None) -> None:
        self.live.set(trouble=reason)

    async def _unknown(self) -> bool:
        """Decide what a job is that its worker does not know; return whether to ask again."""
        live = self.live
        root = self.control.hello.root if self.control.hello else None
        if live.root is not None and root is not None and live.root != root:
            self._trouble(
                f"worker {live.worker!r} keeps its jobs in {root} now; this one is in {live.root}"
            )
            await asyncio.sleep(_WAIT)
            return True
        if live.acknowledged:
            if not live.terminal:
                await self._end_here("lost", NOT_THERE)
            live.set(seen=live.event, has_value=False, removed=True)
            return True
        live.set(checked=True)
        if time.time() - live.created > ON_ITS_WAY and await self._withdraw("lost"):
            return True
        await asyncio.sleep(_ON_ITS_WAY_PAUSE)
        return True

    async def _withdraw(self, state: str) -> bool:
        """End a job that its worker does not have; return whether it will never start there."""
        ended = await withdraw(self.control, self.live, state)
        if ended and not self.live.terminal:
            await self._end_here(ended, _WITHDRAWN[ended])
        return ended is not None

    async def _removed(self) -> None:
        """Take over how a job ended that somebody has removed since."""
        live = self.live
        reply = await self.control.persist("jobs", trouble=self._trouble, ids=[live.id])
        found = [job for job in parse(JobPage, reply.header).jobs if job.id == live.id]
        live.notice("removed on the worker: its log and result are gone; what came here stays")
        # At once: who waits for the end must see why there is nothing more.
        gone = {"has_value": False, "removed": True, "trouble": None, "checked": True}
        if found and found[0].terminal and not live.terminal:
            job = found[0]
            live.confirmed = time.time()
            live.set(
                **gone,
                state=job.state,
                event=job.event,
                started=job.started,
                ended=job.ended,
                reason=job.reason or None,
                seen=job.event,
            )
            await self._records.save(live)
            return
        live.set(**gone, seen=live.event)
        if not live.terminal:
            await self._end_here("lost", NOT_THERE)

    async def _end_here(self, state: str, reason: str) -> None:
        self.live.end_here(state, reason)
        await self._records.settle(self.live)

    # -- what it returned -------------------------------------------------------------

    async def bring_result(self, form: str, limit: int | None) -> Result | None:
        """Return what the job returned; see `bring`."""
        return await bring(
            self.live,
            self.control,
            self.bulk,
            form,
            folder=self.place,
            executor=self._executor,
            limit=limit,
        )

    # -- cancelling -------------------------------------------------------------------

    async def cancel(self) -> None:
        """Cancel the job; return when the worker knows of it, or the job has ended."""
        live = self.live
        if live.terminal:
            return
        live.set(cancel_asked=True)
        if self._delivering is not None and not self._delivering.done():
            if self._delivery is not None and not self._delivery.sent:
                self._delivering.cancel()
            await live.until(lambda: live.terminal or live.acknowledged)
            if not live.acknowledged:
                return  # it has ended here; the worker never had it
        await self._send_cancel()

    async def _send_cancel(self) -> None:
        live = self.live
        if not live.acknowledged:
            # Another process submits it, or died while it did: it must not start any more.
            await self._withdraw("cancelled")
        else:
            try:
                await self.control.persist("cancel", trouble=self._trouble, job=live.id)
            except RequestRefused as error:
                if error.code != "unknown_job":
                    raise
                # Following it finds out what that means.
        live.set(cancel_sent=True)

    # -- its outputs ------------------------------------------------------------------

    async def _run_mirror(self, again: bool) -> None:
        live = self.live
        await live.until(lambda: live.outputs_version > 0 or live.outputs_final or live.terminal)
        if live.terminal and not live.outputs_final and live.seen < live.event:
            await live.until(lambda: live.outputs_final or live.seen >= live.event)
        if not live.acknowledged or not live.upload:
            reason = None if live.upload else "upload=False: files stay on the worker"
            self._end_mirror("complete", reason)
        elif live.removed:
            self._end_mirror("stopped", "removed on the worker")
        else:
            await self._mirror(again)
            live.set(mirror_over=True)

    async def _mirror(self, again: bool) -> None:
        live = self.live
        mirror = Mirror(
            JobOutputs(live, self.control, self.bulk),
            self.place,
            self._executor,
            limit=self._limit,
            label=live.label,
            changed=lambda: self._mirror_changed(mirror),
            known=lambda: live.output_dir is not None and MirrorFolder.known(live.output_dir),
        )
        live.list_files = mirror.list_files
        await mirror.run(again=again)

    def place(self) -> MirrorFolder:
        """Return the folder, and note where it is (in a thread)."""
        folder = self._folder()
        self._records.place(self.live, folder.path)
        return folder

    def _mirror_changed(self, mirror: Mirror) -> None:
        live = self.live
        live.listed = live.listed or mirror.looked
        if mirror.folder is not None:
            live.output_dir = mirror.folder.path
        for number, (path, reason) in enumerate(mirror.refused.items()):
            if number == _MAX_REFUSED:
                live.notice(f"and {len(mirror.refused) - number} more outputs were not brought")
                break
            live.notice(f"output {path!r} was not brought: {reason}")
        # Who waits for outputs does not wait for a disk: a mirror that stopped may go on later.
        live.set(mirror=mirror.status, mirror_over=mirror.status.state == "stopped")

    def _end_mirror(self, state: MirrorState, reason: str | None) -> None:
        self.live.set(
            mirror=replace(self.live.mirror, state=state, reason=reason),
            mirror_over=True,
            listed=True,
        )
