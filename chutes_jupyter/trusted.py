"""Reading what a worker pickled, for a person who trusts that worker: here and nowhere else.

Whoever unpickles runs whatever code the worker put into the pickle. So it is read only where
the person said so, of one result or of a worker, and not even fetched otherwise.
"""

from __future__ import annotations

import io
import mmap
import pickle
import sys
from typing import TYPE_CHECKING, Any

from chutes_jupyter.config import Workers
from chutes_jupyter.errors import ResultError
from chutes_jupyter.harmless import harmless

if TYPE_CHECKING:
    from chutes_jupyter.client import Live
    from chutes_jupyter.client.results import Result
    from chutes_jupyter.own_classes import OwnClasses

_HERE = "{}.{}".format(*sys.version_info)


def wanted(live: Live, trust: bool) -> bool:
    """Whether a job's result is a pickle that may be read here.

    Parameters
    ----------
    live : Live
        The job, which has ended.
    trust : bool
        Whether the person said so for this result; the workers file may say so of its worker.
    """
    if live.untrusted is None:
        return False
    if trust:
        return True
    workers = Workers.load()
    return live.worker in workers and workers.get(live.worker).is_trusted


def loads(data: Result | None, live: Live, classes: OwnClasses) -> Any:
    """Return what a worker pickled; this runs code that the worker chose.

    Parameters
    ----------
    data : Result, optional
        The pickle, if the worker still has it.
    live : Live
        The job that returned it.
    classes : OwnClasses
        The names around the job function, which the worker calls ``__main__``.

    Raises
    ------
    ResultError
        If it can't be read here, with what is missing.
    """
    if data is None:
        raise ResultError(f"{live.worker} does not have the result of {live.label} any more.")
    there = ".".join((live.python or _HERE).split(".")[:2])
    try:
        return _Unpickler(data, classes, there).load()
    except Exception as error:
        raise ResultError(
            f"The result of {live.label} can't be read here: {_why(error)}{_versions(there)}"
        ) from error


class _OtherPython(Exception):
    """Code by value, which another Python would misread."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: Result, classes: OwnClasses, there: str) -> None:
        super().__init__(data if isinstance(data, mmap.mmap) else io.BytesIO(data))
        self._classes, self._there = classes, there

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__" and (found := self._classes.around(name)) is not None:
            return found
        if module.partition(".")[0] == "cloudpickle" and self._there != _HERE:
            # Its code objects are made for one minor version, and crash another.
            raise _OtherPython
        return super().find_class(module, name)


def _why(error: Exception) -> str:
    if isinstance(error, _OtherPython):
        return "it holds functions or classes by value, which only the same Python can read."
    words = harmless(str(error), lines=False)[:500]
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = harmless(error.name, lines=False)[:200]
        return f"it needs the module {name}, which is not here. Install it, and ask again."
    if isinstance(error, AttributeError):
        return f"it needs something that is not here ({words}). Define or import it, and ask again."
    return f"unpickling it failed ({type(error).__name__}: {words})."


def _versions(there: str) -> str:
    if there == _HERE:
        return ""
    return f" It was pickled by Python {there}, and this is {_HERE}, which may be why."
