"""Frames and series of polars for the codec: as the Arrow tables that they are inside."""

from __future__ import annotations

import sys
from typing import Any, List, Optional

from .families import Packed, library
from .refusals import CodecError, Place, malformed, name_of

#: What the column of a series is called on its way: not every name comes through.
_VALUES = "values"


def pack(value: Any, place: Place) -> Optional[Packed]:
    """Return a frame or series as an Arrow table; None for another value.

    Raises
    ------
    CodecError
        If pyarrow is missing, or a column is of a type that Arrow doesn't have; it names it.
    """
    pl = sys.modules["polars"]
    kind = type(value)
    if kind is not pl.DataFrame and kind is not pl.Series:
        return None
    try:
        library("pyarrow", "a polars frame")
    except CodecError as error:
        raise CodecError("%s can't travel: %s" % (name_of(place), error)) from error
    if kind is pl.Series:
        _check(pl, value, place)
        table = _arrow(pl, value.alias(_VALUES).to_frame())
        return Packed("polars.series", [(None, value.name), (None, table)])
    for name in value.columns:
        _check(pl, value.get_column(name), (place, name))
    table = _arrow(pl, value) if value.width else None
    return Packed("polars.frame", [(None, table), (None, value.height)])


def _arrow(pl: Any, frame: Any) -> Any:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _check(pl: Any, column: Any, place: Place) -> None:
    """Refuse what would come back as another type, by the way of an empty one."""
    try:
        empty = column.clear().alias(_VALUES).to_frame()
        same = pl.from_arrow(_arrow(pl, empty)).schema == empty.schema
    except Exception:  # noqa: BLE001  # whatever polars and pyarrow say of a type
        same = False
    if not same:
        raise CodecError(
            "%s is a polars column of the type %s, which Arrow doesn't have, and can't travel: "
            "cast it to another." % (name_of(place), column.dtype)
        )


def unpack(tag: str, parts: List[Any], blobs: List[memoryview]) -> Any:
    """Return the frame or series that `pack` took apart.

    Raises
    ------
    CodecError
        If polars is missing, or the parts don't fit.
    """
    pl = library("polars", "a polars frame")
    if blobs:
        raise malformed("a frame of bytes")
    try:
        return _made(pl, tag, parts)
    except BaseException as error:
        # What polars raises where it gives up is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise malformed("polars gives up on it: %.200s" % error) from error


def _made(pl: Any, tag: str, parts: List[Any]) -> Any:
    if tag == "polars.series":
        name, table = parts
        return _frame(pl, table).to_series(0).alias(name)
    if tag != "polars.frame":
        raise malformed("unknown tag %.40r" % tag)
    table, height = parts
    if type(height) is not int or not 0 <= height < 1 << 32:
        raise malformed("a frame of no height")
    frame = _frame(pl, table) if table is not None else pl.DataFrame(height=height)
    if frame.height != height:
        raise malformed("a frame of another height")
    return frame


def _frame(pl: Any, table: Any) -> Any:
    pa = library("pyarrow", "a polars frame")
    if type(table) is not pa.Table:
        raise malformed("a frame of no table")
    return pl.from_arrow(table)
