"""What the API does with one job; everything here runs in the background loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.client.admission import run_again
from chutes_jupyter.client.logindex import STDOUT, LogIndex
from chutes_jupyter.client.outcome import decoded, untrusted
from chutes_jupyter.commands.tables import value as in_words
from chutes_jupyter.errors import AgentFailed, ResultError
from chutes_jupyter.own_classes import OwnClasses
from chutes_jupyter.replies import EventPage, LogPiece, parse
from chutes_jupyter.server.cases import PATIENCE
from chutes_jupyter.server.shapes.jobs import CancelAnswer, JobView
from chutes_jupyter.server.shapes.ports import SshAnswer
from chutes_jupyter.server.shapes.words import (
    ErrorView,
    EventsAnswer,
    EventView,
    LogAnswer,
    ResultAnswer,
)
from chutes_jupyter.server.views import view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client import Live
    from chutes_jupyter.client.logindex import Mark
    from chutes_jupyter.server.cases import Case
    from chutes_jupyter.server.shapes.words import EventsQuery, LogQuery

#: A result that is larger is not decoded only to be shown, in bytes.
MOST_RESULT = 16 * 1024 * 1024
#: How much of what a function returned is shown, in characters.
_MOST_TEXT = 20_000
#: How long the end of a job may take to become known, in seconds.
_ENDING = 5.0

_delivering: set[asyncio.Task[None]] = set()


def _delivered(task: asyncio.Task[None]) -> None:
    _delivering.discard(task)
    if not task.cancelled():
        task.exception()


async def cancel(case: Case, wait: float) -> CancelAnswer:
    """Cancel a job; it is delivered as long as this process lives."""
    client, live = case.client, case.live
    delivering = asyncio.create_task(client.cancel(live))
    # It goes on when nobody waits any more; the job's notices say if it fails.
    _delivering.add(delivering)
    delivering.add_done_callback(_delivered)
    known = asyncio.create_task(client.cancel_known(live))
    try:
        await asyncio.wait([known], timeout=wait)
        if delivering.done() and not live.over:
            await delivering
        return CancelAnswer(told=known.done(), job=view(live, case.root))
    finally:
        known.cancel()


async def again(case: Case) -> JobView:
    """Run a job again as a new one."""
    return view(await run_again(case.client, case.live.record()), case.root)


async def events(case: Case, query: EventsQuery) -> EventsAnswer:
    """Read numbered events of a job."""
    asking = case.control.persist(
        "events", trouble=case.trouble, job=case.live.id, after=query.after, wait=query.wait
    )
    page = parse(EventPage, (await case.within(asking, PATIENCE + query.wait)).header)
    shown = page.events[: query.limit]
    found = [
        # Without the frames of what was raised: `result` tells that.
        EventView(**each.model_dump(exclude_defaults=True, exclude={"error": {"raised"}}))
        for each in shown
    ]
    return EventsAnswer(
        events=found,
        next=found[-1].n if found else query.after,
        more=len(shown) < len(page.events),
        state=page.state,
        terminal=page.terminal,
    )


# -- its log


async def log(case: Case, query: LogQuery) -> LogAnswer:
    """Read a piece of a log, whole characters of it."""
    live = case.live
    if not live.acknowledged:
        return LogAnswer(text="", offset=0, next=0, size=0, skipped=0, end=live.over, runs=[])
    where: dict[str, int] = {"offset": query.offset or 0}
    if query.lines is not None and query.offset is None:
        last = case.client.log_offset(live, query.lines)
        where = {"offset": await case.within(last)}
    elif query.tail is not None and query.offset is None:
        where = {"tail": query.tail}
    limit = max(query.limit, query.tail or 0)
    asking = case.control.persist(
        "log", trouble=case.trouble, job=live.id, limit=limit, wait=query.wait, **where
    )
    reply = await case.within(asking, PATIENCE + query.wait)
    head = parse(LogPiece, reply.header)
    if len(reply.body) > limit or head.offset + head.skipped + len(reply.body) > head.size:
        raise AgentFailed(f"The agent on {live.worker} sent a log piece of an impossible size.")
    begin = head.offset + head.skipped
    index = LogIndex(case.control, live)
    marks = await case.within(index.marks(begin, begin + len(reply.body)))
    return _piece(head, reply.body, marks, cut_start="tail" in where)


def _piece(head: LogPiece, data: bytes, marks: Sequence[Mark], *, cut_start: bool) -> LogAnswer:
    begin = head.offset + head.skipped
    skip = _continued(data) if cut_start else 0
    whole = data[skip:]
    if not head.end:
        # What is cut off here is the beginning of the next piece.
        whole = whole[: len(whole) - unfinished(whole)]
    return LogAnswer(
        text=whole.decode("utf-8", "replace"),
        offset=begin + skip,
        next=begin + skip + len(whole),
        size=head.size,
        skipped=head.skipped,
        end=head.end,
        runs=runs_of(marks, begin + skip, begin + skip + len(whole)),
    )


def runs_of(marks: Sequence[Mark], begin: int, end: int) -> list[tuple[int, int]]:
    """Return from which byte of a piece on which stream wrote it."""
    found: list[tuple[int, int]] = []
    for mark in marks:
        if mark.offset <= begin:
            found = [(0, mark.stream)]
        elif mark.offset < end:
            found.append((mark.offset - begin, mark.stream))
    return [] if found == [(0, STDOUT)] else found


def _continued(data: bytes) -> int:
    """Return how many bytes at the beginning belong to a character that began before."""
    found = 0
    while found < min(3, len(data)) and data[found] & 0xC0 == 0x80:
        found += 1
    return found


def unfinished(data: bytes) -> int:
    """Return how many bytes at the end are a character that goes on behind."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if length > back else 0
    return 0


# -- how it ended


async def result(case: Case) -> ResultAnswer:
    """Tell how a job ended, and what it returned in words."""
    live = case.live
    if live.terminal and live.has_value is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDING):
                await live.until(lambda: live.has_value is not None or live.broken is not None)
    text, withheld = await _returned(case)
    error = live.error
    return ResultAnswer(
        state=live.state,
        live=not live.terminal,
        reason=live.reason,
        has_value=live.has_value if live.terminal else None,
        text=text[:_MOST_TEXT] if text is not None else None,
        cut=text is not None and len(text) > _MOST_TEXT,
        withheld=withheld,
        error=None
        if error is None
        else ErrorView(type=error.type, message=error.message, traceback=error.traceback),
    )


async def _returned(case: Case) -> tuple[str | None, str | None]:
    """Return what a job returned as text, or why that is not shown."""
    live = case.live
    if not live.terminal:
        return None, None
    if live.untrusted is not None:
        return None, untrusted(live)
    if not live.has_value:
        return None, None
    try:
        data = await case.within(_read_result(case))
        return await asyncio.to_thread(_shown, live, data), None
    except ResultError as error:
        return None, str(error)


def _shown(live: Live, data: bytearray) -> str:
    return in_words(decoded(live, data, OwnClasses({})), _MOST_TEXT + 1)


async def _read_result(case: Case) -> bytearray:
    value = bytearray()
    # By the way for files: leaving in the middle closes it.
    await case.bulk.patient_link(case.trouble)
    async with case.bulk.stream("result", job=case.live.id, form="codec") as frames:
        async for reply in frames:
            value += reply.body
            if len(value) > MOST_RESULT:
                raise ResultError(
                    f"The result of {case.live.label} is over {MOST_RESULT // 1024**2} MiB, too "
                    "large to be shown here: job.result() brings it."
                )
    return value


async def ssh(case: Case) -> SshAnswer:
    """Make the door of a job ready."""
    folder = await case.client.door(case.live)
    return SshAnswer(command=folder.command, words=folder.words)
