"""A pytest plugin (`-p tests.no_skips`): with CI set, a run in which a test was skipped fails."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not os.environ.get("CI") or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI is set, and tests were skipped: that is a failure here.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
