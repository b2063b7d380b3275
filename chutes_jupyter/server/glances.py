"""How far the jobs that run are, and how busy their GPUs: a short look at each, now and then.

A list needs no more; whoever looks at one job has all its readings kept. Everything here runs
in the background loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chutes_jupyter.errors import ChuteError
from chutes_jupyter.readingpages import ReadingsPage
from chutes_jupyter.replies import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chutes_jupyter.client import JobClient, Live
    from chutes_jupyter.readingpages import Sample
    from chutes_jupyter.readings import Progress

_log = logging.getLogger(__name__)
#: The pause between two looks, in seconds: the agent takes a sample about every two.
PAUSE = 2.0
_PATIENCE = 5.0
#: So many jobs are looked at, the newest.
MOST = 50
#: So many samples make a sparkline.
_SAMPLES = 60
#: Behind the end of any metrics: a list does not show them.
_NO_METRICS = 2**52


@dataclass
class _Known:
    progress: Progress | None = None
    gpu: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    stamps: dict[str, int] = field(
        default_factory=lambda: {"progress": 0, "displays": 0, "usage": 0}
    )
    sample: int = 0


class Glances:
    """What was seen of each job."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def progress(self, job: str, recorded: Progress | None) -> Progress | None:
        """Return how far a job is, by whichever is newer."""
        seen = self._known[job].progress if job in self._known else None
        if seen is None or (recorded is not None and recorded.at > seen.at):
            return recorded
        return seen

    def gpu(self, job: str) -> list[float]:
        """Return how busy the busiest GPU of a job was in each of the newest samples."""
        return list(self._known[job].gpu) if job in self._known else []

    async def take(self, client: JobClient, lives: Sequence[Live]) -> list[str]:
        """Look at jobs; return those of which there is something new."""
        found = await asyncio.gather(*(self._look(client, live) for live in lives[:MOST]))
        return [live.id for live, new in zip(lives, found, strict=False) if new]

    def forget(self, job: str) -> None:
        """Forget a job that has ended."""
        self._known.pop(job, None)

    async def _look(self, client: JobClient, live: Live) -> bool:
        if live.trouble or not live.acknowledged:
            return False
        known = self._known.setdefault(live.id, _Known())
        fields: dict[str, Any] = {
            "stamps": known.stamps,
            "metrics": _NO_METRICS,
            "sample": known.sample,
        }
        try:
            async with asyncio.timeout(_PATIENCE):
                control = client.follower(live).control
                reply = await control.request("readings", job=live.id, **fields)
            page = parse(ReadingsPage, reply.header)
        except (ChuteError, TimeoutError) as error:
            # Also an older agent, which knows no readings.
            _log.debug("%s was not looked at: %s", live.label, error)
            return False
        known.stamps = page.stamps.model_dump()
        if page.progress is not None:
            known.progress = page.progress.value()
        for sample in page.usage:
            known.sample = max(known.sample, sample.n)
            if (busy := _busiest(sample)) is not None:
                known.gpu.append(busy)
        return page.progress is not None or bool(page.usage)


def _busiest(sample: Sample) -> float | None:
    return max((gpu.util for gpu in sample.gpus if gpu.util is not None), default=None)
