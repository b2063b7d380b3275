"""Jobs: the list, one of them, cancel, remove, and how one ended."""

from __future__ import annotations

from chutes_jupyter.server import told, verbs
from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import Handler
from chutes_jupyter.server.shapes.jobs import (
    CancelAnswer,
    CancelRequest,
    CleanAnswer,
    CleanRequest,
    JobPage,
    JobsQuery,
    JobView,
    RemoveQuery,
)
from chutes_jupyter.server.shapes.ports import SshAnswer
from chutes_jupyter.server.shapes.readings import ReadingsAnswer, ReadingsQuery
from chutes_jupyter.server.shapes.words import EventsAnswer, EventsQuery, ResultAnswer


class JobsHandler(Handler):
    """All jobs of this person, whatever submitted them."""

    path = "/jobs"

    @operation(query=JobsQuery, answer=JobPage)
    async def get(self, query: JobsQuery) -> JobPage:
        """List jobs, the newest first, a page at a time."""
        return await self.service.list_jobs(query)


class JobHandler(Handler):
    """One job, by its id or label, or the beginning of either."""

    path = "/jobs/{job}"

    @operation(answer=JobView)
    async def get(self, job: str) -> JobView:
        """Tell everything that is known of a job.

        It never waits for a worker that is away: `trouble` says so then, and `confirmed` how
        old the rest is.
        """
        return await self.service.view(job)

    @operation(query=RemoveQuery, answer=CleanAnswer)
    async def delete(self, job: str, query: RemoveQuery) -> CleanAnswer:
        """Remove a job that has ended, on its worker and here.

        One that lives is kept, and so are outputs that are on the worker alone, but with
        `outputs`: see `kept`.
        """
        return await self.service.clean(CleanRequest(jobs=(job,), outputs=query.outputs))


class CancelHandler(Handler):
    """Ending a job."""

    path = "/jobs/{job}/cancel"

    @operation(body=CancelRequest, answer=CancelAnswer)
    async def post(self, job: str, body: CancelRequest) -> CancelAnswer:
        """Cancel a job, any number of times.

        Needs no kernel. Answers when the worker knows of it, the job has ended, or `wait`
        seconds are over: the cancel is delivered all the same then, as soon as can be.
        """
        return await self.service.cancel(job, body.wait)


class AgainHandler(Handler):
    """Running a job again."""

    path = "/jobs/{job}/again"

    @operation(answer=JobView)
    async def post(self, job: str) -> JobView:
        """Run a job again as a new one, and return that: the same function, options and data.

        What it was given is kept on the machine that submitted it. Where it is not kept
        (`not_kept`), the message says why: there was a secret in it, or it was too large.
        """
        return await self.service.with_job(job, verbs.again)


class EventsHandler(Handler):
    """What a job's worker told of it."""

    path = "/jobs/{job}/events"

    @operation(query=EventsQuery, answer=EventsAnswer)
    async def get(self, job: str, query: EventsQuery) -> EventsAnswer:
        """Read numbered events from the one after `after` on; `wait` makes it a long poll."""
        return await self.service.with_job(job, verbs.events, query)


class ResultHandler(Handler):
    """How a job ended."""

    path = "/jobs/{job}/result"

    @operation(answer=ResultAnswer)
    async def get(self, job: str) -> ResultAnswer:
        """Tell what a job returned, as text, or what it raised, with the worker's traceback.

        Nothing is unpickled for it: what only a pickle holds is `withheld`.
        """
        return await self.service.with_job(job, verbs.result)


class ReadingsHandler(Handler):
    """What a job tells of itself."""

    path = "/jobs/{job}/readings"

    @operation(query=ReadingsQuery, answer=ReadingsAnswer)
    async def get(self, job: str, query: ReadingsQuery) -> ReadingsAnswer:
        """Tell how far a job is, its metrics, what it uses, and what it showed.

        The first answer may lack some of it; ask again every few seconds while somebody looks.
        """
        return await self.service.with_job(job, told.readings, query)


class SshHandler(Handler):
    """The door of a job."""

    path = "/jobs/{job}/ssh"

    @operation(answer=SshAnswer)
    async def post(self, job: str) -> SshAnswer:
        """Make a door ready, and return the command that goes through it.

        For a terminal on the machine of this server; for jobs that were declared with
        `ssh=True` and run.
        """
        return await self.service.with_job(job, verbs.ssh)


class CleanHandler(Handler):
    """Removing what has ended."""

    path = "/clean"

    @operation(body=CleanRequest, answer=CleanAnswer)
    async def post(self, body: CleanRequest) -> CleanAnswer:
        """Remove jobs that have ended, on their workers and here; with `dry` only say which."""
        return await self.service.clean(body)


HANDLERS: tuple[type[Handler], ...] = (
    JobsHandler,
    JobHandler,
    CancelHandler,
    AgainHandler,
    EventsHandler,
    ResultHandler,
    ReadingsHandler,
    SshHandler,
    CleanHandler,
)
