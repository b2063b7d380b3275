"""Cells with lines that only IPython understands."""

from __future__ import annotations

from tests.corpus.cases import Case

CASES = {
    "a shell line": Case("!echo one\nprint('two')", refused="IPython's own"),
}
