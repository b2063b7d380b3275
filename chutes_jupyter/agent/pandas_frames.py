"""Frames, series, indexes and scalars of pandas for the codec, column by column.

Everything comes apart into NumPy arrays, texts and lists of values, which the codec takes by
itself: so a column of objects comes back too, as long as each of them does. No file format
stands between, and no pickle.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Callable, Dict, List, Optional

from . import pandas_arrays
from .families import Packed, library
from .pandas_arrays import (
    Parts,
    array_of,
    check_index,
    column_of,
    hashable,
    numpy,
)
from .refusals import CodecError, Place, Words, malformed, name_of

_FREQ = re.compile(r"(-?[0-9]{0,18})([A-Za-z]{1,20})((?:-[A-Z0-9]{1,20}){0,6})")
#: What pandas 2.2 gave other names.
_RENAMED = {
    "H": "h",
    "T": "min",
    "S": "s",
    "L": "ms",
    "U": "us",
    "N": "ns",
    "BH": "bh",
    "CBH": "cbh",
    "M": "ME",
    "BM": "BME",
    "SM": "SME",
    "CBM": "CBME",
    "Q": "QE",
    "BQ": "BQE",
    "A": "YE",
    "Y": "YE",
    "BA": "BYE",
    "BY": "BYE",
    "AS": "YS",
    "BAS": "BYS",
}
_NAME = Words(".name")
_NAMES = Words(".names")
_INDEX = Words(".index")
_COLUMNS = Words(".columns")
_ATTRS = Words(".attrs")


def pack(value: Any, place: Place) -> Optional[Packed]:
    """Return a value of pandas taken apart; None for one that is not known here.

    Raises
    ------
    CodecError
        If something of it would be lost; it names the column and what to do.
    """
    pd = sys.modules["pandas"]
    for name, packer in _PACKERS.items():
        if type(value) is _class_of(pd, name):
            return Packed("pandas." + name, packer(pd, value, place))
    if type(value).__name__ == "SparseArray":
        raise CodecError(
            "%s is a sparse column of pandas, which can't travel: pass it as "
            "series.sparse.to_dense()." % name_of(place)
        )
    return None


def unpack(tag: str, parts: List[Any], blobs: List[memoryview]) -> Any:
    """Return what `pack` took apart.

    Raises
    ------
    CodecError
        If pandas is missing, or the parts don't fit.
    """
    pd = library("pandas", "a pandas frame or series")
    maker = _MAKERS.get(tag.partition(".")[2])
    if maker is None or blobs:
        raise malformed("unknown tag %.40r" % tag)
    return maker(pd, *parts)


def _class_of(pd: Any, name: str) -> Any:
    if name == "NA" or name == "NaT":
        return type(getattr(pd, name))
    # The arrays of texts are of several classes, and told by what they hold.
    return getattr(pd, name, None) or getattr(pd.arrays, name, None)


# -- Frames and series -------------------------------------------------------------------------


def _pack_frame(pd: Any, frame: Any, place: Place) -> Parts:
    parts: Parts = [(_INDEX, frame.index), (_COLUMNS, frame.columns)]
    parts += _flags(frame)
    kinds = set(frame.dtypes)
    if len(kinds) == 1 and len(frame.columns) > 1 and _is_number(kinds.pop()):
        return [*parts, (None, frame.to_numpy())]
    for position, name in enumerate(frame.columns):
        series = frame.iloc[:, position]
        parts.append((_label(name), column_of(series)))
    return parts


def _is_number(dtype: Any) -> bool:
    return type(dtype).__module__.split(".")[0] == "numpy" and dtype.kind in "biufc"


def _label(name: Any) -> Any:
    return name if name is not None else Words("[None]")


def _flags(thing: Any) -> Parts:
    attrs = dict(thing.attrs) or None
    return [(_ATTRS, attrs), (None, bool(thing.flags.allows_duplicate_labels))]


def _make_frame(pd: Any, index: Any, columns: Any, attrs: Any, double: Any, *data: Any) -> Any:
    np = numpy()
    check_index(pd, index)
    check_index(pd, columns)
    if len(data) == 1 and type(data[0]) is np.ndarray and data[0].ndim == 2:
        frame = pd.DataFrame(data[0], index=index, columns=columns, copy=False)
    else:
        if len(data) != len(columns):
            raise malformed("a frame of other columns")
        made = {}
        for position, column in enumerate(data):
            made[position] = _series(pd, index, column)
        frame = pd.DataFrame(made, index=index, columns=range(len(data)), copy=False)
        frame.columns = columns
    return _flagged(frame, attrs, double)


def _series(pd: Any, index: Any, column: Any) -> Any:
    array = array_of(pd, column)
    if len(array) != len(index):
        raise malformed("a column of another length")
    return pd.Series(array, index=index, dtype=array.dtype, copy=False)


def _flagged(thing: Any, attrs: Any, double: Any) -> Any:
    if attrs is not None:
        if type(attrs) is not dict:
            raise malformed("attrs of no dict")
        thing.attrs = attrs
    return thing if double is True else thing.set_flags(allows_duplicate_labels=False)


def _pack_series(pd: Any, series: Any, place: Place) -> Parts:
    head: Parts = [(_INDEX, series.index), (_NAME, series.name)]
    return [*head, *_flags(series), (None, column_of(series))]


def _make_series(pd: Any, index: Any, name: Any, attrs: Any, double: Any, column: Any) -> Any:
    check_index(pd, index)
    series = _series(pd, index, column)
    series.name = name
    return _flagged(series, attrs, double)


# -- Indexes -----------------------------------------------------------------------------------


def _pack_index(pd: Any, index: Any, place: Place) -> Parts:
    freq = getattr(index, "freq", None) if isinstance(index, _freed(pd)) else None
    return [(_NAME, index.name), (None, _freq(pd, freq, place)), (None, column_of(index))]


def _freed(pd: Any) -> Any:
    return (pd.DatetimeIndex, pd.TimedeltaIndex)


def _freq(pd: Any, freq: Any, place: Place) -> Optional[str]:
    if freq is None:
        return None
    text = str(freq.freqstr)
    try:
        if _FREQ.fullmatch(text) and pd.tseries.frequencies.to_offset(text) == freq:
            return text
    except ValueError:
        pass  # said below
    raise CodecError(
        "%s has the frequency %s, which can't travel: set index.freq = None."
        % (name_of(place), text)
    )


def _offset(pd: Any, text: str) -> Any:
    """Return a frequency by its name, also by the one that it has in another pandas."""
    to_offset = pd.tseries.frequencies.to_offset
    try:
        return to_offset(text)
    except ValueError:
        count, name, rest = _FREQ.fullmatch(text).groups()  # type: ignore[union-attr]
        for old, new in _RENAMED.items():
            if name in (old, new):
                return to_offset(count + (new if name == old else old) + rest)
        raise


def _make_index(pd: Any, name: Any, freq: Any, column: Any) -> Any:
    array = array_of(pd, column)
    index: Any = pd.Index(hashable(array), dtype=array.dtype, name=name, copy=False)
    if freq is None:
        return index
    if type(freq) is not str or not _FREQ.fullmatch(freq) or not isinstance(index, _freed(pd)):
        raise malformed("a frequency of no dates")
    index.freq = _offset(pd, freq)
    return index


def _pack_range(pd: Any, index: Any, place: Place) -> Parts:
    return [(None, range(index.start, index.stop, index.step)), (_NAME, index.name)]


def _make_range(pd: Any, numbers: Any, name: Any) -> Any:
    if type(numbers) is not range:
        raise malformed("a range of no range")
    return pd.RangeIndex(numbers.start, numbers.stop, numbers.step, name=name)


def _pack_multi(pd: Any, index: Any, place: Place) -> Parts:
    np = numpy()
    parts: Parts = [(_NAMES, list(index.names))]
    for level, codes in zip(index.levels, index.codes):
        parts += [(None, level), (None, np.asarray(codes))]
    return parts


def _make_multi(pd: Any, names: Any, *rest: Any) -> Any:
    levels, codes = rest[::2], rest[1::2]
    for level in levels:
        check_index(pd, level)
        hashable(level)
    if len({len(part) for part in codes}) > 1:
        raise malformed("levels of other lengths")
    return pd.MultiIndex(list(levels), list(codes), names=names, verify_integrity=True)


_PACKERS: Dict[str, Callable[[Any, Any, Place], Parts]] = {
    "DataFrame": _pack_frame,
    "Series": _pack_series,
    "RangeIndex": _pack_range,
    "MultiIndex": _pack_multi,
    **dict.fromkeys(
        ("Index", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "CategoricalIndex"),
        _pack_index,
    ),
    "IntervalIndex": _pack_index,
    **pandas_arrays.PACKERS,
}
_MAKERS: Dict[str, Callable[..., Any]] = {
    "DataFrame": _make_frame,
    "Series": _make_series,
    "RangeIndex": _make_range,
    "MultiIndex": _make_multi,
    **dict.fromkeys(
        ("Index", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex", "CategoricalIndex"),
        _make_index,
    ),
    "IntervalIndex": _make_index,
    **pandas_arrays.MAKERS,
}
