"""Reading a job's log: from a byte on, whole and in order, or only its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.agent import wire
from chutes_jupyter.errors import AgentFailed, RequestRefused
from chutes_jupyter.replies import LogPiece, parse

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session

#: Small enough that a cancel does not wait behind it.
PIECE = wire.CHUNK
#: Pieces that are asked for ahead, where it is known that the log has them.
_AHEAD = 4
_WAIT = 25.0
#: How much of the end is kept for the panel, in bytes.
TAIL = 64 * 1024
#: The panel can't show more often, and each reply costs the worker a wake-up.
_TAIL_PAUSE = 0.1


@dataclass(frozen=True)
class _Piece:
    head: LogPiece
    data: bytes


async def _ask(session: Session, live: Live, **fields: object) -> _Piece:
    def trouble(reason: str | None) -> None:
        live.set(trouble=reason)

    reply = await session.persist("log", trouble=trouble, job=live.id, limit=PIECE, **fields)
    piece = _Piece(parse(LogPiece, reply.header), reply.body)
    if len(piece.data) > PIECE or piece.head.offset + len(piece.data) > piece.head.size:
        raise AgentFailed(f"The agent on {live.worker} sent a log piece of an impossible size.")
    return piece


async def follow_log(
    session: Session, live: Live, *, offset: int = 0, follow: bool = True
) -> AsyncGenerator[bytes, None]:
    """Yield the log's bytes from `offset` on; with `follow` until the job has ended."""
    await live.until(lambda: live.acknowledged or live.terminal or live.broken is not None)
    if not live.acknowledged:
        return  # it never started, so it never said anything
    reader = _Reader(session, live, offset, wait=_WAIT if follow else 0.0)
    try:
        while True:
            piece = await reader.next()
            if piece.data:
                yield piece.data
            if piece.head.end or (not follow and reader.offset >= piece.head.size):
                return
    except RequestRefused as error:
        if error.code != "unknown_job":
            raise
    finally:
        await reader.aclose()


class _Reader:
    """Asks for pieces of a log in order, ahead where it is known that there are more."""

    def __init__(self, session: Session, live: Live, offset: int, wait: float) -> None:
        self.offset = offset
        self._session, self._live, self._wait = session, live, wait
        self._size = 0
        self._ahead: deque[asyncio.Task[_Piece]] = deque()

    async def next(self) -> _Piece:
        """Return the next piece."""
        if not self._ahead:
            self._ask_for(self.offset, self._wait)
        asked = self.offset + len(self._ahead) * PIECE
        while len(self._ahead) < _AHEAD and asked + PIECE <= self._size:
            self._ask_for(asked, 0.0)
            asked += PIECE
        piece = await self._ahead.popleft()
        if piece.head.offset != self.offset:
            raise AgentFailed(f"The agent on {self._live.worker} sent another part of the log.")
        self.offset += len(piece.data)
        self._size = piece.head.size
        return piece

    def _ask_for(self, offset: int, wait: float) -> None:
        asking = _ask(self._session, self._live, offset=offset, wait=wait)
        self._ahead.append(asyncio.create_task(asking))

    async def aclose(self) -> None:
        """Stop asking."""
        for task in self._ahead:
            task.cancel()
        await asyncio.gather(*self._ahead, return_exceptions=True)


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
            offset = piece.head.offset + len(piece.data)
            piece = await _ask(session, live, offset=offset, wait=_WAIT)
            if piece.head.size - offset > 2 * PIECE:
                # It grows faster than anybody reads: go to its end.
                piece = await _ask(session, live, tail=TAIL, wait=0.0)
                kept = b""
            kept = (kept + piece.data)[-TAIL:]


async def last_lines(session: Session, live: Live, lines: int) -> int:
    """Return the offset at which the last so many lines of a log begin.

    Looked for in the last pieces alone: a log of many gigabytes is not read for that.
    """
    if not live.acknowledged:
        return 0
    piece = await _ask(session, live, tail=PIECE, wait=0.0)
    data = piece.data
    end = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        end = data.rfind(b"\n", 0, end)
        if end < 0:
            return piece.head.offset
    return piece.head.offset + (end + 1 if lines else len(data))
