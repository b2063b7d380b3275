"""Writing down what changes often, now and then: at once after a pause, else at most so often.

The job's own process does that: whoever calls may be its innermost loop. What comes last is
written too, by a thread of its own, or at the end. In a process that the job forked nothing is
written: it would be written twice.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, Optional

#: The shortest time between two writes, in seconds.
STEP = 0.1


class Pace:
    """Calls a function that writes, when something was noted.

    Parameters
    ----------
    write : callable
        Told the time; returns in how many seconds it wants to write again even if nothing is
        noted until then, or None.
    """

    def __init__(self, write: Callable[[float], Optional[float]]) -> None:
        self._write = write
        self._pid = os.getpid()
        #: A signal's handler may note something while its own thread is about to.
        self.lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._due: Optional[float] = None
        self._next = 0.0

    @property
    def foreign(self) -> bool:
        """Whether this is another process than the one that writes."""
        return os.getpid() != self._pid

    def noted(self) -> None:
        """Write what was just noted, now or soon; called with the lock."""
        now = time.monotonic()
        if now >= self._next:
            self._run(now)
        elif self._due is None or self._due > self._next:
            self._later(self._next)

    def finish(self) -> None:
        """Write what is left, at the end."""
        if not self.foreign:
            with self.lock:
                self._run(time.monotonic())

    def _run(self, now: float) -> None:
        self._due, self._next = None, now + STEP
        again = self._write(now)
        # What takes long (a slow disk, large pictures) is done less often.
        ended = time.monotonic()
        self._next = ended + max(STEP, 5 * (ended - now))
        if again is not None:
            self._later(self._next + again)

    def _later(self, due: float) -> None:
        self._due = due
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._go_on, name="chute-notes", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the process ends: the end writes it
                self._thread = None

    def _go_on(self) -> None:
        while True:
            due = self._due
            self._wake.wait(None if due is None else max(0.0, due - time.monotonic()))
            self._wake.clear()
            with self.lock:
                now = time.monotonic()
                if self._due is not None and now >= self._due:
                    self._run(now)
