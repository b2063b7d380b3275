"""Text of strangers, made fit to be shown: no word of a worker moves a terminal's cursor."""

from __future__ import annotations

import re

__all__ = ["harmless"]

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]"  # other escapes
)
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Controls, and what turns the reading order of text around: only ever of use to deceive here.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str, *, lines: bool = True) -> str:
    """Return text without what a terminal would obey, and without what no file can hold.

    Parameters
    ----------
    text : str
        Anything, also with lone surrogates, which stand for bytes that are no UTF-8.
    lines : bool
        Whether it may have line ends and tabs; else they become spaces.
    """
    if _SUSPECT.search(text):
        text = _SEQUENCES.sub("", text)
        text = _LINE_ENDS.sub("\n", text)
        text = _CONTROLS.sub("", text)
        text = _SURROGATES.sub("\ufffd", text)
    return text if lines else text.replace("\n", " ").replace("\t", " ")
