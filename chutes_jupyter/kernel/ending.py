"""How a job ended, as its panel shows it: the value's repr, or the error as IPython shows one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chutes_jupyter.commands import tables
from chutes_jupyter.kernel import tracebacks

if TYPE_CHECKING:
    from chutes_jupyter.job import Job

#: So much of a traceback is shown, in lines: its end tells the most.
_MAX_LINES = 400


def of(job: Job) -> dict[str, Any]:
    """Return what a job that has ended returned, or raised.

    Raises
    ------
    ChuteError
        If that can't be read here.
    """
    error = job._live.error
    traceback = ""
    if error is not None:
        lines = (
            tracebacks.lines(error.raised, colours=True)
            if error.raised
            else error.traceback.split("\n")
        )
        traceback = "\n".join(lines[-_MAX_LINES:])
    withheld = job.withheld
    value = None if withheld else job.value
    return {
        "value": None if value is None else tables.value(value),
        "traceback": traceback,
        "withheld": withheld,
    }
