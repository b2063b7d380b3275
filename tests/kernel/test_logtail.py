"""The end of a log, as the panel shows it."""

from __future__ import annotations

import pytest

from chutes_jupyter.kernel.logtail import shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("one\ntwo\n", "one\ntwo"),
        ("one\ntwo", "one\ntwo"),
        ("a\r\nb\r\n", "a\nb"),
        ("10%\r50%\r100%\ndone\n", "100%\ndone"),
        ("long line\rshort", "shortline"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07plain\x1b[2K", "red plain"),
        ("bell\x07 tab\there", "bell tab\there"),
        ("", ""),
        ("<b>&", "<b>&"),
    ],
)
def test_it_looks_as_in_a_terminal(text: str, seen: str):
    assert shown(text) == seen


def test_only_the_last_lines_are_shown():
    assert shown("".join(f"{i}\n" for i in range(1000)), 3) == "997\n998\n999"


def test_long_lines_are_cut():
    assert len(shown("x" * 10_000)) < 3000
