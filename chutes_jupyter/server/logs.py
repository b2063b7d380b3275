"""The log of a job: a piece of it, all of it as a file, or live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.server import verbs
from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import Handler, LiveHandler
from chutes_jupyter.server.shapes.words import LogAnswer, LogLiveQuery, LogQuery
from chutes_jupyter.server.streams import EVENT_STREAM

if TYPE_CHECKING:
    from chutes_jupyter.server.shapes.base import Answer


class LogHandler(Handler):
    """A piece of a log."""

    path = "/jobs/{job}/log"

    @operation(query=LogQuery, answer=LogAnswer)
    async def get(self, job: str, query: LogQuery) -> LogAnswer:
        """Read a piece of a log as text.

        From byte `offset` on, or the last `tail` bytes, or the last `lines`; from the beginning
        where nothing is said. Ask again with `offset` set to `next`, until `end`.
        """
        return await self.service.with_job(job, verbs.log, query)


class LogFileHandler(Handler):
    """A whole log."""

    path = "/jobs/{job}/log/file"

    @operation(media="application/octet-stream")
    async def get(self, job: str) -> Answer | None:
        """Download the whole log as it is by now, with its control characters, as an attachment."""
        await self.service.send_log(self, job)
        return None


class LogLiveHandler(LiveHandler):
    """A log as it comes."""

    path = "/jobs/{job}/log/live"

    @operation(query=LogLiveQuery, media=EVENT_STREAM)
    async def get(self, job: str, query: LogLiveQuery) -> Answer | None:
        """Follow a log as server-sent events, until its end.

        `log` events carry `{"text", "offset", "next", "runs"}` as pieces do, with `next` as
        their id, the offset to go on from: a browser's EventSource goes on by itself, with
        Last-Event-ID. `end` is the last one: `{"state"}`; close the stream then. Comments keep
        it alive. Who reads slowly gets it slowly: nothing is gathered for him.
        """
        await self.service.stream_log(self, job, query)
        return None


HANDLERS: tuple[type[Handler], ...] = (LogHandler, LogFileHandler, LogLiveHandler)
