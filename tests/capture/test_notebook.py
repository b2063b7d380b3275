# ruff: noqa: E501  # cells on one line
"""What a cell of a notebook takes along: run in a fresh Python, it does what it does here."""

from __future__ import annotations

from typing import Any

import pytest

from chutes_jupyter.agent import codec
from chutes_jupyter.errors import CaptureError
from tests.capture.conftest import Notebook, Worker
from tests.interpreters import newest, oldest


def parts(job: Any, **job_data: Any) -> dict[str, Any]:
    found: dict[str, Any] = codec.loads(job.payload(job_data))
    return found


# cells of the notebook, the job's cell, what it returns
TRAVEL: dict[str, tuple[list[str], str, Any]] = {
    "job data": ([], "return job_data['epochs']", 3),
    "a value": (["n = 41"], "n += 1\nreturn n", 42),
    "json": (
        ["cfg = {'a': [1, 2.5, None, True, 'x'], 'b': {}}"],
        "cfg['a'].append(1)\nreturn cfg",
        {"a": [1, 2.5, None, True, "x", 1], "b": {}},
    ),
    "a module": (["import json"], "return json.loads('[1]')", [1]),
    "a module's other name": (["import json as j"], "return j.loads('[1]')", [1]),
    "a submodule": (["import xml.dom.minidom"], "return xml.dom.minidom.Node.TEXT_NODE", 3),
    "a submodule's name": (["import xml.dom.minidom as m"], "return m.Node.TEXT_NODE", 3),
    "a package's other name": (
        ["import concurrent as c", "import concurrent.futures"],
        "return c.futures.ALL_COMPLETED",
        "ALL_COMPLETED",
    ),
    "os.path": (["from os import path"], "return path.basename('/a/b')", "b"),
    "a function of a module": (["from math import sqrt as root"], "return root(4)", 2.0),
    "a class of a module": (["from fractions import Fraction"], "return str(Fraction('1/2'))", "1/2"),
    "a constant of a module": (["from math import pi"], "return pi > 3", True),
    "a class method of a class": (
        ["from collections import OrderedDict as OD"], "return list(OD.fromkeys('ab'))", ["a", "b"]
    ),
    "what is in a star": (["from math import *"], "return floor(tau)", 6),
    "a special form": (
        ["from typing import Optional"], "def f(a: Optional[int] = 1): return a\nreturn f()", 1
    ),
    "a function": (["def twice(a):\n    return 2 * a"], "return twice(4)", 8),
    "what a function needs": (
        ["import math", "k = 3", "def a(x):\n    return b(x) + k", "def b(x):\n    return math.floor(x)"],
        "return a(2.5)",
        5,
    ),
    "functions that call each other": (
        ["def even(k):\n    return k == 0 or odd(k - 1)", "def odd(k):\n    return k != 0 and even(k - 1)"],
        "return even(4)",
        True,
    ),
    "a default, a decorator": (
        [
            "def register(f):\n    return tag(f)",
            "def tag(f):\n    f.tag = TAG\n    return f",
            "TAG = 't'",
            "START = 5",
            "@register\ndef f(a=START):\n    return a, f.tag",
        ],
        "return f()",
        (5, "t"),
    ),
    "a wrapped function": (
        ["import functools", "@functools.lru_cache(maxsize=None)\ndef fib(n):\n"
         "    return n if n < 2 else fib(n - 1) + fib(n - 2)"],
        "return fib(30)",
        832040,
    ),
    "a context manager": (
        ["from contextlib import contextmanager", "@contextmanager\ndef c():\n    yield 3"],
        "with c() as x:\n    return x",
        3,
    ),
    "a function under another name": (
        ["def f():\n    return 'old'", "g = f", "def f():\n    return 'new'"],
        "return g(), f()",
        ("old", "new"),
    ),
    "a lambda": (["k = 2", "double = lambda a: a * k"], "return double(4)", 8),
    "one of several lambdas": (
        ["a, b = (lambda x: x + 1), (lambda x: x * 10)", "fs = 0"], "return b(4), a(4)", (40, 5)
    ),
    "a lambda over lines": (["f = (lambda x:\n     x +\n     1)"], "return f(4)", 5),
    "a closure": (
        ["def adder(n):\n    def add(x):\n        return x + n\n    return add", "add5 = adder(5)"],
        "return add5(1)",
        6,
    ),
    "a closure over a function": (
        ["def compose(f):\n    return lambda x: f(f(x))", "def inc(x):\n    return x + 1",
         "g = compose(inc)"],
        "return g(1)",
        3,
    ),
    "a coroutine": (["async def f(x):\n    return x + 1"], "return await f(1)", 2),
    "a generator": (["def g():\n    yield from range(3)"], "return list(g())", [0, 1, 2]),
    "a class": (
        ["class A:\n    k = 3\n    def get(self):\n        return self.k"], "return A().get()", 3
    ),
    "a class without methods": (["class A:\n    k = 3"], "return A.k", 3),
    "a class that was defined twice": (
        ["class A:\n    k = 3", "class A:\n    k = 4"], "return A.k", 4
    ),
    "a subclass": (
        ["class A:\n    def f(self):\n        return 1", "class B(A):\n    def f(self):\n"
         "        return super().f() + extra", "extra = 10"],
        "return B().f()",
        11,
    ),
    "a dataclass": (
        ["from dataclasses import dataclass, field", "from typing import List",
         "@dataclass\nclass P:\n    a: int\n    b: List[int] = field(default_factory=list)"],
        "return P(1).b, P(2).a",
        ([], 2),
    ),
    "an enum": (["import enum", "class E(enum.Enum):\n    A = 1"], "return E.A.value", 1),
    "a named tuple": (
        ["from collections import namedtuple", "P = namedtuple('P', 'a b')"], "return P(1, 2).b", 2
    ),
    "a type variable": (
        ["from typing import TypeVar", "T = TypeVar('T')", "def f(a: T) -> T:\n    return a"],
        "return f(3)",
        3,
    ),
    "an exception": (
        ["class Oops(ValueError):\n    pass"], "try:\n    raise Oops\nexcept ValueError:\n    return 1", 1
    ),
    "future annotations": (
        ["from __future__ import annotations", "def f(a: NoSuchName):\n    return a"],
        "def g(a: NoSuchName): return f(a)\nreturn g(1)",
        1,
    ),
    "names of comprehensions": (["n = 2"], "return [i * n for i in range(3)]", [0, 2, 4]),
    "names of nested functions": (["n = 2"], "def f():\n    return lambda: n\nreturn f()()", 2),
    "names of class bodies": (["n = 2"], "class A:\n    m = n\nreturn A.m", 2),
    "builtins": ([], "return len([1]) + max(1, 2)", 3),
    "open, exit and display": ([], "display(open, exit)\nopen('/dev/null').close()\nreturn 1", 1),
    "a name that shadows a builtin": (["def max(a):\n    return 'mine'"], "return max(1)", "mine"),
    "a function that uses what the cell binds": (
        ["def report():\n    return epoch"], "epoch = 7\nreturn report()", 7
    ),
    "what a branch may bind": (["n = 5"], "if job_data['epochs'] > 9:\n    n = 1\nreturn n", 5),
    "what a loop binds": (["n = 5"], "for n in []:\n    pass\nreturn n", 5),
    "a global of a function": (
        ["count = 0", "def inc():\n    global count\n    count += 1"], "inc()\ninc()\nreturn count", 2
    ),
    "the function itself": (
        ["k = 4"], "import math\nasync def train(self, **job_data):\n    return math.floor(k)", 4
    ),
    "a plain function itself": ([], "def train(self, **kw):\n    return kw['epochs']", 3),
    "its own chute": (["k = 1"], "return chute.name, self is chute", ("notebook", True)),
    "a port": (
        ["from chutes_jupyter import Port", "web = Port('web', 8080, 'http')"], "return web.port", 8080
    ),
    "indentation in texts": (["def f():\n    return '''a\n  b'''"], "return f()", "a\n  b"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAVEL)
def test_travels(notebook: Notebook, worker: Worker, name: str) -> None:
    cells, source, result = TRAVEL[name]
    for cell in cells:
        notebook.cell(cell)
    notebook.names["chute"] = notebook.chute
    job = notebook.job(source)
    assert worker.run(job.payload({"epochs": 3})) == result


@pytest.mark.parametrize("which", [oldest, newest])
def test_travels_to_another_python(notebook: Notebook, worker: Worker, which: Any) -> None:
    notebook.cell(
        "import math\nclass A:\n    k = 3\ndef helper(x):\n    return math.floor(x) + A.k"
    )
    job = notebook.job("n = 1\ndef f():\n    return n\nreturn helper(2.5) + f()")
    assert worker.run(job.payload({}), str(which())) == 6


def test_only_what_is_used_travels(notebook: Notebook) -> None:
    notebook.cell(
        "import os, json\nn = 1\nunused = 2\nlock = object()\ndef f(): return n\ndef g(): pass"
    )
    found = parts(notebook.job("x = json\nreturn f() + x"))
    assert found["imports"] == ["import json"]
    assert {name: codec.loads(data) for name, data in found["values"].items()} == {"n": 1}
    assert [unit["name"] for unit in found["units"]] == ["f", "train"]


NOT_NEEDED = [
    "lock = 1\nreturn lock",
    "def f():\n    return lock\nlock = 1\nreturn f()",
    "for lock in range(3):\n    pass\nreturn lock",
    "while True:\n    lock = 1\n    break\nreturn lock",
    "try:\n    lock = 1\nexcept OSError as error:\n    raise\nreturn lock",
    "try:\n    lock = 1\nfinally:\n    pass\nlock",
    "if job_data:\n    lock = 1\nelse:\n    lock = 2\nlock",
    "if not job_data:\n    return\nelse:\n    lock = 2\nlock",
    "with open('/dev/null') as lock:\n    lock",
    "import json as lock\nlock",
    "def lock(): pass\nlock()",
    "class lock: pass\nlock",
    "def f(lock):\n    return lock\nf(1)",
    "lambda lock: lock",
    "[lock for lock in range(3)]",
    "x = {lock: 1 for lock in range(3) if lock}",
    "if (lock := 1):\n    lock",
    "[lock for i in [1] if (lock := i)]",
    "match 1:\n    case lock:\n        lock",
    "class A:\n    lock = 1\n    x = lock",
    "x: lock = 1",
    "job_data['lock'].lock",
    "def f():\n    global lock\n    lock = 1\nf()\nlock",
]


@pytest.mark.parametrize("source", NOT_NEEDED)
def test_names_of_its_own_stay(notebook: Notebook, source: str) -> None:
    notebook.cell("import threading\nlock = threading.Lock()")
    found = parts(notebook.job(source))
    assert found["values"] == {}


NEEDED = [
    "lock += 1",
    "del lock",
    "if job_data:\n    lock = 1\nlock",
    "print(lock)\nlock = 1",
    "lock = lock",
    "def f():\n    return lock\nf()",
    "[lock for _ in range(3)]",
    "class A:\n    lock = lock",
    "def f(x=lock): pass",
    "@lock\ndef f(): pass",
    "class A(lock): pass",
    "def f(x: lock): pass",
    "f'{lock}'",
    "def f():\n    def lock(): pass\n    return lock\nlock",
    "match 1:\n    case lock.x: pass",
    "job_data['x'][lock]",
    "try:\n    x = 1\nexcept lock:\n    pass",
]


@pytest.mark.parametrize("source", NEEDED)
def test_names_of_the_notebook_are_taken(notebook: Notebook, source: str) -> None:
    notebook.cell("import threading\nlock = threading.Lock()")
    with pytest.raises(CaptureError, match=r"lock is a _thread\.lock"):
        notebook.job(source).payload({})


def test_every_refused_name_is_said_with_its_place(notebook: Notebook) -> None:
    notebook.cell("import threading\nlock = threading.Lock()\ncfg = {'a': [1, (i for i in [])]}")
    notebook.cell("# first\ndef helper():\n    return lock")
    job = notebook.job("x = 1\nprint(cfg)\nhelper()\n")
    with pytest.raises(CaptureError) as caught:
        job.payload({})
    text = str(caught.value)
    assert 'In[3] line 3: cfg["a"][1] is a generator' in text
    assert "In[2] line 3: lock is a _thread.lock" in text
    assert "train.submit(x=…)" in text
    assert "inside the function" in text


REFUSED = {
    "a made module": ("import types\nx = types.ModuleType('made')", "'made'"),
    "a generator": ("x = (i for i in range(3))", "x is a generator"),
    "a coroutine": ("async def f(): pass\nx = [f()]", "x[0] is a coroutine"),
    "a file": ("x = {'a': [open('/dev/null')]}", 'x["a"][0] is an open file (/dev/null)'),
    "a lock": (
        "import threading\nclass A:\n    def __init__(self): self.lock = threading.Lock()\n"
        "x = {'a': [1, 2, A()]}",
        'x["a"][2].lock is a _thread.lock',
    ),
    "a lock in a closure": (
        "import threading\ndef f():\n    k = [threading.Lock()]\n    return lambda: k\nx = f()",
        "x's k[0] is a _thread.lock",
    ),
    "a default": (
        "def f(g):\n    def h(a=[g]): return a\n    h.g = g\n    return h, g\n"
        "x = f(open('/dev/null'))[0]",
        "open it inside the function",
    ),
    "a connection": (
        "import sqlite3\nx = sqlite3.connect(':memory:')",
        "x is a sqlite3.Connection, a database",
    ),
    "a socket": ("import socket\nx = socket.socket()", "x is a socket.socket, an open connection"),
    "a process": ("import subprocess\nx = subprocess.Popen(['true'])\nx.wait()", "a process of"),
    "an iterator of its own": (
        "class A:\n    def __reduce__(self): raise ValueError('no')\nx = [A()]",
        "x[0] can't be pickled (no)",
    ),
    "no source": ("exec('def x(): pass')", "source"),
    "a class without source": ("exec('class x: pass')", "source"),
    "what is gone": ("def f(n):\n    class C:\n        k = n\n    return C\nx = f(1)", "top level"),
    "another chute": (
        "from chutes_jupyter import Chute\nx = Chute('me', 'a', 'b')",
        "another chute",
    ),
    "a job function": (
        "from chutes_jupyter import Chute\n@Chute().job()\ndef x(self, **job_data): pass",
        "a job function",
    ),
    "a job function in a list": (
        "from chutes_jupyter import Chute\n@Chute().job()\ndef y(self, **job_data): pass\nx = [y]",
        "x[0] is a job function",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(notebook: Notebook, name: str) -> None:
    cell, words = REFUSED[name]
    notebook.cell(cell)
    with pytest.raises(CaptureError, match="In") as caught:
        notebook.job("return x").payload({})
    assert words in str(caught.value)


def test_ipython_is_not_there(notebook: Notebook) -> None:
    notebook.cell("def f():\n    get_ipython().run_line_magic('pwd', '')")
    with pytest.raises(CaptureError, match="subprocess"):
        notebook.job("f()").payload({})


@pytest.mark.parametrize(
    ("source", "line"),
    [("x = 1\n%who", 3), ("%%bash\nls", 2), ("!ls\n%cd x", 3), ("x = 1\nx?", 3)],
)
def test_what_only_ipython_knows(notebook: Notebook, source: str, line: int) -> None:
    with pytest.raises(SyntaxError, match="a job may have !commands") as caught:
        notebook.job(source)
    assert (caught.value.filename, caught.value.lineno) == ("In[1]", line)


def test_syntax_errors_point_at_the_cell(notebook: Notebook) -> None:
    with pytest.raises(SyntaxError) as caught:
        notebook.job("x = 1\ny = = 2\n")
    assert (caught.value.filename, caught.value.lineno) == ("In[1]", 3)
    assert "subprocess" not in str(caught.value)


def test_tracebacks_point_at_cells(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("k = 0\ndef helper(x):\n    return x / k")
    text = worker.fail(notebook.job("x = 1\nhelper(x)").payload({}))
    assert 'File "In[2]", line 3, in train\n    helper(x)' in text
    assert 'File "In[1]", line 3, in helper\n    return x / k' in text


def test_values_up_to_a_limit(notebook: Notebook) -> None:
    notebook.names.update(big=b"x" * 90_000_000, small=b"x" * 9_000_000)
    job = notebook.job("return big, small")
    job.payload({})
    notebook.names["small"] = b"x" * 11_000_000
    rule = r"100,000,000 .*big 90,000,\d+, small 11,000,\d+.* Pass big"
    with pytest.raises(CaptureError, match=rule):
        job.payload({})


def test_values_are_those_at_submit(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("n = 1\ndef f(): return 'old'")
    job = notebook.job("return n, f()")
    notebook.cell("n = 2\ndef f(): return 'new'")
    payload = job.payload({})
    notebook.cell("n = 3")
    assert worker.run(payload) == (2, "new")


def test_names_that_are_nowhere_fail_there(notebook: Notebook, worker: Worker) -> None:
    assert "name 'nowhere' is not defined" in worker.fail(notebook.job("nowhere").payload({}))


def test_missing_modules_are_named(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("import sys, types\nsys.modules['only_here'] = types.ModuleType('only_here')")
    notebook.cell("import only_here")
    try:
        text = worker.fail(notebook.job("only_here").payload({}))
    finally:
        notebook.cell("del sys.modules['only_here']")
    assert "import only_here" in text
    assert "No module named 'only_here'" in text


def test_hooks_give_names(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("import threading\nmodel = threading.Lock()\nsize = 3\ndef make(): return [size]")
    notebook.startup("model = make()\nself.device = 'cpu'", priority=10)
    notebook.startup("async def other(self):\n    self.more = len(model)", priority=20)
    job = notebook.job("def f(): return model\nreturn f(), model, self.device, self.more")
    assert worker.run(job.payload({})) == ([3], [3], "cpu", 1)


def test_hooks_are_refused_together_with_the_job(notebook: Notebook) -> None:
    notebook.cell("a, b = (i for i in []), open('/dev/null')")
    notebook.startup("a")
    with pytest.raises(CaptureError) as caught:
        notebook.job("b").payload({})
    assert "a is a generator" in str(caught.value)
    assert "b is an open file" in str(caught.value)


def test_a_hook_that_is_run_again_takes_its_own_place(notebook: Notebook) -> None:
    notebook.startup("x = 1")
    notebook.startup("x = 1")
    assert len(notebook.chute._startup_hooks) == 1
    notebook.names["chute"] = notebook.chute
    for text in ("1", "2"):
        notebook.cell(f"@chute.on_startup()\ndef setup(self):\n    self.x = {text}")
    assert len(notebook.chute._startup_hooks) == 2
    assert "self.x = 2" in notebook.chute._startup_hooks[1].code.source
