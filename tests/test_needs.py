"""Which Python some code needs: said before anything is sent, and true of real interpreters."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import chutes_jupyter
from chutes_jupyter.chute import Chute, cell_job
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import JobFailed
from chutes_jupyter.job import close_client
from chutes_jupyter.models import JobOptions
from chutes_jupyter.needs import Needs, new_syntax
from tests.interpreters import interpreters, newest, oldest

#: Each with the first Python that can read it, and the line that tells.
NEW = [
    ("match x:\n    case 1:\n        pass", (3, 10), 1),
    ("def f():\n    match x:\n        case 1:\n            pass", (3, 10), 2),
    ("    @a.b(1)\n    def f():\n        match x:\n            case 1: pass", (3, 10), 3),
    ("try:\n    pass\nexcept* ValueError:\n    pass", (3, 11), 1),
    ("@a[0].b\ndef f(): pass", (3, 9), 1),
    ("x[*a]", (3, 11), 1),
    ("é = x[*a]", (3, 11), 1),
    ("for i in *a, 1: pass", (3, 9), 1),
    ("def f(*a: *T): pass", (3, 11), 1),
]
#: What this Python may be too old for itself.
NEWER = [
    ("\ntype A = int", (3, 12), 2),
    ("def f[T](a: T): pass", (3, 12), 1),
    ("class A[T]: pass", (3, 12), 1),
    ("x = f'{d['a']}'", (3, 12), 1),
    ("x = f'{\"\\n\".join(a)}'", (3, 12), 1),
    ("x = f'''{a # c\n}'''", (3, 12), 1),
    ("x = 1\nx = f'{\na}'", (3, 12), 2),
    ("x = f'{f'{1}'}'", (3, 12), 1),
    ("    x = f'{f'{1}'}'", (3, 12), 1),
]
OLD = [
    "if (n := 1): pass",
    "def f(a, /, *, b): pass",
    "x = f'{n=} {n!r:>{w}}\\n'",
    "x = f'''{a['b']}\n{\na}'''",
    "x = f\"{f'{1}'}\\n\"",
    "x[(*a,)], x[1, 2], x[1:2, ...]",
    "try: pass\nexcept (A, B): pass",
    "for i in (*a, 1): pass",
    "@a.b.c(1)\nclass A: pass",
    "match = case = type = 1\nmatch[case](type)",
    "async def f():\n    return [await x async for x in y]",
    "type = 1\ntype (A)",
    "x = 'a\u2028b\x85c\x1cd'\ny = f'{x}'",
]


def found(source: str) -> list[tuple[tuple[int, int], int]]:
    return [(each.since, each.line) for each in new_syntax(source, "In[1]", 5)]


@pytest.mark.parametrize(("source", "since", "line"), NEW)
def test_new_syntax_is_found(source: str, since: tuple[int, int], line: int) -> None:
    assert found(source) == [(since, line + 4)]


@pytest.mark.parametrize("source", OLD)
def test_what_is_old_is_not(source: str) -> None:
    assert found(source) == []


def test_new_syntax_is_found_by_a_new_python(tmp_path: Path) -> None:
    script = """
    import json, sys, types
    package = types.ModuleType("chutes_jupyter")  # its other modules need what is not installed
    package.__path__ = [sys.argv[1]]
    sys.modules["chutes_jupyter"] = package
    from chutes_jupyter.needs import new_syntax
    found = [[(e.since, e.line) for e in new_syntax(text, "", 5)] for text in json.load(sys.stdin)]
    print(json.dumps(found))
    """
    sources = [source for source, *_ in [*NEW, *NEWER]] + OLD
    done = subprocess.run(
        [newest(), "-c", textwrap.dedent(script), str(Path(chutes_jupyter.__file__).parent)],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [[[list(since), line + 4]] for _, since, line in [*NEW, *NEWER]]
    assert json.loads(done.stdout) == expected + [[] for _ in OLD]


@pytest.mark.parametrize("version", interpreters())
def test_real_interpreters_agree(version: tuple[int, int]) -> None:
    script = """
    import json, sys
    def reads(text):
        try:
            compile("if 1:\\n" + text if text[0] == " " else text, "", "exec")
            return True
        except SyntaxError:
            return False
    print(json.dumps([reads(text) for text in json.load(sys.stdin)]))
    """
    sources = [source for source, *_ in [*NEW, *NEWER]] + OLD
    done = subprocess.run(
        [interpreters()[version], "-c", textwrap.dedent(script)],
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [version >= since for _, since, _ in [*NEW, *NEWER]] + [True for _ in OLD]
    assert json.loads(done.stdout) == expected


def test_a_worker_that_is_as_new_needs_no_look() -> None:
    code = ((NEW[0][0], "In[3]", 2),)
    here = "{}.{}.1".format(*sys.version_info)
    assert Needs(code=code).too_new(here, "gpu1") == []
    assert Needs(code=code).too_new("4.0", "gpu1") == []
    (said,) = Needs(code=code).too_new("3.9.18", "gpu1")
    assert said.startswith("In[3] line 2: a match statement can be read by Python 3.10 and newer")
    assert "the jobs of gpu1 run on Python 3.9.18" in said


@pytest.mark.slow
def test_a_job_of_too_new_a_syntax_is_never_sent(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    Workers.load().add(Worker("local", python=str(oldest()), dir=str(folder)))
    names: dict[str, object] = {"__name__": "__main__"}
    cell = "x = 1\nmatch x:\n    case 1:\n        print('one')"
    function = cell_job(cell, "work", JobOptions(), names, Chute(), "In[4]")
    try:
        said = "In[4] line 3: a match statement can be read by Python 3.10 and newer"
        assert [line for line in function.check().refused if line.startswith(said)]
        job = function.submit()
        with pytest.raises(JobFailed, match=r"In\[4\] line 3: a match statement"):
            job.result(60)
        assert not (folder / "jobs" / job.id).exists()
    finally:
        close_client()
