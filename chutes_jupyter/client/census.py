"""Which jobs a worker has, brought into the store."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from chutes_jupyter.client.deliver import withdrawal
from chutes_jupyter.client.follow import NEVER_REACHED, NOT_THERE, ON_ITS_WAY
from chutes_jupyter.errors import ConnectionLost
from chutes_jupyter.readingpages import told
from chutes_jupyter.replies import Hello, JobPage, JobStatus, parse
from chutes_jupyter.store import JobRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chutes_jupyter.client.session import Session
    from chutes_jupyter.config import Worker
    from chutes_jupyter.store import Store

_PAGE = 500
#: How long a worker may take for an answer, in seconds.
PATIENCE = 10.0
#: A file system's clock may run behind: what ended shortly before is asked for again.
_SLACK = 5.0
#: No more jobs of one worker are looked at.
_MOST = 200_000
REMOVED = "removed on the worker"


class Census:
    """Asks one worker for its jobs; for the ended ones only if they are new here.

    Parameters
    ----------
    store : Store
        What is known, and where it goes.
    worker : Worker
        Which worker.
    control : Session
        The way to it.
    delivering : callable
        Says whether a job is on its way from this very process.
    """

    def __init__(
        self,
        store: Store,
        worker: Worker,
        control: Session,
        delivering: Callable[[str], bool],
    ) -> None:
        self._store, self._worker, self._control = store, worker, control
        self._delivering = delivering
        #: Jobs that this version can't read, and why.
        self.unreadable: dict[str, str] = {}

    async def take(self, *, whole: bool = False) -> None:
        """Bring the store up to date; with `whole` also with what it should have already.

        Raises
        ------
        WorkerError, TimeoutError
            If the worker can't be asked, or does not answer.
        """
        async with asyncio.timeout(PATIENCE):
            await self._control.link()
        hello = self._control.hello
        if hello is None:
            raise ConnectionLost(f"The connection to {self._worker.name!r} broke.")
        name = "\0".join((self._worker.name, self._worker.host or "", hello.host, hello.root))
        heard = 0.0 if whole else await asyncio.to_thread(self._store.heard, name)
        since = max(0.0, heard - _SLACK)
        told: set[str] = set()
        newest = await self._list(since, hello, told)
        if newest < since:
            # Its clock went back, or what was heard of is gone: the short way may miss some.
            newest = await self._list(0.0, hello, told)
        await asyncio.to_thread(self._store.hear, name, newest)
        await self._ask_for_the_rest(hello, told)

    async def _list(self, since: float, hello: Hello, told: set[str]) -> float:
        after, newest, seen = "", 0.0, 0
        while seen < _MOST:
            page = await self._ask(after=after, limit=_PAGE, since=since)
            await self._merge(page.jobs, hello)
            told.update(job.id for job in page.jobs)
            self.unreadable.update({job.id: job.reason for job in page.unreadable})
            count = len(page.jobs) + len(page.unreadable)
            seen += count
            newest = max(newest, page.newest)
            if page.next is None or page.next <= after or not count:
                break
            after = page.next
        return newest

    async def _ask(self, **fields: Any) -> JobPage:
        # Of each page, not of all: a long list that arrives is an answer.
        async with asyncio.timeout(PATIENCE):
            return parse(JobPage, (await self._control.request("jobs", **fields)).header)

    async def _ask_for_the_rest(self, hello: Hello, told: set[str]) -> None:
        """Find out about those that live as far as is known, and were not in the list."""
        live = await asyncio.to_thread(self._store.list, worker=self._worker.name, live=True)
        rest = [record for record in live if record.id not in told]
        for start in range(0, len(rest), _PAGE):
            asked = rest[start : start + _PAGE]
            page = await self._ask(ids=[record.id for record in asked])
            await self._merge(page.jobs, hello)
            known = {job.id for job in page.jobs}
            for record in [r for r in asked if r.id not in known]:
                reason = await self._fate(record, hello)
                if reason is not None:
                    settle = partial(self._store.settle, state="lost", reason=reason)
                    await asyncio.to_thread(settle, record.id, record.event, ended=time.time())

    async def _fate(self, record: JobRecord, hello: Hello) -> str | None:
        """Return why a job is lost that its worker does not know, or None."""
        if record.event:
            return NOT_THERE if record.root == hello.root else None
        if time.time() - record.created < ON_ITS_WAY or self._delivering(record.id):
            return None
        fields = withdrawal("lost")
        reply = await self._control.request("cancel", job=record.id, **fields)
        return NEVER_REACHED if reply.header.get("withdrawn") == "lost" else None

    async def _merge(self, jobs: Sequence[JobStatus], hello: Hello) -> None:
        records = [self._record(job, hello) for job in jobs if job.state is not None]
        await asyncio.to_thread(self._store.merge, records)

    def _record(self, job: JobStatus, hello: Hello) -> JobRecord:
        reason = job.reason or job.waiting or None
        state = "pending" if job.waiting else job.state or "starting"
        if job.removed:
            reason = f"{reason}; {REMOVED}" if reason else REMOVED
        return JobRecord(
            id=job.id,
            name=job.name,
            worker=self._worker.name,
            state=state,
            event=job.event,
            created=job.created,
            started=job.started,
            ended=job.ended,
            reason=reason,
            notebook=job.notebook,
            cell=job.cell,
            ports=tuple(port.model_dump() for port in job.ports),
            timeout=job.timeout,
            upload=job.upload,
            confirmed=time.time(),
            root=hello.root,
            progress=told(job.progress),
        )
