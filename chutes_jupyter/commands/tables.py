"""Text for people: aligned tables, sizes, spans and points of time."""

from __future__ import annotations

import time
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_VALUE = 2000
_UNITS = ("B", "kB", "MB", "GB", "TB")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under their head, aligned in columns; a cell is one line."""
    lines = [[_one_line(cell) for cell in row] for row in (head, *rows)]
    widths = [max(_width(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in pairs).rstrip() + "\n"
        for pairs in (zip(line, widths, strict=True) for line in lines)
    )


def _one_line(text: str) -> str:
    # What workers and scripts say goes to a terminal: no line ends, no control characters.
    return "".join(char if char.isprintable() else " " for char in text)


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def value(found: object, limit: int = _MAX_VALUE) -> str:
    """Return what a function returned, as Python writes it, cut after so many characters."""
    try:
        text = repr(found)
    except ValueError:
        # Python writes no integer of more than 4300 digits.
        text = f"<{type(found).__name__} with a number too long to be shown>"
    except Exception as error:  # noqa: BLE001  # a class's own, with whatever a worker put in it
        text = f"<{type(found).__name__} that can't be shown: {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[:limit]} …"


def size(number: int) -> str:
    """Return a number of bytes as ``12 B``, ``3.4 MB``."""
    value, unit = float(number), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{number} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def span(seconds: float) -> str:
    """Return a span of time as ``4s``, ``3m 04s``, ``2h 07m`` or ``3d 04h``."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if not minutes:
        return f"{whole}s"
    if not hours:
        return f"{minutes}m {whole % 60:02}s"
    if not days:
        return f"{hours}h {minutes % 60:02}m"
    return f"{days}d {hours % 24:02}h"


def ago(seconds: float) -> str:
    """Return how long ago something was as ``20 s ago``, ``3 min ago``, ``5 h ago``."""
    whole = max(0, int(seconds))
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if whole >= length:
            return f"{whole // length} {unit} ago"
    return f"{whole} s ago"


def clock(moment: float, now: float) -> str:
    """Return a point of time: ``20:07:31`` today, ``Nov 23 20:07`` this year, else the date."""
    then, today = time.localtime(moment), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M:%S", then)
    return time.strftime("%b %d %H:%M" if then[0] == today[0] else "%Y-%m-%d", then)
