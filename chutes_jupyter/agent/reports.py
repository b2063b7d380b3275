"""What the job's own process writes down beside its log: progress, metrics, what it shows."""

from __future__ import annotations

from typing import Any, Callable, Dict

from .bars import Bars
from .imports import Act, Watcher
from .journal import JobDir
from .showing import Display, Shown
from .telling import Teller

__all__ = ["Reports"]


class Reports:
    """All that one job reports.

    Parameters
    ----------
    job : JobDir
        The job.
    notice : callable
        Told what the person should read.
    """

    def __init__(self, job: JobDir, notice: Callable[[str], None]) -> None:
        self.teller = Teller(job.progress, job.metrics, notice)
        self._shown = Shown(job.displays, job.shown, notice)
        self._display = Display(self._shown)

    @property
    def display(self) -> Callable[..., Any]:
        """What the job knows as ``display``."""
        return self._display.display

    def watch(self) -> None:
        """Find progress and results of libraries, as soon as the job imports them."""
        ipython = self._display.take_ipython
        acts: Dict[str, Act] = {
            "tqdm.std": Bars(self.teller.found).watch,
            "matplotlib.pyplot": self._display.take_pyplot,
            # Where these functions are at home, by IPython's version.
            "IPython.core.display_functions": ipython,
            "IPython.core.display": ipython,
        }
        Watcher(acts).begin()

    def finish(self) -> None:
        """Write what is left, at the end of the function."""
        self.teller.finish()
        self._shown.finish()
