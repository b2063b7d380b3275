"""The end of a log, as the panel shows it."""

from __future__ import annotations

import io

import pytest
from tqdm import tqdm

from chutes_jupyter.kernel.logtail import shown

OUT, ERR = 1, 2


def seen(text: str, lines: int = 200) -> str:
    return shown([(OUT, text.encode())], lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n", "one\ntwo"),
        ("one\ntwo", "one\ntwo"),
        ("a\r\nb\r\n", "a\nb"),
        ("10%\r50%\r100%\ndone\n", "100%\ndone"),
        ("long line\rshort", "shortline"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07plain\x1b[2K", ""),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07plain", "red plain"),
        ("bell\x07 tab\there", "bell tab\there"),
        ("", ""),
        ("\n\nx", "\n\nx"),
        ("<b>&", "<b>&"),
        ("abc\b\bX", "aXc"),
        ("abc\x1b[2DX\x1b[K", "aX"),
        ("abcdef\x1b[3G\x1b[1K", "  cdef"),
        ("a\nb\nc\x1b[2A\rX\x1b[BY", "X\nbY\nc"),
        ("a\nb\nc\x1b[1F\x1b[J", "a\n\n"),
        ("a\x1b[9999999999AX", "aX"),
        ("a\x1b[<1;2Zb", "ab"),
    ],
)
def test_it_looks_as_in_a_terminal(text: str, expected: str) -> None:
    assert seen(text) == expected


def test_only_the_last_lines_are_shown() -> None:
    assert seen("".join(f"{i}\n" for i in range(1000)), 3) == "997\n998\n999"


def test_long_lines_are_cut() -> None:
    assert seen("x" * 10_000) == "x" * 2000 + " …"
    assert seen("\x1b[9999Cx") == " " * 2000 + " …"


def test_a_bar_stays_below_what_is_printed_meanwhile() -> None:
    runs = [(ERR, b"\r 10%|#"), (OUT, b"epoch 1\n"), (ERR, b"\r 50%|##"), (OUT, b"epoch 2\n")]
    assert shown(runs, 9) == "epoch 1\nepoch 2\n 50%|##"
    ended = [*runs, (ERR, b"\r100%|###\n"), (OUT, b"done\n")]
    assert shown(ended, 9) == "epoch 1\nepoch 2\n100%|###\ndone"
    wiped = [*runs, (ERR, b"\r\x1b[K"), (OUT, b"done\n")]
    assert shown(wiped, 9) == "epoch 1\nepoch 2\ndone"


def test_what_is_cut_between_two_pieces_is_whole() -> None:
    whole = "é\x1b[31mred\x1b[0m ü\n".encode()
    for at in range(len(whole) + 1):
        runs = [(OUT, whole[:at]), (ERR, b"other\n"), (OUT, whole[at:])]
        assert sorted(shown(runs, 9).split("\n")) == ["other", "éred ü"], at


def test_bars_within_bars_stay_one_line_each() -> None:
    written = io.StringIO()
    with tqdm(total=3, desc="outer", file=written, mininterval=0) as outer:
        for _ in range(3):
            with tqdm(total=5, desc="inner", file=written, leave=False, mininterval=0) as inner:
                for _ in range(5):
                    inner.update()
            outer.update()
    lines = shown([(ERR, written.getvalue().encode())], 200).strip().split("\n")
    assert len(lines) == 1
    assert lines[0].startswith("outer: 100%")
