"""News of all jobs, for everybody who watches: what changed since when, bounded.

Everything here runs in the background loop. One look at the store and at what this process
follows serves all who ask; while nobody watches, nobody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from chutes_jupyter.current import current_client
from chutes_jupyter.errors import ChuteError
from chutes_jupyter.server import glances
from chutes_jupyter.server.following import Following
from chutes_jupyter.server.glances import Glances
from chutes_jupyter.server.rounds import Rounds
from chutes_jupyter.server.streams import Sent, sent
from chutes_jupyter.server.views import summary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from pathlib import Path

    from chutes_jupyter.client import JobClient
    from chutes_jupyter.server.shapes.jobs import JobSummary
    from chutes_jupyter.store import JobRecord

_log = logging.getLogger(__name__)
#: How often the store is looked at while somebody watches, in seconds.
_LOOK = 0.5
#: The pause between two reports to one who watches, in seconds.
_PAUSE = 0.1
#: Reading the store takes such a part of the time at the most.
_SHARE = 20
#: A file that was written so short ago may be written again without looking newer, in seconds.
_UNSETTLED = 0.1
#: How often it is looked whether a worker's time has come to be asked, in seconds.
_ROUNDS = 1.0
#: So many removed jobs are remembered, for those who come back.
_MOST_GONE = 1000


class Feed:
    """What is known of all jobs, and in which order it changed.

    Parameters
    ----------
    root : Path, optional
        What the server's file browser shows.
    """

    def __init__(self, root: Path | None) -> None:
        self._root = root
        #: Told from another server's cursors, and from those of an earlier start.
        self._start = secrets.token_hex(4)
        self._number = 0
        self._jobs: dict[str, JobSummary] = {}
        #: What each of them was made of.
        self._keys: dict[str, object] = {}
        #: The number of each job's last change, in order; gone ones included.
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._gone = 0
        #: Of changes up to here some are remembered no more.
        self._forgotten = 0
        self._silent: dict[str, str] = {}
        self._silent_since = 0
        self._client: JobClient | None = None
        self._stamp: object = None
        self._following = Following(self._woken)
        self._looking = asyncio.Lock()
        self._next_read = 0.0
        self._waiters: set[asyncio.Future[None]] = set()
        self._wake = asyncio.Event()
        self._watchers = 0
        self._watching: asyncio.Task[None] | None = None
        self.rounds = Rounds()
        self._glances = Glances()

    @property
    def cursor(self) -> str:
        """Where whoever has seen everything goes on."""
        return self._at(self._number)

    async def jobs(self) -> list[JobSummary]:
        """Return all jobs, the newest first, as they are known by now."""
        await self.look()
        return sorted(self._jobs.values(), key=_newest_first)

    @property
    def silent(self) -> dict[str, str]:
        """The workers that did not answer lately, and why."""
        return dict(current_client().silent)

    # -- looking ----------------------------------------------------------------------

    async def look(self, *, rarely: bool = False) -> None:
        """Take over what the store and the followed jobs say, and note what changed.

        With `rarely` a store that is written all the time is not read all the time.
        """
        async with self._looking:
            client = current_client()
            if client is not self._client:
                self._client, self._stamp = client, None
                self._following.leave()
            clock = asyncio.get_running_loop().time
            began = clock()
            stamp = await asyncio.to_thread(_stamp, client)
            if stamp == self._stamp is not None or (rarely and began < self._next_read):
                for job in self._following:
                    self._take_followed(client, job)
            else:
                records = await asyncio.to_thread(client.store.list)
                self._stamp = stamp
                self._take(client, records)
                self._next_read = clock() + _SHARE * (clock() - began)
            if client.silent != self._silent:
                self._silent = dict(client.silent)
                self._silent_since = self._next()

    def _take(self, client: JobClient, records: list[JobRecord]) -> None:
        """Note what differs from what was known; of all jobs there are."""
        for record in records:
            self._note(client, record)
        if len(self._jobs) > len(records):
            for job in self._jobs.keys() - {record.id for record in records}:
                self._drop(job)

    def _take_followed(self, client: JobClient, job: str) -> None:
        live = client.followed(job)
        if live is not None and job in self._jobs:
            self._note(client, live.record())

    def _note(self, client: JobClient, record: JobRecord) -> None:
        job = record.id
        live = client.followed(job)
        record = client.newest(record)
        trouble = live.trouble if live is not None else None
        progress, gpu = self._glances.progress(job, record.progress), self._glances.gpu(job)
        # That the worker said the same once more is no news.
        key = (replace(record, confirmed=None), trouble, progress, gpu)
        if key != self._keys.get(job):
            self._keys[job] = key
            self._jobs[job] = summary(record, trouble, self._root, progress=progress, gpu=gpu)
            self._changes[job] = self._next()
            self._changes.move_to_end(job)
        elif self._jobs[job].confirmed != record.confirmed:
            confirmed = {"confirmed": record.confirmed}
            self._jobs[job] = self._jobs[job].model_copy(update=confirmed)
        if record.ended_for_good:
            self._following.drop(job)
            self._glances.forget(job)

    def _drop(self, job: str) -> None:
        del self._jobs[job]
        del self._keys[job]
        self._following.drop(job)
        self._glances.forget(job)
        self._changes[job] = self._next()
        self._changes.move_to_end(job)
        self._gone += 1
        if self._gone > _MOST_GONE:
            oldest = next(each for each in self._changes if each not in self._jobs)
            self._forgotten = self._changes.pop(oldest)
            self._gone -= 1

    def _next(self) -> int:
        self._number += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        return self._number

    # -- watching ---------------------------------------------------------------------

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        self._watchers += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watching.cancel()
                self._watching = None

    async def _watch(self) -> None:
        """Look again and again while somebody watches, and let jobs and workers be asked."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._again(_LOOK, self._look_and_follow))
                group.create_task(self._again(glances.PAUSE, self._glance))
                group.create_task(self._again(_ROUNDS, self._ask_workers))
        finally:
            self._following.leave()

    async def _again(self, pause: float, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await look()
            except (ChuteError, OSError) as error:
                _log.warning("the list of jobs can't be brought up to date: %s", error)
            if pause != _LOOK:
                await asyncio.sleep(pause)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                    await asyncio.sleep(_PAUSE)
            self._wake.clear()

    async def _look_and_follow(self) -> None:
        await self.look(rarely=True)
        live = sorted((each for each in self._jobs.values() if each.live), key=_newest_first)
        self._following.follow(current_client(), [each.id for each in live])

    async def _glance(self) -> None:
        client = current_client()
        for job in await self._glances.take(client, self._following.lives(client)):
            self._take_followed(client, job)

    async def _ask_workers(self) -> None:
        await self.rounds.take(current_client())

    def _woken(self) -> None:
        self._wake.set()

    async def news(self, cursor: str) -> AsyncGenerator[Sent, None]:
        """Yield what changed since a cursor, and then what changes, each job's newest state."""
        with self._watched():
            await self.look()
            seen, reset = self._resume(cursor)
            if reset:
                seen = self._number
            yield sent("hello", {"cursor": self._at(seen), "reset": reset}, self._at(seen))
            while True:
                for number, job in self._since(seen):
                    # Meanwhile it may have changed again, and comes again then.
                    yield self._told(number, job)
                    seen = number
                await self._wait_for(seen)
                await asyncio.sleep(_PAUSE)

    def _since(self, seen: int) -> list[tuple[int, str]]:
        """Return the changes after a number, in order; the workers' have no job."""
        found = [(self._silent_since, "")] if self._silent_since > seen else []
        for job in reversed(self._changes):
            if self._changes[job] <= seen:
                break
            found.append((self._changes[job], job))
        return sorted(found)

    def _told(self, number: int, job: str) -> Sent:
        where = self._at(number)
        if not job:
            return sent("workers", {"silent": self._silent}, where)
        if job in self._jobs:
            return Sent("job", self._jobs[job].model_dump_json(), where)
        return sent("gone", {"id": job}, where)

    async def _wait_for(self, seen: int) -> None:
        while self._number <= seen:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def _at(self, number: int) -> str:
        return f"{self._start}-{number}"

    def _resume(self, cursor: str) -> tuple[int, bool]:
        """Return the number that a cursor means, and whether more has changed than is known."""
        start, _, text = cursor.partition("-")
        number = int(text) if text.isdecimal() and len(text) < 20 else -1
        known = start == self._start and self._forgotten <= number <= self._number
        return number, not known


def _newest_first(job: JobSummary) -> tuple[float, str]:
    return -job.created, job.id


def _stamp(client: JobClient) -> tuple[int, int, int] | None:
    """Return what tells a store that was written since from one that was not, if anything does."""
    try:
        status = client.store.path.stat()
    except OSError:
        return None
    if time.time() - status.st_mtime < _UNSETTLED:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
