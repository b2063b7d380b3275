"""What cells mean, on the oldest and the newest Python of a worker and on this one."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import chutes_jupyter.agent
from tests import cells_on_worker
from tests.interpreters import newest, oldest

SCRIPT = Path(cells_on_worker.__file__)
PYTHONS = {"oldest": oldest, "this": lambda: Path(sys.executable), "newest": newest}
NAMES = sorted(cells_on_worker.checks())


@functools.cache
def results(which: str) -> dict[str, str]:
    """Return what each check says under one Python."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "chutes_jupyter"
        package.mkdir()
        # As a worker has it: without the rest of the package, which needs a newer Python.
        (package / "__init__.py").touch()
        agent = Path(chutes_jupyter.agent.__file__).parent
        shutil.copytree(agent, package / "agent", ignore=shutil.ignore_patterns("__pycache__"))
        done = subprocess.run(
            [PYTHONS[which](), "-I", str(SCRIPT), folder],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("which", PYTHONS)
@pytest.mark.parametrize("name", NAMES)
def test_cells(which: str, name: str) -> None:
    found = results(which)
    if name not in found:
        newer = {n for cells in cells_on_worker.SINCE.values() for n in cells}
        assert which == "oldest", f"{name} did not run"
        assert name.removeprefix("same: ") in newer, f"{name} did not run"
        return
    assert found[name] == ""


def test_every_syntax_ran_somewhere() -> None:
    ran = results("oldest").keys() | results("newest").keys()
    every = [n for cells in (cells_on_worker.SAME, *cells_on_worker.SINCE.values()) for n in cells]
    assert {f"same: {name}" for name in every} <= ran
