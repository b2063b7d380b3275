"""What a worker says of a job's readings, checked as `replies` checks the rest."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from chutes_jupyter.agent.bundles import MOST_BYTES, is_binary
from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.readings import Display, GpuUsage, Point, Progress, Usage
from chutes_jupyter.replies import Count, Nanoseconds, Size, Time, Word, _Reply

__all__ = [
    "MOST_DISPLAY",
    "ObjectPiece",
    "ProgressReport",
    "ReadingsPage",
    "points",
    "told",
    "unpacked",
]

#: No object that was shown is larger, in bytes of its file.
MOST_DISPLAY = 2 * MOST_BYTES + 1024

#: A count of units may be anything that is finite; nothing here says that it is whole.
Finite = Annotated[float, Field(allow_inf_nan=False)]
Units = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MetricName = Annotated[Word, Field(min_length=1)]
MimeType = Annotated[
    str,
    Field(max_length=100, pattern=r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+(; ?[A-Za-z0-9_.+=-]+)*$"),
]


def _distinct(items: list[ShownItem]) -> list[ShownItem]:
    if len({item.n for item in items}) < len(items):
        raise ValueError("one number twice")
    return items


class ProgressReport(_Reply):
    """How far a job is."""

    done: Units
    total: Units | None = None
    unit: Word | None = None
    description: Word | None = None
    rate: Units | None = None
    seconds_left: Units | None = None
    metrics: dict[MetricName, float] = Field(default_factory=dict, max_length=1000)
    at: Time

    def value(self) -> Progress:
        """Return it for whoever shows it."""
        return Progress(**dict(self))


class ShownItem(_Reply):
    """One object of the list of those that were shown."""

    n: Annotated[int, Field(ge=1, le=2**53)]
    v: Count
    size: Annotated[int, Field(ge=0, le=MOST_DISPLAY)]
    at: Time


class ShownList(_Reply):
    """The objects that were shown and are kept."""

    items: Annotated[list[ShownItem], Field(max_length=250), AfterValidator(_distinct)]


class GpuSample(_Reply):
    """One GPU in a sample."""

    index: Count
    name: Word
    uuid: Word | None
    util: Annotated[float, Field(ge=0, le=100)] | None
    used: Count | None
    own: Count | None
    total: Count | None

    def value(self) -> GpuUsage:
        """Return it for whoever shows it."""
        return GpuUsage(
            index=self.index,
            name=self.name,
            uuid=self.uuid,
            utilisation=self.util,
            memory_mib=self.used,
            own_memory_mib=self.own,
            total_mib=self.total,
        )


class Sample(_Reply):
    """What a job used at one moment."""

    n: Count
    t: Time
    cpu: Annotated[float, Field(ge=0, le=1e9)] | None
    mem: Count | None
    gpus: Annotated[list[GpuSample], Field(max_length=64)]

    def value(self) -> Usage:
        """Return it for whoever shows it."""
        return Usage(self.t, self.cpu, self.mem, tuple(gpu.value() for gpu in self.gpus))


class Stamps(_Reply):
    """The times of the files that were read, opaque here."""

    progress: Nanoseconds
    displays: Nanoseconds
    usage: Nanoseconds


class ReadingsPage(_Reply):
    """The header of the reply to `readings`; its body are lines of metrics."""

    stamps: Stamps
    progress: ProgressReport | None
    displays: ShownList | None
    usage: Annotated[list[Sample], Field(max_length=2000)]
    end: bool


class ObjectPiece(_Reply):
    """The header of the reply to `display`; its body are bytes of the object."""

    stamp: Nanoseconds
    size: Size


class _MetricLine(_Reply):
    name: MetricName
    step: Finite
    value: float
    t: Time


class _Object(_Reply):
    data: Annotated[dict[MimeType, str], Field(max_length=100)]
    metadata: dict[str, Any]


_LINES = TypeAdapter(list[_MetricLine])


def told(report: dict[str, Any] | None) -> Progress | None:
    """Return the progress in a list of jobs; None of what is none, so that the list is whole."""
    try:
        return None if report is None else ProgressReport.model_validate(report).value()
    except (ValidationError, RecursionError):
        return None


def points(body: bytes) -> list[tuple[str, Point]]:
    """Return the metrics in the body of a reply, each with its name.

    Raises
    ------
    AgentFailed
        If it holds anything else.
    """
    if not body:
        return []
    if not body.endswith(b"\n"):
        raise AgentFailed("The worker's agent sent half a line of metrics.")
    try:
        lines = _LINES.validate_json(b"[" + b",".join(body.splitlines()) + b"]")
    except ValidationError as error:
        raise _malformed("metrics", error) from None
    return [(line.name, Point(line.step, line.value, line.t)) for line in lines]


def unpacked(item: ShownItem, body: bytes) -> Display:
    """Return an object that was shown from the bytes of its file.

    Raises
    ------
    AgentFailed
        If they are no such object.
    """
    try:
        found = _Object.model_validate_json(body)
        data = {mime: _form(mime, text) for mime, text in found.data.items()}
    except ValidationError as error:
        raise _malformed("a result", error) from None
    except (binascii.Error, ValueError):
        raise AgentFailed("The worker's agent sent a result that is no base64.") from None
    return Display(number=item.n, data=data, metadata=found.metadata, at=item.at)


def _form(mime: str, text: str) -> str | bytes:
    return base64.b64decode(text, validate=True) if is_binary(mime) else text


def _malformed(what: str, error: ValidationError) -> AgentFailed:
    # Not the error itself, which quotes what came.
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return AgentFailed(f"The worker's agent sent malformed {what}: {where}: {first['msg']}"[:500])
