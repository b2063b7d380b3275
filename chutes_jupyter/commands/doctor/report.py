"""What each step of `worker test` found, shown as it is found: a tick, a figure, and advice."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from chutes_jupyter.harmless import harmless

if TYPE_CHECKING:
    from chutes_jupyter.commands.surroundings import Surroundings

_STEP = 13
_WIDTH = 96
#: What stands for a sign where there is only ASCII.
_ASCII = {"✓": "ok", "✗": "FAIL", "…": "...", "→": "->", "±": "+-"}


class Report:
    """The steps so far.

    Parameters
    ----------
    here : Surroundings
        Where it is shown.
    """

    def __init__(self, here: Surroundings) -> None:
        self.prog = here.prog
        #: The steps that failed, by name and in order.
        self.failed: list[str] = []
        self._here = here

    def good(self, step: str, figure: str) -> None:
        """Show a step that went well."""
        self._show("✓", step, figure)

    def odd(self, step: str, figure: str, advice: str) -> None:
        """Show a step that jobs can live with, and what would be better."""
        self._show("!", step, figure, advice)

    def bad(self, step: str, figure: str, advice: str) -> None:
        """Show a step that failed, and what to do."""
        self.failed.append(step)
        self._show("✗", step, figure, advice)

    def _show(self, sign: str, step: str, figure: str, advice: str = "") -> None:
        tick = sign if self._here.signs else _ASCII.get(sign, sign).ljust(4)
        # Workers may be strangers: what they say is shown without what a terminal would obey.
        self._say(f"{tick} {step:<{_STEP}}{harmless(figure, lines=False)}".rstrip())
        margin = " " * (len(tick) + 1 + _STEP)
        for line in harmless(advice).splitlines():
            # Commands stand on lines of their own, and must stay whole.
            whole = line.startswith("    ")
            for piece in [line] if whole else _wrapped(line, _WIDTH - len(margin)):
                self._say(margin + piece)

    def _say(self, line: str) -> None:
        if not self._here.signs:
            for sign, plain in _ASCII.items():
                line = line.replace(sign, plain)
            line = line.encode("ascii", "replace").decode("ascii")
        self._here.say(line)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)


def milliseconds(seconds: float) -> str:
    """Return a short span as ``0.6 ms``, ``28 ms`` or ``3.1 s``."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    value = seconds * 1000
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
