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
    wait = _WAIT if follow else 0.0
    ahead: deque[asyncio.Task[_Piece]] = deque()
    known = asked = offset
    try:
        while True:
            if not ahead:
                ahead.append(_start(session, live, asked, wait))
                asked += PIECE
            while len(ahead) < _AHEAD and asked + PIECE <= known:
                ahead.append(_start(session, live, asked, 0.0))
                asked += PIECE
            piece = await ahead.popleft()
            if piece.head.offset != offset:
                raise AgentFailed(f"The agent on {live.worker} sent another part of the log.")
            offset += len(piece.data)
            known = piece.head.size
            if not ahead:
                asked = offset  # the piece may have been short
            if piece.data:
                yield piece.data
            if piece.head.end or (not follow and offset >= known):
                return
    except RequestRefused as error:
        if error.code != "unknown_job":
            raise
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


def _start(session: Session, live: Live, offset: int, wait: float) -> asyncio.Task[_Piece]:
    return asyncio.create_task(_ask(session, live, offset=offset, wait=wait))


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
