"""The client of this process: its workers, its jobs, and what it does for them."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter import doorway
from chutes_jupyter.client import kept
from chutes_jupyter.client.census import PATIENCE, Census
from chutes_jupyter.client.entrance import open_door
from chutes_jupyter.client.farewell import wait_for_words
from chutes_jupyter.client.folders import output_folder
from chutes_jupyter.client.follow import Follower
from chutes_jupyter.client.interpreter import Lack, lacks
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.logs import LogStream, last_lines
from chutes_jupyter.client.records import Records
from chutes_jupyter.client.results import Result
from chutes_jupyter.client.session import AbsentSession, Session
from chutes_jupyter.client.tunnels import Tunnels
from chutes_jupyter.config import Settings, Worker, Workers
from chutes_jupyter.errors import (
    ChuteError,
    ConnectionLost,
    JobNotFound,
    RequestRefused,
    UnknownWorker,
)
from chutes_jupyter.mirror import MirrorFolder
from chutes_jupyter.replies import OTHER_FORMAT, Hello, Info, parse
from chutes_jupyter.store import JobRecord, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client.deliver import Submission
    from chutes_jupyter.client.doors import AnyForward, Door
    from chutes_jupyter.doorway import DoorFolder
    from chutes_jupyter.needs import Needs
    from chutes_jupyter.places import Place

#: What a way to a worker is known by: its kind, and the worker's name, host and folder.
_WayKey = tuple[type[Session], str, str | None, str | None]
#: A connection for files is closed after so many seconds without use.
_BULK_IDLE = 30.0


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself."""

    worker: Worker
    hello: Hello
    info: Info


class JobClient:
    """Everything that this process does with workers; its methods run in the background loop.

    Parameters
    ----------
    store : Store
        This person's store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        #: The workers that did not answer when they were last asked for their jobs, and why.
        self.silent: dict[str, str] = {}
        self._records = Records(store)
        self._sessions: dict[_WayKey, tuple[Session, Session]] = {}
        self._tunnels: dict[Session, Tunnels] = {}
        self._followers: dict[str, Follower] = {}
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="chutes mirror")
        #: The jobs that workers have and this version can't read, with the reason.
        self._unreadable: dict[str, str] = {}
        #: What writes down what jobs were given.
        self._keeping: set[asyncio.Task[None]] = set()

    # -- jobs -------------------------------------------------------------------------

    async def submit(
        self, record: JobRecord, submission: Submission, worker: Worker, settings: Settings
    ) -> Live:
        """Take over a job that the store has just recorded; return at once."""
        follower = self._follower(record, self._session(worker), settings)
        follower.start(submission)
        if settings.again_limit:
            self._keep(follower.live, submission, settings.again_limit)
        return follower.live

    def _keep(self, live: Live, submission: Submission, room: int) -> None:
        """Keep what a job was given, while it goes to its worker."""

        async def keep() -> None:
            try:
                await asyncio.to_thread(kept.keep, submission, room)
            except OSError as error:
                live.notice(f"it can't be run again from here: nothing was kept of it: {error}")

        task = asyncio.ensure_future(keep())
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def attach(self, text: str, *, mirror: bool = True) -> Live:
        """Return the job whose id or label begins with `text`, and follow it.

        Raises
        ------
        JobNotFound
            If neither this machine nor a worker that can be reached knows it, or more than
            one begins so.
        RequestRefused
            If another version has started it, and this one can't read it.
        """
        record = await self.find(text)
        live = self._known(record)
        self.follow(live, mirror=mirror)
        with contextlib.suppress(TimeoutError):
            # What the store knew may be old; an unreachable worker is shown as such.
            async with asyncio.timeout(PATIENCE):
                await live.until(lambda: live.checked or live.trouble is not None or live.over)
        if isinstance(live.broken, RequestRefused) and live.broken.code == OTHER_FORMAT:
            raise live.broken
        return live

    async def find(self, text: str) -> JobRecord:
        """Return the record of the job whose id or label begins with `text`; see `attach`."""
        try:
            return await asyncio.to_thread(self.store.find, text)
        except JobNotFound as error:
            if self._begins(text):
                raise  # more than one: asking the workers would not make it fewer
            silent = await self.discover(whole=True)
            try:
                return await asyncio.to_thread(self.store.find, text)
            except JobNotFound:
                self._check_readable(text)
                if not silent:
                    raise
                raise JobNotFound(f"{error} Not asked: {'; '.join(silent)}") from None

    def _check_readable(self, text: str) -> None:
        """Raise if `text` means a job that a worker has and this version can't read."""
        begin = text.strip().rpartition("-")[2].lower()
        for job, reason in self._unreadable.items():
            if begin and job.startswith(begin):
                raise RequestRefused(OTHER_FORMAT, reason)

    def _begins(self, text: str) -> bool:
        wanted = text.strip()
        return any(
            each.id.startswith(wanted.lower()) or f"{each.name}-{each.id}".startswith(wanted)
            for each in self.store.list()
        )

    async def list_jobs(self, *, refresh: bool = True, limit: int | None = None) -> list[Live]:
        """Return the jobs that are known, the newest first.

        Parameters
        ----------
        refresh : bool
            Ask the workers first; those that do not answer in time keep what was known.
        limit : int, optional
            Not more than so many.
        """
        if refresh:
            await self.discover()
        records = await asyncio.to_thread(self.store.list, limit)
        settings = Settings.load()
        ways = {name: self.way_to(name) for name in {record.worker for record in records}}
        return [self._known(each, settings, ways[each.worker]) for each in records]

    async def list_records(
        self,
        *,
        refresh: bool = True,
        limit: int | None = None,
        worker: str | None = None,
        live: bool | None = None,
    ) -> tuple[list[JobRecord], int]:
        """Return what lists show of the newest jobs, and how many there are in all.

        Parameters
        ----------
        refresh, limit
            As for `list_jobs`.
        worker, live
            As for `Store.list`.
        """
        if refresh:
            await self.discover()
        found = await asyncio.to_thread(self.store.list, limit, worker=worker, live=live)
        count = await asyncio.to_thread(self.store.count, worker=worker, live=live)
        return [self.newest(record) for record in found], count

    def newest(self, record: JobRecord) -> JobRecord:
        """Return what this process knows of a job, if that is more than what is recorded."""
        follower = self._followers.get(record.id)
        known = follower is not None and follower.live.event > record.event
        return follower.live.record() if follower is not None and known else record

    def follower(self, live: Live) -> Follower:
        """Return who follows a job of this client."""
        return self._followers[live.id]

    def followed(self, job: str) -> Live | None:
        """Return a job that is or was followed here, by its whole id."""
        found = self._followers.get(job)
        return found.live if found is not None and found.started else None

    async def discover(
        self, *, whole: bool = False, workers: Sequence[Worker] | None = None
    ) -> list[str]:
        """Record the jobs of some workers, or of all; return who did not answer, and why.

        With `whole` every job, also those that the store should have by now.
        """
        asked = list(Workers.load()) if workers is None else workers
        answers = await asyncio.gather(*(self._ask_for_jobs(each, whole) for each in asked))
        silent = {} if workers is None else dict(self.silent)
        for worker, why in zip(asked, answers, strict=True):
            silent.pop(worker.name, None)
            silent |= {worker.name: why} if why else {}
        self.silent = silent
        return [f"{each.name} ({silent[each.name]})" for each in asked if each.name in silent]

    async def _ask_for_jobs(self, worker: Worker, whole: bool) -> str | None:
        control, _ = self._session(worker)
        try:
            census = Census(self.store, worker, control, self._is_delivering)
            await census.take(whole=whole)
            self._unreadable.update(census.unreadable)
        except TimeoutError:
            return "no answer"
        except ChuteError as error:
            return str(error).splitlines()[0]
        return None

    def _is_delivering(self, job: str) -> bool:
        follower = self._followers.get(job)
        return follower is not None and follower.delivering

    def follow(self, live: Live, *, mirror: bool = True) -> None:
        """Follow a job from now on, if it is not followed already."""
        self._followers[live.id].start_once(mirror=mirror)

    def has(self, live: Live) -> bool:
        """Whether this is this client's own knowledge of the job."""
        follower = self._followers.get(live.id)
        return follower is not None and follower.live is live

    async def adopt(self, record: JobRecord) -> Live:
        """Return the job as this client knows it."""
        return self._known(record)

    async def wait(self, live: Live, *, outputs: bool) -> None:
        """Wait until the job has ended, and with `outputs` until these are here."""
        await live.until(lambda: live.over)
        if live.broken is not None:
            raise live.broken
        if outputs:
            await live.until(lambda: live.mirror_over)

    async def acknowledged(self, live: Live) -> None:
        """Wait until the worker has the job, or it can't start."""
        await live.until(lambda: live.acknowledged or live.over)

    async def listed(self, live: Live) -> None:
        """Wait until the files of the job are known, if the worker has it."""
        if live.acknowledged:
            await live.until(lambda: live.checked or live.over)
            if live.outputs_version or live.terminal:
                await live.until(lambda: live.listed)

    async def cancel_known(self, live: Live) -> None:
        """Wait until the worker said that it ends the job, or has ended it."""
        ending = ("cancelling", "collecting")
        await live.until(
            lambda: (
                live.state in ending or live.over or (live.cancel_sent and not live.acknowledged)
            )
        )

    async def value(self, live: Live) -> Result | None:
        """Return the result's bytes once the job has ended; None if there are none."""
        await live.until(lambda: live.has_value is not None or live.broken is not None)
        return await self.result(live) if live.has_value else None

    async def log_offset(self, live: Live, lines: int) -> int:
        """Return where the last so many lines of the log begin."""
        return await last_lines(self._followers[live.id].control, live, lines)

    async def cancel(self, live: Live) -> None:
        """Cancel a job; return when its worker knows of it, or the job has ended."""
        self.follow(live, mirror=False)
        try:
            await self._followers[live.id].cancel()
        except ChuteError as error:
            # Whoever asked may have stopped waiting for the answer.
            live.notice(f"the cancel failed: {error}")
            raise

    async def mirror_again(self, live: Live, limit: int | None) -> None:
        """Bring outputs that were left on the worker."""
        follower = self._followers[live.id]
        follower.start_once(mirror=False)
        follower.start_mirror(again=True, limit=limit)

    async def keep_tail(self, live: Live) -> None:
        """Keep the end of a job's log from now on."""
        self.follow(live, mirror=False)
        self._followers[live.id].start_tail()

    async def readings(self, live: Live) -> None:
        """Keep a job's readings from now on; return when they are known."""
        self.follow(live, mirror=False)
        self._followers[live.id].start_readings()
        await live.until(lambda: live.looked or bool(live.broken or live.trouble))

    async def forward(self, live: Live, name: str, patience: float) -> None:
        """Open a job's doors, and wait until a web server or the way of datagrams is there.

        Parameters
        ----------
        patience : float
            For how many seconds at the most; the door is open afterwards all the same.
        """
        self.follow(live, mirror=False)
        await self._followers[live.id].doors.open()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.port_door(live, name).reach()

    def port_door(self, live: Live, name: str) -> Door:
        """Return the door of a port as it is; what it shows can be read from any thread."""
        return self._followers[live.id].doors.doors[name]

    async def show_port(self, live: Live, number: int) -> str:
        """Open a port that a job did not declare, and return its name; see `Doors.show`."""
        self.follow(live, mirror=False)
        return (await self._followers[live.id].show_port(number)).port.name

    async def open_at(self, live: Live, name: str, place: Place) -> AnyForward:
        """Open a port at one more place on this machine; see `Door.open_at`."""
        self.follow(live, mirror=False)
        return await self.port_door(live, name).open_at(place)

    async def port_ready(self, live: Live, name: str) -> None:
        """Wait until the job's server answers, or the job has ended; see `Door.wait_ready`."""
        self.follow(live, mirror=False)
        await self.port_door(live, name).wait_ready()

    async def door(self, live: Live) -> DoorFolder:
        """Return what `ssh` needs to get into a job; see `open_door`."""
        self.follow(live, mirror=False)
        await asyncio.to_thread(doorway.sweep, self.lives)
        return await open_door(live, self._followers[live.id].control)

    def lives(self, job: str) -> bool | None:
        """Whether a job has not ended, as far as is recorded; None where nothing is."""
        try:
            return not self.store.get(job).ended_for_good
        except JobNotFound:
            return None

    # -- what a job left --------------------------------------------------------------

    def log(self, live: Live, *, offset: int = 0, follow: bool) -> LogStream:
        """Return a job's log from a byte on; with `follow` until its end."""
        return LogStream(self._followers[live.id].control, live, offset=offset, follow=follow)

    async def result(self, live: Live, form: str = "codec") -> Result | None:
        """Return what the function returned, as the codec's bytes; None if it did not return.

        With the form ``pickle`` it is what the worker pickled: `trusted` alone may read that.

        Raises
        ------
        ResultError
            If it is too large to be held here.
        """
        limit = Settings.load().mirror_limit
        return await self._followers[live.id].bring_result(form, limit)

    # -- workers ----------------------------------------------------------------------

    async def worker_info(self, name: str) -> WorkerInfo:
        """Connect to a worker and ask what it is and has.

        Raises
        ------
        UnknownWorker
            If no worker has that name.
        WorkerError
            If it can't be reached or used.
        """
        worker = Workers.load().get(name)
        control, _ = self._session(worker)
        reply = await control.request("info", python=worker.python, env=dict(worker.env))
        hello = control.hello
        if hello is None:
            raise ConnectionLost(f"The connection to {name!r} broke.")
        return WorkerInfo(worker, hello, parse(Info, reply.header))

    async def lacks(self, name: str, needs: Needs) -> Lack:
        """Return what a worker's interpreter lacks for a job; see `lacks`."""
        worker = Workers.load().get(name)
        control, _ = self._session(worker)
        await control.link()
        return await lacks(control, needs, worker.python, worker.env)

    def _session(self, worker: Worker, kind: type[Session] = Session) -> tuple[Session, Session]:
        key = (kind, worker.name, worker.host, worker.dir)
        if key not in self._sessions:
            control, bulk = kind(worker), kind(worker, bulk=True, idle=_BULK_IDLE)
            control.others, bulk.others = (bulk,), (control,)
            self._sessions[key] = (control, bulk)
        return self._sessions[key]

    # -- our own ----------------------------------------------------------------------

    def _known(
        self,
        record: JobRecord,
        settings: Settings | None = None,
        ways: tuple[Session, Session] | None = None,
    ) -> Live:
        """Return the job as this process has it, made from its record if it is new here."""
        follower = self._followers.get(record.id)
        if follower is not None and (follower.started or follower.live.event >= record.event):
            return follower.live
        ways = ways or self.way_to(record.worker)
        return self._follower(record, ways, settings or Settings.load()).live

    def way_to(self, name: str) -> tuple[Session, Session]:
        """Return the ways to the worker of that name: one for requests, one for files."""
        try:
            return self._session(Workers.load().get(name))
        except UnknownWorker:
            # Only a name: it is looked up again when somebody wants something of it.
            return self._session(Worker(name, host="unknown"), AbsentSession)

    def _follower(
        self, record: JobRecord, ways: tuple[Session, Session], settings: Settings
    ) -> Follower:
        live = Live(record)
        live.output_dir = live.output_dir or output_folder(record, settings)
        outputs = live.output_dir.parent
        follower = Follower(
            live,
            *ways,
            self._tunnels.setdefault(ways[0], Tunnels(ways[0])),
            self._records,
            folder=lambda: MirrorFolder.claim(outputs, record.name, record.id),
            executor=self._executor,
            limit=settings.mirror_limit,
        )
        self._followers[record.id] = follower
        return follower

    async def finish(self) -> None:
        """Wait a little for workers to confirm what was submitted, and close."""
        pending = [each.live for each in self._followers.values() if each.delivering]
        if pending:
            await wait_for_words(pending)
        await self.aclose()

    async def aclose(self) -> None:
        """Stop following and close every connection; jobs go on."""
        followers = list(self._followers.values())
        await asyncio.gather(*(follower.aclose() for follower in followers))
        await asyncio.gather(*(tunnels.aclose() for tunnels in self._tunnels.values()))
        await asyncio.gather(*self._keeping)
        await self._records.flush()
        sessions = [session for pair in self._sessions.values() for session in pair]
        await asyncio.gather(*(session.aclose() for session in sessions))
        self._executor.shutdown(wait=False)
        await asyncio.to_thread(self.store.close)
