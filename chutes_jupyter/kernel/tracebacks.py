"""What a job function raised, shown as IPython shows an error of the notebook's own.

Everything that is shown came from a worker and was made harmless in `raised`; the colours are
added here.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chutes_jupyter.raised import Frame, Raised

__all__ = ["lines"]

_WIDTH = 75
_CELL = re.compile(r"In\[[\d?]+\]")
_RED, _GREEN, _BOLD_GREEN, _CYAN, _OFF = (
    "\x1b[31m",
    "\x1b[32m",
    "\x1b[1;32m",
    "\x1b[36m",
    "\x1b[39;22m",
)
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"


def lines(raised: Sequence[Raised], *, colours: bool = False) -> list[str]:
    """Return the lines that show an exception, what it came from, and its parts.

    Parameters
    ----------
    raised : sequence of Raised
        The first is the one that ended the job.
    colours : bool
        Whether to colour them for a terminal, which a notebook's output is, too.
    """
    return list(_Painter(raised, colours).whole(0))


class _Painter:
    def __init__(self, raised: Sequence[Raised], colours: bool) -> None:
        self._raised = raised
        self._colours = colours

    def whole(self, place: int) -> Iterator[str]:
        """Yield an exception, after those that it came from."""
        chain = [self._raised[place]]
        while chain[-1].before is not None:
            chain.append(self._raised[chain[-1].before])
        chain.reverse()
        for number, each in enumerate(chain):
            if number:
                yield from ("", _CAUSE if each.cause else _CONTEXT, "")
            yield from self._one(each)

    def _one(self, each: Raised) -> Iterator[str]:
        yield self._paint(_RED, "-" * _WIDTH)
        right = "Traceback (most recent call last)"
        gap = max(1, _WIDTH - len(each.type) - len(right))
        yield self._paint(_RED, each.type) + " " * gap + right
        for frame in each.frames:
            yield from self._frame(frame)
            yield ""
        first, *rest = each.said.split("\n")
        kind, colon, said = first.partition(": ")
        if not rest and kind == each.type:
            yield self._paint(_RED, kind) + colon + said
        else:
            yield first
        yield from rest
        for note in each.notes:
            yield from note.split("\n")
        yield from self._parts(each)

    def _parts(self, each: Raised) -> Iterator[str]:
        for number, place in enumerate(each.parts, 1):
            yield f"  +---------------- {number} ----------------"
            for line in self.whole(place):
                yield f"  | {line}".rstrip()
        if each.more:
            yield f"  +---------------- and {each.more} more ----------------"

    def _frame(self, frame: Frame) -> Iterator[str]:
        if frame.omitted:
            yield f"[... skipping {frame.omitted} frames]"
            yield ""
        called = "" if frame.function in ("", "<module>") else f", in {frame.function}"
        if _CELL.fullmatch(frame.file):
            where = f"Cell {self._paint(_GREEN, frame.file)}, line {frame.line}"
        else:
            where = f"File {self._paint(_GREEN, f'{frame.file}:{frame.line}')}"
        yield where + self._paint(_CYAN, called)
        numbered = list(enumerate(frame.lines, frame.first))
        while numbered and not numbered[0][1] and numbered[0][0] < frame.line:
            del numbered[0]
        while numbered and not numbered[-1][1] and numbered[-1][0] > frame.line:
            del numbered[-1]
        texts = textwrap.dedent("\n".join(text for _, text in numbered)).split("\n")
        for (number, _), text in zip(numbered, texts, strict=True):
            if number == frame.line:
                arrow = "-" * (5 - len(str(number))) + f"> {number} "
                yield self._paint(_BOLD_GREEN, arrow) + text
            else:
                yield f"{number:>7} {text}".rstrip()

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_OFF}" if self._colours and text else text
