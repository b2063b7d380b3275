"""What a job told of itself, for one who looks at it; it runs in the background loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConnectFailed, WaitTimeout
from chutes_jupyter.readings import drawn
from chutes_jupyter.server.shapes.readings import (
    DisplayView,
    GpuView,
    ReadingsAnswer,
    UsageView,
)
from chutes_jupyter.server.views import progress_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.readings import Display, Usage
    from chutes_jupyter.server.cases import Case
    from chutes_jupyter.server.shapes.readings import ReadingsQuery

#: How long a worker may take to tell them before what is known is returned, in seconds.
_PATIENCE = 5.0
#: So many metrics are told.
_MOST_METRICS = 100
#: So much of what was shown is in one answer, in bytes.
_MOST_SHOWN = 8 * 1024 * 1024


async def readings(case: Case, query: ReadingsQuery) -> ReadingsAnswer:
    """Return what a job told of itself; asking again and again keeps it up to date."""
    live = case.live
    with contextlib.suppress(ConnectFailed, WaitTimeout):
        await case.within(case.client.readings(live), _PATIENCE)
    known = live.readings
    return ReadingsAnswer(
        progress=None if known.progress is None else progress_view(known.progress),
        metrics={
            name: drawn(series)
            for name, series in list(known.metrics.items())[:_MOST_METRICS]
            if series
        },
        usage=[_usage(sample) for sample in known.usage],
        displays=await asyncio.to_thread(_displays, known.displays) if query.displays else [],
        shown=len(known.displays),
        confirmed=live.looked and not live.trouble,
    )


def _usage(sample: Usage) -> UsageView:
    return UsageView(
        at=sample.at,
        cpu_percent=sample.cpu_percent,
        memory_mib=sample.memory_mib,
        gpus=[
            GpuView(
                index=gpu.index,
                name=gpu.name,
                percent=gpu.utilisation,
                memory_mib=gpu.memory_mib,
                own_mib=gpu.own_memory_mib,
                total_mib=gpu.total_mib,
            )
            for gpu in sample.gpus
        ],
    )


def _displays(known: Sequence[Display]) -> list[DisplayView]:
    """Return the newest of what was shown, as much as fits."""
    found: list[DisplayView] = []
    left = _MOST_SHOWN
    for display in reversed(known):
        left -= sum(len(value) for value in display.data.values())
        if left < 0:
            break
        found.append(DisplayView(number=display.number, at=display.at, data=display.texts))
    return found[::-1]
