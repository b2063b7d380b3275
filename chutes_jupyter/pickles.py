"""Pickles that go to a worker: what neither the codec nor source can carry.

Functions, classes and modules are only named in them, and travel as source or imports like
any other: so a pickle holds no code, classes stay the same on both sides, and the two Pythons
may differ. Nothing is ever read from a pickle here.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from chutes_jupyter.unfit import Unfit, misfit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Unpicklable", "dumps"]

#: Python 3.8 reads it, whatever writes it.
_PROTOCOL = 4


class Unpicklable(Exception):
    """Something in a value can't be pickled.

    Parameters
    ----------
    part : object
        What that is.
    why : Unfit
        What is wrong with it.
    """

    def __init__(self, part: object, why: Unfit) -> None:
        super().__init__(why.reason)
        self.part, self.why = part, why


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, reference: Callable[[Any], str | None]) -> None:
        super().__init__(file, _PROTOCOL)
        self._reference = reference
        self.last: object = None

    def persistent_id(self, obj: Any) -> str | None:
        if type(obj) in _SIMPLE:
            return None
        why = misfit(obj)
        if why is not None:
            raise Unpicklable(obj, why)
        self.last = obj
        return self._reference(obj)


_SIMPLE = frozenset({type(None), bool, int, float, complex, str, bytes, list, dict, tuple, set})


def dumps(value: object, reference: Callable[[Any], str | None]) -> bytes:
    """Return the pickle of a value.

    Parameters
    ----------
    value : object
        Anything.
    reference : callable
        Returns the name of what is to be named only, or None.

    Raises
    ------
    Unpicklable
        If something in it can't be pickled.
    """
    file = io.BytesIO()
    pickler = _Pickler(file, reference)
    try:
        pickler.dump(value)
    except Unpicklable:
        raise
    except RecursionError:
        raise Unpicklable(value, Unfit("is nested too deeply", "flatten it")) from None
    except Exception as error:
        why = Unfit(f"can't be pickled ({error})", "make it inside the function")
        raise Unpicklable(pickler.last, why) from error
    return file.getvalue()
