"""What streams tell of one job: its log as it comes, and what is known of it.

Everything here runs in the background loop.
"""

from __future__ import annotations

import asyncio
import codecs
from typing import TYPE_CHECKING

from chutes_jupyter.client.logindex import LogIndex
from chutes_jupyter.server.streams import Sent, sent
from chutes_jupyter.server.verbs import runs_of
from chutes_jupyter.server.views import view

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chutes_jupyter.client.logindex import Mark
    from chutes_jupyter.server.cases import Case

#: The pause between two looks at one job, in seconds.
_PAUSE = 0.1
#: How much text one event has, in bytes.
_PIECE = 64 * 1024


async def log_news(case: Case, offset: int | None, lines: int | None) -> AsyncGenerator[Sent, None]:
    """Yield a log as it comes, from a byte on or beginning with the last lines."""
    client, live = case.client, case.live
    if offset is None:
        offset = 0 if lines is None else await client.log_offset(live, lines)
    stream = client.log(live, offset=offset, follow=True)
    index = LogIndex(case.control, live)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    begin = offset
    try:
        while (data := await stream.next()) is not None:
            # Words about a gap stand before what was printed, and have no place in the log.
            marks = await index.marks(max(begin, stream.offset - len(data)), stream.offset)
            for text, left in _cut(decoder, data):
                # Where the next one begins: what the decoder keeps back is asked for again.
                behind = stream.offset - left
                yield _said(text, begin, behind, marks)
                begin = behind
    finally:
        await stream.aclose()
    if rest := decoder.decode(b"", final=True):
        yield _said(rest, begin, stream.offset, [])
    yield sent("end", {"state": live.state})


def _said(text: str, begin: int, behind: int, marks: Sequence[Mark]) -> Sent:
    data = {"text": text, "offset": begin, "next": behind, "runs": runs_of(marks, begin, behind)}
    return sent("log", data, str(behind))


def _cut(decoder: codecs.IncrementalDecoder, data: bytes) -> list[tuple[str, int]]:
    """Return the text of pieces of a moderate size, each with how many bytes follow it."""
    found = []
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        text = decoder.decode(piece)
        kept = len(decoder.getstate()[0])
        if text:
            found.append((text, len(data) - start - len(piece) + kept))
    return found


async def job_news(case: Case) -> AsyncGenerator[Sent, None]:
    """Yield what is known of a job, now and after every change, until nothing more will change."""
    live = case.live
    changed = asyncio.Event()
    changed.set()
    unsubscribe = live.subscribe(changed.set)
    told = None
    try:
        while True:
            await changed.wait()
            changed.clear()
            over = live.over and (live.mirror_over or not live.listed)
            found = view(live, case.root)
            # `elapsed` grows by itself.
            known = found.model_copy(update={"elapsed": None})
            if known != told:
                told = known
                yield Sent("job", found.model_dump_json())
            if over:
                break
            await asyncio.sleep(_PAUSE)
    finally:
        unsubscribe()
    yield sent("end", {"state": live.state})
