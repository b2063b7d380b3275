"""A real IPython shell for notebooks, and a fresh Python that runs what was captured."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import chutes_jupyter.agent
from chutes_jupyter.agent import standin
from chutes_jupyter.chute import Chute, JobFunction, StartupHook, cell_hook, cell_job
from chutes_jupyter.models import JobOptions

RUN = """
import asyncio, inspect, sys, traceback, types
# As the agent does: what prints uncaught exceptions does not look into linecache.
sys.excepthook = lambda *error: traceback.print_exception(*error)
sys.path.insert(0, sys.argv[1])
from chutes_jupyter.agent import cells, codec
payload = codec.loads(open(sys.argv[2], "rb").read())
chute = types.SimpleNamespace(**payload["chute"])
loaded = cells.load(payload, chute)
async def way():
    for call in [*loaded.hooks, loaded.job]:
        found = call(chute, **payload["job_data"]) if call is loaded.job else call(chute)
        found = await found if inspect.isawaitable(found) else found
    return found
print("RESULT", repr(asyncio.run(way())))
"""


class Worker:
    """Runs payloads in a fresh process that has the agent and nothing else of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        package = folder / "chutes_jupyter"
        package.mkdir(parents=True)
        shutil.copy(standin.__file__, package / "__init__.py")
        agent = Path(chutes_jupyter.agent.__file__).parent
        shutil.copytree(agent, package / "agent", ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, payload: bytes, python: str = sys.executable) -> Any:
        """Return what the job function returns; it must be a literal."""
        done = self._start(payload, python)
        assert done.returncode == 0, done.stderr
        return ast.literal_eval(done.stdout.rpartition("RESULT ")[2])

    def fail(self, payload: bytes) -> str:
        """Return what a job that fails prints as its error."""
        done = self._start(payload, sys.executable)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def _start(self, payload: bytes, python: str) -> subprocess.CompletedProcess[str]:
        path = self._folder / "payload.bin"
        path.write_bytes(payload)
        command = [python, "-I", "-c", RUN, str(self._folder), str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


class Notebook:
    """A notebook with a kernel's shell."""

    def __init__(self) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        self.shell = InteractiveShell(config=config)
        self.chute = Chute()

    @property
    def names(self) -> dict[str, Any]:
        return self.shell.user_ns

    def cell(self, source: str) -> None:
        """Run a cell."""
        result = self.shell.run_cell(textwrap.dedent(source), store_history=True)
        result.raise_error()

    def job(self, source: str, name: str = "train", **options: Any) -> JobFunction:
        """Register a cell as ``%%chute_job`` does."""
        text = textwrap.dedent(source).removeprefix("\n")
        number = self.shell.execution_count
        self.shell.run_cell("pass", store_history=True)
        made = cell_job(text, name, JobOptions(**options), self.names, self.chute, f"In[{number}]")
        self.names[name] = made
        return made

    def startup(self, source: str, priority: int = 50) -> StartupHook:
        """Register a cell as ``%%chute_startup`` does."""
        text = textwrap.dedent(source).removeprefix("\n")
        return cell_hook(text, priority, self.names, self.chute, "In[99]")


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    found = Notebook()
    found.shell.builtin_trap.activate()
    yield found
    found.shell.builtin_trap.deactivate()
    found.shell.restore_sys_module_state()


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "worker")


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., bytes]:
    """Run a script that leaves a payload: its last line is ``show(job_function, **job_data)``."""

    def run(source: str, *, files: dict[str, str] | None = None) -> bytes:
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(textwrap.dedent(text))
        path = tmp_path / "script.py"
        out = tmp_path / "payload"
        head = (
            "from chutes_jupyter import Chute, Port\n"
            "def show(job, **data):\n"
            f"    open({json.dumps(str(out))}, 'wb').write(job.payload(data))\n"
        )
        path.write_text(head + textwrap.dedent(source))
        root = Path(chutes_jupyter.agent.__file__).parents[2]
        done = subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return out.read_bytes()

    return run
