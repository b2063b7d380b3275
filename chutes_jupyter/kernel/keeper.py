"""The record of a job in its notebook, kept up to date under a display of its own."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from IPython.display import display

from chutes_jupyter.errors import ChuteError
from chutes_jupyter.kernel import ending, view
from chutes_jupyter.kernel.logtail import READ_BYTES, READ_LINES, shown
from chutes_jupyter.kernel.record import MAX_LINES, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.job import Job

#: How often it is renewed while the job runs and its state stays, in seconds.
PAUSE = 30.0
#: How long it waits for the log's last lines, in seconds.
_PATIENCE = 10.0

_log = logging.getLogger(__name__)


class Keeper:
    """Keeps the record of one job.

    It is displayed by the caller's thread; from any other it is only updated in place.

    Parameters
    ----------
    job : Job
        Whose record.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._handle: Any = None
        self._context = contextvars.copy_context()
        self._state, self._at = "", 0.0
        self._log = ""

    def show(self) -> None:
        """Display it, below what the cell has shown so far."""
        show: Callable[..., Any] = display  # IPython's has no types
        self._handle = show(Record.of(self._job), display_id=True)

    def show_whole(self) -> None:
        """Display it as it is for good, of a job that has ended: that waits for the worker."""
        value = None
        try:
            self._log = self._read_log()
            value = ending.of(self._job)["value"]
            self._job._readings()
        except ChuteError as error:
            _log.debug("the record of %s is not whole: %s", self._job.label, error)
        show: Callable[..., Any] = display
        show(Record.of(self._job, self._log, value))

    def renew(self) -> None:
        """Bring it up to date where the state is another, or it is old."""
        if self._state != self._job.state or time.monotonic() - self._at >= PAUSE:
            self._update(None)

    def finish(self, value: str | None) -> None:
        """Bring it up to date for the last time, with what the function returned."""
        self._update(value)

    def _update(self, value: str | None) -> None:
        job = self._job
        self._state, self._at = job.state, time.monotonic()
        job._readings()  # kept up to date from now on
        if job.started_at is not None and not job.trouble:
            try:
                self._log = self._read_log()
            except ChuteError as error:  # out of reach: the lines of before are still its lines
                _log.debug("no end of the log of %s: %s", job.label, error)
        made = Record.of(job, self._log, value)
        try:
            # As from the cell that runs now: nbclient minds nothing that belongs to an earlier one.
            self._handle.update(made)
        except LookupError:
            # Kernels 7.0 to 7.2 know no cell in a thread, but in the context of one.
            self._context.copy().run(self._handle.update, made)

    def _read_log(self) -> str:
        runs = self._job._last_runs(READ_LINES, READ_BYTES, _PATIENCE)
        return shown(runs, MAX_LINES)

    def follow(self) -> None:
        """Keep it up to date by itself until the job and its files are there: without a panel."""
        name = f"chutes_jupyter record {self._job.label}"
        threading.Thread(target=self._follow, name=name, daemon=True).start()

    def _follow(self) -> None:
        changed = threading.Event()
        unsubscribe = self._job.subscribe(changed.set, tail=False)
        try:
            while not view.over(self._job):
                self.renew()
                changed.wait(PAUSE)
                changed.clear()
            self.renew()
            view.settle(changed)
            self.finish(ending.of(self._job)["value"])
        except ChuteError as error:
            _log.debug("the record of %s is not renewed: %s", self._job.label, error)
        except Exception:  # noqa: BLE001  # a fault must not vanish with its thread
            _log.exception("the record of %s stopped", self._job.label)
        finally:
            unsubscribe()
