"""The outputs of one job, as the mirror asks for them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.errors import AgentFailed, OutputsError
from chutes_jupyter.mirror import Snapshot
from chutes_jupyter.replies import Entry, Listing, Refusal, parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.link import Reply

_PAGE = 2000
#: No more of paths than this, in characters, is kept of one listing.
_MAX_PATHS = 64 * 1024 * 1024
#: Pauses before a listing that changed meanwhile is read again, in seconds: from, to.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0


class JobOutputs:
    """Listings over the worker's control connection, files over the one for bulk.

    Parameters
    ----------
    live : Live
        The job.
    control, bulk : Session
        The two ways to its worker.
    """

    def __init__(self, live: Live, control: Session, bulk: Session) -> None:
        self._live, self._control, self._bulk = live, control, bulk

    def _trouble(self, reason: str | None) -> None:
        self._live.set(trouble=reason)

    async def listing(self) -> Snapshot:
        """Return the newest listing, all its pages of one version.

        Raises
        ------
        OutputsError
            If it is larger than any that can be mirrored.
        AgentFailed
            If it lacks what it says that it has.
        """
        pause = _FIRST_PAUSE
        while True:
            # Nobody writes after the end, whatever became of the one who made the listing.
            ended = self._live.terminal
            first = await self._page(0)
            entries: list[Entry] = list(first.entries)
            refused: list[Refusal] = list(first.refused)
            length = sum(len(entry.path) for entry in entries)
            while len(entries) < first.total:
                page = await self._page(len(entries))
                if page.version != first.version:
                    break  # a newer one was made meanwhile
                if not page.entries:
                    raise AgentFailed(
                        f"The agent on {self._live.worker} lists {first.total} outputs of "
                        f"{self._live.label} and sends {len(entries)}."
                    )
                entries += page.entries
                length += sum(len(entry.path) for entry in page.entries)
                if length > _MAX_PATHS:
                    raise OutputsError("the names of the outputs are longer than 64 MiB together")
            else:
                return Snapshot(first.version, first.final or ended, entries, refused)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _page(self, start: int) -> Listing:
        reply = await self._control.persist(
            "outputs", trouble=self._trouble, job=self._live.id, start=start, limit=_PAGE
        )
        return parse(Listing, reply.header)

    @contextlib.asynccontextmanager
    async def read(
        self, path: str, offset: int, *, hashed: bool
    ) -> AsyncGenerator[AsyncIterator[Reply], None]:
        """Read a file from `offset` on, over the connection for bulk."""
        await self._bulk.patient_link(self._trouble)
        fields = {"job": self._live.id, "path": path, "offset": offset, "hash": hashed}
        async with self._bulk.stream("read", **fields) as frames:
            yield frames

    async def news(self, version: int) -> None:
        """Wait for a newer listing, or for the end."""
        live = self._live
        await live.until(
            lambda: live.outputs_version > version or live.outputs_final or live.terminal
        )
