"""Cancel, from anywhere, any number of times: confirmed when no process of the job is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.job import Job
from tests.agent.rig import agent
from tests.agent.test_endings import wait_for_log
from tests.client.rig import PATIENCE, Submit, until
from tests.client.test_cuts import Line
from tests.faults.escapes import CELL, KINDS, end, survivors

ALL = {"job", *KINDS}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "escapes"
    yield found
    if found.exists():
        end(found)


def begin(worker: Worker, submit: Submit, folder: Path) -> tuple[Job, int]:
    """Start a job with every kind of children, and return it and its process's number."""
    job = submit(worker, CELL, data={"folder": str(folder)})
    pid = int(next(job.logs(follow=True)).split()[1])
    assert survivors(folder, pid) == ALL
    return job, pid


def jupyter_chute(*words: str, env: dict[str, str]) -> str:
    """Run the command in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "chutes_jupyter.cli", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_at_the_moment_of_the_end_no_process_of_the_job_is_left(
    tmp_path: Path, folder: Path
) -> None:
    with agent(tmp_path / "root") as asked:
        job = asked.start(CELL, {"folder": str(folder)})
        wait_for_log(asked, job, b"\n")
        pid = int(asked.ask("log", job=job, offset=0, limit=100)[1].split()[1])
        assert survivors(folder, pid) == ALL
        asked.ask("cancel", job=job)
        states = [e["state"] for e in asked.follow(job, "cancelled") if e["type"] == "state"]
        assert survivors(folder, pid) == set()
    assert states == ["starting", "running", "cancelling", "collecting", "cancelled"]


def by_command(job: Job, env: dict[str, str]) -> None:
    assert job.label in jupyter_chute("cancel", job.id, env=env)


def after_attach(job: Job, env: dict[str, str]) -> None:
    jobs_module.attach(job.id).cancel()


def from_another_machine(job: Job, env: dict[str, str]) -> None:
    """Cancel from where nothing but the worker is known."""
    home = Path(env["HOME"]).parent / "other machine"
    (home / ".jupyter").mkdir(parents=True)
    ssh = Path(env["HOME"]) / ".ssh"
    if ssh.exists():
        (home / ".ssh").symlink_to(ssh)
    folders = {name: str(home / name.lower()) for name in env if name.startswith("JUPYTER_")}
    there = {**env, **folders, "HOME": str(home)}
    worker = Workers.load().get(job.worker)
    where = ("--dir", str(worker.dir))
    jupyter_chute("worker", "add", worker.name, *filter(None, [worker.host]), *where, env=there)
    assert job.label in jupyter_chute("cancel", job.id, env=there)


@pytest.mark.parametrize("cancel", [by_command, after_attach, from_another_machine])
def test_a_job_is_cancelled_from(
    ssh_worker: Worker,
    submit: Submit,
    folder: Path,
    environment: dict[str, str],
    cancel: Callable[[Job, dict[str, str]], None],
) -> None:
    Workers.load().add(ssh_worker)
    job, pid = begin(ssh_worker, submit, folder)
    cancel(job, {**environment, **{k: v for k, v in os.environ.items() if k.startswith("JUPYTER")}})
    job.wait(PATIENCE)
    assert job.state == "cancelled"
    assert survivors(folder, pid) == set()


def test_any_number_of_cancels_is_one(
    ssh_worker: Worker, submit: Submit, folder: Path, environment: dict[str, str]
) -> None:
    Workers.load().add(ssh_worker)
    job, pid = begin(ssh_worker, submit, folder)
    job.cancel(wait=0)
    jobs_module.attach(job.id).cancel(wait=0)
    job.cancel()
    by_command(job, environment)
    job.wait(PATIENCE)
    job.cancel()
    assert "has ended already" in jupyter_chute("cancel", job.id, env=environment)
    events = Path(str(ssh_worker.dir), "jobs", job.id, "events.jsonl").read_text()
    assert events.count('"cancelling"') == events.count('"cancelled"') == 1
    assert survivors(folder, pid) == set()


DEAF = """
import time
print("here", flush=True)
while True:
    time.sleep(0.05)
"""


def test_a_job_that_another_process_cancels_is_cancelled_for_this_one_too(
    line: Line, submit: Submit, environment: dict[str, str]
) -> None:
    job = submit(line.worker, DEAF, grace=5.0)
    next(job.logs(follow=True))
    here = {k: v for k, v in os.environ.items() if k.startswith("JUPYTER")}
    by_command(job, {**environment, **here})
    until(lambda: job.state == "cancelling", "the worker's word is here")
    # It needs nobody's answer any more: the worker has said that it ends the job.
    line.stall()
    job.cancel()
    line.flow()
    job.wait(PATIENCE)
    assert job.state == "cancelled"


def test_a_cancel_during_an_outage_is_delivered_afterwards(
    line: Line, submit: Submit, folder: Path
) -> None:
    job, pid = begin(line.worker, submit, folder)
    line.stall()
    line.cut()
    until(lambda: job.trouble, "the outage is noticed")
    for _ in range(3):
        job.cancel(wait=0)
    assert job.state == "running"  # nothing was confirmed
    assert survivors(folder, pid) == ALL
    line.flow()
    line.cut()
    job.wait(PATIENCE)
    assert job.state == "cancelled"
    assert survivors(folder, pid) == set()
