"""Columns and scalars of pandas for the codec: its own arrays, and NumPy's."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Callable, Dict, List, Tuple

from . import records
from .containers import check_hashes
from .families import library
from .refusals import Place, Words, malformed

Parts = List[Tuple[Any, Any]]

#: Longer words for a frequency are none.
_LONGEST_FREQ = 60
_CATEGORIES = Words(".categories")
_ZONE = Words(" (its time zone)")


def numpy() -> Any:
    """Return NumPy, which pandas needs anyway."""
    return library("numpy", "a pandas frame or series")


def column_of(values: Any) -> Any:
    """Return what a series or index holds: a NumPy array, a list of objects or pandas' own."""
    dtype = values.dtype
    if type(dtype).__module__.split(".")[0] != "numpy":
        return values.array
    array = values.to_numpy()
    return list(array) if dtype.kind == "O" else array


def array_of(pd: Any, column: Any) -> Any:
    """Return a column as pandas takes it, checked to be one."""
    np = numpy()
    if type(column) is list:
        objects = np.empty(len(column), object)
        for position, item in enumerate(column):
            objects[position] = item
        return objects
    if type(column).__name__ in ("NumpyExtensionArray", "PandasArray"):
        return column.to_numpy()
    if type(column) is np.ndarray:
        if column.ndim != 1 or column.dtype.kind not in "biufcmM":
            raise malformed("a column of no numbers")
        return column
    if not isinstance(column, pd.api.extensions.ExtensionArray):
        raise malformed("a column of no array")
    return column


def hashable(array: Any) -> Any:
    """Return an array, whose objects were not made to collide where they are looked up."""
    if str(getattr(array, "dtype", "")) == "object":
        check_hashes(list(array))
    return array


def check_index(pd: Any, index: Any) -> None:
    """Refuse what is no index."""
    if not isinstance(index, pd.Index):
        raise malformed("an index of no Index")


# -- Arrays of pandas' own ---------------------------------------------------------------------


def _pack_categorical(pd: Any, array: Any, place: Place) -> Parts:
    np = numpy()
    codes = np.asarray(array.codes)
    return [(_CATEGORIES, array.categories), (None, codes), (None, bool(array.ordered))]


def _make_categorical(pd: Any, categories: Any, codes: Any, ordered: Any) -> Any:
    check_index(pd, categories)
    hashable(categories)
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, bool(ordered)))


def _pack_dates(pd: Any, array: Any, place: Place) -> Parts:
    zone = array.tz
    naive = array.tz_convert(None) if zone is not None else array
    library = type(zone).__module__.split(".")[0]
    key = getattr(zone, "zone" if library == "pytz" else "key", None)
    if library in ("pytz", "zoneinfo") and key:
        zone = "%s:%s" % (library, key)
    return [(None, naive.to_numpy()), (_ZONE, zone)]


def _make_dates(pd: Any, values: Any, zone: Any) -> Any:
    index = pd.DatetimeIndex(array_of(pd, values), copy=False)
    if zone is not None:
        index = index.tz_localize("UTC").tz_convert(_zone(zone))
    return index.array.copy()  # an index's own can't be changed


def _zone(zone: Any) -> Any:
    """Return a time zone; a named one of the library that it was of, if that is here."""
    if type(zone) is not str:
        return zone
    library, _, key = zone.partition(":")
    if not records.is_zone(key) or library not in ("pytz", "zoneinfo"):
        raise malformed("%.120r is not a time zone" % key)
    named = records.BY_TAG["zone"].unpack
    if library == "zoneinfo" and sys.version_info >= (3, 9):
        return named(key)
    try:
        return importlib.import_module("pytz").timezone(key)
    except ImportError:
        return named(key)


def _pack_spans(pd: Any, array: Any, place: Place) -> Parts:
    return [(None, array.to_numpy())]


def _make_spans(pd: Any, values: Any) -> Any:
    return pd.TimedeltaIndex(array_of(pd, values), copy=False).array.copy()


def _pack_numpy(pd: Any, array: Any, place: Place) -> Parts:
    plain = array.to_numpy()
    return [(None, list(plain) if plain.dtype.kind == "O" else plain)]


def _make_numpy(pd: Any, values: Any) -> Any:
    return pd.arrays.NumpyExtensionArray(array_of(pd, values))


def _pack_masked(pd: Any, array: Any, place: Place) -> Parts:
    return [(None, array._data), (None, array._mask)]


def _masked(name: str) -> Callable[..., Any]:
    def make(pd: Any, values: Any, mask: Any) -> Any:
        return getattr(pd.arrays, name)(values, mask)

    return make


def _pack_texts(pd: Any, array: Any, place: Place) -> Parts:
    np = numpy()
    dtype = array.dtype
    items = array.to_numpy(dtype=object, na_value=None)
    lengths = np.fromiter((-1 if item is None else len(item) for item in items), "<i8", len(items))
    text = "".join(item for item in items if item is not None)
    missing = getattr(dtype, "na_value", pd.NA) is not pd.NA
    raw = text.encode("utf-8", "surrogatepass")
    return [(None, dtype.storage), (None, missing), (None, lengths), (None, raw)]


def _make_texts(pd: Any, storage: Any, missing: Any, lengths: Any, raw: Any) -> Any:
    np = numpy()
    text = raw.decode("utf-8", "surrogatepass")
    if lengths.ndim != 1 or lengths.dtype != np.dtype("<i8"):
        raise malformed("texts of no lengths")
    # One by one, in Python's numbers: sums of a stranger's must not wrap around.
    items = np.empty(len(lengths), object)
    start = 0
    for position, length in enumerate(lengths.tolist()):
        if length >= 0:
            items[position] = text[start : start + length]
            start += length
    if start != len(text):
        raise malformed("texts of other lengths")
    if storage not in ("python", "pyarrow"):
        raise malformed("texts of no storage")
    dtype = _text_dtype(pd, storage, missing)
    if dtype is None:
        items[lengths < 0] = float("nan")
        return pd.array(items, dtype=object)
    return pd.array(items, dtype=dtype)


def _text_dtype(pd: Any, storage: str, missing: Any) -> Any:
    """Return the dtype of texts; None where this pandas keeps such as objects."""
    options: Dict[str, Any] = {"na_value": float("nan")} if missing else {}
    try:
        return pd.StringDtype(storage, **options)
    except ImportError:
        # Where the texts are kept is no part of what they are.
        return pd.StringDtype("python", **options)
    except TypeError:
        return None  # the type str came with pandas 3


def _pack_periods(pd: Any, array: Any, place: Place) -> Parts:
    # "period[Q-DEC]": of the names of a frequency, only this one is read again.
    return [(None, array.asi8), (None, str(array.dtype)[len("period[") : -1])]


def _make_periods(pd: Any, ordinals: Any, freq: Any) -> Any:
    if type(freq) is not str or len(freq) > _LONGEST_FREQ or ordinals.dtype.str[1:] != "i8":
        raise malformed("periods of no frequency")
    return pd.arrays.PeriodArray(array_of(pd, ordinals), dtype=pd.PeriodDtype(freq))


def _pack_intervals(pd: Any, array: Any, place: Place) -> Parts:
    return [(None, array.left), (None, array.right), (None, array.closed)]


def _make_intervals(pd: Any, left: Any, right: Any, closed: Any) -> Any:
    check_index(pd, left)
    check_index(pd, right)
    return pd.arrays.IntervalArray.from_arrays(left, right, closed)


def _pack_arrow(pd: Any, array: Any, place: Place) -> Parts:
    return [(None, array.__arrow_array__())]


def _make_arrow(pd: Any, chunks: Any) -> Any:
    return pd.arrays.ArrowExtensionArray(chunks)


# -- Scalars -----------------------------------------------------------------------------------


def _nothing(pd: Any, value: Any, place: Place) -> Parts:
    return []


def _pack_stamp(pd: Any, stamp: Any, place: Place) -> Parts:
    return _pack_dates(pd, pd.DatetimeIndex([stamp]).array, place)


def _make_stamp(pd: Any, values: Any, zone: Any) -> Any:
    return _make_dates(pd, values, zone)[0]


def _pack_period(pd: Any, period: Any, place: Place) -> Parts:
    return [(None, int(period.ordinal)), (None, str(period.freqstr))]


def _make_period(pd: Any, ordinal: Any, freq: Any) -> Any:
    if type(ordinal) is not int or type(freq) is not str or len(freq) > _LONGEST_FREQ:
        raise malformed("a period of no frequency")
    return pd.Period(ordinal=ordinal, freq=freq)


def _pack_interval(pd: Any, interval: Any, place: Place) -> Parts:
    return [(None, interval.left), (None, interval.right), (None, interval.closed)]


def _make_interval(pd: Any, left: Any, right: Any, closed: Any) -> Any:
    return pd.Interval(left, right, closed)


PACKERS: Dict[str, Callable[[Any, Any, Place], Parts]] = {
    "Categorical": _pack_categorical,
    "DatetimeArray": _pack_dates,
    "TimedeltaArray": _pack_spans,
    "NumpyExtensionArray": _pack_numpy,
    **dict.fromkeys(("IntegerArray", "FloatingArray", "BooleanArray"), _pack_masked),
    **dict.fromkeys(("StringArray", "ArrowStringArray"), _pack_texts),
    "PeriodArray": _pack_periods,
    "IntervalArray": _pack_intervals,
    "ArrowExtensionArray": _pack_arrow,
    "NA": _nothing,
    "NaT": _nothing,
    "Timestamp": _pack_stamp,
    "Timedelta": lambda pd, value, place: [(None, value.asm8)],
    "Period": _pack_period,
    "Interval": _pack_interval,
}
MAKERS: Dict[str, Callable[..., Any]] = {
    "Categorical": _make_categorical,
    "DatetimeArray": _make_dates,
    "TimedeltaArray": _make_spans,
    "NumpyExtensionArray": _make_numpy,
    **{name: _masked(name) for name in ("IntegerArray", "FloatingArray", "BooleanArray")},
    **dict.fromkeys(("StringArray", "ArrowStringArray"), _make_texts),
    "PeriodArray": _make_periods,
    "IntervalArray": _make_intervals,
    "ArrowExtensionArray": _make_arrow,
    "NA": lambda pd: pd.NA,
    "NaT": lambda pd: pd.NaT,
    "Timestamp": _make_stamp,
    "Timedelta": lambda pd, span: pd.Timedelta(span),
    "Period": _make_period,
    "Interval": _make_interval,
}
