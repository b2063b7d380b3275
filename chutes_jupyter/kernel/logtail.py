"""The end of a log as a terminal would show it: plain lines, without control sequences."""

from __future__ import annotations

import re
from collections import deque

MAX_LINES = 200
MAX_LINE = 2000
#: How much of a line without an end is kept; a progress bar rewrites one for hours.
_MAX_OPEN = 16 * 1024

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b[ -/]*[0-~]"  # other escapes
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


class LogTail:
    """The last lines of a text that arrives in pieces."""

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=max_lines)
        self._open = ""

    def feed(self, text: str) -> None:
        """Take the next piece, cut anywhere."""
        *whole, last = (self._open + text).split("\n")
        self._lines.extend(whole[-(self._lines.maxlen or 0) :])
        if len(last) > _MAX_OPEN:
            # What a carriage return will overwrite is not needed any more.
            last = last[last.rfind("\r", 0, -1) + 1 :][-_MAX_OPEN:]
        self._open = last

    def text(self) -> str:
        """Return the end of the log."""
        lines = [*self._lines, self._open] if self._open else list(self._lines)
        return "\n".join(_shown(line) for line in lines[-(self._lines.maxlen or 0) :])


def _shown(line: str) -> str:
    """Return a line as it looks once its carriage returns have moved the cursor back."""
    line = _CONTROL.sub("", line.rstrip("\r"))
    shown = ""
    for part in line.split("\r"):
        # What was longer before stays visible behind, as in a terminal.
        shown = part + shown[len(part) :]
    return shown if len(shown) <= MAX_LINE else shown[:MAX_LINE] + " …"
