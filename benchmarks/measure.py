"""Rounds of a case and its peer, interleaved; and what is made of the times."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """What is timed.

    Parameters
    ----------
    name : str
        What is done, in a few words.
    ours, peer : callable
        Does it once and returns the seconds that count; a case without a peer has None.
    limit : float, optional
        The ratio of the medians to stay below; seconds, where there is no peer. Without one
        the figure is for information.
    repeat : int
        How many times each is done in a round.
    """

    name: str
    ours: Callable[[], float]
    peer: Callable[[], float] | None
    limit: float = math.inf
    repeat: int = 1


@dataclass
class Times:
    """The seconds of one side of a case."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median in seconds."""
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        """The median and the range, in milliseconds or seconds."""
        scale, unit = (1000, "ms") if self.median < 1 else (1, "s")
        low, middle, high = (
            f"{value * scale:.4g}" for value in (min(self.seconds), self.median, max(self.seconds))
        )
        return f"{middle} {unit} ({low} to {high})"


def run(case: Case, rounds: int) -> tuple[Times, Times]:
    """Do a case and its peer in turn, after one of each that doesn't count.

    Who goes first changes with each round, so that neither has the other's warm caches.
    """
    ours, peer = Times(), Times()
    sides: Sequence[tuple[Callable[[], float], Times]] = [(case.ours, ours)]
    if case.peer is not None:
        sides = [*sides, (case.peer, peer)]
    for once, _ in sides:
        once()
    for _ in range(rounds):
        for _ in range(case.repeat):
            for once, times in sides:
                times.seconds.append(once())
        sides = sides[::-1]
    return ours, peer


def verdict(case: Case, ours: Times, peer: Times) -> tuple[str, bool]:
    """Return the ratio or the time against its limit, in words, and whether it was kept."""
    if case.peer is None:
        kept = ours.median <= case.limit
        return f"limit {case.limit} s: {'kept' if kept else 'MISSED'}", kept
    ratio = ours.median / peer.median
    if case.limit == math.inf:
        return f"ratio {ratio:.2f}, for information", True
    kept = ratio <= case.limit
    return f"ratio {ratio:.2f}, limit {case.limit}: {'kept' if kept else 'MISSED'}", kept
