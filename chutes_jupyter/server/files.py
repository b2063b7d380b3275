"""The outputs of a job: the list, one of them, a look at it, and bringing it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.server import outputs, previews
from chutes_jupyter.server.base import operation
from chutes_jupyter.server.handlers import Handler
from chutes_jupyter.server.shapes.files import (
    ContentQuery,
    FetchAnswer,
    FetchRequest,
    FilesAnswer,
    FilesQuery,
    Preview,
    PreviewQuery,
)

if TYPE_CHECKING:
    from chutes_jupyter.server.shapes.base import Answer


class FilesHandler(Handler):
    """The outputs of a job."""

    path = "/jobs/{job}/files"

    @operation(query=FilesQuery, answer=FilesAnswer)
    async def get(self, job: str, query: FilesQuery) -> FilesAnswer:
        """List the outputs of a job, and where each of them is.

        Asking brings nothing here. While the worker is away it lists what is here, with
        `confirmed` false.
        """
        return await self.service.with_job(job, outputs.listed, query)


class ContentHandler(Handler):
    """The bytes of an output."""

    path = "/jobs/{job}/files/content"

    @operation(query=ContentQuery, media="application/octet-stream")
    async def get(self, job: str, query: ContentQuery) -> Answer | None:
        """Return the bytes of a file, from here or from its worker; ranges (one) are served.

        An attachment, but for pictures and sounds without `download`. Whatever it is, a page
        of it has no scripts and no origin: its policy is `sandbox`.
        """
        await self.service.send_file(self, job, query)
        return None

    @operation(query=ContentQuery, media="application/octet-stream")
    async def head(self, job: str, query: ContentQuery) -> Answer | None:
        """Tell the size and type of a file."""
        await self.service.send_file(self, job, query)
        return None


class PreviewHandler(Handler):
    """A look at an output."""

    path = "/jobs/{job}/files/preview"

    @operation(query=PreviewQuery, answer=Preview)
    async def get(self, job: str, query: PreviewQuery) -> Preview:
        """Look at the beginning of a file, also while the job runs and it is not here.

        Text, JSON, rows of a table, the cells of a notebook, or where a picture is. HTML is
        shown as text.
        """
        return await self.service.with_job(job, previews.look, query)


class FetchHandler(Handler):
    """Bringing outputs here."""

    path = "/jobs/{job}/files/fetch"

    @operation(body=FetchRequest, answer=FetchAnswer)
    async def post(self, job: str, body: FetchRequest) -> FetchAnswer:
        """Bring files into the job's folder here now, as they are, although the job may run.

        The end brings each again if it changes. Without paths it starts to bring everything,
        and answers at once.
        """
        return await self.service.with_job(job, outputs.fetched, body)


HANDLERS: tuple[type[Handler], ...] = (
    FilesHandler,
    ContentHandler,
    PreviewHandler,
    FetchHandler,
)
