"""`key=value` of a magic's line."""

from __future__ import annotations

import numpy as np
import pytest

from chutes_jupyter.errors import SpecError
from chutes_jupyter.kernel.values import parse_job_data, split_line, unquote


def data(line: str, **names: object) -> dict[str, object]:
    return parse_job_data(split_line(line), names)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  train   --wait ", ["train", "--wait"]),
        ('a={"x": [1, 2]} b=(1, 2)', ['a={"x": [1, 2]}', "b=(1, 2)"]),
        ("a='one two' b=\"it's\"", ["a='one two'", 'b="it\'s"']),
        (r"a='it\'s so' b=1", [r"a='it\'s so'", "b=1"]),
        ("a='''x 'y' z''' b=1", ["a='''x 'y' z'''", "b=1"]),
        ("a=')(' b=2", ["a=')('", "b=2"]),
        ("a=) b=1", ["a=)", "b=1"]),
    ],
)
def test_a_line_is_cut_at_spaces_outside_quotes_and_brackets(line: str, words: list[str]):
    assert split_line(line) == words


def test_a_quote_that_is_never_closed_is_refused():
    with pytest.raises(SpecError, match="never closed"):
        split_line("a='x b=1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1e-3", -1e-3),
        ("True", True),
        ("None", None),
        ("'two words'", "two words"),
        ("b'x'", b"x"),
        ('{"a": 1}', {"a": 1}),
        ("{}", {}),
        ("{1}", {1}),
        ("[1, (2, 3)]", [1, (2, 3)]),
        ("'$rate'", "$rate"),
        ("'{rate}'", "{rate}"),
    ],
)
def test_a_literal_is_itself(text: str, value: object):
    found = data(f"x={text}", rate=5)["x"]
    assert (found, type(found)) == (value, type(value))


def test_a_variable_is_the_object_itself():
    array = np.arange(3)
    assert data("x=$array", array=array)["x"] is array


def test_an_expression_sees_the_notebook():
    assert data("x={2 * n + 1} y={[i for i in range(n)]}", n=3) == {"x": 7, "y": [0, 1, 2]}


def test_a_dict_may_name_variables():
    assert data('cfg={"rate": rate, "n": 2}', rate=0.1) == {"cfg": {"rate": 0.1, "n": 2}}


def test_an_expression_leaves_nothing_in_the_notebook():
    names: dict[str, object] = {"n": 1}
    parse_job_data(["x={(m := n + 1)}"], names)
    assert names == {"n": 1}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("epochs", "must be key=value"),
        ("=3", "must be key=value"),
        ("1x=3", "must be key=value"),
        ("a=1 a=2", "given twice"),
        ("name=gpt2", "a text needs quotes"),
        ("x=$missing", "no variable 'missing'"),
        ("x=$a.b", "must be a Python literal"),
        ("x={missing + 1}", "NameError"),
        ("x={1 +}", "not a Python expression"),
        ("x=", "must be a Python literal"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example(line: str, says: str):
    with pytest.raises(SpecError, match="Write it like") as caught:
        data(line)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("word", "meant"), [('"gpu 1"', "gpu 1"), ("'x'", "x"), ("x", "x"), ("x='y'", "x='y'")]
)
def test_quotes_around_a_whole_word_come_off(word: str, meant: str):
    assert unquote(word) == meant
