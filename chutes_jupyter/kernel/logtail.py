"""The end of a log as a terminal would show it: plain lines, without control sequences."""

from __future__ import annotations

import re

MAX_LINES = 200
MAX_LINE = 2000

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b[ -/]*[0-~]"  # other escapes
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def shown(text: str, max_lines: int = MAX_LINES) -> str:
    """Return the last lines of a text as they look once it was written to a terminal."""
    lines = text.removesuffix("\n").split("\n")[-max_lines:]
    return "\n".join(_overwritten(line) for line in lines)


def _overwritten(line: str) -> str:
    """Return a line as it looks once its carriage returns have moved the cursor back."""
    # A progress bar may rewrite one line for hours; its last versions are enough.
    line = _CONTROL.sub("", line[-50 * MAX_LINE :].rstrip("\r"))
    seen = ""
    for part in line.split("\r"):
        # What was longer before stays visible behind, as in a terminal.
        seen = part + seen[len(part) :]
    return seen if len(seen) <= MAX_LINE else seen[:MAX_LINE] + " …"
