"""Beside which notebook or script the outputs of a job lie."""

from __future__ import annotations

import contextlib
from pathlib import Path

_NOTEBOOKS = {".ipynb", ".py"}


def notebook_folder(notebook: str | None) -> Path:
    """Return the folder that a notebook lies in, or the present one where that is not known.

    A worker may have made the name up, to have files written where it likes: only one that
    is there counts.
    """
    if notebook:
        path = Path(notebook)
        with contextlib.suppress(OSError, ValueError):  # no name that this system knows
            if path.is_absolute() and path.suffix in _NOTEBOOKS and path.is_file():
                return path.parent
    return Path.cwd()
