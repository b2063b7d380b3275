"""A job's log for those who show it: pieces with their places, and never far behind its end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from chutes_jupyter.client.logindex import STDOUT, LogIndex
from chutes_jupyter.client.logs import PIECE, LogStream, last_bytes, last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session

#: One part has not many more bytes: a page takes it in within a frame or two.
PART = 2 * PIECE


@dataclass(frozen=True)
class LogPart:
    """A part of a log.

    Parameters
    ----------
    begin, end : int
        Its first byte in the log, and the one behind its last.
    data : bytes
        What was printed; words about a gap stand in for bytes that are kept no more.
    runs : sequence of (int, int)
        From which byte of `data` on which stream wrote it; empty for the output stream alone.
    reset : bool
        Whether it follows on nothing that was given before.
    """

    begin: int
    end: int
    data: bytes
    runs: Sequence[tuple[int, int]]
    reset: bool


class LogFeed:
    """The log from a byte on, or from near its end, with which stream wrote what.

    Where more is printed than anybody reads it goes on at the end: what was left out can be
    had by its place.

    Parameters
    ----------
    session : Session
        The way to the worker.
    live : Live
        The job.
    begin : int, optional
        The first byte; without one it begins `window` bytes before the end.
    window : int
        How far it may be behind, in bytes.
    follow : bool
        Whether to go on until the job has ended; else to the present end.
    """

    def __init__(
        self,
        session: Session,
        live: Live,
        begin: int | None,
        window: int,
        *,
        follow: bool = True,
    ) -> None:
        self._session, self._live = session, live
        self._begin, self._window, self._follow = begin, window, follow
        self._index = LogIndex(session, live)
        self._stream: LogStream | None = None
        self._reset = begin is None

    @property
    def behind(self) -> int:
        """How many bytes are known to follow."""
        return 0 if self._stream is None else self._stream.behind

    async def next(self) -> LogPart | None:
        """Return the next part as soon as there is one; None after the end."""
        stream = self._stream
        if stream is None:
            stream = await self._start()
        elif stream.behind > self._window:
            await stream.aclose()
            self._begin, self._reset = None, True
            stream = await self._start()
        begin = stream.offset
        data = await stream.next()
        while data is not None and stream.behind and len(data) < PART:
            more = await stream.next()
            if more is None:
                break
            data += more
        if data is None:
            return None
        origin = stream.offset - len(data)  # of what stands behind the words about a gap
        marks = await self._index.marks(max(begin, origin), stream.offset)
        reset, self._reset = self._reset, False
        runs = [(mark.offset - origin, mark.stream) for mark in marks]
        return LogPart(begin, stream.offset, data, runs, reset)

    async def _start(self) -> LogStream:
        await self._live.until(lambda: self._live.acknowledged or self._live.over)
        begin = self._begin
        if begin is None:
            begin = await last_bytes(self._session, self._live, self._window)
        self._stream = LogStream(self._session, self._live, offset=begin, follow=self._follow)
        return self._stream

    async def aclose(self) -> None:
        """Stop asking."""
        if self._stream is not None:
            await self._stream.aclose()


async def last_runs(session: Session, live: Live, lines: int, most: int) -> list[tuple[int, bytes]]:
    """Return the last lines of a log so far, as what one stream wrote after the other.

    Parameters
    ----------
    session : Session
        The way to the worker.
    live : Live
        The job, which the client follows.
    lines : int
        So many of them.
    most : int
        About so many bytes of them at the most.

    Returns
    -------
    list of (int, bytes)
        Of each run the stream, 1 or 2 (stderr), and what it wrote.
    """
    begin = await last_lines(session, live, lines, most)
    feed = LogFeed(session, live, begin, most, follow=False)
    found: list[tuple[int, bytes]] = []
    try:
        while (part := await feed.next()) is not None:
            if part.reset:
                found.clear()
            marks = [(0, STDOUT), *part.runs, (len(part.data), STDOUT)]
            found += [
                (stream, part.data[at:until])
                for (at, stream), (until, _) in pairwise(marks)
                if until > at
            ]
    finally:
        await feed.aclose()
    return found
