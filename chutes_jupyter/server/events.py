"""News of all jobs, and of one, as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import LiveHandler
from chutes_jupyter.server.shapes.base import LiveQuery
from chutes_jupyter.server.streams import EVENT_STREAM

if TYPE_CHECKING:
    from chutes_jupyter.server.shapes.base import Answer


class FeedHandler(LiveHandler):
    """News of all jobs."""

    path = "/events"

    @operation(query=LiveQuery, media=EVENT_STREAM)
    async def get(self, query: LiveQuery) -> Answer | None:
        """Follow all jobs as server-sent events.

        `hello` comes first: `{"cursor", "reset"}`; with `reset` the list must be read anew,
        since more has changed than is remembered. `job` carries a JobSummary, the newest of
        each: what changed twice meanwhile comes once. `gone` carries `{"id"}` of a job that
        was removed. `workers` carries `{"silent": {name: why}}`. Each has its cursor as id:
        Last-Event-ID, or `cursor`, goes on from there. Comments keep the stream alive.
        """
        await self.service.stream_feed(self, query.cursor)
        return None


class JobLiveHandler(LiveHandler):
    """News of one job."""

    path = "/jobs/{job}/live"

    @operation(media=EVENT_STREAM)
    async def get(self, job: str) -> Answer | None:
        """Follow one job as server-sent events: each `job` carries a JobView.

        The first comes at once; at most ten come in a second. After the job's end the stream
        goes on as long as its outputs arrive here, and ends with `end`: close it then.
        """
        await self.service.stream_job(self, job)
        return None


HANDLERS: tuple[type[LiveHandler], ...] = (FeedHandler, JobLiveHandler)
