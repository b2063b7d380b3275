"""What a job function raised, as the worker tells it: bounded, checked, and harmless to show.

The worker may be a stranger's. Nothing that it names is looked up or run here; a list that is
not a tree, in which a little data would show without end, is refused.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from chutes_jupyter.harmless import harmless

__all__ = ["Frame", "Raised", "RaisedList"]

_MAX_LINE = 2**31
#: All texts of one list together, in characters: what the agent sends at the most, all of it
#: line ends, and some room.
_MAX_ALL = 1536 * 1024
#: What a line counts at the least, since it is shown with its number and indented.
_EACH = 20


def _line(value: object) -> object:
    return harmless(value, lines=False) if isinstance(value, str) else value


def _source(value: object) -> object:
    # Its indentation stays.
    if not isinstance(value, str):
        return value
    return harmless(value.expandtabs(8), lines=False)


def _lines(value: object) -> object:
    return harmless(value) if isinstance(value, str) else value


Name = Annotated[str, Field(max_length=1024), BeforeValidator(_line)]
FileName = Annotated[str, Field(max_length=8 * 1024), BeforeValidator(_line)]
SourceLine = Annotated[str, Field(max_length=8 * 1024), BeforeValidator(_source)]
Said = Annotated[str, Field(max_length=64 * 1024), BeforeValidator(_lines)]
Number = Annotated[int, Field(ge=0, le=_MAX_LINE)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Frame(_Part):
    """One frame of a traceback, with the lines around the one that ran; the first is `first`."""

    file: FileName
    line: Number
    function: Name
    first: Number = 1
    lines: Annotated[list[SourceLine], Field(max_length=20)] = []
    #: How many frames before it were left out.
    omitted: Number = 0


class Raised(_Part):
    """One exception, and the places in the list of what it came from and of its parts."""

    type: Name
    #: Module and name of its type, and of those that this derives from, nearest first.
    bases: Annotated[
        list[Annotated[list[Name], Field(min_length=2, max_length=2)]], Field(max_length=20)
    ] = []
    said: Said
    notes: Annotated[list[Said], Field(max_length=20)] = []
    frames: Annotated[list[Frame], Field(max_length=100)] = []
    before: Number | None = None
    #: Whether it was raised ``from`` that, rather than while that was handled.
    cause: bool = False
    parts: Annotated[list[Number], Field(max_length=50)] = []
    #: How many parts were left out.
    more: Number = 0

    def size(self) -> int:
        """Return how many characters it has, and what showing them costs where there are none."""
        texts = [self.type, self.said, *self.notes]
        for frame in self.frames:
            texts += [frame.file, frame.function, *frame.lines]
        breaks = sum(text.count("\n") for text in (self.said, *self.notes))
        return sum(map(len, texts)) + _EACH * (len(texts) + breaks)


def _tree(items: list[Raised]) -> list[Raised]:
    named: set[int] = set()
    for place, item in enumerate(items):
        others = [*item.parts, *([] if item.before is None else [item.before])]
        for other in others:
            if not place < other < len(items) or other in named:
                raise ValueError("the exceptions are no tree")
            named.add(other)
    if sum(item.size() for item in items) > _MAX_ALL:
        raise ValueError("the exceptions say too much")
    return items


RaisedList = Annotated[list[Raised], Field(max_length=100), AfterValidator(_tree)]
