"""Runs every case in a kernel's shell and as a job: ``python -m tests.corpus.run PYTHON FOLDER``.

Prints a JSON object: each case's name, and its two outcomes. The jobs run side by side.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from chutes_jupyter.chute import Chute, JobOptions, cell_job
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import ChuteError, JobFailed
from chutes_jupyter.job import Job, close_client
from chutes_jupyter.kernel import errors as shown
from tests.corpus import language, library, magic
from tests.corpus.cases import Case

CASES: dict[str, Case] = {**language.CASES, **library.CASES, **magic.CASES}
PATIENCE = 120.0
Outcome = dict[str, Any]


class Kernel:
    """A shell as a kernel has it, used for one case after another."""

    def __init__(self) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        self.shell = InteractiveShell.instance(config=config)
        self.shell.builtin_trap.activate()
        self.shell.system = self.shell.system_piped  # type: ignore[method-assign]  # a kernel's
        self.shell.enable_gui = lambda gui=None: None  # type: ignore[method-assign]  # likewise
        # What a cell shows of its last line is no part of what it prints.
        self.shell.ast_node_interactivity = "none"

    def prepare(self, case: Case) -> None:
        self.shell.reset(new_session=True)
        for cell in case.setup:
            self.shell.run_cell(cell, store_history=True).raise_error()

    def submit(self, case: Case) -> Job | str:
        """Return the job of a case, or why there is none."""
        number = self.shell.execution_count
        self.shell.run_cell("pass", store_history=True)
        cell = case.cell + "\nreturn answer" if case.answers else case.cell
        names = self.shell.user_ns
        try:
            with shown.syntax_errors():
                job = cell_job(cell, "job", JobOptions(), names, Chute(), f"In[{number}]")
            return job.submit()
        except ChuteError as error:
            return str(error)

    def run(self, case: Case) -> Outcome:
        """Run the cell here."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self.shell.showtraceback = lambda *_, **__: None  # type: ignore[method-assign]
            self.shell.showsyntaxerror = lambda *_, **__: None  # type: ignore[method-assign]
            done = self.shell.run_cell(case.cell, store_history=True)
        error = done.error_before_exec or done.error_in_exec
        return {
            # The kernel gives commands a terminal of their own.
            "printed": printed.getvalue().replace("\r\n", "\n"),
            "error": told(error) if error else None,
            "answer": repr(self.shell.user_ns.get("answer"))
            if case.answers and not error
            else None,
        }


def told(error: BaseException) -> str:
    kind = type(error)
    home = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    said = f"{home}{kind.__qualname__}: {error}" if str(error) else f"{home}{kind.__qualname__}"
    return said.strip()


def ended(case: Case, job: Job | str) -> Outcome:
    """Wait for a job, and return what became of it."""
    if isinstance(job, str):
        return {"refused": job}
    error = value = None
    try:
        value = job.result(PATIENCE)
    except JobFailed as failed:
        # With what a notebook shows, or it is no error of the function's.
        error = str(job.reason) if failed.raised else str(failed)
    return {
        "printed": job.logs(),
        "error": error,
        "answer": repr(value) if case.answers and error is None else None,
    }


def fits(case: Case, python: str) -> bool:
    version, have = facts(python)
    return version >= case.since and all(name in have for name in case.needs)


_facts: dict[str, tuple[tuple[int, ...], list[str]]] = {}


def facts(python: str) -> tuple[tuple[int, ...], list[str]]:
    """Return an interpreter's version, and which packages of the corpus it has."""
    if python not in _facts:
        needed = sorted({name for case in CASES.values() for name in case.needs})
        code = (
            "import importlib.util as u, json, sys\n"
            f"print(json.dumps([sys.version_info[:2], [n for n in {needed} if u.find_spec(n)]]))"
        )
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        version, have = json.loads(done.stdout)
        _facts[python] = tuple(version), have
    return _facts[python]


def main(python: str, folder: str, *only: str) -> None:
    os.chdir(folder)
    Workers.load().add(Worker("local", python=python, dir=str(Path(folder) / "worker")))
    kernel = Kernel()
    found: dict[str, Any] = {}
    jobs: dict[str, Job | str] = {}
    for name, case in CASES.items():
        if only and not any(re.search(part, name) for part in only):
            continue
        if not (fits(case, python) and fits(case, sys.executable)):
            continue
        kernel.prepare(case)
        jobs[name] = kernel.submit(case)
        found[name] = {"kernel": kernel.run(case)}
    for name, job in jobs.items():
        found[name]["job"] = ended(CASES[name], job)
    close_client()
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
