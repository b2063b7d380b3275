"""An exception as data and as text, made by the agent's own module."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from chutes_jupyter.agent import cells, raised
from chutes_jupyter.raised import RaisedList


def caught(source: str) -> BaseException:
    """Return what a cell raises."""
    cells._remember("In[7]", 2, source)
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(compile("\n" + source, "In[7]", "exec"), names)
    except BaseException as error:
        # The frame of this function is not the cell's.
        return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
    raise AssertionError("it raised nothing")


def told(source: str) -> list[Any]:
    found = raised.tell(caught(source))
    # As it goes over the wire, and as the client takes it.
    return TypeAdapter(RaisedList).validate_python(json.loads(json.dumps(found)))


def test_frames_have_their_function_and_the_lines_around() -> None:
    source = "class A:\n    def go(self, n, *more, key=1, **rest):\n        x = n\n"
    source += "        raise KeyError(n)\n\n\nA().go(1)"
    (error,) = told(source)
    assert (error.type, error.said) == ("KeyError", "KeyError: 1")
    assert error.bases == [["builtins", "KeyError"], ["builtins", "LookupError"]]
    outer, inner = error.frames
    assert (outer.file, outer.line, outer.function) == ("In[7]", 8, "<module>")
    called = "A.go" if sys.version_info >= (3, 11) else "go"
    assert inner.function == f"{called}(self, n, *more, key, **rest)"
    assert (inner.line, inner.first) == (5, 3)
    assert inner.lines == [
        "    def go(self, n, *more, key=1, **rest):",
        "        x = n",
        "        raise KeyError(n)",
        "",
        "",
    ]


def test_causes_contexts_notes_and_groups_are_told() -> None:
    first, cause = told(
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('v') from e"
    )
    assert (first.before, first.cause, cause.type) == (1, True, "ZeroDivisionError")
    first, context = told("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('v')")
    assert (first.before, first.cause, context.before) == (1, False, None)
    (first,) = told(
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise ValueError('v') from None"
    )
    assert first.before is None
    (first,) = told("e = ValueError('v')\ne.add_note('one')\ne.add_note('two\\nlines')\nraise e")
    assert (first.said, first.notes) == ("ValueError: v", ["one", "two\nlines"])
    group = "ExceptionGroup('some', [ValueError('a'), ExceptionGroup('in', [KeyError('b')])])"
    outer, value, inner, key = told(f"raise {group}")
    assert outer.said == "ExceptionGroup: some (2 sub-exceptions)"
    assert (outer.parts, inner.parts) == ([1, 2], [3])
    assert (value.type, key.type) == ("ValueError", "KeyError")


def test_a_syntax_error_has_its_line_and_caret() -> None:
    (error,) = told("compile('x = = 1', 'made', 'exec')")
    assert 'File "made", line 1\n    x = = 1\n        ^\nSyntaxError' in error.said


LARGE: dict[str, str] = {
    "a recursion without end": "def f(n):\n    return f(n + 1)\nf(0)",
    "a long chain": "def f(n):\n    try:\n        1 / n if n < 300 else 1 / 0\n        f(n + 1)\n"
    "    except Exception as e:\n        raise ValueError(n) from e\nf(1)",
    "a chain that is too deep to print": "e = None\nfor n in range(5000):\n"
    "    new = ValueError(n)\n    new.__cause__ = e\n    e = new\nraise e",
    "a chain that ends in itself": "a, b = ValueError('a'), ValueError('b')\n"
    "a.__cause__ = b\nb.__cause__ = a\nraise a",
    "a group of many": "raise ExceptionGroup('g', [ValueError(n) for n in range(10_000)])",
    "long words": "raise ValueError('x' * 10**6)",
    "a long line": "raise ValueError(len('" + "y" * 10**5 + "'))",
    "many notes": "e = ValueError()\nfor n in range(1000):\n    e.add_note('z' * 10_000)\nraise e",
    "notes that are none": "e = ValueError('v')\ne.__notes__ = 7\nraise e",
    "a text that can't be had": "class E(Exception):\n    def __str__(self):\n"
    "        raise OSError\nraise E",
    "bytes that are no text": "raise ValueError('\\udcff\\x1b[2J')",
    "a name of another kind": "raise type('A' * 10_000, (ValueError,), {})('v')",
}  # fmt: skip


@pytest.mark.parametrize("source", LARGE.values(), ids=LARGE.keys())
def test_whatever_is_raised_is_told_and_bounded(source: str) -> None:
    error = caught(source)
    found = raised.tell(error)
    assert len(json.dumps(found)) < 400_000
    assert len(raised.text(error)) < 61_000
    checked = TypeAdapter(RaisedList).validate_python(json.loads(json.dumps(found)))
    assert "\x1b" not in "".join(each.said for each in checked)
    assert checked[0].type
    assert raised.words(error) is not None


def test_what_is_left_out_is_counted() -> None:
    (error,) = told(LARGE["a recursion without end"])
    assert sum(frame.omitted for frame in error.frames) > 500
    group = told(LARGE["a group of many"])[0]
    assert len(group.parts) + group.more == 10_000


def test_frames_of_the_agent_are_in_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours() -> Callable[..., Any]:
        code = compile("def call(f):\n    f()", raised.__file__, "exec")
        names: dict[str, Any] = {}
        exec(code, names)
        return types.FunctionType(names["call"].__code__, names)

    monkeypatch.setitem(sys.modules, "ours", types.SimpleNamespace(call=ours()))
    error = caught("import ours\ndef bad():\n    raise KeyError\nours.call(bad)")
    assert raised.__file__ not in raised.text(error)
    assert [frame["file"] for frame in raised.tell(error)[0]["frames"]] == ["In[7]", "In[7]"]
