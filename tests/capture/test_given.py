# ruff: noqa: E501  # cells on one line
"""What decorators, base classes and registries did to classes is so on the worker, too, and once."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.errors import CaptureError
from tests.capture.conftest import Notebook, Worker
from tests.interpreters import newest, oldest

# the notebook's cell, the job's cell, what it returns
CLASSES: dict[str, tuple[str, str, Any]] = {
    "a decorator adds a lock": (
        """
        import threading
        def locked(cls):
            cls.lock, cls.known = threading.Lock(), {}
            return cls
        @locked
        class A:
            n = 1
        A.known["set"] = A.n
        """,
        "with A.lock:\n    return A().n, A.known",
        (1, {"set": 1}),
    ),
    "a base class adds a lock": (
        """
        import threading
        class Base:
            def __init_subclass__(cls, tag):
                cls.lock, cls.tag = threading.Lock(), tag
        class A(Base, tag="x"):
            pass
        """,
        "with A.lock:\n    return A.tag",
        "x",
    ),
    "a metaclass adds a lock": (
        """
        import threading
        class Meta(type):
            def __init__(cls, *args):
                cls.lock = threading.Lock()
        class A(metaclass=Meta):
            pass
        """,
        "with A.lock:\n    return type(A).__name__",
        "Meta",
    ),
    "a decorator adds a generator": (
        """
        def numbered(cls):
            cls.ids = (i for i in range(5))
            return cls
        @numbered
        class A:
            pass
        """,
        "return next(A.ids), next(A.ids)",
        (0, 1),
    ),
    "a decorator changes a method": (
        """
        import functools
        def twice(cls):
            old = cls.f
            @functools.wraps(old)
            def f(self):
                return 2 * old(self)
            cls.f = f
            return cls
        @twice
        class A:
            def f(self): return 1
        """,
        "return A().f()",
        2,
    ),
    "a decorator makes another class": (
        """
        def bigger(cls):
            class Bigger(cls):
                def f(self): return super().f() + 1
            Bigger.__qualname__ = Bigger.__name__ = cls.__name__
            return Bigger
        @bigger
        class A:
            def f(self): return 1
        """,
        "return A().f()",
        2,
    ),
    "total ordering": (
        """
        from functools import total_ordering
        @total_ordering
        class A:
            def __init__(self, n): self.n = n
            def __eq__(self, other): return self.n == other.n
            def __lt__(self, other): return self.n < other.n
        """,
        "return A(2) >= A(1)",
        True,
    ),
    "a registry in a dict": (
        """
        known, names = {}, []
        def register(cls):
            known[cls.__name__] = cls
            names.append(cls.__name__)
            return cls
        @register
        class A: n = 1
        @register
        class B: n = 2
        """,
        "return known['A'] is A, [k.n for k in known.values()], names",
        (True, [1, 2], ["A", "B"]),
    ),
    "a registry of data classes": (
        """
        from dataclasses import dataclass
        known, names, count = {}, [], 0
        def register(cls):
            global count
            known[cls.__name__] = cls
            names.append(cls.__name__)
            count += 1
            return cls
        @register
        @dataclass
        class A: n: int = 1
        @register
        @dataclass
        class B: n: int = 2
        """,
        "return known['B'] is B, [k().n for k in known.values()], names, count",
        (True, [1, 2], ["A", "B"], 2),
    ),
    "a registry of a base class": (
        """
        class Base:
            known, names, count = {}, [], 0
            def __init_subclass__(cls):
                Base.known[cls.__name__] = cls
                Base.names.append(cls.__name__)
                Base.count += 1
        class A(Base): n = 1
        class B(A): n = 2
        """,
        "return Base.known['B'] is B, B.known is Base.known, sorted(Base.known), Base.names, Base.count",
        (True, True, ["A", "B"], ["A", "B"], 2),
    ),
    "a registry in an instance": (
        """
        class Registry:
            def __init__(self): self.known = {}
            def register(self, name):
                def add(cls):
                    self.known[name] = cls
                    return cls
                return add
        models = Registry()
        @models.register("a")
        class A: n = 1
        """,
        "return models.known['a'] is A, list(models.known)",
        (True, ["a"]),
    ),
    "a registry of functions": (
        """
        steps = []
        def step(f):
            steps.append(f)
            return f
        @step
        def one(): return 1
        @step
        def two(): return one() + 1
        """,
        "return [f() for f in steps], steps[0] is one",
        ([1, 2], True),
    ),
    "what a class takes of a value stays that value's": (
        "cfg = {'layers': [1]}\nclass A:\n    layers = cfg['layers']",
        "A.layers.append(2)\nreturn cfg",
        {"layers": [1, 2]},
    ),
}


def prepared(notebook: Notebook, name: str) -> bytes:
    cell, source, _ = CLASSES[name]
    notebook.cell(cell)
    return notebook.job(source).payload({})


@pytest.mark.parametrize("name", CLASSES)
def test_classes(notebook: Notebook, worker: Worker, name: str) -> None:
    assert worker.run(prepared(notebook, name)) == CLASSES[name][2]


@pytest.mark.parametrize("which", [oldest, newest])
@pytest.mark.parametrize("name", [name for name in CLASSES if "registry" in name])
def test_registries_on_another_python(
    notebook: Notebook, worker: Worker, name: str, which: Any
) -> None:
    assert worker.run(prepared(notebook, name), str(which())) == CLASSES[name][2]


def test_what_was_set_by_hand_and_can_not_travel_is_refused(notebook: Notebook) -> None:
    notebook.cell("import threading\nclass A: pass\nA.lock = threading.Lock()")
    with pytest.raises(CaptureError, match=r"A\.lock is a _thread\.lock"):
        notebook.job("return A").payload({})


DECORATORS = """
calls = []
def counted(f):
    def wrapper(*args):
        calls.append(f.__name__)
        return [f(*args), len(calls)]
    return wrapper
def repeated(n):
    def around(f):
        def wrapper(*args):
            return [f(*args)] * n
        return wrapper
    return around
class Memo:
    def __init__(self, f): self.f, self.known = f, {}
    def __call__(self, x):
        if x not in self.known:
            self.known[x] = self.f(x)
        return self.known[x]
"""


def test_a_module_s_decorators_that_say_nothing_of_what_they_wrap(
    notebook: Notebook, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for folder in (here, tmp_path / "worker"):
        (folder / "plain_decorators.py").write_text(textwrap.dedent(DECORATORS))
    monkeypatch.syspath_prepend(str(here))
    notebook.cell("import plain_decorators as deco\nfrom plain_decorators import *\nk = 5")
    notebook.cell("@deco.counted\ndef f(x):\n    return x + k")
    notebook.cell("@deco.repeated(2)\n@counted\ndef g(x):\n    return x * k")
    notebook.cell("@Memo\ndef h(x):\n    return x - k\nfs = [f, h]")
    job = notebook.job("return f(1), g(2), h(7), [each(5) for each in fs], fs[0] is f")
    found = worker.run(job.payload({}))
    assert found == ([6, 1], [[10, 2], [10, 2]], 2, [[10, 3], 0], True)


def test_what_a_module_s_function_made_of_another_by_a_call_is_refused(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain_callers.py").write_text(textwrap.dedent(DECORATORS))
    monkeypatch.syspath_prepend(str(tmp_path))
    notebook.cell("from plain_callers import *\n@counted\ndef f(x): return x\ng = repeated(2)(f)")
    with pytest.raises(CaptureError, match="g can't be pickled"):
        notebook.job("return g(1)").payload({})
