"""The end of a log as the panel shows it, as plain lines: progress bars stay one line each.

`static/terminal.js` does the same for the panel, with colours, and says why each stream has a
cursor of its own.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: So much of a log is read for its last lines, in lines and bytes: bars rewrite them for hours.
READ_LINES, READ_BYTES = 200, 512 * 1024
MAX_LINE = 2000
#: The cursor moves among so many last lines, as on a terminal of that height.
_SCREEN = 120
#: An escape sequence is no longer than this, in characters.
_ESCAPE = 256

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
    r"|\x1b\[(?P<number>[0-?]*)[ -/]*(?P<move>[@-~])"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b[ -/]*[0-Z\\^-~]"  # other escapes
    r"|(?P<control>[\x00-\x1f\x7f])",
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)\Z")


def shown(runs: Iterable[tuple[int, bytes]], max_lines: int) -> str:
    """Return the last lines of a log as they look once it was written to a terminal.

    Parameters
    ----------
    runs : iterable of (int, bytes)
        What was written, each with its stream.
    max_lines : int
        So many lines at the most.
    """
    screen = _Screen()
    for stream, data in runs:
        screen.write(stream, data)
    lines = screen.lines[-max_lines:]
    return "\n".join(
        line if len(line) <= MAX_LINE else line[:MAX_LINE] + " …" for line in map(str.rstrip, lines)
    )


class _Cursor:
    """Where a stream writes: in no row where the next thing that it writes begins a line."""

    def __init__(self) -> None:
        self.row: int | None = None
        self.column = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        #: The beginning of an escape sequence whose rest is still to come.
        self.rest = ""


class _Screen:
    """Lines that two streams write.

    What one of them writes while the other is in the middle of a line goes above that line.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._cursors = (_Cursor(), _Cursor())
        self._own, self._other = self._cursors

    def write(self, stream: int, data: bytes) -> None:
        """Take what a stream wrote."""
        out, err = self._cursors
        self._own, self._other = (err, out) if stream == 2 else (out, err)
        own = self._own
        text = own.rest + own.decoder.decode(data)
        cut = _UNFINISHED.search(text, max(0, len(text) - _ESCAPE))
        own.rest = text[cut.start() :] if cut else ""
        for token in _TOKEN.finditer(text, 0, cut.start() if cut else len(text)):
            if token["text"]:
                self._put(token["text"])
            elif token["move"]:
                self._move(token["move"], token["number"])
            elif token["control"] == "\n":
                self._newline()
            elif token["control"] == "\r":
                own.column = 0
            elif token["control"] == "\b":
                own.column = max(0, own.column - 1)

    def _put(self, text: str) -> None:
        row, own = self._line(), self._own
        begin = own.column
        text = text[: max(0, MAX_LINE + 1 - begin)]
        line = self.lines[row].ljust(begin)
        own.column = begin + len(text)
        self.lines[row] = line[:begin] + text + line[own.column :]

    def _newline(self) -> None:
        row = self._line() + 1
        # Below the last line, or at one that the other stream writes: the next text begins one.
        self._own.row = None if row in (len(self.lines), self._other.row) else row
        self._own.column = 0

    def _line(self) -> int:
        """Return the row under the cursor, made where there is none."""
        own, other = self._own, self._other
        if own.row is None and other.row == len(self.lines) - 1 and not self.lines[-1].strip():
            # A bar that was wiped away is no line.
            own.row, other.row, other.column = other.row, None, 0
            self.lines[-1] = ""
        if own.row is None and other.row is not None:
            own.row, other.row = other.row, other.row + 1
            self.lines.insert(own.row, "")
        elif own.row is None:
            own.row = len(self.lines)
            self.lines.append("")
        return own.row

    def _move(self, move: str, number: str) -> None:
        own = self._own
        first = int(number) if number.isdigit() and len(number) < 5 else 0
        count = first or 1
        if move in "AF" and self.lines:
            row = len(self.lines) if own.row is None else own.row
            top = max(0, len(self.lines) - _SCREEN)
            own.row = min(max(top, row - count), len(self.lines) - 1)
        elif move in "BE" and own.row is not None:
            own.row = max(own.row, min(own.row + count, len(self.lines) - 1))
        elif move in "CDG":
            to = {"C": own.column + count, "D": own.column - count, "G": count - 1}[move]
            own.column = min(max(0, to), MAX_LINE)
        elif move in "KJ":
            self._erase(first, below=move == "J")
        if move in "EF":
            own.column = 0

    def _erase(self, how: int, *, below: bool) -> None:
        if below and how != 0:
            return  # the screen's history stays
        row, column = self._line(), self._own.column
        line = self.lines[row]
        begun, rest = line[:column], line[column:]
        self.lines[row] = {0: begun, 1: " " * len(begun) + rest}.get(how, "")
        if below:
            self.lines[row + 1 :] = [""] * (len(self.lines) - row - 1)
