"""Our errors in a notebook: the person's own lines and the message, without our frames."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ChuteError, JobFailed, UsageError
from chutes_jupyter.kernel import tracebacks

if TYPE_CHECKING:
    from collections.abc import Iterator

#: IPython asks an exception for this method; no handler of the person's own is displaced.
_HOOK = "_render_traceback_"
#: Said below the frames of a worker.
_NO_FRAMES = "The frames are the worker's and ended with the job: %debug has none of them."
#: Folders of our package and of the standard library.
_NOT_THEIRS = (str(Path(__file__).resolve().parents[1]), sysconfig.get_path("stdlib"))


def register() -> None:
    """Let IPython show our errors shortly."""
    setattr(ChuteError, _HOOK, _render)


def unregister() -> None:
    """Show our errors like all others again."""
    if _HOOK in vars(ChuteError):
        delattr(ChuteError, _HOOK)


def shorten(error: BaseException, message: str) -> None:
    """Let IPython show `message` alone for this one exception."""
    setattr(error, _HOOK, lambda: [message])


@contextlib.contextmanager
def syntax_errors() -> Iterator[None]:
    """Show a cell's syntax error alone; IPython would put all our frames before it."""
    try:
        yield
    except SyntaxError as error:
        text = "".join(traceback.format_exception_only(error))
        raise UsageError(f"the cell is not Python:\n{text.rstrip()}") from None


def _render(error: ChuteError) -> list[str]:
    """Return what IPython prints for an error of ours: where it was raised, and what it says."""
    lines = [
        f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n    {frame.line}'
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_the_persons(frame)
    ]
    if isinstance(error, JobFailed) and error.raised:
        shown = tracebacks.lines(error.raised, colours=_colours())
        return [*shown, "", *lines, f"JobFailed: {error.message}", _NO_FRAMES]
    return [*lines, f"{type(error).__name__}: {error}"]


def _colours() -> bool:
    """Whether this notebook's tracebacks have colours."""
    from IPython import get_ipython

    shell = get_ipython()
    return str(getattr(shell, "colors", "")).lower() not in ("", "nocolor")


def _is_the_persons(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is of the notebook or of a module of the person's, not of a library's."""
    name = frame.filename
    if "site-packages" in name or name.startswith(("<frozen", *_NOT_THEIRS)):
        return False
    # What a cell with a magic became says nothing that the cell does not say.
    line = frame.line or ""
    return "run_cell_magic(" not in line and "run_line_magic(" not in line
