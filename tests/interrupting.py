"""Interrupts at each moment of a piece of code, one after the other, instead of by chance."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

#: What can be interrupted while it blocks, before it has done anything.
BLOCKING = ("acquire", "poll", "recv", "select")


class Interrupter:
    """Sends this process SIGINT at a moment of the main thread that was not met before.

    A moment is where Python looks for signals: as a function begins, and after one of C has
    returned; and before one that blocks. It is told apart by the place in the code.

    Parameters
    ----------
    within : str
        Count only what is called, at any depth, by a function of this name.
    depth : int
        How many callers are looked at.
    """

    def __init__(self, within: str, depth: int = 20) -> None:
        self._within, self._depth = within, depth
        self._met: set[object] = set()
        #: Where the last interrupt was; empty if every moment has been met.
        self.where = ""

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function, and interrupt it once."""
        self.where = ""
        # Finalizers of whatever else has died would run in the midst of it: Python drops what is
        # raised in these, and 3.11 goes on with a wrong error.
        gc.disable()
        sys.setprofile(self._watch)
        try:
            return function()
        finally:
            sys.setprofile(None)
            gc.enable()

    def _watch(self, frame: FrameType, event: str, called: Any) -> None:
        name = getattr(called, "__name__", "")
        if event not in ("call", "c_return") and not (event == "c_call" and name in BLOCKING):
            return
        place = self._place(frame)
        if place is None or (event, name, place) in self._met:
            return
        self._met.add((event, name, place))
        code = frame.f_code
        self.where = f"{event} {name} in {code.co_filename}:{frame.f_lineno} {code.co_name}"
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

    def _place(self, frame: FrameType) -> tuple[tuple[CodeType, int], ...] | None:
        """Return where a frame is, with its callers up to `within`; None if that is none."""
        place = []
        caller: FrameType | None = frame
        while caller is not None and len(place) < self._depth:
            if caller.f_code.co_filename.endswith(("weakref.py", "_weakrefset.py")):
                return None  # as an object dies: Python drops what is raised there
            place.append((caller.f_code, caller.f_lasti))
            if caller.f_code.co_name == self._within:
                return tuple(place)
            caller = caller.f_back
        return None
