"""Where the outputs of a job lie on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chutes_jupyter.config import Settings
    from chutes_jupyter.store import JobRecord

#: Beside what else the outputs of a job may lie.
_NOTEBOOKS = {".ipynb", ".py"}


def output_folder(record: JobRecord, settings: Settings) -> Path:
    """Return the folder of a job whose record names none yet.

    A process that submits a job records it: others of this machine work in other folders, and
    must bring outputs to the same place.
    """
    return settings.outputs_dir(_notebook_folder(record.notebook)) / record.label


def _notebook_folder(notebook: str | None) -> Path:
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
