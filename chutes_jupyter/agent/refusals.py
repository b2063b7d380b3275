"""What the codec says when it refuses: where in the value, what it is, and what to do."""

from __future__ import annotations

import json
from typing import Any, Iterable, List, Optional, Tuple, Union

Buffer = Union[bytes, bytearray, memoryview]

#: A place inside a value: the place around it, and the step from there (an index or a key, or
#: ready words). Tuples, since one is made for every item and hardly ever read.
Place = Tuple[Any, Any]


class Words(str):
    """A step that is said as it stands."""

    __slots__ = ()


ELEMENT = Words(" (an element)")
KEY = Words(" (a key)")


class CodecError(Exception):
    """The value can't become bytes, or the bytes no value."""


def malformed(why: str) -> CodecError:
    """Return the error for bytes that no codec wrote."""
    return CodecError("these bytes are not a value: %s" % why)


def name_of(place: Place) -> str:
    """Return what a place is called, as ``job_data["cfg"][2]``."""
    steps: List[str] = []
    around: Optional[Place] = place
    while around is not None:
        around, step = around
        steps.append(step if type(step) is Words else "[%s]" % _short(step))
    steps.reverse()
    # Without a name of its own, the value is called by the outermost key.
    if not steps[0] and len(steps) > 1:
        steps[1] = steps[1].strip('["]')
    text = "".join(steps) or "value"
    return text if len(text) <= 200 else text[:200] + "…"


def _short(key: object) -> str:
    # Only what surely has a harmless repr: a huge int raises, and a person's class may.
    if type(key) is str:
        text = json.dumps(key, ensure_ascii=False)
    elif isinstance(key, (bool, float, bytes, type(None))) or (
        type(key) is int and -1 << 63 <= key < 1 << 63
    ):
        text = repr(key)
    else:
        text = "<%s>" % type(key).__name__
    return text if len(text) <= 60 else text[:60] + "…"


def full_name(kind: type) -> str:
    """Return a class's name, with its module unless that says nothing."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return "%s.%s" % (kind.__module__, kind.__qualname__)


_ADVICE = (
    ("matplotlib", "Figure", "make it in the function; what returns one brings its picture"),
    ("matplotlib", "Axes", "return axes.figure, which comes back as a picture"),
    ("polars", "LazyFrame", "pass frame.collect()"),
    ("numpy", "matrix", "pass numpy.asarray(…) of it"),
    ("numpy", "recarray", "pass numpy.array(…, dtype=array.dtype.descr) of it"),
    ("numpy", "MaskedArray", "pass array.filled() or array.data"),
)
#: Classes whose subclasses people have, and which can travel themselves.
_BASES = (
    ("numpy", "ndarray"),
    ("pandas", "DataFrame"),
    ("pandas", "Series"),
    ("polars", "DataFrame"),
    ("torch", "Tensor"),
)


def refusal(value: object, place: Place, known: Iterable[type]) -> CodecError:
    """Return the error for a value of a type that can't travel.

    Parameters
    ----------
    value : object
        The refused value.
    place : tuple
        Where it is.
    known : iterable of types
        What can travel: a subclass of one of these would lose its type.
    """
    return CodecError(_sentence(value, type(value), name_of(place), known))


def _sentence(value: object, kind: type, name: str, known: Iterable[type]) -> str:
    import datetime as dt
    import enum

    say = "%s is of type %s, which " % (name, full_name(kind))
    for module, title, advice in _ADVICE:
        if kind.__name__ == title and str(kind.__module__).split(".")[0] == module:
            return say + "can't travel: %s." % advice
    if isinstance(value, enum.Enum):
        return say + "can't travel: pass its .value."
    if hasattr(kind, "__dataclass_fields__"):
        return say + "can't travel: pass its fields, as in a dict."
    for base in known:
        if isinstance(value, base):
            return say + "would come back as a plain %s: pass one that is made from it." % (
                base.__name__
            )
    for base in kind.__mro__[1:]:
        if (str(base.__module__).split(".")[0], base.__name__) in _BASES:
            return say + "would come back as a plain %s: pass one that is made from it." % (
                base.__name__
            )
    if isinstance(value, dt.tzinfo):
        return say + "can't travel: use a datetime.timezone or a zoneinfo.ZoneInfo."
    return say + (
        "can't travel: pass numbers, text, bytes, lists, dicts, dates, paths, arrays or frames, "
        "or write it to a file."
    )
