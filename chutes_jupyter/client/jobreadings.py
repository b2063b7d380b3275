"""What a job tells of itself, for whoever shows it."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.client.facts import JobFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chutes_jupyter.client.hub import JobClient
    from chutes_jupyter.readings import Display, Point, Progress, Readings, Usage

#: How long the first look waits for the worker, in seconds.
_PATIENCE = 5.0


class JobReadings(JobFacts):
    """Progress, metrics, what was shown, and what is used.

    Lists of jobs show `record.progress` instead, for which nobody is asked.

    The first look asks the worker, for a few seconds at the most. From then on it is kept up to
    date in the background as long as somebody looks or has subscribed.
    """

    @abstractmethod
    def _followed(self, *, mirror: bool = True) -> JobClient:
        """Return the client, which follows this job from now on."""

    def _readings(self) -> Readings:
        if not portal.is_here():
            client, live = self._followed(mirror=False), self._live
            asked = portal.spawn(client.readings, live)
            # What is not on its worker has none, and who subscribed is told.
            if live.acknowledged and not live.watched:
                # Out of reach it is what was known.
                with contextlib.suppress(TimeoutError):
                    portal.wait(asked, _PATIENCE)
        return self._live.readings

    @property
    def progress(self) -> Progress | None:
        """How far it is, as it last said; None where it said nothing."""
        return self._readings().progress

    @property
    def metrics(self) -> Mapping[str, Sequence[Point]]:
        """The values of each metric, in the order in which the job gave them.

        Of many thousands only some of the older ones are kept, evenly.
        """
        return self._readings().metrics

    @property
    def displays(self) -> Sequence[Display]:
        """What it showed with ``display`` and ``plt.show``; of very many the newest."""
        return self._readings().displays

    @property
    def usage(self) -> Sequence[Usage]:
        """What its processes used in the last ten minutes, about every two seconds."""
        return self._readings().usage
