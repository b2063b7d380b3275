"""Values come back exactly as they went in, and hostile bytes do no more than fail."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import enum
import math
import pathlib
import struct
import subprocess
import sys
import time
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chutes_jupyter.agent import codec
from chutes_jupyter.agent.codec import CodecError, dumps, loads
from tests.agent.coded import message, mutations
from tests.interpreters import newest, oldest

REPOSITORY = Path(__file__).resolve().parents[2]


def there_and_back(value: Any) -> Any:
    return loads(dumps(value))


def form(value: Any) -> Any:
    """Return something that is equal for two values only if they are the same to the type."""
    kind = type(value)
    if kind is np.ndarray:
        flags = (value.flags.f_contiguous, value.flags.writeable)
        return (kind, str(value.dtype), value.dtype, value.shape, value.tobytes(), flags)
    if isinstance(value, np.generic):
        text = str.__str__(value) if isinstance(value, str) else value.tobytes()
        return (kind, str(value.dtype), text)
    if kind is float:
        return (kind, struct.pack("!d", value))
    if kind is int:
        return (kind, hex(value))
    if kind is complex:
        return (kind, form(value.real), form(value.imag))
    if kind in (list, tuple, collections.deque):
        return (kind, getattr(value, "maxlen", None), [form(item) for item in value])
    if kind in (set, frozenset):
        return (kind, sorted(repr(form(item)) for item in value))
    if kind in (dict, collections.OrderedDict, collections.Counter, collections.defaultdict):
        factory = getattr(value, "default_factory", None)
        return (kind, factory, [(form(key), form(item)) for key, item in value.items()])
    if kind in (dt.datetime, dt.time):
        return (kind, value.isoformat(), value.fold, form(value.tzinfo))
    if kind is dt.timezone:
        return (kind, value.__getinitargs__())
    return (kind, repr(value), str(value))


VALUES = [
    None,
    True,
    [0, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**5000],
    [0.0, -0.0, 1e-320, 0.1, math.inf, -math.inf, math.nan],
    [1j, complex(-0.0, math.nan), complex(math.inf, -0.0)],
    ["", "é😀", "\ud800", "\ud83d\ude00", "a\0b", '"\\\n'],
    [b"", b"\0\xff", bytearray(b"x"), bytearray()],
    [[], (), {}, set(), frozenset(), {1}, frozenset({frozenset()})],
    ((1,), [(2, [3])], {"a": {"b": ()}}),
    {1: "int", "1": "str", (1, 2): "tuple", None: 0, 1.5: 0, b"k": 0, frozenset({1}): 0},
    {"\ud800": 1, "é": 2},
    {"list": 1, "dict": ["list"]},
    ["list", ["dict", 1, 2], ["bytes"]],
    [dt.date.min, dt.date.max, dt.time.min, dt.time.max],
    [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)],  # noqa: DTZ001
    [dt.timedelta.min, dt.timedelta.max, dt.timedelta(microseconds=-1)],
    [dt.UTC, dt.timezone(dt.timedelta(hours=-3.5)), dt.timezone(dt.timedelta(1, -1), "X")],
    [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.time(1, 2, 3, 4, fold=1)],
    [Path("/a/b"), Path(), Path("a\udcff"), pathlib.PurePosixPath("//x/y")],
    [pathlib.PureWindowsPath(r"c:\x\y"), pathlib.PureWindowsPath(r"\\host\share\z")],
    [Decimal("1.10"), Decimal("-0"), Decimal("NaN123"), Decimal("-sNaN"), Decimal("1E+999999")],
    [Fraction(1, 3), Fraction(-(2**80), 3), uuid.UUID(int=5)],
    [range(5), range(10, -(2**70), -3)],
    [collections.OrderedDict([("b", 1), (2, "a")]), collections.OrderedDict()],
    [collections.Counter("abca"), collections.Counter(a=-1)],
    [collections.deque([1, [2]]), collections.deque([1], 3), collections.deque(maxlen=0)],
    [collections.defaultdict(list, a=[1]), collections.defaultdict(None, {1: 2})],
]
ZONED = [
    dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    zoneinfo.ZoneInfo("America/Argentina/Buenos_Aires"),
]
# Apart, since their order differs from one process to another.
SETS = [
    {1, "a", (2, b"x"), frozenset({3, 4})},
    frozenset({"a", "b", None}),
]


@pytest.mark.parametrize("value", VALUES + ZONED + SETS, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    back = there_and_back(value)
    assert form(back) == form(value)
    assert loads(bytearray(dumps(value))) is not NotImplemented


def test_the_deepest_value_comes_back() -> None:
    value: Any = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    for _ in range(codec.MAX_DEPTH):
        value = [value]
    assert there_and_back(value) == value


def test_a_value_may_appear_twice() -> None:
    shared = [b"x", np.arange(3)]
    assert form(there_and_back([shared, {"again": shared}])) == form([shared, {"again": shared}])


KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec=None), max_size=10),
    st.binary(max_size=10),
    st.dates(),
    st.tuples(st.integers(), st.text(max_size=3)),
    st.frozensets(st.integers(), max_size=3),
    st.fractions(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
OFFSETS = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone)
LEAVES = st.one_of(
    KEYS,
    st.floats(),
    st.complex_numbers(),
    st.binary().map(bytearray),
    st.datetimes(timezones=st.one_of(st.none(), OFFSETS, st.timezones())),
    st.times(timezones=st.one_of(st.none(), OFFSETS)),
    st.timedeltas(),
    st.decimals(),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
    st.lists(st.text("abc.é ", min_size=1, max_size=4), max_size=3).map(lambda p: Path(*p)),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    assert form(there_and_back(value)) == form(value)


# -- NumPy -------------------------------------------------------------------------------------

NESTED = np.dtype(
    [("a", "<i4"), ("b", "<U3", (2,)), ("c", [("x", ">f8"), ("y", "S5")]), ("d", "<M8[us]")]
)
ARRAYS = {
    "0-d": np.array(3.5),
    "empty": np.zeros((0, 5)),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.array([1, 2], ">i4"),
    "bool": np.array([True, False]),
    "half": np.ones(2, "f2"),
    "long": np.array([1, np.pi], np.longdouble),
    "long complex": np.array([1j], np.clongdouble),
    "text": np.array(["a", "bcé", "a\0"]),
    "raw text": np.array([b"a", b"bc"]),
    "no width": np.ndarray((5,), "S0"),
    "date": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "unitless date": np.array(["NaT"], "M8"),
    "span": np.array([1, 2], "m8[25s]"),
    "void": np.array([b"abc"], "V3"),
    "struct": np.zeros(3, NESTED),
    "aligned": np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "gaps": np.zeros(2, {"names": ["a"], "formats": ["i2"], "offsets": [3], "itemsize": 9}),
    "titles": np.zeros(2, np.dtype([(("title", "a"), "i4"), ("b", "i2")])),
    "no fields": np.zeros(2, np.dtype([])),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    back = there_and_back(array)
    assert form(back) == form(array)
    assert back.dtype.isalignedstruct == array.dtype.isalignedstruct


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10)[::-2],
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.broadcast_to(np.arange(3), (2, 3)),
        np.zeros(3, NESTED)["c"],
    ],
    ids=["strided", "transposed", "broadcast", "field"],
)
def test_an_array_with_gaps_comes_back_whole_and_writable(array: np.ndarray) -> None:
    back = there_and_back(array)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable
    assert back.flags.owndata


SCALARS = [
    np.float64(-0.0),
    np.float16(1.5),
    np.longdouble("0.1"),
    np.bool_(True),
    np.int8(-3),
    np.complex64(1j),
    np.str_("aé"),
    np.str_("a\0"),
    np.str_(""),
    np.bytes_(b"a\0"),
    np.datetime64("2020-02-02T03"),
    np.datetime64("NaT"),
    np.timedelta64(3, "ms"),
    np.void(b"abc"),
    ARRAYS["struct"][0],
]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: type(scalar).__name__)
def test_a_scalar_comes_back_as_it_was(scalar: Any) -> None:
    assert form(there_and_back(scalar)) == form(scalar)
    assert form(there_and_back({"x": [scalar]})) == form({"x": [scalar]})


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(hnp.scalar_dtypes(), hnp.nested_dtypes()).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
    ),
    st.booleans(),
)
def test_any_array_comes_back_as_it_was(array: np.ndarray, fortran: bool) -> None:
    value = np.asarray(array, order="F") if fortran else array
    assert form(there_and_back(value)) == form(value)


# -- Refusals ----------------------------------------------------------------------------------


class Point(NamedTuple):
    x: int


class Colour(enum.IntEnum):
    RED = 1


class Loss:
    def __repr__(self) -> str:
        raise RuntimeError("a class of somebody's own")


class Text(str):
    __slots__ = ()


class Settings(collections.OrderedDict):
    pass


class Berlin(dt.tzinfo):
    pass


ROWS: list[tuple[Any, str, str]] = [
    (Loss(), "Loss", "can't travel: pass numbers"),
    (Loss, "type", "can't travel: pass numbers"),
    (print, "builtin_function_or_method", "can't travel: pass numbers"),
    (Point(1), "Point", "would come back as a plain tuple"),
    (Text("x"), "Text", "would come back as a plain str"),
    (Settings(a=1), "Settings", "come back as a plain dict"),
    (collections.defaultdict(Loss), "defaultdict that makes its values by a function", "dict(…)"),
    (Colour.RED, "Colour", "pass its .value"),
    (Berlin(), "Berlin", "use a datetime.timezone or a zoneinfo.ZoneInfo"),
    (np.array([Loss()]), "NumPy array of objects", "pass array.tolist()"),
    (np.zeros(1, [("a", "O")]), "NumPy array of objects", "pass array.tolist()"),
    (np.arange(2).view(np.matrix), "numpy.matrix", "pass numpy.asarray(…)"),
    (np.ma.array([1]), "numpy.ma.MaskedArray", "pass array.filled()"),
    (np.rec.array([(1,)]), "recarray", "pass numpy.array(…"),
    (np.rec.array([(1,)])[0], "numpy.record", "can't travel: pass numbers"),
    (np.rec.array([(1,)]).view(np.ndarray), "the dtype (numpy.record, ", "array.astype(…)"),
    (np.array(["x"], np.dtypes.StringDType()), "NumPy array of objects", "array.tolist()"),
]


@pytest.mark.parametrize(("value", "kind", "advice"), ROWS, ids=lambda row: type(row).__name__)
def test_a_refusal_says_where_what_and_what_to_do(value: Any, kind: str, advice: str) -> None:
    with pytest.raises(CodecError) as caught:
        dumps({"cfg": [1, (2, value)]}, name="job_data")
    message = str(caught.value)
    assert message.startswith('job_data["cfg"][1][1] is ')
    assert kind in message
    assert advice in message


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (Loss(), "value is"),
        ({"a": {7: Loss()}}, 'value["a"][7] is'),
        ({b"k": {"é": Loss()}}, "value[b'k'][\"é\"] is"),
        ({Loss(): 1}, "value (a key) is"),
        ({Text("a"): 1}, "value (a key) is"),
        ({Point(1): Loss()}, "value (a key) is"),
        ([{Loss()}], "value[0] (an element) is"),
        ({(1, 10**5000): Loss()}, "value[<tuple>] is"),
        ({10**5000: Loss()}, "value[<int>] is"),
        ([dt.datetime(2024, 1, 1, tzinfo=Berlin())], "value[0] (its time zone)"),
    ],
)
def test_a_refusal_names_the_place(value: Any, place: str) -> None:
    with pytest.raises(CodecError) as caught:
        dumps(value)
    assert str(caught.value).startswith(place)


def test_a_value_without_a_name_is_called_by_its_outermost_key() -> None:
    with pytest.raises(CodecError, match=r'^job_data\["cfg"\] is of type \S*Loss, which'):
        dumps({"v": 1, "job_data": {"cfg": Loss()}}, name="")


def test_a_long_place_is_cut_short() -> None:
    with pytest.raises(CodecError) as caught:
        dumps({"x" * 10**6: [[[Loss()]]]})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("make", [list, dict])
def test_a_value_that_contains_itself_is_refused(make: Any) -> None:
    value = make()
    inner = [value]
    if isinstance(value, dict):
        value["a"] = inner
    else:
        value.append(inner)
    with pytest.raises(CodecError, match="contains itself"):
        dumps(value)


def test_a_value_that_is_too_deep_is_refused() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CodecError, match="nested deeper than 200 levels"):
        dumps(value)
    while value != 1:  # an iterative end: the interpreter's own would take the stack
        value = value[0]


def test_where_the_stack_is_short_it_is_a_codec_error() -> None:
    value: Any = 1
    for _ in range(150):
        value = [value]
    whole = dumps(value)

    def deeper(rest: int) -> None:
        if rest:
            deeper(rest - 1)
            return
        with pytest.raises(CodecError):
            dumps(value)
        with pytest.raises(CodecError):
            loads(whole)

    frames = len(list(iterate_frames()))
    deeper(sys.getrecursionlimit() - frames - 120)


def iterate_frames() -> Any:
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_numbers_that_take_too_long_to_reduce_are_refused() -> None:
    with pytest.raises(CodecError, match=r"value\[0\] has a number of more than 65536 bits"):
        dumps([Fraction(3, 2**70000)])


# -- Hostile bytes -----------------------------------------------------------------------------


def test_the_hostile_are_given_the_layout_that_is_read() -> None:
    assert loads(message(["list", 1, ["bytes"]], b"xy")) == [1, b"xy"]


def nested(depth: int, inner: str = "1") -> bytes:
    return b'["list",' * depth + inner.encode() + b"]" * depth


STRUCT = ["tuple", "struct", ["list", ["tuple", "a", "<i4", 0, None]], 4, False]


def array(dtype: Any, shape: Any = ("tuple", 1), order: str = "C") -> Any:
    return ["array", ["tuple", dtype, shape, order]]


HOSTILE = {
    "nothing": b"",
    "noise": b"hello, world, this is long enough",
    "pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
    "only magic": codec.MAGIC,
    "huge header": codec.MAGIC + struct.pack("!QI", 2**64 - 1, 0),
    "huge count": codec.MAGIC + struct.pack("!QI", 0, 2**32 - 1),
    "huge blob": codec.MAGIC + struct.pack("!QIQ", 1, 1, 2**64 - 1) + b"1",
    "left over": message(1) + b"x",
    "cut": message("abc")[:-1],
    "no json": message(b"{"),
    "no utf-8": message(b'"\xff"'),
    "empty header": message(b""),
    "NaN": message(b"NaN"),
    "Infinity": message(b'["list",-Infinity]'),
    "no tag": message([]),
    "tag is a number": message([1, 2]),
    "tag is a list": message([["list"]]),
    "unknown tag": message(["os.system", "id"]),
    "dunder tag": message(["__class__"]),
    "too deep": message(nested(300)),
    "parser's stack": message(nested(100_000)),
    "objects too deep": message(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "unhashable key": message(["dict", ["list"], 1]),
    "unhashable element": message(["set", ["list"]]),
    "half a dict": message(["dict", 1, 2, 3]),
    "blob missing": message(["bytes"]),
    "blob left over": message(1, b"x"),
    "blob twice": message(["list", ["bytes"], ["bytes"]], b"x"),
    "no text": message(["str"], b"\xff"),
    "no float": message(["float", "zz"]),
    "half a float": message(["float", "00"]),
    "float of a list": message(["float", ["list"]]),
    "no date": message(["date", 0, 13, 99]),
    "date of text": message(["date", "2024", 1, 1]),
    "date of bytes": message(["date", ["bytes"]], b"\x07\xe8\x01\x01"),
    "huge date": message(["date", 10**18, 1, 1]),
    "long number in a date": message(["date", ["int"], 1, 1], b"\x7f" * 10**6),
    "long timedelta": message(["timedelta", 10**18, 0, 0]),
    "timezone too far": message(["timezone", ["timedelta", 3, 0, 0], None]),
    "zone that is a path": message(["zone", "../../../../etc/passwd"]),
    "zone that is absolute": message(["zone", "/etc/passwd"]),
    "zone that is a module": message(["zone", "..os"]),
    "zone that is a folder": message(["zone", "America"]),
    "zone with nul": message(["zone", "a\0b"]),
    "zone too long": message(["zone", "A" * 10**6]),
    "no decimal": message(["decimal", "one"]),
    "huge decimal": message(["decimal", "1E99999999999999999999"]),
    "fraction by zero": message(["fraction", 1, 0]),
    "slow fraction": message(["fraction", ["int"], ["int"]], b"\x7f" * 10**6, b"\x11" * 10**6),
    "range without step": message(["range", 1, 2, 0]),
    "slow range": message(["range", ["int"], ["int"], 3], b"\x7f" * 10**7, b"\x11" * 10**6),
    "decimal of a number": message(["decimal", 1]),
    "decimal of parts": message(["decimal", ["tuple", 0, ["tuple", 1], 0]]),
    "no uuid": message(["uuid", "x"]),
    "deque past its end": message(["deque", 1, 1, 2]),
    "deque of no length": message(["deque", -1]),
    "defaultdict of a function": message(["default", "print", 1, 2]),
    "defaultdict of nothing": message(["default"]),
    "ordered half": message(["ordered", None, 1]),
    "counter half": message(["counter", 1]),
    "sNaN as key": message(["dict", ["decimal", "sNaN"], 1]),
    "array of nothing": message(["array", None], b""),
    "array of text": message(["array", "abc"], b""),
    "array of objects": message(array("|O"), b"\0" * 8),
    "no objects": message(array("|O", ["tuple", 0]), b""),
    "no objects inside": message(array("<i4,|O", ["tuple", 0]), b""),
    "array of two types": message(array("<i4,<i4"), b"\0" * 8),
    "array of named objects": message(array("O"), b"\0" * 8),
    "array of many types": message(array("<i4,|O"), b"\0" * 12),
    "array of objects inside": message(
        array(["tuple", "struct", ["list", ["tuple", "a", "|O", 0, None]], 8, False]), b"\0" * 8
    ),
    "array of no size": message(array("<i4", ["tuple", -1]), b""),
    "array of bool size": message(array("<i4", ["tuple", True]), b"\0" * 4),
    "array too large": message(array("<i4", ["tuple", 10**12]), b"\0" * 4),
    "array of many dimensions": message(array("<i4", ["tuple", *[1] * 100]), b"\0" * 4),
    "array past the address space": message(array("<i4", ["tuple", 0, 2**62, 2**62]), b""),
    "array without order": message(array("<i4", ["tuple", 1], "K"), b"\0" * 4),
    "array of odd numbers": message(array("<i3"), b"\0" * 3),
    "array of wide date": message(array("<M16"), b"\0" * 16),
    "array of huge text": message(array("<U4294967295"), b""),
    "field outside": message(
        array(["tuple", "struct", ["list", ["tuple", "a", "<i4", 100, None]], 4, False]), b"\0" * 4
    ),
    "field before": message(
        array(["tuple", "struct", ["list", ["tuple", "a", "<i4", -4, None]], 4, False]), b"\0" * 4
    ),
    "struct of nothing": message(array(["tuple", "struct"]), b""),
    "sub of nothing": message(array(["tuple", "sub", "<i4", ["tuple", -5]]), b""),
    "huge sub": message(array(["tuple", "sub", "<i4", ["tuple", 10**9, 10**9]]), b""),
    "long double of elsewhere": message(array(["tuple", "long", "<f16", 7]), b"\0" * 16),
    "scalar too short": message(["scalar", "<f8"], b"\0"),
    "scalar of objects": message(["scalar", "|O"], b"\0" * 8),
    "text of no text": message(["text", None], b"\xff"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_a_codec_error_and_quick(data: bytes) -> None:
    begin = time.process_time()
    with pytest.raises(CodecError):
        loads(data)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("huge header", "cut short"),
        ("huge count", "cut short"),
        ("zone that is a path", "is not a time zone"),
        ("zone that is absolute", "is not a time zone"),
        ("zone that is a module", "is not a time zone"),
        ("zone too long", "is not a time zone"),
        ("array of no size", "an array of no shape"),
        ("array of bool size", "an array of no shape"),
    ],
)
def test_hostile_bytes_are_refused_before_anyone_else_sees_them(name: str, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        loads(HOSTILE[name])


def test_the_struct_of_the_hostile_is_else_sound() -> None:
    assert loads(message(array(STRUCT), b"\1\0\0\0"))["a"].tolist() == [1]


@pytest.mark.parametrize("data", [None, 1, "text", [1]], ids=repr)
def test_what_is_no_bytes_is_a_codec_error(data: Any) -> None:
    with pytest.raises(CodecError):
        loads(data)


def test_another_version_of_the_format_says_so() -> None:
    data = bytearray(dumps(1))
    data[len(codec.MAGIC) - 1] = 9
    with pytest.raises(CodecError, match="format 9, and 2 is what this version reads"):
        loads(bytes(data))


@pytest.mark.parametrize("shape", ["[" * 10**6, '{"a":' * 10**6, '["",{"a":' * 10**6])
def test_deep_bytes_are_refused_where_the_recursion_limit_was_raised(shape: str) -> None:
    # In a process of its own: where this fails, the stack overflows.
    code = (
        "import sys; sys.setrecursionlimit(10**9)\n"
        "from chutes_jupyter.agent import codec\n"
        "try: codec.loads(sys.stdin.buffer.read())\n"
        "except codec.CodecError as error: print(error)\n"
    )
    for python in (oldest(), newest()):
        done = run(python, code, message(shape.encode()))
        assert b"nested too deeply" in done


@pytest.fixture
def long_numbers() -> Iterator[None]:
    """Let Python read numbers of any length, as 3.8 does before its security releases."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(limit)


def test_a_long_number_is_refused_and_quick_on_every_python(long_numbers: None) -> None:
    begin = time.process_time()
    with pytest.raises(CodecError, match="a number is too long"):
        loads(message(b'["list",' + b"7" * 10**6 + b"]"))
    assert time.process_time() - begin < 2
    assert loads(message(b'["list","' + b"7" * 1000 + b'",5]')) == ["7" * 1000, 5]


def harmless(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        form(loads(data))


SAMPLE = dumps([VALUES[3:], ZONED, SETS, ARRAYS["struct"], ARRAYS["text"], SCALARS])


@settings(max_examples=800, deadline=None)
@given(mutations(SAMPLE))
def test_mutated_bytes_do_no_more_than_fail(mutated: bytes) -> None:
    harmless(mutated)


TAGS = [
    *("list", "tuple", "set", "frozenset", "dict", "bytes", "bytearray", "str", "int", "float"),
    *("complex", "range", "datetime", "date", "time", "timedelta", "timezone", "decimal"),
    *("deque", "ordered", "counter", "default"),
    *("fraction", "uuid", "path", "posixpath", "windowspath", "zone"),
    *("array", "scalar", "text", "raw", "struct", "sub", "long", "<i4", "<U2", "|V1", "C", "nt"),
]
NODES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-2, 5),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=4),
        st.sampled_from(TAGS),
        st.sampled_from(["bytes", "int", "str"]).map(lambda tag: [tag]),
    ),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(TAGS), st.lists(inner, max_size=5)).map(lambda p: [p[0], *p[1]]),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=20,
)


@settings(max_examples=800, deadline=None)
@given(NODES, st.lists(st.binary(max_size=20), max_size=4))
def test_any_header_does_no_more_than_fail(node: Any, blobs: list[bytes]) -> None:
    harmless(message(node, *blobs))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_do_no_more_than_fail(data: bytes) -> None:
    harmless(data)
    harmless(codec.MAGIC + data)


# -- Other Pythons -----------------------------------------------------------------------------


def run(python: Path, code: str, data: bytes) -> bytes:
    done = subprocess.run(
        [str(python), "-c", code], input=data, capture_output=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


AGAIN = (
    "import sys\n"
    "from chutes_jupyter.agent import codec\n"
    "sys.stdout.buffer.write(codec.dumps(codec.loads(sys.stdin.buffer.read())))\n"
)


PYTHONS = pytest.mark.parametrize("find", [oldest, newest], ids=["oldest", "newest"])


@PYTHONS
def test_another_python_reads_and_writes_the_same_bytes(find: Callable[[], Path]) -> None:
    values = VALUES + (ZONED if find is newest else [])
    data = dumps(values)
    back = run(find(), AGAIN, data)
    assert form(loads(back)) == form(values)
    assert back == data


@PYTHONS
def test_another_python_makes_the_same_values(find: Callable[[], Path]) -> None:
    code = (
        "import sys, datetime, decimal, fractions, uuid, pathlib\n"
        "from chutes_jupyter.agent import codec\n"
        "nan, inf = float('nan'), float('inf')\n"
        "values = {1: [None, True, 2**70, -0.0, inf, 1j], 's': ('\\ud83d\\ude00', b'x', {7}),\n"
        " 't': datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc, fold=1),\n"
        " 'p': pathlib.Path('a/b'), 'n': [decimal.Decimal('1.0'), fractions.Fraction(1, 3)]}\n"
        "sys.stdout.buffer.write(codec.dumps(values))\n"
    )
    assert form(loads(run(find(), code, b""))) == form(
        {
            1: [None, True, 2**70, -0.0, math.inf, 1j],
            "s": ("\ud83d\ude00", b"x", {7}),
            "t": dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC, fold=1),
            "p": Path("a/b"),
            "n": [Decimal("1.0"), Fraction(1, 3)],
        }
    )


CAUGHT = (
    "import sys\n"
    "from chutes_jupyter.agent import codec\n"
    "try: codec.loads(sys.stdin.buffer.read())\n"
    "except codec.CodecError as error: print(error)\n"
)


@pytest.mark.parametrize("value", [np.arange(3), np.float32(1), np.str_("x")], ids=repr)
def test_where_numpy_is_missing_an_array_says_to_install_it(value: Any) -> None:
    code = "import sys\nsys.modules['numpy'] = None\n" + CAUGHT
    said = run(oldest(), code, dumps([value])).decode()
    assert "NumPy is not installed in " in said
    assert "pip install numpy" in said


def test_a_time_zone_says_what_an_old_python_lacks() -> None:
    said = run(oldest(), CAUGHT, dumps(zoneinfo.ZoneInfo("Europe/Berlin"))).decode()
    assert "Europe/Berlin, and Python 3.8 has no zoneinfo" in said


def test_a_path_of_another_system_becomes_pure() -> None:
    back = loads(message(["path", "nt", r"c:\x"]))
    assert form(back) == form(pathlib.PureWindowsPath(r"c:\x"))


def test_reading_imports_neither_pickle_nor_what_is_not_needed() -> None:
    code = (
        "import sys\n"
        "from chutes_jupyter.agent import codec\n"
        "codec.loads(codec.dumps({'a': [1, b'x', (2.5, {3})]}))\n"
        "print(*sorted({'pickle', 'numpy', 'decimal', 'uuid', 'pathlib'} & set(sys.modules)))\n"
    )
    assert run(oldest(), code, b"").strip() == b""
