"""What a job tells of itself: how far it is, its metrics, what it shows, what it uses."""

from __future__ import annotations

from pydantic import Field

from chutes_jupyter.server.shapes.base import Answer, Asked, Moment


class ProgressView(Answer):
    """How far a job is, as it last said."""

    done: float
    total: float | None
    unit: str | None
    description: str | None
    rate: float | None = Field(description="Units a second of late.")
    seconds_left: float | None = Field(description="At that rate, as of `at`.")
    at: Moment


class GpuView(Answer):
    """How busy a GPU of a job was."""

    index: int
    name: str
    percent: float | None = Field(description="Of the time, by whoever uses it.")
    memory_mib: int | None
    own_mib: int | None = Field(description="What the job's own processes have of it.")
    total_mib: int | None


class UsageView(Answer):
    """What a job used at one moment."""

    at: Moment
    cpu_percent: float | None = Field(description="100 is one core.")
    memory_mib: int | None
    gpus: list[GpuView]


class DisplayView(Answer):
    """One thing that a job showed. It is a stranger's: markup belongs into a sandbox."""

    number: int
    at: Moment
    data: dict[str, str] = Field(description="By MIME type; what is binary as base64.")


class ReadingsQuery(Asked):
    """How much of it."""

    displays: bool = Field(default=False, description="Also what it showed, the newest 8 MiB.")


class ReadingsAnswer(Answer):
    """What a job told of itself so far."""

    progress: ProgressView | None
    metrics: dict[str, list[tuple[float | None, float | None]]] = Field(
        description="Steps and values of each, thinned; null where a value is no number."
    )
    usage: list[UsageView] = Field(description="Of the last minutes, the oldest first.")
    displays: list[DisplayView]
    shown: int = Field(description="How many things it showed and are kept.")
    confirmed: bool = Field(description="Whether the worker has told it just now; else as known.")
