"""Interrupts (Ctrl-C, a notebook's stop button) that come where nothing is half done.

Python raises KeyboardInterrupt wherever the main thread happens to be: also just after it took
a lock and before the ``with`` has begun. That lock stays taken, and the next thread that needs
it hangs for ever; `Condition`, `Event` and `Future` have such moments. So what shares them with
other threads, or has in hand what must not be lost, is done while an interrupt is only noted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["Deferred"]

#: An interrupt that was not heeded for so many seconds lets the next one through: something hangs.
_PATIENCE = 1.0


class _Notes:
    """A handler that notes an interrupt for the handler before it."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler
        self._noted: tuple[float, FrameType | None] | None = None

    def note(self, _number: int, frame: FrameType | None) -> None:
        if self._noted is None:
            self._noted = time.monotonic(), frame
        elif time.monotonic() - self._noted[0] > _PATIENCE:
            self.heed()

    def heed(self) -> None:
        if self._noted is not None:
            (_, frame), self._noted = self._noted, None
            self.handler(signal.SIGINT, frame)


class Deferred:
    """A context in which an interrupt waits for `heed`, or for the end of the context.

    Only the main thread is interrupted: elsewhere, and where a program has no handler of
    Python's, this does nothing. Contexts may lie within each other.
    """

    def __init__(self) -> None:
        self._notes: _Notes | None = None
        self._outermost = False

    def __enter__(self) -> Deferred:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, _Notes):
                self._notes = outer
            elif callable(handler):
                with contextlib.suppress(ValueError):  # an interpreter within another one
                    notes = _Notes(handler)
                    signal.signal(signal.SIGINT, notes.note)
                    self._notes, self._outermost = notes, True
        return self

    def __exit__(self, *_: object) -> None:
        if self._notes is not None:
            if self._outermost:
                signal.signal(signal.SIGINT, self._notes.handler)
            self._notes.heed()

    def heed(self) -> None:
        """Let the handler have an interrupt that was noted: as a rule, it raises."""
        if self._notes is not None:
            self._notes.heed()
