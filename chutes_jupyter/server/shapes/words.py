"""What a job said: events, its log, its result."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from chutes_jupyter.server.shapes.base import (
    MOST_LOG,
    Answer,
    Asked,
    Limit,
    Moment,
    Start,
    Wait,
)


class EventsQuery(Asked):
    """Which events of a job."""

    after: Start = Field(default=0, description="Only those with a higher number.")
    limit: Limit = 500
    wait: Wait = 0.0


class EventView(Answer):
    """One numbered event, as the worker tells it; `n`, `t` and `type` are always there."""

    model_config = ConfigDict(frozen=True, extra="allow")

    n: int
    t: Moment
    type: str


class EventsAnswer(Answer):
    """Events in their order."""

    events: list[EventView]
    next: int = Field(description="What to ask for as `after` next.")
    more: bool = Field(description="Whether there are more already.")
    state: str | None
    terminal: bool


class LogQuery(Asked):
    """Which piece of a log: from `offset`, or the last `tail` bytes, or the last `lines`."""

    offset: Start | None = None
    tail: Annotated[int, Field(ge=0, le=MOST_LOG)] | None = None
    lines: Annotated[int, Field(ge=0, le=10_000)] | None = None
    limit: Annotated[int, Field(ge=4, le=MOST_LOG)] = 64 * 1024
    wait: Wait = 0.0


class LogAnswer(Answer):
    """A piece of a log, as text. It begins and ends between characters."""

    text: str
    offset: int = Field(description="Of the first byte of the text.")
    next: int = Field(description="Of the first byte behind it: what to ask for next.")
    size: int = Field(description="How long the log is by now, in bytes.")
    skipped: int = Field(description="Bytes before `offset` that are kept no more.")
    end: bool = Field(description="Whether nothing more will come behind `next`.")
    runs: list[tuple[int, int]] = Field(
        description="From which byte of the text on which stream wrote it, 1 or 2 (stderr); "
        "empty: all of it is 1."
    )


class LogLiveQuery(Asked):
    """Where a live log begins: at `offset`, or with the last so many `lines`."""

    offset: Start | None = None
    lines: Annotated[int, Field(ge=0, le=10_000)] | None = None


class ErrorView(Answer):
    """What the function raised."""

    type: str
    message: str
    traceback: str


class ResultAnswer(Answer):
    """How a job ended. Nothing is unpickled for it."""

    state: str
    live: bool
    reason: str | None
    has_value: bool | None = Field(description="None while that is not known.")
    text: str | None = Field(description="What it returned, as Python writes it.")
    cut: bool = Field(description="Whether the text is only the beginning.")
    withheld: str | None = Field(description="Why what it returned is not shown here.")
    error: ErrorView | None
