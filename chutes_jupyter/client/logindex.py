"""Which stream wrote which bytes of a job's log, read along with it."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from chutes_jupyter.errors import AgentFailed, RequestRefused
from chutes_jupyter.replies import IndexPage, parse

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session

STDOUT, STDERR = 1, 2
#: As the agent writes them, `agent.logs.RECORD`, which only a worker's system can import.
RECORD = struct.Struct("!QBd")
_PAGE = 4096


class Mark(NamedTuple):
    """From this offset of the log on, bytes came from this stream."""

    offset: int
    stream: int


class LogIndex:
    """The marks of a log, read forwards beside it.

    Parameters
    ----------
    session : Session
        The way to the worker.
    live : Live
        The job.
    """

    def __init__(self, session: Session, live: Live) -> None:
        self._session, self._live = session, live
        #: The mark that holds where the last look ended, and its number.
        self._last: tuple[int, Mark] | None = None
        self._refused = False

    async def marks(self, begin: int, end: int) -> list[Mark]:
        """Return the marks of the bytes from `begin` to `end`, the first one at `begin`.

        A log that has none, or an agent that keeps none, counts as the output stream alone.
        """
        if begin >= end or self._refused:
            return []
        try:
            found = await self._read(begin, end)
        except RequestRefused:
            self._refused = True
            return []
        merged: list[Mark] = []
        for mark in found:
            at = Mark(max(mark.offset, begin), mark.stream)
            if merged and merged[-1].offset == at.offset:
                merged.pop()
            if not merged or merged[-1].stream != at.stream:
                merged.append(at)
        return merged

    async def _read(self, begin: int, end: int) -> list[Mark]:
        number = await self._find(begin)
        found: list[Mark] = []
        while True:
            _, page = await self._page(number, _PAGE)
            if found and page and page[0].offset < found[-1].offset:
                raise AgentFailed(f"The agent on {self._live.worker} sent a wrong index of a log.")
            for mark in page:
                if mark.offset >= end:
                    return found
                self._last = (number, mark)
                found.append(mark)
                number += 1
            if len(page) < _PAGE:
                return found

    async def _find(self, begin: int) -> int:
        """Return the number of the mark that holds the byte at `begin`."""
        if self._last is not None and self._last[1].offset <= begin:
            number, mark = self._last
            # Marks are counted as far as they are there: a dropped part moves them.
            if (await self._page(number, 1))[1] == [mark]:
                return number
        total, _ = await self._page(0, 1)
        low, high = 0, max(0, total - 1)
        while low < high:
            middle = (low + high + 1) // 2
            _, page = await self._page(middle, 1)
            if page and page[0].offset <= begin:
                low = middle
            else:
                high = middle - 1
        return low

    async def _page(self, record: int, limit: int) -> tuple[int, list[Mark]]:
        def trouble(reason: str | None) -> None:
            self._live.set(trouble=reason)

        reply = await self._session.persist(
            "index", trouble=trouble, job=self._live.id, record=record, limit=limit
        )
        if len(reply.body) % RECORD.size or len(reply.body) > limit * RECORD.size:
            raise AgentFailed(f"The agent on {self._live.worker} sent a broken index of a log.")
        marks = [
            Mark(offset, STDERR if stream == STDERR else STDOUT)
            for offset, stream, _ in RECORD.iter_unpack(reply.body)
        ]
        if any(one.offset > two.offset for one, two in pairwise(marks)):
            raise AgentFailed(f"The agent on {self._live.worker} sent a wrong index of a log.")
        return parse(IndexPage, reply.header).records, marks
