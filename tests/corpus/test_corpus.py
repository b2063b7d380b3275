"""Cells as people write them mean the same as a job as in the kernel, on several Pythons."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import interpreters
from tests.corpus.cases import Case
from tests.corpus.run import CASES, fits

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHONS = ("this", "oldest", "newest")
#: Those of the notebook and of the worker.
PAIRS = [("this", "this"), ("this", "oldest"), ("this", "newest"), ("newest", "this")]


def python(which: str) -> str:
    """Return a Python: this one, the oldest from 3.9 on, or the newest."""
    if which == "this":
        return sys.executable
    oldest, newest = interpreters.corpus()
    return str(interpreters.with_libraries(oldest if which == "oldest" else newest))


def outcomes(notebook: str, worker: str) -> dict[str, dict[str, Any]]:
    """Run every case with two Pythons, in a process and a home of their own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        personal = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        done = subprocess.run(
            [python(notebook), "-m", "tests.corpus.run", python(worker), folder],
            env={
                **os.environ,
                **{name: str(home / name.lower()) for name in personal},
                "HOME": str(home),
                "PYTHONPATH": str(REPOSITORY),
                # The kernel gives `!` to $SHELL, or to sh where it is unset; a job takes bash.
                "SHELL": shutil.which("bash") or "/bin/sh",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def difference(case: Case, found: dict[str, Any]) -> Any:
    """Return what is not as it must be with a case, or None."""
    if case.refused:
        said = found["job"].get("refused") or str(found["job"].get("error"))
        words = filter(None, (case.refused, case.unread))
        return None if any(each in said for each in words) else found["job"]
    return None if found["job"] == found["kernel"] else found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("notebook", "worker"), PAIRS)
def test_cells_mean_as_jobs_what_they_mean_in_the_kernel(notebook: str, worker: str) -> None:
    both = [python(notebook), python(worker)]
    expected = {n for n, case in CASES.items() if all(fits(case, each) for each in both)}
    found = outcomes(notebook, worker)
    assert set(found) == expected
    wrong = {name: difference(CASES[name], each) for name, each in found.items()}
    assert {name: what for name, what in wrong.items() if what is not None} == {}


def test_every_case_runs_somewhere_and_they_are_enough() -> None:
    ran = {n for which in PYTHONS for n, case in CASES.items() if fits(case, python(which))}
    assert ran == set(CASES)
    assert sum(not case.refused for case in CASES.values()) >= 60


@pytest.mark.parametrize("package", ["numpy", "pandas", "sklearn", "matplotlib"])
def test_libraries_run_on_every_python(package: str) -> None:
    using = [case for case in CASES.values() if package in case.needs]
    assert using
    assert [which for which in PYTHONS for case in using if not fits(case, python(which))] == []
