"""What decorated functions of scripts and modules take along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chutes_jupyter import Chute
from chutes_jupyter.agent import codec
from chutes_jupyter.errors import CaptureError, SpecError
from tests.capture.conftest import Notebook, Worker

Script = Callable[..., bytes]


def test_the_reference_form(script: Script, worker: Worker) -> None:
    payload = script(
        """
        import math

        SCALE = 3

        def helper(x):
            return math.floor(x) * SCALE

        chute = Chute(username="me", name="demo", image="parachutes/python:3.12")

        @chute.on_startup()
        async def setup(self):
            self.base = helper(2.5)

        @chute.on_startup(priority=10)
        def first(self):
            self.order = ["first"]

        @chute.job(ports=[Port(name="web", port=8080, proto="http")], timeout=3600)
        async def train(self, **job_data):
            return self.base + job_data["k"], self.order, self.name

        show(train, k=1)
        """
    )
    assert worker.run(payload) == (7, ["first"], "demo")


def test_lines_of_the_file(script: Script, worker: Worker) -> None:
    payload = script(
        """
        chute = Chute("me", "demo", "x")
        def helper():
            return 1 / 0
        @chute.job(
            timeout=60,
        )
        def train(self, **job_data):
            '''Doc.'''
            return helper()
        show(train)
        """
    )
    text = worker.fail(payload)
    assert 'script.py", line 13, in train\n    return helper()' in text
    assert 'script.py", line 7, in helper\n    return 1 / 0' in text


@pytest.mark.parametrize(
    "decorators",
    [
        "@chute.job()",
        "@chute.job()\n@kept",
        "@job()",
        "@chutes[0].job()\n@kept",
        "@mine",
        "@mine\n@kept",
        "@chute.job(\n    ports=[],\n    timeout=60,\n)\n@kept",
    ],
)
def test_decorators_of_ours_stay(script: Script, worker: Worker, decorators: str) -> None:
    source = f"""
import functools
chute = Chute("me", "demo", "x")
chutes, job = [chute], chute.job
def mine(f):
    return chute.job()(f)
def kept(f):
    @functools.wraps(f)
    async def wrapper(self, **job_data):
        return "kept", await f(self, **job_data)
    return wrapper
{decorators}
async def train(self, **job_data):
    return 1
show(train)
"""
    expected = ("kept", 1) if "kept" in decorators else 1
    assert worker.run(script(source)) == expected


def test_called_as_a_function(script: Script, worker: Worker) -> None:
    payload = script(
        """
        def keep(f):
            return f
        @keep
        def train(self, **job_data):
            return 1
        show(Chute("me", "demo", "x").job()(train))
        """
    )
    assert worker.run(payload) == 1


def test_a_function_in_a_function(script: Script, worker: Worker) -> None:
    payload = script(
        """
        chute = Chute("me", "demo", "x")
        def make(n):
            text = '''a
          b'''
            def helper(x):
                return x + n
            @chute.job()
            async def train(self, **job_data):
                '''Indented.'''
                return helper(1), text
            return train
        show(make(4))
        """
    )
    assert worker.run(payload) == (5, "a\n          b".replace("          b", "  b"))


def test_a_module_that_is_imported(script: Script, worker: Worker) -> None:
    files = {
        "jobs.py": """
            from __future__ import annotations
            import json
            from chutes_jupyter import Chute
            K = 2
            class A:
                def get(self) -> NoSuchName:
                    return K
            def helper():
                return A().get()
            chute = Chute("me", "demo", "x")
            @chute.on_startup()
            def setup(self):
                self.k = K
            @chute.job()
            def train(self, **job_data) -> dict[str, int]:
                return helper(), self.k, json.dumps(1)
            """
    }
    payload = script("import jobs\nshow(jobs.train)", files=files)
    assert worker.run(payload) == (2, 2, "1")
    assert codec.loads(payload)["imports"] == ["import json"]


def test_a_library_beside_the_script_is_imported(script: Script, worker: Worker) -> None:
    files = {"beside.py": "def f():\n    return 1\n"}
    payload = script(
        """
        from beside import f as g
        chute = Chute("me", "demo", "x")
        @chute.job()
        def train(self, **job_data):
            return g()
        show(train)
        """,
        files=files,
    )
    assert codec.loads(payload)["imports"] == ["from beside import f as g"]
    assert "No module named 'beside'" in worker.fail(payload)


def test_decorated_in_a_notebook(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("from chutes_jupyter import Chute\nchute = Chute('me', 'demo', 'x')\nk = 4")
    notebook.cell(
        """
        # a comment
        @chute.on_startup()
        async def setup(self):
            self.k = k
        @chute.job(timeout=60)
        async def train(self, **job_data):
            return self.k, chute is self, job_data["x"]
        """
    )
    train = notebook.names["train"]
    assert worker.run(train.payload({"x": 1})) == (4, True, 1)
    assert [unit["filename"] for unit in codec.loads(train.payload({}))["units"]] == ["In[2]"] * 2


def test_the_source_is_that_of_the_registration(notebook: Notebook, worker: Worker) -> None:
    notebook.cell("from chutes_jupyter import Chute\nchute = Chute('me', 'demo', 'x')")
    notebook.cell("@chute.job()\ndef train(self, **job_data):\n    return 'old'")
    old = notebook.names["train"]
    notebook.cell("@chute.job()\ndef train(self, **job_data):\n    return 'new'")
    assert worker.run(old.payload({})) == "old"
    assert worker.run(notebook.names["train"].payload({})) == "new"
    assert [job.name for job in notebook.names["chute"]._jobs] == ["train"]


chute = Chute("me", "demo", "x")


def wrong() -> dict[str, Any]:
    async def more(self, epochs=3, **job_data): ...
    async def less(self): ...
    async def data(job_data): ...
    async def nothing(): ...
    async def positional(self, *args, **job_data): ...
    async def other(data, **job_data): ...
    async def default(self=None, **job_data): ...
    async def keyword(self, *, a, **job_data): ...
    async def generator(self, **job_data):
        yield 1

    def plain_generator(self, **job_data):
        yield 1

    class A: ...

    named = {f.__name__: f for f in (more, less, data, nothing, positional, other, default)}
    return {
        **named,
        "keyword": keyword,
        "generator": generator,
        "plain_generator": plain_generator,
        "class": A,
        "text": "train",
        "lambda": lambda self, **job_data: 1,
        "builtin": print,
    }


@pytest.mark.parametrize("name", wrong())
def test_wrong_functions(name: str) -> None:
    with pytest.raises(SpecError, match=r"async def train\(self, \*\*job_data\)"):
        chute.job()(wrong()[name])


def test_wrong_hooks() -> None:
    async def setup(self, **job_data): ...

    with pytest.raises(SpecError, match=r"async def setup\(self\)"):
        chute.on_startup()(setup)


def test_functions_without_source() -> None:
    names: dict[str, Any] = {}
    exec("def train(self, **job_data): pass", names)
    with pytest.raises(CaptureError, match="source of train"):
        chute.job()(names["train"])


def test_a_job_function_is_not_registered_twice() -> None:
    def train(self, **job_data): ...

    with pytest.raises(SpecError, match="already"):
        chute.job()(chute.job()(train))


def test_parentheses_are_asked_for() -> None:
    def train(self, **job_data): ...

    with pytest.raises(SpecError, match=r"@chute.job\(\)"):
        chute.job(train)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"@chute.on_startup\(\)"):
        chute.on_startup(train)  # type: ignore[arg-type]
