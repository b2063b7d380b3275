# ruff: noqa: E501  # cells on one line
"""Values, closures and what decorators made: on the worker they are what they were here."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chutes_jupyter.agent import codec
from chutes_jupyter.errors import CaptureError
from tests.capture.conftest import Notebook, Worker
from tests.interpreters import newest, oldest

COUNTER = """
def counter(n):
    def add(k=1):
        nonlocal n
        n += k
        return n
    def get():
        return n
    return add, get
add, get = counter(10)
add(5)
"""
DECORATED = """
import functools
def logged(label):
    def wrap(f):
        @functools.wraps(f)
        def inner(*args):
            inner.calls += 1
            return label, f(*args)
        inner.calls = 0
        return inner
    return wrap
def plain(f):
    def inner(*args):
        return ["plain", f(*args)]
    return inner
"""

# cells of the notebook, the job's cell, what it returns; all of it on any Python
TRAVEL: dict[str, tuple[list[str], str, Any]] = {
    "values": (
        [
            "import datetime, decimal, pathlib, uuid",
            "t, s, b = (1, 'a'), {1, 2}, b'\\x00'",
            "d = datetime.date(2026, 1, 2)\nk = {1: decimal.Decimal('1.10'), (2, 3): pathlib.PurePosixPath('/a')}",
        ],
        "return t, s, b, d.isoformat(), str(k[1]), str(k[2, 3])",
        ((1, "a"), {1, 2}, b"\x00", "2026-01-02", "1.10", "/a"),
    ),
    "an int enum": (
        ["import enum\nclass E(enum.IntEnum):\n    A = 1\nx = E.A\ny = [E.A, {E.A: 2}]"],
        "return x is E.A, y[0] is E.A, y[1][E.A]",
        (True, True, 2),
    ),
    "an instance": (
        ["class A:\n    def __init__(self, n): self.n = n\n    def get(self): return self.n + k\nk = 2\nx = A(5)"],
        "return x.get(), isinstance(x, A), type(x) is A",
        (7, True, True),
    ),
    "instances in a list": (
        ["from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\nxs = [P(1), P(2)]"],
        "return [x.a for x in xs], xs[0] == P(1)",
        ([1, 2], True),
    ),
    "an instance that knows itself": (
        ["class A: pass\nx = A()\nx.me = x\ny = [x]"], "return x.me is x, y[0] is x", (True, True)
    ),
    "the same object under two names": (
        ["a = []\nb = a\ndef f(): return a"], "b.append(1)\nreturn f(), a is b", ([1], True)
    ),
    "a circle": (["x = [1]\nx.append(x)"], "return x[1] is x", True),
    "a bound method": (
        ["class A:\n    n = 3\n    def f(self, k): return self.n + k\nx = A().f"], "return x(1)", 4
    ),
    "a bound method of a class": (
        ["class A:\n    n = 3\n    @classmethod\n    def f(cls, k): return cls.n + k\nx = A.f"], "return x(1)", 4
    ),
    "a method as a function": (
        ["class A:\n    def f(self): return 1\nclass B(A):\n    def f(self): return super().f() + 1\ng = B.f"],
        "return g(B())",
        2,
    ),
    "nonlocal": ([COUNTER], "return add(), get(), add(4), get()", (16, 16, 20, 20)),
    "two closures of one function": (
        ["def make(n):\n    def f():\n        return n\n    return f\na, b = make(1), make(2)"],
        "return a() * 10 + b()",
        12,
    ),
    "a closure that calls itself": (
        ["def make():\n    def f(n):\n        return 1 if n == 0 else n * f(n - 1)\n    return f\nfact = make()"],
        "return fact(5)",
        120,
    ),
    "closures that call each other": (
        ["def make():\n    def even(n): return n == 0 or odd(n - 1)\n    def odd(n): return n != 0 and even(n - 1)\n"
         "    return even\neven = make()"],
        "return even(4), even(5)",
        (True, False),
    ),
    "lambdas with defaults in a list": (
        ["fs = [lambda x, i=i: x * 10 + i for i in range(3)]\ni = 99"],
        "return [f(1) for f in fs]",
        [10, 11, 12],
    ),
    "a table of functions": (
        ["def a(): return 1\ndef b(): return 2\ntable = {'a': a, 'b': [b, len]}"],
        "return table['a']() + table['b'][0](), table['b'][1]('xx'), table['a'] is a",
        (3, 2, True),
    ),
    "defaults as they were": (
        ["n = 1\ndef f(a=n, *, b=n + 1): return a, b\nn = 50"], "return f()", (1, 2)
    ),
    "a default that was changed": (
        ["def f(x, seen=[]):\n    seen.append(x)\n    return seen\nf(1)"], "return f(2)", [1, 2]
    ),
    "a default that stands for nothing": (
        ["nothing = object()\ndef f(a=nothing): return a is nothing"], "return f(), f(1)", (True, False)
    ),
    "attributes": (["def f(): return f.n\nf.n = 4"], "return f()", 4),
    "a decorator with wraps": (
        [DECORATED + "@logged('l')\ndef f(x):\n    'doc'\n    return x + 1\nf(1)"],
        "f(1)\nreturn f(2), f.calls, f.__name__, f.__doc__, f.__wrapped__(2)",
        (("l", 3), 3, "f", "doc", 3),
    ),
    "a decorator without wraps": (
        [DECORATED + "@plain\ndef f(x): return x + 1"], "return f(1)", ["plain", 2]
    ),
    "decorators on each other": (
        [DECORATED + "@plain\n@logged('l')\n@plain\ndef f(x): return x + 1"],
        "return f(1)",
        ["plain", ("l", ["plain", 2])],
    ),
    "a decorator that registers": (
        ["table = {}\ndef register(f):\n    table[f.__name__] = f\n    return f\n@register\ndef f(): return 1"],
        "return list(table), table['f'] is f, f()",
        (["f"], True, 1),
    ),
    "partial": (
        ["import functools\ndef f(a, b, c=0): return a, b, c\np = functools.partial(f, 1, c=3)"],
        "return p(2)",
        (1, 2, 3),
    ),
    "lru_cache in a function": (
        ["import functools\ndef make(n):\n    @functools.lru_cache(maxsize=2)\n    def f(x): return x + n\n    return f\ng = make(4)"],
        "return g(1), g(1), g.cache_info().hits, g.cache_info().maxsize",
        (5, 5, 1, 2),
    ),
    "singledispatch": (
        ["import functools\n@functools.singledispatch\ndef f(x): return 'any'\n@f.register(int)\ndef _(x): return 'int'\n"
         "class A: pass\n@f.register(A)\ndef _(x): return 'A'"],
        "return f('x'), f(1), f(A())",
        ("any", "int", "A"),
    ),
    "a context manager of a closure": (
        ["from contextlib import contextmanager\ndef make(n):\n    @contextmanager\n    def c(): yield n\n    return c\nc = make(3)"],
        "with c() as x:\n    return x",
        3,
    ),
    "a class in a function": (
        ["def make(n):\n    class Base:\n        def f(self): return n\n    class C(Base):\n"
         "        def f(self): return super().f() + 1\n        def other(self): return C, n\n    return C\nC = make(3)"],
        "return C().f(), C().other()[0] is C, C.__qualname__",
        (4, True, "make.<locals>.C"),
    ),
    "a class in a function, and its instance": (
        ["def make(n):\n    class C:\n        def f(self): return n\n    return C\nx = make(3)()"], "return x.f()", 3
    ),
    "what was set on a class later": (
        ["class C:\n    lr = 1\n    seen = []\n    kept = len('ab')\n    __own = 1\n    def f(self): return 'old'\n"
         "    def __mine(self): return super().__repr__()",
         "C.lr = 5\nC.more = {'a': 1}\nC.seen.append(2)\ndef f(self): return self.lr\nC.f = f\ndef g(self): return self.more\nC.g = g"],
        "return C.lr, C.more, C.seen, C.kept, C().f(), C().g(), C._C__own",
        (5, {"a": 1}, [2], 2, 5, {"a": 1}, 1),
    ),
    "a data class whose default was set": (
        ["from dataclasses import dataclass, field\n@dataclass\nclass P:\n    a: int = 1\n    b: list = field(default_factory=list)\nP.limit = 3"],
        "return P().b, P.limit, P(2).a",
        ([], 3, 2),
    ),
    "an exception with a place": (
        ["class E(Exception):\n    def __init__(self, a): super().__init__(a); self.a = a\ne = E(3)"],
        "try:\n    raise e\nexcept E as caught:\n    return caught.a",
        3,
    ),
    "modules in a dict": (["import json, math\nm = {'j': json}"], "return m['j'].loads('[1]')", [1]),
    "a named tuple's instance": (
        ["from collections import namedtuple\nP = namedtuple('P', 'a b')\np = P(1, [2])"],
        "return p.b, isinstance(p, P)",
        ([2], True),
    ),
    "a default dict": (
        ["from collections import defaultdict\nd = defaultdict(list)\nd['a'].append(1)"], "return d['a'], d['b']", ([1], [])
    ),
    "its own chute in a list": (["k = [chute]"], "return k[0] is self", True),
}  # fmt: skip


def prepared(notebook: Notebook, name: str) -> bytes:
    cells, source, _ = TRAVEL[name]
    notebook.names["chute"] = notebook.chute
    for cell in cells:
        notebook.cell(cell)
    return notebook.job(source).payload({})


@pytest.mark.parametrize("name", TRAVEL)
def test_travels(notebook: Notebook, worker: Worker, name: str) -> None:
    assert worker.run(prepared(notebook, name)) == TRAVEL[name][2]


@pytest.mark.parametrize("which", [oldest, newest])
@pytest.mark.parametrize("name", TRAVEL)
def test_travels_to_another_python(
    notebook: Notebook, worker: Worker, name: str, which: Any
) -> None:
    assert worker.run(prepared(notebook, name), str(which())) == TRAVEL[name][2]


def test_arrays_and_estimators(notebook: Notebook, worker: Worker) -> None:
    notebook.cell(
        "import numpy as np\nfrom sklearn.linear_model import LinearRegression\n"
        "x = np.arange(4.0).reshape(-1, 1)\nn = np.float64(2.5)\n"
        "model = LinearRegression().fit(x, 2 * x[:, 0])\n"
        "objects = np.array([1, 'a', None], dtype=object)"
    )
    job = notebook.job(
        "return float(model.predict(x)[3]), type(n).__name__, float(n), x.shape, list(objects)"
    )
    value, *rest = worker.run(job.payload({}))
    assert math.isclose(value, 6.0)
    assert rest == ["float64", 2.5, (4, 1), [1, "a", None]]


def test_a_module_of_torch_that_the_notebook_defines(notebook: Notebook, worker: Worker) -> None:
    notebook.cell(
        "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.fc = torch.nn.Linear(2, 1)\n"
        "    def forward(self, x): return self.fc(x)\nnet = Net()\n"
        "with torch.no_grad():\n    net.fc.weight.fill_(2.0); net.fc.bias.fill_(1.0)"
    )
    job = notebook.job("return isinstance(net, Net), net(torch.ones(1, 2)).item()")
    assert worker.run(job.payload({})) == (True, 5.0)


def test_nothing_of_the_notebook_lies_in_a_pickle(notebook: Notebook) -> None:
    notebook.cell("class A:\n    K = 'canary'\ndef helper(): return 'canary'\nx = [A(), helper]")
    found = codec.loads(notebook.job("return x").payload({}))
    (pickle,) = [unit for unit in found["units"] if unit["kind"] == "pickle"]
    assert b"canary" not in pickle["data"]
    assert b"__main__" not in pickle["data"]
    assert {unit["name"] for unit in found["units"]} == {"A", "helper", "x", "train"}


def test_the_class_of_an_instance_has_its_name_there(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("class A: pass\nxs = [A()]")
    job = notebook.job("return type(xs[0]) is globals()['A'], type(xs[0]).__module__")
    assert worker.run(job.payload({})) == (True, "__main__")


def test_hidden_names_do_not_stay(notebook: Notebook, worker: Worker) -> None:
    notebook.cell(COUNTER)
    job = notebook.job("add()\nreturn sorted(k for k in globals() if 'chute' in k)")
    assert worker.run(job.payload({})) == []


def test_a_library_that_is_missing_there_is_named_with_the_value(
    notebook: Notebook, worker: Worker
) -> None:
    notebook.cell("from sklearn.linear_model import LinearRegression\nmodel = [LinearRegression()]")
    payload = notebook.job("return model").payload({})
    done = worker._start(payload, str(oldest()))
    assert done.returncode == 1
    assert "the value model can't be made on this worker" in done.stderr
    assert "sklearn" in done.stderr


def test_a_tensor_on_a_gpu_is_refused(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    # No GPU here: a tensor that says it lies on one.
    notebook.cell(
        "import torch\nclass There(torch.Tensor):\n    device = torch.device('cuda:0')\n"
        "cfg = {'w': [torch.zeros(2).as_subclass(There)]}"
    )
    with pytest.raises(CaptureError, match=r'cfg\["w"\]\[0\] is a tensor on .*GPU \(cuda:0\)'):
        notebook.job("return cfg").payload({})
