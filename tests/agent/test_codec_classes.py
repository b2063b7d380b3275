"""Instances of a person's own classes come back, and a stranger can't choose what is made."""

from __future__ import annotations

import dataclasses
import http
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chutes_jupyter.agent import classes, codec
from chutes_jupyter.agent.codec import CodecError, loads
from tests.agent import own
from tests.agent.coded import lies, message, mutations, sound_or_refused
from tests.interpreters import oldest

REPOSITORY = Path(__file__).resolve().parents[2]


def dumps(value: Any) -> bytes:
    return codec.dumps(value, classes=[])


def find(module: str, qualname: str) -> Any:
    """Find what any module has, as a reader who trusts the bytes would."""
    return classes.find(module, qualname)


def there_and_back(value: Any) -> Any:
    return loads(dumps(value), classes=find)


MEMBERS = [
    own.Colour.RED,
    own.Colour.CRIMSON,
    own.Colour.BLUE,
    own.Level.LOW,
    own.Mode.WRITE,
    own.Mode.READ | own.Mode.WRITE,
    own.Mode(0),
    own.Bits.A | own.Bits.B,
    own.Word.YES,
    http.HTTPStatus.NOT_FOUND,
]


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_member_of_an_enum_comes_back_as_itself(member: Any) -> None:
    back = there_and_back({"x": [member], member: 1})
    assert back["x"][0] is member or (back["x"][0] == member and type(back["x"][0]) is type(member))
    assert back[member] == 1


def made(kind: type, **changes: Any) -> Any:
    value = kind(1)
    for name, item in changes.items():
        setattr(value, name, item)
    return value


INSTANCES = [
    own.Point(1, [2, {"a": b"x"}]),
    own.Old(1, (2,)),
    own.Plain(1, y=own.Plain(2, seed=9), seed=5),
    made(own.Plain, z=8, note="set later"),
    own.Frozen({"a": own.Colour.RED}),
    own.Watching([own.Watching(1)]),
    own.Slotted(own.Slotted(None)),
    own.Child(3, w=(1, 2)),
    own.Box[int](3),
    own.Outer.Inner(4),
    own.Model(name="a", inner={"p": own.Point(1)}),
    own.Model.model_construct(name=3),
    own.Open(a=1, b=[2]),
    own.Root([1, 2]),
]


@pytest.mark.parametrize("value", INSTANCES, ids=lambda value: type(value).__name__)
def test_an_instance_comes_back_as_it_was_and_nothing_of_it_is_called(value: Any) -> None:
    data = dumps({"x": [value]})
    own.CALLED.clear()
    back = loads(data, classes=find)["x"][0]
    assert own.CALLED == []
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)
    if hasattr(value, "__dict__"):
        assert {**vars(back)} == {n: v for n, v in vars(value).items() if n != "__orig_class__"}
    if isinstance(value, own.Model):
        assert back.model_fields_set == value.model_fields_set
        assert back._cache == 7
        assert back.model_copy(update={"size": 4}).size == 4


def test_what_is_only_remembered_is_computed_again() -> None:
    child = own.Child(3)
    assert child.half == 1.5
    back = there_and_back(child)
    assert "half" not in vars(back)
    assert back.half == 1.5


def test_arrays_inside_of_an_instance_come_back() -> None:
    back = there_and_back(own.Plain(1, y=[np.arange(3)]))
    assert back.y[0].tolist() == [0, 1, 2]


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=4), st.sampled_from(MEMBERS)),
    lambda inner: st.one_of(
        st.builds(own.Point, st.integers(), inner),
        st.builds(own.Plain, st.integers(), inner, seed=st.integers()),
        st.builds(own.Frozen, inner),
        st.builds(own.Slotted, inner),
        st.builds(own.Model, name=st.text(max_size=3), inner=inner),
        st.builds(own.Open, a=st.integers(), b=inner),
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=2),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_any_instance_comes_back_as_it_was(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert repr(back) == repr(value)


def test_the_classes_in_a_value_are_told() -> None:
    told: list[type] = []
    codec.dumps([own.Point(1), own.Colour.RED, own.Point(2)], classes=told)
    assert told == [own.Point, own.Colour]


def test_without_a_reader_who_finds_them_there_are_no_classes() -> None:
    with pytest.raises(CodecError, match=r"holds a tests\.agent\.own\.Point, which is not a class"):
        loads(dumps(own.Point(1)))


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (own.Colour.RED, "pass its .value"),
        (own.Plain(1), "pass its fields, as in a dict"),
        (own.Point(1), "would come back as a plain tuple"),
        (own.Root([1]), "can't travel: pass numbers"),
    ],
)
def test_where_nobody_asks_for_classes_their_instances_are_refused(value: Any, advice: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.dumps([value])
    assert advice in str(caught.value)


# -- Refusals ----------------------------------------------------------------------------------


def local() -> Any:
    @dataclasses.dataclass
    class Local:
        x: int

    return Local(1)


def anew() -> Any:
    old = own.Hiding(1)
    own.Hiding = dataclasses.make_dataclass("Hiding", ["x"])  # type: ignore[misc]
    own.Hiding.__module__ = own.__name__
    return old


def hiding() -> Any:
    value = own.Outer.Inner(1)
    value.__dict__["__len__"] = 2
    return value


def less() -> Any:
    value = own.Plain(1)
    del value.x
    return value


class Extra(NamedTuple("Extra", [("x", int)])):  # noqa: SLOT002  # so that it has more
    pass


def extra() -> Any:
    value = Extra(1)
    value.more = 2  # type: ignore[attr-defined]
    return value


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (local, "is defined inside a function, and can't travel: define it at the top level"),
        (anew, "was defined anew since: make the value again"),
        (hiding, "with other attributes than its fields"),
        (less, "with other attributes than its fields"),
        (extra, "with other attributes than its fields"),
        (lambda: own.Ending("x"), "has a __del__, and can't travel: pass its fields"),
        (lambda: own.Items(1), "is built on another type, and can't travel: pass its fields"),
        (own.Anything, "own.Anything, which can't travel"),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_what_would_lose_something_is_refused(
    make: Callable[[], Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "Hiding", own.Hiding)
    with pytest.raises(CodecError) as caught:
        codec.dumps({"cfg": [make()]}, "result", classes=[])
    message = str(caught.value)
    assert message.startswith('result["cfg"][0] is ')
    assert why in message


def test_a_refusal_inside_of_an_instance_names_the_field() -> None:
    value = {"a": [1, 2, own.Plain(1, y=own.Anything())]}
    with pytest.raises(CodecError, match=r'^cfg\["a"\]\[2\]\.y is of type tests\.agent\.own\.Any'):
        codec.dumps(value, "cfg", classes=[])


def test_an_instance_that_contains_itself_is_refused() -> None:
    value = own.Plain(1)
    value.y = [value]
    with pytest.raises(CodecError, match=r"value\.y\[0\] is a Plain that contains itself"):
        dumps(value)


def test_the_deepest_instances_come_back() -> None:
    value: Any = 1
    for _ in range(codec.MAX_DEPTH):
        value = own.Plain(1, y=value)
    data = dumps(value)
    back = loads(data, classes=find)
    for _ in range(codec.MAX_DEPTH):
        assert type(back) is own.Plain
        back = back.y
    with pytest.raises(CodecError, match="nested deeper than 200 levels"):
        dumps(own.Plain(1, y=value))


# -- Strangers ---------------------------------------------------------------------------------

NAMED = own.__name__


def data_of(qualname: str, *fields: Any, tag: str = "class.data", module: str = NAMED) -> bytes:
    return message([tag, 0, module, qualname, *fields])


def test_the_stranger_is_given_the_layout_that_is_read() -> None:
    assert loads(data_of("Frozen", "x", 3), classes=find) == own.Frozen(3)


MODEL = [["set", "name"], None, {"_cache": 1}]
STRANGE = {
    "no class": data_of("Nothing", "x", 1),
    "a function": data_of("dataclasses.dataclass", "x", 1),
    "a module's class": data_of("enum.Enum", "x", 1),
    "no dataclass": data_of("Anything", "x", 1),
    "an enum for a dataclass": data_of("Colour", "x", 1),
    "with an end": data_of("Ending", "path", "/home"),
    "on another type": data_of("Items", "x", 1),
    "other fields": data_of("Frozen", "y", 1),
    "fields left out": data_of("Plain", "x", 1),
    "one that hides a method": data_of("Hiding", "x", 1, "save", 2),
    "one that changes its class": data_of("Outer.Inner", "x", 1, "__class__", 2),
    "one twice": data_of("Frozen", "x", 1, "x", 2),
    "half of one": data_of("Frozen", "x"),
    "one without a name": data_of("Frozen", 1, 2),
    "a slot too many": data_of("Slotted", "x", 1, "y", 2, "z", 3),
    "no name": message(["class.data", 0, 1, 2]),
    "no parts": message(["class.data"]),
    "no number of blobs": message(["class.data", "0", NAMED, "Frozen", "x", 1]),
    "too many blobs": message(["class.data", 2**31, NAMED, "Frozen", "x", 1]),
    "a name with spaces": data_of("Fro zen", "x", 1),
    "a name with brackets": data_of("__import__('os')", "x", 1),
    "a long name": data_of("x" * 10_000, "x", 1),
    "a private walk": data_of("Frozen.__init__.__globals__", "x", 1),
    "no member": data_of("Colour", "GREEN", tag="class.enum"),
    "a member that is a method": data_of("Colour", "__class__", tag="class.enum"),
    "a member of a number": data_of("Colour", 1, tag="class.enum"),
    "no flag": data_of("Colour", 1, tag="class.flag"),
    "a flag that is too large": data_of("Bits", ["int"], tag="class.flag"),
    "a flag of text": data_of("Mode", "x", tag="class.flag"),
    "a flag of unknown bits": data_of("Mode", 64, tag="class.flag"),
    "a tuple too short": data_of("Point", "x", 1, tag="class.tuple"),
    "a tuple of a list": data_of("Items", "x", 1, tag="class.tuple"),
    "half a model": data_of("Model", None, tag="class.model"),
    "a model of no set": data_of("Model", ["list"], None, None, "name", "a", tag="class.model"),
    "a model without fields": data_of("Model", *MODEL, "name", "a", tag="class.model"),
    "a model of others": data_of("Open", ["set", "z"], None, None, "a", 1, tag="class.model"),
    "a model with more": data_of("Open", ["set"], ["list", 1], None, "a", 1, tag="class.model"),
    "a model with secrets": data_of(
        *("Model", ["set"], None, {"x": 1}, "name", "a", "size", 1, "inner", 2), tag="class.model"
    ),
    "a program": data_of("Popen", "args", "id", module="subprocess"),
    "a system": data_of("system", "x", 1, module="os"),
    "a builtin": data_of("eval", "x", 1, module="builtins"),
    "unknown of the kind": data_of("Frozen", "x", 1, tag="class.reduce"),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE)
def test_a_stranger_makes_nothing_but_an_error(data: bytes) -> None:
    own.CALLED.clear()
    with pytest.raises(CodecError):
        loads(data, classes=find)
    assert own.CALLED == []


def test_a_module_that_is_not_there_is_not_imported() -> None:
    assert "antigravity" not in sys.modules
    with pytest.raises(CodecError, match=r"holds a antigravity\.Thing, which is not"):
        loads(data_of("Thing", "x", 1, module="antigravity"), classes=find)
    assert "antigravity" not in sys.modules


def test_a_class_with_other_fields_says_so() -> None:
    with pytest.raises(CodecError, match="a Frozen with the fields y; the class here has x: defi"):
        loads(STRANGE["other fields"], classes=find)


def test_a_class_of_the_notebook_that_is_not_here_says_what_to_do() -> None:
    data = data_of("Config", "x", 1, module="__main__")
    with pytest.raises(CodecError, match=r"holds a Config, a class of the notebook or script that"):
        loads(data, classes=find)


SAMPLE = dumps([*MEMBERS, *INSTANCES])


@settings(max_examples=400, deadline=None)
@given(st.one_of(mutations(SAMPLE), lies(SAMPLE)))
def test_spoiled_instances_do_no_more_than_fail(data: bytes) -> None:
    own.CALLED.clear()
    sound_or_refused(data, classes=find)
    assert own.CALLED == []


def test_the_oldest_python_writes_the_same_instances() -> None:
    code = (
        "import sys, enum, dataclasses, typing\n"
        "from chutes_jupyter.agent import codec\n"
        "class Colour(enum.Enum):\n    RED = 1\n"
        "class Mode(enum.Flag):\n    READ = 1\n    WRITE = 2\n"
        "class Point(typing.NamedTuple):\n    x: int\n"
        "@dataclasses.dataclass\nclass Plain:\n    x: int\n    z: typing.ClassVar[int] = 3\n"
        "value = [Colour.RED, Mode.READ | Mode.WRITE, Point(1), Plain([Plain(2)])]\n"
        "data = codec.dumps(value, classes=[])\n"
        "assert codec.loads(data, classes=lambda m, q: globals()[q]) == value\n"
        "sys.stdout.buffer.write(data)\n"
    )
    done = subprocess.run(
        [str(oldest()), "-c", code], capture_output=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr.decode()

    @dataclasses.dataclass
    class Plain:
        x: Any

    here = {"Colour": own.Colour, "Mode": own.Mode, "Plain": Plain}
    here["Point"] = NamedTuple("Point", [("x", int)])  # type: ignore[assignment]
    back = loads(done.stdout, classes=lambda module, name: here[name])
    assert back[0] is own.Colour.RED
    assert back[1] == own.Mode.READ | own.Mode.WRITE
    assert back[2] == (1,)
    assert back[3] == Plain([Plain(2)])
