"""A pytest plugin (`-p tests.no_leftovers`): a run that leaves a process behind fails.

It looks for those of the run's own folder once all tests have ended. What a test leaves would hold
ports and memory for as long as its job may run, and on a worker a GPU.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

#: How long what is about to end may take, in seconds.
PATIENCE = 20.0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        return
    factory = getattr(session.config, "_tmp_path_factory", None)
    base = getattr(factory, "_basetemp", None)
    if base is None:  # no test asked for a folder
        return
    deadline = time.monotonic() + PATIENCE
    while (left := of(base)) and time.monotonic() < deadline:
        time.sleep(0.2)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if left and reporter is not None:
        reporter.write_line("These processes were left behind by tests:", red=True)
        for line in left:
            reporter.write_line(f"  {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def of(folder: Path) -> list[str]:
    """Return the processes that run in a folder, or whose command names it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(entry / "cwd")
        except OSError:  # it has ended, or is none of ours
            continue
        if f"{where}/".startswith(f"{folder}/") or f"{folder}/" in command:
            found.append(f"{entry.name} in {where}: {command[:300]}")
    return found
