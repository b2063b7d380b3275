"""Whose values the codec takes besides its own: which module of ours knows which library.

A value can be a library's only if that library was imported already, so writing imports
nothing but the module of ours; reading imports the library, late, to build one.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from .refusals import Buffer, CodecError, Place, full_name, malformed, name_of

#: What comes before the dot of a tag, and the module here that reads and writes those.
MODULES: Dict[str, str] = {
    "arrow": "arrow",
    "pandas": "pandas_frames",
    "picture": "pictures",
    "polars": "polars_frames",
    "tensor": "tensors",
}
#: Whose classes each of them knows: the first part of the name of a class's module.
_LIBRARIES: Dict[str, str] = {
    "PIL": "picture",
    "matplotlib": "picture",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "arrow",
    "torch": "tensor",
}
#: The classes of our own; they are read as a family, too.
_OWN = __name__.rpartition(".")[0] + ".pictures"


class Packed(NamedTuple):
    """A value taken apart: `unpack` gets the parts as they come back, and the raw bytes."""

    tag: str
    #: Each with its step from the whole, for errors; None for one that has no name of its own.
    parts: Sequence[Tuple[Any, Any]]
    blobs: Sequence[Buffer] = ()


def pack(value: Any, place: Place, figures: bool) -> Optional[Packed]:
    """Return a value of a library known here taken apart; None for another value.

    Parameters
    ----------
    value : object
        Anything.
    place : tuple
        Where it is, for errors.
    figures : bool
        Whether a figure becomes a picture.

    Raises
    ------
    CodecError
        If something of the value would be lost.
    """
    kind = type(value)
    module = str(kind.__module__)
    if module.startswith("matplotlib.") and not figures:
        return None
    family = "picture" if module == _OWN else _LIBRARIES.get(module.partition(".")[0])
    if family is None:
        return None
    try:
        packed: Optional[Packed] = _module(family).pack(value, place)
    except CodecError:
        raise
    except Exception as error:  # whatever the library says of a value that it can't take apart
        raise CodecError(
            "%s is of type %s, which can't travel: %s: %.300s"
            % (name_of(place), full_name(kind), type(error).__name__, error)
        ) from error
    return packed


def unpack(tag: str, parts: List[Any], blobs: List[memoryview]) -> Any:
    """Return the value that a family's `pack` took apart.

    Raises
    ------
    CodecError
        If they don't fit together, or the library is missing. The library may raise anything
        else: the caller translates that.
    """
    family = tag.partition(".")[0]
    if family not in MODULES:
        raise malformed("unknown tag %.40r" % tag)
    return _module(family).unpack(tag, parts, blobs)


def _module(family: str) -> Any:
    return importlib.import_module("%s.%s" % (__name__.rpartition(".")[0], MODULES[family]))


def library(name: str, what: str, package: str = "") -> Any:
    """Return a library that a value needs.

    Raises
    ------
    CodecError
        If it is missing here; it says what to install, and for which interpreter.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CodecError(
            "the value holds %s, and %s is not installed in %s: install it there "
            "(pip install %s)." % (what, name, sys.executable, package or name)
        ) from error
