"""Reading a job's log: from a byte on, whole and in order, or only its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.errors import AgentFailed, RequestRefused
from chutes_jupyter.replies import LogPiece, parse

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session

#: Small enough that a cancel does not wait behind it.
PIECE = 256 * 1024
#: Pieces that are asked for ahead, where it is known that the log has them.
_AHEAD = 4
_WAIT = 25.0
#: After so many bytes at once, wait for more before asking again: every reply costs both ends
#: a wake-up, and nobody reads lines that fast.
_BURST = 1024
_GATHER = 0.02
#: The pause after a piece without bytes, in seconds: no sound agent sends many of them.
_NOTHING = 0.1
#: How much of the end is kept for the panel, in bytes.
TAIL = 64 * 1024
#: The panel can't show more often, and each reply costs the worker a wake-up.
_TAIL_PAUSE = 0.1


@dataclass(frozen=True)
class _Piece:
    head: LogPiece
    data: bytes

    @property
    def begin(self) -> int:
        """The offset of its first byte."""
        return self.head.offset + self.head.skipped

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.begin + len(self.data)


@dataclass(frozen=True)
class _Asked:
    offset: int
    task: asyncio.Task[_Piece]


def gap_marker(missing: int, limit: int | None) -> bytes:
    """Return the line that stands in a log for bytes that its worker keeps no more."""
    what = f"the limit of {_size(limit)} (log_limit)" if limit else "its limit (log_limit)"
    return f"\n[… {missing:,} bytes of the log are missing here: it is over {what} …]\n".encode()


def _size(limit: int) -> str:
    for name, unit in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if limit % unit == 0:
            return f"{limit // unit:,} {name}"
    return f"{limit:,} bytes"


async def _ask(session: Session, live: Live, **fields: object) -> _Piece:
    def trouble(reason: str | None) -> None:
        live.set(trouble=reason)

    reply = await session.persist("log", trouble=trouble, job=live.id, limit=PIECE, **fields)
    piece = _Piece(parse(LogPiece, reply.header), reply.body)
    if len(piece.data) > PIECE or piece.end > piece.head.size:
        raise AgentFailed(f"The agent on {live.worker} sent a log piece of an impossible size.")
    return piece


class LogStream:
    """The log's bytes from an offset on, in pieces of any size.

    Pieces are asked for ahead where it is known that there are more.

    Parameters
    ----------
    session : Session
        The way to the worker.
    live : Live
        The job.
    offset : int
        The first byte.
    follow : bool
        Whether to go on until the job has ended; else to the present end.
    """

    def __init__(self, session: Session, live: Live, *, offset: int = 0, follow: bool) -> None:
        self._session, self._live = session, live
        self._offset, self._size = offset, 0
        self._wait = _WAIT if follow else 0.0
        self._follow = follow
        self._over = False
        #: Without following, where the log ended when it was first looked at.
        self._until: int | None = None
        self._fast = False
        self._ahead: deque[_Asked] = deque()

    @property
    def offset(self) -> int:
        """The place in the log behind what was returned."""
        return self._offset

    @property
    def behind(self) -> int:
        """How many bytes are known to follow."""
        return max(0, self._size - self._offset)

    async def next(self) -> bytes | None:
        """Return the next bytes, or None at the end."""
        live = self._live
        await live.until(lambda: live.acknowledged or live.over)
        while live.acknowledged and not self._over:
            try:
                piece = await self._next_piece()
            except RequestRefused as error:
                if error.code != "unknown_job":
                    raise
                break
            if self._until is None:
                self._until = piece.head.size
            whole = not self._follow and (self._offset >= self._until or not piece.data)
            self._over = piece.head.end or whole
            if piece.head.skipped:
                return gap_marker(piece.head.skipped, piece.head.limit) + piece.data
            if piece.data:
                return piece.data
            if not self._over:
                await asyncio.sleep(_NOTHING)
        return None  # one that never started never said anything

    async def _next_piece(self) -> _Piece:
        if self._ahead and self._ahead[0].offset != self._offset:
            # The last piece ended at a gap, or behind one: what was asked for is elsewhere.
            await self.aclose()
        if not self._ahead:
            if self._fast:
                await asyncio.sleep(_GATHER)
            self._ask_for(self._offset, self._wait)
        asked = self._offset + len(self._ahead) * PIECE
        while len(self._ahead) < _AHEAD and asked + PIECE <= self._size:
            self._ask_for(asked, 0.0)
            asked += PIECE
        piece = await self._ahead.popleft().task
        if piece.head.offset != self._offset:
            raise AgentFailed(f"The agent on {self._live.worker} sent another part of the log.")
        self._offset = piece.end
        self._size = piece.head.size
        self._fast = _BURST < len(piece.data) < PIECE
        return piece

    def _ask_for(self, offset: int, wait: float) -> None:
        asking = _ask(self._session, self._live, offset=offset, wait=wait)
        self._ahead.append(_Asked(offset, asyncio.create_task(asking)))

    async def aclose(self) -> None:
        """Stop asking."""
        tasks = [asked.task for asked in self._ahead]
        self._ahead.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def keep_tail(session: Session, live: Live) -> None:
    """Keep the end of the log in `live.tail` until the job has ended."""
    await live.until(lambda: live.acknowledged or live.terminal)
    if not live.acknowledged:
        return
    with contextlib.suppress(RequestRefused):
        piece = await _ask(session, live, tail=TAIL, wait=_WAIT)
        kept = piece.data
        while True:
            live.set(tail=kept)
            if piece.head.end:
                return
            await asyncio.sleep(_TAIL_PAUSE)
            offset = piece.end
            piece = await _ask(session, live, offset=offset, wait=_WAIT)
            if piece.head.size - offset > 2 * PIECE:
                # It grows faster than anybody reads: go to its end.
                piece = await _ask(session, live, tail=TAIL, wait=0.0)
            if piece.begin != offset:
                kept = b""
            kept = (kept + piece.data)[-TAIL:]


async def last_bytes(session: Session, live: Live, count: int) -> int:
    """Return the offset at which the last so many bytes of a log begin."""
    if not live.acknowledged:
        return 0
    return (await _ask(session, live, tail=count, wait=0.0)).head.offset


async def last_lines(session: Session, live: Live, lines: int, most: int | None = None) -> int:
    """Return the offset at which the last so many lines of a log begin.

    Looked for from the end backwards: a log of many gigabytes is not read for that. With `most`
    no more than so many bytes and a piece's are read, and lines longer than that are cut.
    """
    if not live.acknowledged:
        return 0
    piece = await _ask(session, live, tail=PIECE, wait=0.0)
    begin, data = piece.begin, piece.data
    first = 0 if most is None else max(0, piece.end - most)
    if not lines:
        return piece.end
    end = len(data) - 1 if data.endswith(b"\n") else len(data)
    while True:
        end = data.rfind(b"\n", 0, end)
        lines -= end >= 0
        if not lines:
            return begin + end + 1
        if end < 0 and begin <= first:
            return begin
        if end < 0:
            before = max(0, begin - PIECE)
            piece = await _ask(session, live, offset=before, wait=0.0)
            data = piece.data[: max(0, begin - piece.begin)]
            if not data:
                # What came before is missing: begin with the words that say so.
                gap = await _ask(session, live, tail=piece.head.size - before, wait=0.0)
                return gap.head.offset
            begin, end = piece.begin, len(data)
