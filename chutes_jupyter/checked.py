"""What `JobFunction.check` does: everything of a submit that comes before the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter import portal
from chutes_jupyter.client.interpreter import Lack
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import CaptureError, ChuteError
from chutes_jupyter.preflight import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from chutes_jupyter.assembled import Assembled

__all__ = ["report"]


def report(job: str, worker: str, assemble: Callable[[], Assembled]) -> Report:
    """Return what a job would take along, and what stands in its way.

    Parameters
    ----------
    job, worker : str
        The job function, and the worker that it would run on.
    assemble : callable
        Puts together what it takes along.
    """
    try:
        found = assemble()
    except CaptureError as error:
        return Report(job, worker, refused=(str(error),))
    lack = Lack({}, {}, [], "")
    unasked = ""
    try:
        if found.needs.any:
            lack = portal.call(current_client().lacks, worker, found.needs)
    except ChuteError as error:
        unasked = str(error)
    return Report(
        job,
        worker,
        found.items,
        (*found.refused, *lack.syntax),
        found.held,
        lack.modules,
        lack.perhaps,
        unasked,
    )
