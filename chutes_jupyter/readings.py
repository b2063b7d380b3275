"""What a running job tells of itself: how far it is, its metrics, what it shows, what it uses.

Plain values for whoever shows them. They came from a worker: texts and markup in them are data,
and nothing here may be run.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from chutes_jupyter.markup import as_html

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A metric is drawn with so many points at the most: nothing that draws one is wider.
MAX_POINTS = 240


@dataclass(frozen=True)
class Progress:
    """How far a job is, as it last said."""

    #: How many units are done.
    done: float
    #: Of how many, or None where the job does not know.
    total: float | None = None
    #: What is counted: ``"epoch"``, ``"it"``.
    unit: str | None = None
    #: What is being done.
    description: str | None = None
    #: Units a second of late, or None as long as that is not known.
    rate: float | None = None
    #: How long the rest takes at that rate, or None; as of `at`.
    seconds_left: float | None = None
    #: The newest values that the job gave with it.
    metrics: Mapping[str, float] = field(default_factory=dict, hash=False)
    #: When it said so, in seconds since the epoch, by the worker's clock.
    at: float = 0.0

    @property
    def fraction(self) -> float | None:
        """The part that is done, from 0 to 1, or None where that is not known."""
        if not self.total or self.total < 0:
            return None
        return min(1.0, max(0.0, self.done / self.total))

    def __str__(self) -> str:
        if self.total is None:
            return f"{number(self.done)} {self.unit}" if self.unit else number(self.done)
        fraction = self.fraction
        percent = "" if fraction is None else f", {int(fraction * 100)} %"
        return f"{number(self.done)} of {number(self.total)}{percent}"


class Point(NamedTuple):
    """One value of a metric."""

    #: As the job gave it, or which value it was, from 0 on.
    step: float
    value: float
    #: In seconds since the epoch, by the worker's clock.
    time: float


@dataclass(frozen=True)
class Display:
    """One thing that a job showed, in every form that it has.

    An update (``update_display``) takes the place of what it updates and keeps its number.
    """

    #: From 1 on, in the order in which they were shown.
    number: int
    #: By MIME type: text as `str` (JSON, too), what is binary as `bytes`.
    data: Mapping[str, str | bytes] = field(hash=False)
    #: As the object gave it: ``{"image/png": {"width": 400}}``.
    metadata: Mapping[str, object] = field(default_factory=dict, hash=False)
    #: When it was shown or updated, by the worker's clock.
    at: float = 0.0

    @property
    def texts(self) -> dict[str, str]:
        """Its forms as JSON takes them: what is binary as base64.

        Markdown that comes alone has a form as HTML, too: a panel can't draw it otherwise.
        """
        found = {
            kind: value if isinstance(value, str) else base64.b64encode(value).decode("ascii")
            for kind, value in self.data.items()
        }
        alone = not any(kind == "text/html" or kind.startswith("image/") for kind in found)
        if alone and "text/markdown" in found:
            html = as_html(found["text/markdown"])
            found |= {} if html is None else {"text/html": html}
        return found


@dataclass(frozen=True)
class GpuUsage:
    """How busy one of a job's GPUs was."""

    #: As NVML counts on the worker.
    index: int
    name: str
    uuid: str | None
    #: In percent of the time, by whoever uses it; None where the driver does not tell.
    utilisation: float | None
    #: What is taken of its memory, by whoever uses it.
    memory_mib: int | None
    #: What the job's own processes have of it; None where the driver does not tell.
    own_memory_mib: int | None
    total_mib: int | None


@dataclass(frozen=True)
class Usage:
    """What the processes of a job used at one moment."""

    #: By the worker's clock.
    at: float
    #: 100 is one core, of late; None in the first sample.
    cpu_percent: float | None
    #: Resident memory, what processes share counted for each of them.
    memory_mib: int | None
    #: The GPUs that it was given or uses; empty without any.
    gpus: tuple[GpuUsage, ...] = ()


@dataclass(frozen=True)
class Readings:
    """All that is known of one job; see `Job.progress` and its siblings."""

    progress: Progress | None = None
    metrics: Mapping[str, tuple[Point, ...]] = field(default_factory=dict, hash=False)
    displays: tuple[Display, ...] = ()
    usage: tuple[Usage, ...] = ()


def drawn(series: Sequence[Point]) -> list[tuple[float | None, float | None]]:
    """Return the steps and values of a metric that are drawn: evenly thinned, the last one always.

    None stands for what is no number: a loss of NaN is worth seeing, and JSON has none.
    """
    if len(series) > MAX_POINTS:
        step = (len(series) - 1) / (MAX_POINTS - 1)
        series = [series[round(place * step)] for place in range(MAX_POINTS)]
    return [(_finite(point.step), _finite(point.value)) for point in series]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def number(value: float) -> str:
    """Return a count as a person writes it."""
    return f"{int(value):,}" if value == int(value) else f"{value:,.2f}"
