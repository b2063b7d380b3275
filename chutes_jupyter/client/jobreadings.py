"""What a job tells of itself, for whoever shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.client.facts import JobFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chutes_jupyter.readings import Display, Point, Progress, Usage


class JobReadings(JobFacts):
    """Progress, metrics, what was shown, and what is used; kept up to date while somebody looks."""

    @property
    def progress(self) -> Progress | None:
        """How far it is, as it last said; None where it said nothing."""
        return self._live.readings.progress

    @property
    def metrics(self) -> Mapping[str, Sequence[Point]]:
        """The values of each metric, in the order in which the job gave them.

        Of many thousands only some of the older ones are kept, evenly.
        """
        return self._live.readings.metrics

    @property
    def displays(self) -> Sequence[Display]:
        """What it showed with ``display`` and ``plt.show``; of very many the newest."""
        return self._live.readings.displays

    @property
    def usage(self) -> Sequence[Usage]:
        """What its processes used in the last ten minutes, about every two seconds."""
        return self._live.readings.usage
