"""What all routes share: the way to the client, the list of jobs, workers and tabs."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from chutes_jupyter.client.clean import clean
from chutes_jupyter.current import current_client
from chutes_jupyter.server import contents, doors, news, verbs
from chutes_jupyter.server.bridge import across, ask
from chutes_jupyter.server.cases import open_case
from chutes_jupyter.server.feed import Feed
from chutes_jupyter.server.listing import page
from chutes_jupyter.server.problems import ApiError
from chutes_jupyter.server.sending import send_output, send_text
from chutes_jupyter.server.shapes.jobs import CleanAnswer, KeptJob
from chutes_jupyter.server.shapes.ports import TabAnswer
from chutes_jupyter.server.views import view
from chutes_jupyter.server.workerdesk import WorkerDesk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from chutes_jupyter.client import JobClient
    from chutes_jupyter.server.base import ApiHandler
    from chutes_jupyter.server.cases import Case
    from chutes_jupyter.server.shapes.files import ContentQuery
    from chutes_jupyter.server.shapes.jobs import (
        CancelAnswer,
        CleanRequest,
        JobPage,
        JobsQuery,
        JobView,
    )
    from chutes_jupyter.server.shapes.words import LogLiveQuery
    from chutes_jupyter.server.streams import StreamHandler

P = ParamSpec("P")
T = TypeVar("T")


class Tabs(Protocol):
    """What opens ports in tabs; see `chutes_jupyter.server.tabs`."""

    async def open(
        self, job_id: str, port: str, *, browser_origin: str, kind: Literal["path"] | None = None
    ) -> dict[str, Any]:
        """Return `kind`, `url`, `probe` and `notes` for one opening of a port."""


async def _client() -> JobClient:
    # Not in this loop: the store may be waited for when it is first opened.
    return await asyncio.to_thread(current_client)


class Service:
    """What all routes share.

    Parameters
    ----------
    root : Path, optional
        What the server's file browser shows.
    tabs : Tabs, optional
        What opens ports in tabs; without it ports are reached by forwards alone.
    """

    def __init__(self, root: Path | None, tabs: Tabs | None = None) -> None:
        self.root = root
        self.feed = Feed(root)
        self.workers = WorkerDesk(self.feed)
        self.tabs = tabs

    # -- one job ----------------------------------------------------------------------

    async def case(self, job: str) -> Case:
        """Return a job, by its id or label, followed from now on."""
        return await ask(open_case, await _client(), job, self.root)

    async def with_job(
        self,
        job: str,
        verb: Callable[Concatenate[Case, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do something with a job, in the background loop."""
        return await ask(verb, await self.case(job), *args, **kwargs)

    async def view(self, job: str) -> JobView:
        """Return everything that is known of a job."""
        return view((await self.case(job)).live, self.root)

    async def cancel(self, job: str, wait: float) -> CancelAnswer:
        """Cancel a job."""
        return await self.with_job(job, verbs.cancel, wait)

    async def open_tab(
        self, job: str, port: str, origin: str, kind: Literal["path"] | None
    ) -> TabAnswer:
        """Return where to open a port of a job in a tab."""
        case = await self.case(job)
        doors.check(case, port)
        if self.tabs is None:
            raise ApiError(
                HTTPStatus.NOT_IMPLEMENTED,
                "no_tabs",
                "This server opens no ports in tabs.",
                f"Open it at an address of this machine: jupyter chute forward {job} {port}",
            )
        found = await self.tabs.open(case.live.id, port, browser_origin=origin, kind=kind)
        return TabAnswer.model_validate(found)

    # -- many jobs --------------------------------------------------------------------

    async def list_jobs(self, query: JobsQuery) -> JobPage:
        """Return a page of the jobs that match."""
        await _client()

        async def listed() -> JobPage:
            if query.refresh:
                await current_client().discover()
            jobs = await self.feed.jobs()
            return page(jobs, query, silent=self.feed.silent, cursor=self.feed.cursor)

        return await ask(listed)

    async def clean(self, wanted: CleanRequest) -> CleanAnswer:
        """Remove jobs that have ended."""
        done = await ask(
            clean,
            await _client(),
            wanted.jobs,
            worker=wanted.worker,
            older=wanted.older,
            outputs=wanted.outputs,
            dry=wanted.dry,
        )
        return CleanAnswer(
            removed=[record.id for record in done.removed],
            kept=[KeptJob(id=r.id, label=r.label, reason=why) for r, why in done.kept],
            freed=done.freed,
            freed_here=done.freed_here,
            silent=done.silent,
        )

    # -- what is sent as it comes -----------------------------------------------------

    async def send_file(self, handler: ApiHandler, job: str, query: ContentQuery) -> None:
        """Send the bytes of an output."""
        found = await self.with_job(job, contents.find, query.path)
        await send_output(handler, found, download=query.download)

    async def send_log(self, handler: ApiHandler, job: str) -> None:
        """Send a whole log."""
        case = await self.case(job)

        async def pieces() -> AsyncGenerator[bytes, None]:
            stream = case.client.log(case.live, follow=False)
            try:
                while (data := await case.within(stream.next())) is not None:
                    yield data
            finally:
                await stream.aclose()

        await send_text(handler, f"{case.live.label}.log", pieces)

    async def stream_log(self, handler: StreamHandler, job: str, query: LogLiveQuery) -> None:
        """Send a log as it comes."""
        case = await self.case(job)
        last = handler.last_event
        offset = int(last) if last.isdecimal() and len(last) < 20 else query.offset
        async with across(lambda: news.log_news(case, offset, query.lines)) as events:
            await handler.send_events(events)

    async def stream_job(self, handler: StreamHandler, job: str) -> None:
        """Send what is known of a job as it changes."""
        case = await self.case(job)
        async with across(lambda: news.job_news(case)) as events:
            await handler.send_events(events)

    async def stream_feed(self, handler: StreamHandler, cursor: str) -> None:
        """Send news of all jobs."""
        where = handler.last_event or cursor
        async with across(lambda: self.feed.news(where)) as events:
            await handler.send_events(events)
