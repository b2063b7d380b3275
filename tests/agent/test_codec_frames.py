"""Frames, series and tables come back exactly, or the column that can't is named."""

from __future__ import annotations

import datetime as dt
import subprocess
import time
import tracemalloc
import zoneinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal
from polars.testing import assert_frame_equal as assert_polars_equal

from chutes_jupyter.agent import codec
from chutes_jupyter.agent.codec import CodecError, dumps, loads
from tests.agent.coded import lies, message, mutations, opened, sound_or_refused
from tests.interpreters import oldest

REPOSITORY = Path(__file__).resolve().parents[2]


def there_and_back(value: Any) -> Any:
    return loads(dumps(value))


# -- pandas ------------------------------------------------------------------------------------

INDEXES = [
    pd.RangeIndex(3, name="r"),
    pd.RangeIndex(5, -1, -2),
    pd.Index([1, 2, 3]),
    pd.Index(["a", "b", "c"], name=("x", 1)),
    pd.Index(["a", None, 1.5], dtype=object),
    pd.Index([dt.date(2020, 1, 1), 2, (1, 2)], dtype=object),
    pd.Index([True, False, True]),
    pd.Index([1, None, 2], dtype="Int64"),
    pd.Index([1.5, 2, 3], dtype="float32"),
    pd.Index([0, 1, 2], dtype="int64[pyarrow]"),
    pd.date_range("2020", periods=3, freq="D"),
    pd.date_range("2020", periods=3, freq="W-WED"),
    pd.date_range("2020", periods=3, freq="h", tz="Europe/Berlin", unit="s", name="t"),
    pd.date_range("2020", periods=3, tz=dt.timezone(dt.timedelta(hours=2))),
    pd.DatetimeIndex(["2020", "2021", None]),
    pd.timedelta_range("1D", periods=3, freq="2h"),
    pd.period_range("2020-01", periods=3, freq="M"),
    pd.CategoricalIndex(["a", "b", "a"], ordered=True),
    pd.IntervalIndex.from_breaks([0, 1, 2, 3]),
    pd.interval_range(pd.Timestamp("2020"), periods=3),
    pd.MultiIndex.from_product([["a"], [1, 2, 3]], names=["x", None]),
    pd.MultiIndex.from_arrays([pd.date_range("2020", periods=3, tz="UTC"), ["p", None, "q"]]),
]
COLUMNS = {
    "ints": [1, 2, 3],
    "floats": [1.5, np.nan, -0.0],
    "texts": ["a", None, "é"],
    "objects": pd.Series(["a", None, np.nan], dtype=object),
    "mixed": pd.Series([Decimal("1.0"), b"a", (1, [2])], dtype=object),
    "stamps": pd.Series([pd.Timestamp("2020"), pd.NaT, pd.NA], dtype=object),
    "same lengths": pd.Series([[1, 2], [3, 4], [5, 6]], dtype=object),
    "bools": [True, False, True],
    "complex": [1j, 2, 3],
    "small": np.array([1, 2, 3], "u1"),
    "Int8": pd.array([1, None, 3], dtype="Int8"),
    "Float64": pd.array([1.5, None, np.nan], dtype="Float64"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None, "c"], dtype="string"),
    "string python": pd.array(["a", None, "\0é😀"], dtype=pd.StringDtype("python")),
    "str python": pd.array(["", None, "c"], dtype=pd.StringDtype("python", na_value=np.nan)),
    "category": pd.Categorical(["x", None, "x"], categories=["x", "y"]),
    "ordered": pd.Categorical([3, 1, 2], ordered=True),
    "dates": pd.to_datetime(["2020", None, "2021"]),
    "zoned": pd.date_range("2020", periods=3, tz="America/New_York"),
    "seconds": np.array(["2020", "2021", "NaT"], "M8[s]"),
    "spans": pd.to_timedelta([1, 2, 3], unit="h"),
    "periods": pd.period_range("2020Q1", periods=3, freq="Q"),
    "intervals": pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3], closed="left"),
    "arrow": pd.array([1, None, 2], dtype="int64[pyarrow]"),
    "arrow lists": pd.array([[1], None, [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
}
EXACT = {"check_exact": True, "check_index_type": "exact"}


def assert_same(back: Any, value: Any) -> None:
    assert type(back) is type(value)
    if isinstance(value, pd.DataFrame):
        assert_frame_equal(back, value, check_column_type="exact", **EXACT)  # type: ignore[arg-type]
        assert list(back.dtypes) == list(value.dtypes)
        assert back.attrs == value.attrs
        assert_same(back.index, value.index)
    elif isinstance(value, pd.Series):
        assert_series_equal(back, value, **EXACT)  # type: ignore[arg-type]
        assert [type(item) for item in back.tolist()] == [type(item) for item in value.tolist()]
        assert_same(back.index, value.index)
    else:
        assert_index_equal(back, value, exact=True)
        assert getattr(back, "freq", None) == getattr(value, "freq", None)
        assert back.dtype == value.dtype


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: type(index).__name__)
def test_an_index_comes_back_as_it_was(index: Any) -> None:
    assert_same(there_and_back(index), index)
    assert_same(there_and_back(index[:0]), index[:0])
    series = pd.Series([1, 2, 3], index=index)
    assert_same(there_and_back(series), series)
    for frame in (series.to_frame("x"), series.to_frame("x").T, pd.DataFrame(index=index)):
        assert_same(there_and_back(frame), frame)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_as_it_was_and_writable(name: str) -> None:
    series = pd.Series(COLUMNS[name], name=name)
    back = there_and_back(series)
    assert_same(back, series)
    back.iloc[0] = back.iloc[1]
    assert_same(there_and_back(series.iloc[:0]), series.iloc[:0])
    array = there_and_back([series.array])[0]
    assert type(array) is type(series.array)
    assert_same(pd.Series(array), pd.Series(series.array))


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs["source"] = {"at": dt.date(2020, 1, 1)}
    return frame


FRAMES = {
    "everything": pd.DataFrame(COLUMNS),
    "nothing": pd.DataFrame(),
    "one kind": pd.DataFrame(np.arange(6.0).reshape(2, 3), columns=["a", None, 3]),
    "twice the same name": pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
    "twice, of two kinds": pd.DataFrame([[1, "2"], [3, "4"]], columns=["a", "a"]),
    "levels": pd.DataFrame([[1, 2.0]], columns=pd.MultiIndex.from_product([["x"], ["a", "b"]])),
    "attrs": labelled(pd.DataFrame({"a": [1]})),
    "no doubles": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "reversed": pd.DataFrame(COLUMNS).iloc[::-1],
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_a_frame_comes_back_as_it_was(frame: pd.DataFrame) -> None:
    assert_same(there_and_back(frame), frame)
    back = there_and_back({"x": [frame, (frame,)]})
    assert_same(back["x"][1][0], frame)


SCALARS = [
    pd.Timestamp("2020"),
    pd.Timestamp("2020").as_unit("s"),
    pd.Timestamp("2020-01-01 00:00:00.123456789"),
    pd.Timestamp(2020, 10, 25, 2, 30, tz="Europe/Berlin", fold=1),
    pd.Timedelta("1D"),
    pd.Timedelta(1, unit="s").as_unit("s"),
    pd.Period("2020-01", "M"),
    pd.Interval(1, 2, "left"),
    pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021")),
]


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_a_scalar_of_pandas_comes_back_as_it_was(scalar: Any) -> None:
    back = there_and_back([scalar])[0]
    assert type(back) is type(scalar)
    assert repr(back) == repr(scalar)
    assert back == scalar
    assert getattr(back, "unit", "") == getattr(scalar, "unit", "")


def test_what_is_missing_comes_back_as_itself() -> None:
    assert there_and_back(pd.NA) is pd.NA
    assert there_and_back(pd.NaT) is pd.NaT


class Sub(pd.DataFrame):
    pass


WORKDAYS = pd.offsets.CustomBusinessDay(holidays=["2020-01-03"])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (pd.DataFrame({"a": [1], "b": [print]}), 'result["r"]["b"][0] is of type builtin_function'),
        (pd.Series([{1: print}]), 'result["r"][0][1] is of type builtin_function'),
        (pd.Series([1], index=[print]), 'result["r"].index[0] is of type'),
        (pd.Series([1], name=print), 'result["r"].name is of type'),
        (pd.DataFrame({"a": pd.arrays.SparseArray([1])}), 'result["r"]["a"] is a sparse column'),
        (pd.DataFrame([[1]], columns=[print]), 'result["r"].columns[0] is of type'),
        (Sub({"a": [1]}), "would come back as a plain DataFrame"),
        (pd.DataFrame({"a": [1]}).groupby("a"), "DataFrameGroupBy, which can't travel"),
        (pd.date_range("2020", periods=3, freq=WORKDAYS), "the frequency C, which can't travel"),
    ],
)
def test_a_refusal_names_the_column(value: Any, why: str) -> None:
    with pytest.raises(CodecError) as caught:
        dumps({"r": value}, "result")
    assert str(caught.value).startswith('result["r"]')
    assert why in str(caught.value)


def test_a_frame_that_contains_itself_is_refused() -> None:
    frame = pd.DataFrame({"a": [None]}, dtype=object)
    frame.at[0, "a"] = frame
    with pytest.raises(CodecError, match="is a DataFrame that contains itself"):
        dumps(frame)


CELLS = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "bool": st.booleans(),
    "Int16": st.none() | st.integers(-(2**15), 2**15 - 1),
    "string": st.none() | st.text(max_size=4),
    "str": st.none() | st.text(max_size=4),
    "object": st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    "category": st.none() | st.sampled_from("abc"),
    "datetime64[ns, Europe/Berlin]": st.none() | st.datetimes(dt.datetime(1900, 1, 1)),  # noqa: DTZ001
    "timedelta64[us]": st.none() | st.integers(-(2**40), 2**40),
    "period[M]": st.none() | st.dates(dt.date(1900, 1, 1)).map(str),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    columns = {}
    for number, dtype in enumerate(draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=4))):
        cells = draw(st.lists(CELLS[dtype], min_size=rows, max_size=rows))
        if dtype.startswith("datetime") and rows:
            stamps = pd.to_datetime(pd.Series(cells, dtype=object), utc=True)
            columns[number] = stamps.dt.tz_convert("Europe/Berlin")
        else:
            columns[number] = pd.Series(cells, dtype=dtype)
    names = draw(st.lists(st.text(max_size=3), min_size=len(columns), max_size=len(columns)))
    frame = pd.DataFrame(columns, index=range(rows))
    frame.columns = pd.Index(names, dtype=object)
    return frame


@settings(max_examples=200, deadline=None)
@given(frames())
def test_any_frame_comes_back_as_it_was(frame: pd.DataFrame) -> None:
    assert_same(there_and_back(frame), frame)


def test_a_large_frame_is_copied_no_more_than_needed() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).random((500_000, 16)))
    size = frame.memory_usage(index=False).sum()
    tracemalloc.start()
    data = dumps(frame)
    _, written = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    loads(data)
    _, read = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert written < 1.1 * size  # the message itself
    assert read < 3.1 * size  # beside the message, which is counted


# -- Arrow -------------------------------------------------------------------------------------

MAPS = pa.map_(pa.string(), pa.list_(pa.int8()))
ARRAYS = [
    pa.array([1, None, 3]),
    pa.array([1.5], pa.float16()),
    pa.array([True, None]),
    pa.nulls(3),
    pa.array(["a", None, "é"]),
    pa.array(["a", None], pa.large_string()),
    pa.array([b"a", None]),
    pa.array([b"abc"], pa.binary(3)),
    pa.array([], pa.string()),
    pa.array([dt.date(2020, 1, 1)]),
    pa.array([dt.time(1)]),
    pa.array([dt.timedelta(1)]),
    pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    pa.array([dt.datetime(2020, 1, 1)], pa.timestamp("us", "Europe/Berlin")),  # noqa: DTZ001
    pa.array([Decimal("1.20")]),
    pa.array([Decimal("1.20")], pa.decimal256(50, 3)),
    pa.array([[1], None, [2, 3]]),
    pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    pa.array([[["x"]], [None]], pa.large_list(pa.list_(pa.string()))),
    pa.array([{"a": 1, "b": "x"}, None]),
    pa.array([[("a", [1])], None, [], [("x", None)]], MAPS),
    pa.array([{"m": [("a", [1])]}], pa.struct([("m", MAPS)])),
    pa.array(["a", "b", None, "a"]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array([3, 1]), ordered=True),
    pa.array([["a"], ["b", "a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_an_arrow_array_comes_back_as_it_was(array: Any) -> None:
    for value in (array, array[1:], array[:0], pa.chunked_array([array, array[1:]])):
        back = there_and_back(value)
        assert type(back) is type(value)
        assert back.type == value.type
        assert back.equals(value)
    field = pa.field("x", array.type, nullable=True, metadata={"unit": "m"})
    table = pa.table([array], schema=pa.schema([field], {b"k": b"v"}))
    assert there_and_back(table).equals(table, check_metadata=True)
    batch = pa.record_batch([array], schema=table.schema)
    assert there_and_back([batch])[0].equals(batch, check_metadata=True)


def test_of_a_slice_only_the_slice_travels() -> None:
    assert len(dumps(pa.array(range(100_000))[500:600])) < 2000
    assert len(dumps(pa.array([[n] for n in range(100_000)])[500:600])) < 3000
    words = pa.array(["x" * 100] * 10_000).dictionary_encode()
    assert len(dumps(pl.DataFrame({"a": range(100_000)}).slice(7, 3))) < 2000
    assert len(dumps(words[5:8])) < 2000


def test_a_table_of_no_columns_comes_back() -> None:
    table = pa.table({})
    assert there_and_back(table).equals(table)


@pytest.mark.parametrize(
    "kind",
    [pa.string_view(), pa.uuid(), pa.run_end_encoded(pa.int32(), pa.string()), pa.list_(pa.uuid())],
    ids=str,
)
def test_an_arrow_type_that_cannot_travel_is_named(kind: Any) -> None:
    with pytest.raises(CodecError, match=r'^result\["c"\] is of the Arrow type .* cast it'):
        dumps(pa.table({"a": [1], "c": pa.nulls(1, kind)}), "result")
    with pytest.raises(CodecError, match=r"pass scalar\.as_py\(\)"):
        dumps(pa.scalar(1))


LEAVES = [pa.int8(), pa.string(), pa.bool_(), pa.timestamp("ns", "UTC"), pa.float64()]
TYPES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.lists(inner, min_size=1, max_size=2).map(
            lambda kinds: pa.struct([(str(at), kind) for at, kind in enumerate(kinds)])
        ),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
        st.just(pa.dictionary(pa.int16(), pa.string())),
    ),
    max_leaves=4,
)


def cells(kind: Any) -> st.SearchStrategy[Any]:
    if pa.types.is_struct(kind):
        return st.none() | st.fixed_dictionaries({f.name: cells(f.type) for f in kind})
    if pa.types.is_map(kind):
        return st.none() | st.lists(
            st.tuples(st.text(max_size=2), cells(kind.item_type)), max_size=2
        )
    if pa.types.is_list(kind):
        return st.none() | st.lists(cells(kind.value_type), max_size=3)
    simple = {"int8": st.integers(-9, 9), "bool": st.booleans(), "double": st.floats(width=32)}
    numbers = {"timestamp[ns, tz=UTC]": st.integers(0, 2**40)}
    return st.none() | {**simple, **numbers}.get(str(kind), st.text(max_size=3))


@settings(max_examples=150, deadline=None)
@given(TYPES.flatmap(lambda kind: st.tuples(st.just(kind), st.lists(cells(kind), max_size=5))))
def test_any_arrow_array_comes_back_as_it_was(drawn: tuple[Any, list[Any]]) -> None:
    kind, items = drawn
    array = pa.array(items, kind)
    for value in (array, array[1:4]):
        back = there_and_back(value)
        assert back.type == kind
        assert str(back.to_pylist()) == str(value.to_pylist())


# -- polars ------------------------------------------------------------------------------------

POLARS = pl.DataFrame(
    {
        "i": [1, None, 3],
        "s": ["a", None, "é"],
        "c": pl.Series(["a", "b", None], dtype=pl.Categorical),
        "e": pl.Series(["x", "y", "x"], dtype=pl.Enum(["y", "x"])),
        "d": pl.Series([1, 2, 3], dtype=pl.Decimal(10, 2)),
        "l": [[1], [2, 3], None],
        "a": pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int8, 2)),
        "n": [None, None, None],
        "t": [{"a": 1, "b": "x"}] * 3,
        "z": pl.Series([dt.datetime(2020, 1, 1)] * 3).dt.replace_time_zone("Europe/Berlin"),  # noqa: DTZ001
        "span": [dt.timedelta(1)] * 3,
        "time": [dt.time(1)] * 3,
        "date": [dt.date(2020, 1, 1)] * 3,
        "b": [b"x"] * 3,
        "u": pl.Series([1, 2, 3], dtype=pl.UInt8),
    }
)


@pytest.mark.parametrize("name", POLARS.columns)
def test_a_polars_series_comes_back_as_it_was(name: str) -> None:
    for series in (POLARS[name], POLARS[name].alias(""), POLARS[name].clear()):
        back = there_and_back(series)
        assert back.dtype == series.dtype
        assert back.equals(series, check_dtypes=True, check_names=True, null_equal=True)


@pytest.mark.parametrize(
    "frame", [POLARS, POLARS[1:2], POLARS.clear(), pl.DataFrame(), pl.DataFrame(height=3)], ids=len
)
def test_a_polars_frame_comes_back_as_it_was(frame: pl.DataFrame) -> None:
    back = there_and_back([frame])[0]
    assert_polars_equal(back, frame, check_exact=True)
    assert back.schema == frame.schema
    assert back.height == frame.height


@pytest.mark.parametrize(
    ("series", "kind"),
    [
        (pl.Series([1], dtype=pl.Int128), "Int128"),
        (pl.Series([object()], dtype=pl.Object), "Object"),
    ],
)
def test_a_polars_column_that_cannot_travel_is_named(series: Any, kind: str) -> None:
    with pytest.raises(CodecError, match=rf'^result\["x"\] is a polars column of the type {kind}'):
        dumps(pl.DataFrame({"a": [1], "x": series}), "result")
    with pytest.raises(CodecError, match=r"pass frame\.collect\(\)"):
        dumps(POLARS.lazy())


# -- Strangers ---------------------------------------------------------------------------------

SAMPLES = {
    "pandas": dumps([FRAMES["everything"], FRAMES["levels"], *INDEXES, *SCALARS]),
    "arrow": dumps([pa.table({"x": array}) for array in ARRAYS]),
    "polars": dumps([POLARS, POLARS["i"]]),
}


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_spoiled_frames_do_no_more_than_fail(name: str, data: st.DataObject) -> None:
    strategy = st.one_of(mutations(SAMPLES[name]), lies(SAMPLES[name]))
    for value in sound_or_refused(data.draw(strategy)) or []:
        # What was believed can be looked at.
        if isinstance(value, pa.Table):
            value.validate(full=True)
            value.slice(0, 10).to_pylist()
        elif isinstance(value, (pd.DataFrame, pd.Series, pd.Index, pl.DataFrame)):
            repr(value[:10])


def arrow(kind: Any, chunk: Any, *blobs: bytes) -> bytes:
    return message(["arrow.array", len(blobs), kind, ["list", chunk]], *blobs)


def chunk(length: int, present: list[bool], *children: Any) -> Any:
    return ["tuple", length, ["list", *present], ["list", *children]]


INT64 = ["tuple", "int64"]
TEXTS = ["tuple", "string"]
FIELD = ["tuple", "x", INT64, True, None]
OFFSETS = np.array([0, 2**31 - 1], "<i4").tobytes()
WORD = chunk(1, [False, True, True])
HUGE_INDEX = ["pandas.RangeIndex", 0, ["range", 0, 2**60, 1], None]
TENS = ["array", ["tuple", "<i8", ["tuple", 3], "C"]]
STRANGE = {
    "huge length": arrow(INT64, chunk(2**40, [False, True]), bytes(8)),
    "past all numbers": arrow(INT64, chunk(2**62 - 1, [False, True]), bytes(8)),
    "negative": arrow(INT64, chunk(-1, [False, True]), bytes(8)),
    "short validity": arrow(INT64, chunk(100, [True, True]), b"\0", bytes(800)),
    "no data": arrow(INT64, chunk(1, [False, False])),
    "offsets past the text": arrow(TEXTS, chunk(1, [False, True, True]), OFFSETS, b"x"),
    "no utf-8": arrow(TEXTS, WORD, np.array([0, 1], "<i4").tobytes(), b"\xff"),
    "offsets backwards": arrow(TEXTS, WORD, np.array([5, 1], "<i4").tobytes(), b"xxxxxx"),
    "offsets missing": arrow(TEXTS, chunk(1, [False, False, True]), b"x"),
    "list past its items": arrow(
        ["tuple", "list", FIELD],
        chunk(1, [False, True], chunk(1, [False, True])),
        OFFSETS,
        bytes(8),
    ),
    "list without items": arrow(["tuple", "list", FIELD], chunk(1, [False, True]), OFFSETS),
    "fixed list of huge": arrow(
        ["tuple", "fixed_size_list", FIELD, 2**31 - 1],
        chunk(9, [False], chunk(1, [False, True])),
        bytes(8),
    ),
    "index past its words": message(
        [
            "arrow.array",
            3,
            ["tuple", "dictionary", ["tuple", "int8"], TEXTS, False],
            ["list", ["tuple", 1, chunk(1, [False, True]), chunk(0, [False, True, False])]],
        ],
        b"\x05",
        bytes(4),
        b"",
    ),
    "extension": arrow(["tuple", "extension", "arrow.py_extension_type"], chunk(1, [True])),
    "a function for a type": arrow(["tuple", "py_buffer", b"x".decode()], chunk(1, [True])),
    "wide decimal": arrow(["tuple", "decimal128", 10**6, 0], chunk(1, [False, True]), bytes(16)),
    "no unit": arrow(["tuple", "timestamp", "years", None], chunk(1, [False, True]), bytes(8)),
    "unit of a list": arrow(
        ["tuple", "timestamp", ["list"], None], chunk(1, [False, True]), bytes(8)
    ),
    "left over": arrow(INT64, chunk(1, [False, True]), bytes(8), b"x"),
    "frame of another length": message(
        ["pandas.DataFrame", 0, HUGE_INDEX, HUGE_INDEX, None, True, TENS], bytes(24)
    ),
    "series of another length": message(
        ["pandas.Series", 0, HUGE_INDEX, None, None, True, TENS], bytes(24)
    ),
    "index of no index": message(["pandas.Series", 0, ["list"], None, None, True, TENS], bytes(24)),
    "codes past their level": message(
        ["pandas.Categorical", 0, ["pandas.RangeIndex", 0, ["range", 0, 2, 1], None], TENS, False],
        np.array([0, 1, 9]).tobytes(),
    ),
    "levels past their codes": message(
        [
            "pandas.MultiIndex",
            0,
            ["list", None],
            ["pandas.RangeIndex", 0, ["range", 0, 2, 1], None],
            TENS,
        ],
        np.array([0, 1, 9]).tobytes(),
    ),
    "texts past their end": message(
        ["pandas.StringArray", 0, "python", False, TENS, ["bytes"]],
        np.array([1, 2**62, 2**62]).tobytes(),
        b"abc",
    ),
    "texts of a file": message(
        ["pandas.StringArray", 0, "/etc/passwd", False, TENS, ["bytes"]], bytes(24), b""
    ),
    "a frequency of code": message(["pandas.Index", 0, None, "__import__('os')", TENS], bytes(24)),
    "a zone of a path": message(
        ["pandas.DatetimeArray", 0, TENS, "pytz:../../etc/passwd"], bytes(24)
    ),
    "a method of pandas": message(["pandas.read_pickle", 0, "/tmp/x"]),
    "an unknown family": message(["pickle.loads", 0, "x"]),
    "polars of no table": message(["polars.frame", 0, ["list", 1], 1]),
    "polars of another height": message(["polars.frame", 0, None, 2**70]),
    "polars of no height": message(["polars.frame", 0, None, -1]),
    "polars of no name": message(["polars.series", 0, 7, None]),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE)
def test_a_stranger_makes_nothing_but_an_error(data: bytes) -> None:
    begin = time.process_time()
    tracemalloc.start()
    with pytest.raises(CodecError):
        loads(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - begin < 2
    assert peak < 50_000_000


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("huge length", "an array past its buffers"),
        ("short validity", "an array past its buffers"),
        ("no data", "an array past its buffers"),
        ("offsets missing", "an array past its buffers"),
        ("series of another length", "a column of another length"),
        ("texts past their end", "texts of other lengths"),
        ("a zone of a path", "is not a time zone"),
        ("a frequency of code", "a frequency of no dates"),
    ],
)
def test_a_stranger_is_refused_before_a_library_looks(name: str, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        loads(STRANGE[name])


def test_the_stranger_is_given_the_layout_that_is_read() -> None:
    data = arrow(INT64, chunk(1, [False, True]), np.array([7]).tobytes())
    assert loads(data).to_pylist() == [7]
    index = ["pandas.RangeIndex", 0, ["range", 0, 3, 1], None]
    series = message(
        ["pandas.Series", 0, index, "x", None, True, TENS], np.array([1, 2, 3]).tobytes()
    )
    assert_same(loads(series), pd.Series([1, 2, 3], name="x"))


def test_where_polars_panics_it_is_a_codec_error() -> None:
    header, blobs = opened(dumps(POLARS["c"]))
    assert blobs[0] == b"_PL_CATEGORICAL2"  # what polars says of its own in Arrow's metadata
    with pytest.raises(CodecError, match="polars gives up on it"):
        loads(message(header, blobs[0], b"", *blobs[2:]))


def test_an_extension_type_that_pandas_registers_is_not_called() -> None:
    # pandas registers its own for Arrow's files; here a name in the metadata stays a name.
    field = pa.field("x", pa.int64(), metadata={b"ARROW:extension:name": b"pandas.period"})
    back = there_and_back(pa.table([pa.array([1])], schema=pa.schema([field])))
    assert back.schema.field("x").type == pa.int64()


# -- Where a library is missing ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (pd.Series([1]), "a pandas frame or series, and pandas is not installed in"),
        (pa.array([1]), "an Arrow table or a polars frame, and pyarrow is not installed in"),
        (pl.Series([1]), "polars frame, and p"),
    ],
    ids=["pandas", "pyarrow", "polars"],
)
def test_where_a_library_is_missing_it_says_what_to_install(value: Any, what: str) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['numpy', 'pandas', 'pyarrow', 'polars']))\n"
        "from chutes_jupyter.agent import codec\n"
        "try: codec.loads(sys.stdin.buffer.read())\n"
        "except codec.CodecError as error: print(error)\n"
    )
    for data in (dumps(value),):
        done = subprocess.run(
            [str(oldest()), "-c", code], input=data, capture_output=True, cwd=REPOSITORY, check=True
        )
        assert what in done.stdout.decode()
        assert "pip install" in done.stdout.decode()


@pytest.mark.parametrize(("old", "new"), [("H", "h"), ("-2T", "-2min"), ("Q-JAN", "QE-JAN")])
def test_a_frequency_has_the_name_that_it_has_here(old: str, new: str) -> None:
    index = pd.date_range("2020", periods=3, freq=new)
    header, blobs = opened(dumps(index))
    assert header[3] == new
    header[3] = old  # as a pandas before 2.2 says it
    assert_same(loads(message(header, *blobs)), index)


def test_a_zone_of_pytz_comes_back_as_the_same_zone() -> None:
    zone = "pytz:Europe/Berlin"
    values = ["array", ["tuple", "<M8[ns]", ["tuple", 1], "C"]]
    array = loads(message(["pandas.DatetimeArray", 0, values, zone], bytes(8)))
    assert str(array.tz) == "Europe/Berlin"
    assert array[0] == pd.Timestamp(0, tz=zoneinfo.ZoneInfo("Europe/Berlin"))


def test_frames_lie_as_deep_as_other_values() -> None:
    value: Any = POLARS["i"].to_list()
    for _ in range(60):
        value = pd.Series([value], dtype=object)
    back = there_and_back(value)
    for _ in range(60):
        assert type(back) is pd.Series
        back = back[0]
    assert back == [1, None, 3]
    assert codec.MAX_DEPTH == 200
