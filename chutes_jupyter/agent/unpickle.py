"""Reading what the notebook pickled for its own job: values of libraries that have no other form.

Only the job's process does this, with what its own person sent. The client never imports this
module, since whoever unpickles what a worker sent runs its code; see `pickled` for the way home.
"""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any, Dict


def unpickle(data: bytes, names: Dict[str, Any], shown: str) -> Any:
    """Return a pickled value.

    Parameters
    ----------
    data : bytes
        The pickle. Functions and classes of the notebook are names in it.
    names : dict
        What these names mean.
    shown : str
        What the value is called, for errors.

    Raises
    ------
    RuntimeError
        If it can't be read here: a library is missing, or is of another version.
    """
    try:
        return _Unpickler(data, names).load()
    except Exception as error:
        raise RuntimeError(
            "the value %s can't be made on this worker (%s: %s): it was pickled with the "
            "libraries of the notebook, and %s may have none or others. Install the same "
            "version here, or make it inside the function."
            % (shown, type(error).__name__, error, sys.executable)
        ) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, names: Dict[str, Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._names = names

    def persistent_load(self, pid: Any) -> Any:
        return self._names[pid]
