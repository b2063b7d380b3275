"""The steps from asking a job to end to making it end, and when each is due."""

from __future__ import annotations

import time
from typing import List, Optional, Tuple

#: Tell the function, through its cancel event.
EVENT = "event"
#: Raise CancelledError in its task.
INTERRUPT = "interrupt"
#: SIGTERM to every process of the job.
TERM = "term"
#: SIGKILL, until none is left.
KILL = "kill"


class Ladder:
    """When which step is due.

    Parameters
    ----------
    grace : float
        Seconds from the cancel event to the CancelledError. Half of it more, and SIGTERM
        follows; half of it more, and SIGKILL.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._steps: List[Tuple[float, str]] = []
        self.by: Optional[str] = None

    @property
    def started(self) -> bool:
        """Whether the job was asked to end."""
        return self.by is not None

    def start(self, by: str) -> None:
        """Begin with the first step; later calls change nothing."""
        if self.started:
            return
        self.by = by
        now = time.monotonic()
        self._steps = [
            (now, EVENT),
            (now + self._grace, INTERRUPT),
            (now + self._grace * 1.5, TERM),
            (now + self._grace * 2.0, KILL),
        ]

    def force(self) -> None:
        """Leave the polite steps out: the function is over, but something still runs."""
        now = time.monotonic()
        half = self._grace / 2
        self._steps = [(now + half, TERM), (now + 2 * half, KILL)]

    def due(self) -> Optional[float]:
        """Return when the next step is due (monotonic seconds), or None."""
        return self._steps[0][0] if self._steps else None

    def take(self) -> Optional[str]:
        """Return the step that is due now, once."""
        if self._steps and time.monotonic() >= self._steps[0][0]:
            return self._steps.pop(0)[1]
        return None
