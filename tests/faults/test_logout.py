"""Workers whose logind ends a person's processes at logout: recognised, got round, or told.

`loginctl` and `systemd-run` are programs of the test's own, before all others on the path.
"""

from __future__ import annotations

import io
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter import portal
from chutes_jupyter.commands.doctor import examine
from chutes_jupyter.commands.doctor.report import Report
from chutes_jupyter.commands.surroundings import Surroundings
from chutes_jupyter.config import Worker
from tests.agent.rig import agent

ME = pwd.getpwuid(os.getuid()).pw_name

LOGINCTL = """#!/bin/sh
case "$1" in
show-session)
    echo 'KillOnlyUsers={only}'
    echo 'KillExcludeUsers={exclude}'
    echo 'KillUserProcesses={kills}' ;;
show-user) echo Linger={linger} ;;
esac
"""
SYSTEMD_RUN = """#!/bin/sh
echo "$@" >>"{calls}"
[ {works} = yes ] || exit 1
while [ "$1" != -- ]; do shift; done
shift
IN_SCOPE=yes exec "$@"
"""
#: What a job sees, for a test to read.
CELL = "import os; return os.environ.get('IN_SCOPE')"


@pytest.fixture
def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes this login one of a logind with these settings; returns who ran systemd-run how."""

    def make(
        *,
        kills: str = "yes",
        only: str = "",
        exclude: str = "",
        linger: str = "no",
        works: str = "yes",
    ) -> Path:
        programs, calls = tmp_path / "bin", tmp_path / "calls"
        programs.mkdir()
        settings = {"kills": kills, "only": only, "exclude": exclude, "linger": linger}
        for name, text in {
            "loginctl": LOGINCTL.format(**settings),
            "systemd-run": SYSTEMD_RUN.format(calls=calls, works=works),
        }.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        monkeypatch.setenv("XDG_SESSION_ID", "7")
        calls.touch()
        return calls

    return make


def run(root: Path) -> tuple[Any, list[str], str | None]:
    """Return what a job saw, its notices, and what the worker says about logouts."""
    with agent(root) as worker:
        job = worker.start(CELL)
        events = worker.follow(job)
        assert events[-1]["state"] == "succeeded", events
        notices = [event["message"] for event in events if event["type"] == "notice"]
        return worker.value(job), notices, worker.ask("info")[0]["logout"]


@pytest.mark.parametrize(
    "settings",
    [{"kills": "no"}, {"exclude": f"other {ME}"}, {"only": "other another"}],
    ids=["not at all", "not this person", "only others"],
)
def test_where_logind_spares_jobs_nothing_is_done_about_it(
    tmp_path: Path, logind: Callable[..., Path], settings: dict[str, str]
) -> None:
    calls = logind(**settings)
    assert run(tmp_path / "root") == (None, [], None)
    assert calls.read_text() == ""


def test_outside_a_login_nobody_is_asked(
    tmp_path: Path, logind: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = logind()
    monkeypatch.delenv("XDG_SESSION_ID")
    assert run(tmp_path / "root") == (None, [], None)
    assert calls.read_text() == ""


def test_where_logind_kills_jobs_run_in_a_scope_of_the_persons_own(
    tmp_path: Path, logind: Callable[..., Path]
) -> None:
    calls = logind(linger="yes")
    assert run(tmp_path / "root") == ("yes", [], None)
    assert calls.read_text().splitlines()[0] == "--user --scope --quiet -- true"


def test_without_linger_the_job_says_how_long_it_has(
    tmp_path: Path, logind: Callable[..., Path]
) -> None:
    logind(linger="no")
    seen, notices, said = run(tmp_path / "root")
    assert seen == "yes"
    assert notices == [said]
    assert f"when the last login of {ME} there ends" in str(said)
    assert str(said).endswith(f"loginctl enable-linger {ME}")


def test_where_no_scope_can_be_had_the_job_runs_and_says_what_threatens_it(
    tmp_path: Path, logind: Callable[..., Path]
) -> None:
    logind(works="no", linger="yes")
    seen, notices, said = run(tmp_path / "root")
    assert seen is None
    assert notices == [said]
    assert "logind ends jobs when this login ends (KillUserProcesses=yes)" in str(said)


@pytest.mark.parametrize("works", ["yes", "no"])
def test_worker_test_warns_and_names_the_command_that_helps(
    tmp_path: Path, logind: Callable[..., Path], works: str
) -> None:
    logind(works=works)
    out = io.StringIO()
    worker = Worker("local", dir=str(tmp_path / "worker"))
    assert portal.call(examine, worker, Report(Surroundings(out.write))) == []
    lines = out.getvalue().splitlines()
    (number,) = [number for number, line in enumerate(lines) if line.startswith("! logout ")]
    assert f"loginctl enable-linger {ME}" in " ".join(lines[number : number + 3])
