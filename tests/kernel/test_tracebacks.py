"""How a notebook shows what a job raised."""

from __future__ import annotations

import re

from chutes_jupyter.kernel import tracebacks
from chutes_jupyter.raised import Frame, Raised

FRAME = Frame(
    file="In[3]",
    line=9,
    function="A.go(self)",
    first=7,
    lines=["    def go(self):", "", "        raise KeyError(1)", "", ""],
)
FILE = Frame(file="/home/me/mod.py", line=100, function="f()", first=99, lines=["a", "b"])
KEY = Raised(type="KeyError", said="KeyError: 1", frames=[FILE, FRAME], notes=["look\nhere"])


def test_a_frame_has_its_lines_and_an_arrow() -> None:
    assert tracebacks.lines([KEY]) == [
        "-" * 75,
        "KeyError" + " " * 34 + "Traceback (most recent call last)",
        "File /home/me/mod.py:100, in f()",
        "     99 a",
        "--> 100 b",
        "",
        "Cell In[3], line 9, in A.go(self)",
        "      7 def go(self):",
        "      8",
        "----> 9     raise KeyError(1)",
        "",
        "KeyError: 1",
        "look",
        "here",
    ]


def test_colours_are_closed_and_change_no_text() -> None:
    plain = tracebacks.lines([KEY])
    painted = tracebacks.lines([KEY], colours=True)
    assert painted != plain
    assert [re.sub(r"\x1b\[[\d;]+m", "", line) for line in painted] == plain
    assert all(line.count("\x1b") % 2 == 0 for line in painted)


def test_what_came_before_is_shown_first() -> None:
    value = Raised(type="ValueError", said="ValueError: v", before=1, cause=True)
    shown = "\n".join(tracebacks.lines([value, KEY]))
    assert shown.index("KeyError: 1") < shown.index("direct cause") < shown.index("ValueError: v")
    during = value.model_copy(update={"cause": False})
    assert "During handling" in "\n".join(tracebacks.lines([during, KEY]))


def test_the_parts_of_a_group_are_drawn_below_it() -> None:
    inner = Raised(type="ExceptionGroup", said="ExceptionGroup: in", parts=[2], more=7)
    outer = Raised(type="ExceptionGroup", said="ExceptionGroup: out", parts=[1])
    shown = tracebacks.lines([outer, inner, KEY])
    assert "  | ExceptionGroup: in" in shown
    assert "  |   | KeyError: 1" in shown
    assert "  |   +---------------- and 7 more ----------------" in shown


def test_frames_that_were_left_out_are_counted_and_strange_numbers_do_no_harm() -> None:
    odd = Frame(file="In[x]", line=2**31, function="", first=2**31 - 1, lines=["", ""], omitted=40)
    shown = tracebacks.lines([Raised(type="E" * 300, said="", frames=[odd])])
    assert "[... skipping 40 frames]" in shown
    assert f"File In[x]:{2**31}" in shown
