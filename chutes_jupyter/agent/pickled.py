"""Pickling what a function returned and the codec refuses: for clients that trust this worker.

Only written here. A client reads it where its person said so, since whoever unpickles runs
whatever code the writer chose.
"""

from __future__ import annotations

import importlib
import pickle
from typing import Any

#: What every Python reads that an agent or a client runs on.
_PROTOCOL = 5


class Unpicklable(Exception):
    """The value can't be pickled; the message says why."""


def dumps(value: Any) -> bytes:
    """Return the pickle of a value.

    The standard pickle names classes, which are then the same ones at home. What it can't do
    (lambdas, classes made in a function), cloudpickle does by value, where jobs have it.

    Raises
    ------
    Unpicklable
        If something in the value can't be pickled.
    """
    try:
        return pickle.dumps(value, _PROTOCOL)
    except Exception as error:
        first = _words(error)
    try:
        cloudpickle = importlib.import_module("cloudpickle")
    except ImportError:
        # Not what else may be wrong there: it is no module that the function needs.
        raise Unpicklable(
            "%s; cloudpickle, which takes functions and classes too, is not installed there" % first
        ) from None
    try:
        data: bytes = cloudpickle.dumps(value, _PROTOCOL)
    except Exception as error:
        raise Unpicklable(_words(error)) from error
    return data


def _words(error: Exception) -> str:
    return "%s: %.500s" % (type(error).__name__, error)
