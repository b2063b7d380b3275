# ruff: noqa: E501, PT017, PT018, UP031  # Python 3.8 without pytest, and cells on one line
"""What cells mean, run by the worker's own Python: 3.8 code, standard library alone.

``python cells_on_worker.py FOLDER`` (a folder with the package's agent in it) prints a JSON
object: the name of each check, and what went wrong, or "".
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import sys
import traceback
import types

# Cells without `return`: each is run as a module, as the kernel does, and as a job's body.
SAME = {
    "nothing": "",
    "comment": "# only this",
    "docstring": '"""Says what it does."""\nx = 1',
    "assign": "x = 1; y = z = [x]; a, (b, *c) = 1, (2, 3, 4); y[0] = 5",
    "assign to what the notebook has": "n = n + 1",
    "augmented": "n += 1; things.append(n); things[0] += 1",
    "augmented, nothing there": "nowhere += 1",
    "read before it is bound": "print(later)\nlater = 1",
    "for": "for i in range(3):\n    last = i\nelse:\n    done = True",
    "for over pairs": "for key, (a, *b) in {'k': (1, 2, 3)}.items():\n    pass",
    "while": "while n < 5:\n    n += 1",
    "with": "import contextlib\nwith contextlib.suppress(ValueError) as w, open('/dev/null') as f:\n"
    "    inside = 1",
    "try": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    text = str(error)\n"
    "finally:\n    end = 1",
    "except name is gone": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    pass\nprint(error)",
    "if": "if n:\n    one = 1\nelse:\n    two = 2",
    "del": "x = 1\ndel x\ndel n\nprint('n' in globals())",
    "del of a part": "del things[0]",
    "import": "import os.path\nimport json as j\nfrom math import sqrt, pi as p\nx = sqrt(4)",
    "import star": "from math import *\nx = floor(tau)",
    "import star with __all__": "from json import *\nx = loads('[1]')\nprint('detect_encoding' in globals())",
    "import star in a branch": "if n:\n    from math import *\nelse:\n    from cmath import *\nx = sqrt(4)",
    "import star that is missing": "from no_such_module import *",
    "import star, relative": "from . import *",
    "function": "def f(a, b=n):\n    return a + b + n\nn = 10\nx = f(1)",
    "function that calls itself": "def f(k):\n    return 1 if k < 2 else k * f(k - 1)\nx = f(5)",
    "functions that call each other": "def even(k):\n    return k == 0 or odd(k - 1)\n"
    "def odd(k):\n    return k != 0 and even(k - 1)\nx = even(6)",
    "function with global": "def f():\n    global n, made\n    n = 2; made = 3\nf()\nx = n + made",
    "function with nonlocal": "def f():\n    k = 0\n    def g():\n        nonlocal k\n        k += 1\n"
    "        return k\n    g()\n    return g()\nx = f()",
    "nonlocal at the top": "nonlocal n",
    "nonlocal of the top": "k = 1\ndef f():\n    nonlocal k\n    k = 2",
    "global at the top": "global fresh\nfresh = 1\ndef f():\n    return fresh\nx = f()",
    "global after use": "print(n)\nglobal n",
    "decorator": "def twice(f):\n    return lambda *a: f(f(*a))\n@twice\ndef inc(k):\n    return k + 1\nx = inc(1)",
    "lambda": "f = lambda k: k + n\nn = 5\nx = f(1)",
    "late lambdas": "fs = [lambda: i for i in range(3)]\nx = [f() for f in fs]",
    "generator function": "def g():\n    yield from range(n, 4)\nx = list(g())",
    "coroutine": "import asyncio\nasync def f(k):\n    await asyncio.sleep(0)\n    return k + n\n"
    "x = asyncio.iscoroutinefunction(f)",
    "class": "class A:\n    k = n\n    def get(self):\n        return self.k + n\nx = A().get()",
    "class that reads itself": "class A:\n    n = n\n    n += 1\nx = A.n, n",
    "class with super": "class A:\n    def f(self):\n        return 1\nclass B(A):\n    def f(self):\n"
    "        return super().f() + 1\nx = B().f()",
    "class in a class": "class A:\n    class B:\n        pass\nx = A.B.__qualname__",
    "class in a function": "def f():\n    class A:\n        pass\n    return A\nx = f().__qualname__",
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n    b: int = n\nx = P(1)",
    "enum": "import enum\nclass E(enum.Enum):\n    A = 1\nx = E.A.name",
    "named tuple": "from typing import NamedTuple\nclass P(NamedTuple):\n    a: int = 1\nx = P()",
    "private names": "class A:\n    __x = 1\n    def f(self):\n        return self.__x\nx = A().f()",
    "comprehensions": "x = [i for i in range(n + 2)]; y = {i: i for i in x}; z = {i for i in x}\n"
    "w = sum(i for i in x); print('i' in globals())",
    "comprehension in a comprehension": "x = [[i * j for j in range(i)] for i in range(n + 2)]",
    "walrus": "if (m := n + 1) > 1:\n    x = m",
    "walrus in a comprehension": "x = [last := i for i in range(3)]\ny = last",
    "walrus in a condition of one": "x = [y for i in range(3) if (y := i)]\nz = any((hit := i) > 1 for i in range(5))",
    "annotated": "x: int = 3\ny: 'no such type'\nthings[0]: int = 9\nclass A: pass\nA.b: int = 4\n(z): int = 1",
    "annotated only": "n: int\nprint(n)",
    "annotated only in a branch": "if n:\n    fresh: int\nprint('fresh' in globals())",
    "unpack": "first, *rest = range(4)\n[a, b], c = (1, 2), 3",
    "starred call": "print(*things, sep='-', **{'end': '!'})",
    "f-string": "x = f'{n!r:>4} {things[0]=}'",
    "text over lines": "x = \"\"\"a\n  b\n    c\"\"\"\ny = '''\n\ttab'''",
    "odd line ends in a text": "x = 'a\\x0cb'  # \x0c\ny = 'c\u2028d'",
    "several on a line": "x = 1; y = 2; z = x + y",
    "backslash": "x = 1 + \\\n  2",
    "assert": "assert n == 2, 'no'",
    "raise": "raise KeyError('gone')",
    "exec": "exec('made = n + 1; n = 7')\nx = made + n",
    "exec of a function": "exec('def f(): return n')\nx = f()",
    "exec with its own names": "own = {}\nexec('k = 1', own)\nprint('k' in globals())",
    "eval": "x = eval('n + 1'); y = eval('[n for _ in range(2)]')",
    "locals": "x = locals()['n']; locals()['made'] = 3; print(made, 'n' in vars(), 'n' in dir())",
    "locals in a function": "def f():\n    k = 1\n    return sorted(locals()), sorted(dir())\nx = f()",
    "locals in a class": "class A:\n    k = 1\n    x = 'k' in locals()\nx = A.x",
    "a name like a builtin": "def exec(text):\n    return 'mine ' + text\nx = exec('n')\nlist = 1",
    "format with locals": "x = '{n} {things}'.format(**locals())",
    "globals": "globals()['made'] = 1\nx = made",
    "main": "x = __name__ == '__main__'",
    "pickle": "import pickle\nclass A:\n    pass\ndef f():\n    pass\nx = pickle.loads(pickle.dumps(A)) is A\n"
    "y = pickle.loads(pickle.dumps(f)) is f",
    "await": "import asyncio\nx = await asyncio.sleep(0, 5)",
    "async for": "async def g():\n    yield 1\n    yield 2\nx = []\nasync for i in g():\n    x.append(i)",
    "async with": "class C:\n    async def __aenter__(self):\n        return 3\n"
    "    async def __aexit__(self, *a):\n        pass\nasync with C() as c:\n    x = c",
    "async comprehension": "async def g():\n    yield n\nx = [i async for i in g()]",
    "await in a comprehension": "import asyncio\nx = [await asyncio.sleep(0, i) for i in range(3)]",
    "gather": "import asyncio\nasync def f(k):\n    return k + n\nx = await asyncio.gather(f(1), f(2))",
    "future": "from __future__ import annotations\ndef f(a: no_such_name): pass\nx = f.__annotations__",
    "future after a docstring": "'''Doc.'''\nfrom __future__ import annotations\nx: nothing = 1",
    "future too late": "x = 1\nfrom __future__ import annotations",
    "future that is none": "from __future__ import braces",
    "yield": "x = yield 1",
    "yield from": "yield from things",
    "yield in a lambda": "f = lambda: (yield 1)\nx = list(f())",
    "break outside": "break",
    "syntax": "x = = 1",
    "indentation": "  x = 1\n y = 2",
    "star import in a function": "def f():\n    from math import *",
    "return in a class": "class A:\n    return 1",
    "no such name": "print(no_such_name)",
    "a name of ours": "self_ = 1\njob = 2\ntrain = 3",
    "the cell's own name": "train = train_before if 'train_before' in globals() else 1\nx = train",
}
SINCE = {
    (3, 9): {"decorator expression": "fs = [lambda f: f]\n@fs[0]\ndef g(): return n\nx = g()"},
    (3, 10): {
        "match": "match {'a': [1, 2, 3], 'b': n}:\n    case {'a': [first, *rest], **others}:\n"
        "        hit = 1\n    case _ as whole:\n        pass",
        "match a class": "from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n"
        "match P(3):\n    case P(a=k) | P(k) if k > n:\n        x = k",
        "with in brackets": "with (open('/dev/null') as f, open('/dev/null') as g):\n    x = 1",
    },
    (3, 11): {"except star": "try:\n    raise ExceptionGroup('g', [ValueError(1)])\n"
              "except* ValueError as group:\n    x = len(group.exceptions)"},
    (3, 12): {
        "type alias": "type Pair[T] = tuple[T, n]\nx = Pair.__name__, Pair.__value__.__args__[1]",
        "generic function": "def f[T](a: T) -> T:\n    return a\nclass A[T]:\n    k = n\nx = f(A.k), A.__qualname__",
        "nested f-string": "x = f'{f'{n}'}'",
    },
}  # fmt: skip


def module_way(source: str, namespace: dict) -> None:
    """Run a cell as the kernel does."""
    code = compile(source, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
    found = eval(code, namespace)
    if found is not None:
        asyncio.run(_await(found))


async def _await(found):
    await found


def cell_way(source: str, namespace: dict) -> None:
    """Run a cell as a job's body."""
    code = bodies.cell_function(source, "train", "self, **job_data", "cell", 2)
    exec(code, namespace)
    asyncio.run(namespace.pop("train")(None, epochs=3))


def outcome(way, source: str) -> list:
    """Return what a cell prints, how it ends, and every name afterwards."""
    module = types.ModuleType("__main__")
    module.__dict__.update({"n": 1, "things": [1, 2]})
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    printed, ended = io.StringIO(), "well"
    try:
        with contextlib.redirect_stdout(printed):
            way(source, module.__dict__)
    except SyntaxError as error:
        ended = "SyntaxError"
        return [ended, error.filename is not None]
    except Exception as error:
        ended = "%s: %s" % (type(error).__name__, error)
    finally:
        sys.modules["__main__"] = before
    names = {k: shown(v) for k, v in vars(module).items() if not k.startswith("__")}
    return [ended, printed.getvalue(), names]


def shown(value: object) -> str:
    """Return a text that is the same for things that are the same."""
    if isinstance(value, types.ModuleType):
        return "module " + value.__name__
    if isinstance(value, (type, types.FunctionType)):
        # A lambda's qualified name alone differs, and nothing finds a lambda by its name.
        name = value.__qualname__.replace("train.<locals>.<lambda>", "<lambda>")
        return "%s %s.%s" % (type(value).__name__, value.__module__, name)
    if type(value).__module__ == "__main__" or " at 0x" in repr(value):
        return "%s.%s" % (type(value).__module__, type(value).__qualname__)
    return repr(value)


def check_return():
    assert run("return n + job_data['epochs'], self") == (4, None)
    assert run("if n:\n    return 1\nreturn 2") == 1
    assert run("for i in range(5):\n    if i == 2: return i") == 2
    assert run("x = 1") is None
    assert run("try:\n    return 1\nfinally:\n    n = 2") == 1


def check_an_indented_cell_is_one_as_for_ipython():
    assert run("  x = 1\n  def f():\n      return x\n  return f()") == 1
    assert run("# why\n\n\tx = 2\n\treturn x") == 2


def check_parameters_are_there_in_functions_and_eval():
    assert run("def f(): return job_data['epochs']\nreturn f()") == 3
    assert run("return eval('job_data')['epochs']") == 3
    assert run("return [job_data['epochs'] for _ in range(2)]") == [3, 3]
    assert run("return 'job_data' in dir(), 'self' in locals(), 'n' in locals()") == (True,) * 3
    assert run("job_data = {'epochs': 9}\ndef f(): return job_data['epochs']\nreturn f()") == 9
    assert run("exec('a = job_data')\nreturn a") == {"epochs": 3}


def check_parameters_are_no_globals():
    module = types.ModuleType("m")
    vars(module).update(n=1)
    exec(bodies.cell_function("self = 1", "t", "self, **job_data", "c"), vars(module))
    asyncio.run(module.t(None))
    assert not hasattr(module, "self") and not hasattr(module, "job_data")


def check_hidden_names_only_where_needed():
    module = types.ModuleType("m")
    exec(bodies.cell_function("x = 1", "t", "self", "c"), vars(module))
    assert sorted(k for k in vars(module) if "chute" in k) == []


def check_yield_says_what_to_do():
    try:
        bodies.cell_function("x = 1\n\nif x:\n    yield x", "t", "self", "In[7]", 2)
    except SyntaxError as error:
        assert (error.filename, error.lineno, error.offset) == ("In[7]", 5, 5), error.args
        assert error.text == "    yield x" and "return" in error.msg
    else:
        raise AssertionError("not refused")


def check_syntax_errors_have_the_cells_line():
    for make in (
        lambda text: bodies.cell_function(text, "t", "self", "In[7]", 2),
        lambda text: bodies.definition(text, "In[7]", 2),
    ):
        for text, line in (("x = 1\ny = = 2", 3), ("x = 1\n\nbreak", 4), ("    a = (\n", 2)):
            try:
                make(text)
            except SyntaxError as error:
                assert error.filename == "In[7]" and error.lineno in (line, line + 1), error.args
            else:
                raise AssertionError(text)


def check_traceback_has_the_cells_lines():
    job = unit("job", "train", "def inner():\n    return 1 / zero\nzero = 0\ninner()\n", cell=True,
               filename="In[7]", first_line=2, params="self, **job_data")  # fmt: skip
    loaded = cells.load(payload([job]))
    text = error_of(lambda: asyncio.run(loaded.job(None)))
    assert 'File "In[7]", line 5, in train\n    inner()' in text, text
    assert 'File "In[7]", line 3, in inner\n    return 1 / zero' in text, text


def check_units_of_one_file_keep_their_lines():
    units = [
        unit("def", "a", "def a():\n    1 / 0\n", filename="s.py", first_line=10),
        unit("def", "b", "    def b():\n        a()\n", filename="s.py", first_line=3),
        unit("job", "train", "@gone\n@kept\ndef train(self, **job_data):\n    b()\n",
             filename="s.py", first_line=20, drop_decorators=1),
    ]  # fmt: skip
    before = unit("def", "kept", "def kept(f):\n    f.kept = True\n    return f\n", filename="s.py",
                  first_line=30)  # fmt: skip
    loaded = cells.load(payload([before, *units]))
    assert loaded.job.kept
    text = error_of(lambda: loaded.job(None))
    for line, name, code in ((23, "train", "b()"), (4, "b", "a()"), (11, "a", "1 / 0")):
        assert 'File "s.py", line %d, in %s\n    %s' % (line, name, code) in text, text


def check_a_file_of_this_machine_is_not_shown():
    job = unit("job", "train", "def train(self):\n    1 / 0\n", filename=__file__)
    loaded = cells.load(payload([job]))
    text = error_of(lambda: loaded.job(None))
    assert "line 2, in train\n    1 / 0" in text, text


def check_source_can_be_read_there():
    import inspect

    job = unit("job", "train", "def train(self):\n    'Doc.'\n", filename="In[3]", first_line=4)
    loaded = cells.load(payload([job]))
    assert inspect.getsource(loaded.job) == "def train(self):\n    'Doc.'\n"


def check_load_makes_main():
    units = [
        unit("def", "C", "class C:\n    def get(self): return base + m.floor(1.5)\n"),
        unit("job", "train", "import pickle\nreturn pickle.loads(pickle.dumps(C())).get(), __name__\n",
             cell=True, params="self, **job_data"),
    ]  # fmt: skip
    loaded = cells.load(
        payload(units, imports=["import math as m"], values={"base": codec.dumps(41)})
    )
    assert sys.modules["__main__"] is loaded.module
    assert asyncio.run(loaded.job(None)) == (42, "__main__")
    assert not hasattr(loaded.module, "train")


def check_hooks_are_in_order():
    def hook(name, priority, cell):
        text = "order.append(%r)" % name
        source = text if cell else "def %s(self):\n    %s\n" % (name, text)
        return unit("hook", name, source, priority=priority, cell=cell, params="self")

    units = [
        hook("late", 90, False),
        hook("a", 50, True),
        hook("b", 50, False),
        hook("c", -1, True),
    ]
    job = unit("job", "train", "def train(self): return order\n")
    loaded = cells.load(payload([*units, job], values={"order": codec.dumps([])}))
    for each in loaded.hooks:
        found = each(None)
        if found is not None:
            asyncio.run(found)
    assert loaded.job(None) == ["c", "a", "b", "late"]


def check_hook_cells_share_globals_with_the_job():
    units = [
        unit(
            "hook",
            "setup",
            "model = 'loaded'\nself.size = 3",
            cell=True,
            params="self",
            priority=50,
        ),
        unit("job", "train", "return model, self.size", cell=True, params="self, **job_data"),
    ]
    loaded = cells.load(payload(units))
    chute = types.SimpleNamespace()
    asyncio.run(loaded.hooks[0](chute))
    assert asyncio.run(loaded.job(chute)) == ("loaded", 3)


def check_a_function_under_another_name():
    units = [
        unit("def", "old", "def f(): return 'old'\n", defines="f"),
        unit("def", "f", "def f(): return 'new'\n"),
        unit("def", "older", "def f(): return 'older'\n", defines="f"),
        unit("job", "train", "def train(self): return old(), f(), older()\n"),
    ]
    assert cells.load(payload(units)).job(None) == ("old", "new", "older")


def check_missing_import_is_named():
    job = unit("job", "train", "def train(self): pass\n")
    for statement, kind in (
        ("import no_such_module_x as nm", ModuleNotFoundError),
        ("from json import no_such_thing", ImportError),
    ):
        try:
            cells.load(payload([job], imports=[statement]))
        except ImportError as error:
            assert type(error) is kind
            assert statement in str(error) and "no_such" in str(error) and "--python" in str(error)
            assert sys.executable in str(error)
        else:
            raise AssertionError("not raised")


def check_display_prints():
    job = unit("job", "train", "def train(self):\n    display('text', [1])\n")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        cells.load(payload([job])).job(None)
    assert printed.getvalue() == "text\n[1]\n"
    mine = unit("def", "display", "def display(x): return x\n")
    job = unit("job", "train", "def train(self): return display(3)\n")
    assert cells.load(payload([mine, job])).job(None) == 3


def check_chute_names():
    job = unit("job", "train", "def train(self): return chute is self\n")
    chute = object()
    assert cells.load(payload([job], chute_names=["chute"]), chute).job(chute) is True


def check_future_of_the_notebook():
    job = unit("job", "train", "def train(self, a: no_such = 1) -> gone: pass\n", future=True)
    assert cells.load(payload([job])).job.__annotations__["return"] == "gone"
    cell = unit("job", "train", "def f(a: no_such): pass\nreturn f.__annotations__", cell=True,
                params="self", future=True)  # fmt: skip
    assert asyncio.run(cells.load(payload([cell])).job(None)) == {"a": "no_such"}
    late = unit("job", "train", "def train(self) -> int: pass\n")
    assert cells.load(payload([late])).job.__annotations__["return"] is int


def check_indented_source_keeps_its_texts():
    text = '\t# first\n\tdef train(self):\n\t\treturn """a\n  b\n\tc"""\n'
    for first in (1, 9):
        loaded = cells.load(payload([unit("job", "train", text, first_line=first)]))
        assert loaded.job(None) == "a\n  b\n\tc"
        assert loaded.job.__code__.co_firstlineno == first + 1


def check_sole_function():
    good = "async def train(self, **job_data):\n    return 1"
    for source, found in (
        (good, True),
        ("'''Doc.'''\nimport os\nx: int = 1\nclass A: pass\ndef help(): train\n" + good, True),
        ("def train(self, **kw): pass", True),
        ("import random\nrandom.seed(1)\n" + good, True),
        (good + "\nreturn await train(self)", False),
        (good + "\nx = train", False),
        (good + "\n" + good, False),
        ("if 1:\n    def train(self, **job_data): pass", False),
        (good + "\nawait f()", False),
        (good + "\n[x async for x in y]", False),
        ("def other(self, **job_data): pass", False),
        ("x = 1", False),
    ):
        got = bodies.sole_function(bodies.parse(source, "c"), "train")
        assert (got is not None) == found, source
    assert bodies.sole_function(bodies.parse("def setup(self): pass", "c"), None) is not None
    assert bodies.sole_function(bodies.parse("def f(self, x): pass", "c"), None) is None


def run(source):
    """Run a cell with a return value."""
    namespace = {"n": 1, "__name__": "__main__"}
    exec(bodies.cell_function(source, "train", "self, **job_data", "cell", 2), namespace)
    return asyncio.run(namespace["train"](None, epochs=3))


def unit(kind, name, source, **more):
    """Return a unit as the payload has it."""
    return dict({"kind": kind, "name": name, "source": source, "filename": "In[1]",
                 "first_line": 1, "cell": False}, **more)  # fmt: skip


def payload(units, **more):
    """Return a payload."""
    return dict({"imports": [], "values": {}, "units": units, "job": "train"}, **more)


def error_of(call):
    """Return the traceback of a call that fails."""
    try:
        call()
    except Exception:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


def same(source):
    """Check that a cell means the same both ways."""
    expected, got = outcome(module_way, source), outcome(cell_way, source)
    assert expected == got, "as a module %r, as a job %r" % (expected, got)


def checks():
    """Return every check by its name."""
    found = {"same: " + name: (lambda s=source: same(s)) for name, source in SAME.items()}
    for version, more in SINCE.items():
        if sys.version_info >= version:
            found.update({"same: " + n: (lambda s=source: same(s)) for n, source in more.items()})
    found.update({k[6:]: v for k, v in globals().items() if k.startswith("check_")})
    return found


def main():
    """Run every check and print how it went."""
    results, own = {}, sys.modules["__main__"]
    for name, check in checks().items():
        try:
            check()
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()
        finally:
            sys.modules["__main__"] = own
    print(json.dumps(results))


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    from chutes_jupyter.agent import bodies, cells, codec

    main()
