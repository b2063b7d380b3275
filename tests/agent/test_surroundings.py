"""Workers that are not as bare as ours: what start-up files print, what lies in a home."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import chutes_jupyter
from tests.agent.rig import Agent, agent


@pytest.mark.parametrize("noise", ["print('Welcome', flush=True)", "print('no end', end='')"])
def test_what_start_up_files_print_is_no_answer(
    noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(noise)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with agent(tmp_path / "root") as worker:
        for number in range(3):
            job = worker.start(f"print('mine'); return {number}")
            assert worker.end(job)["state"] == "succeeded"
            assert worker.value(job) == number
            assert worker.log(job) == b"mine\n"


@pytest.mark.parametrize("named", [False, True])
def test_a_file_in_the_home_is_no_module_of_pythons_own(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("selectors", "json", "traceback"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('it was taken for the module')")
    monkeypatch.chdir(tmp_path)
    with agent(tmp_path / "root") as worker:
        python = sys.executable if named else None
        job = worker.start("import json, sys; return sys.path[0]", python=python)
        assert worker.end(job)["state"] == "succeeded", worker.end(job)
        assert worker.value(job) == ""  # its working folder, as with any python -c
        asked = worker.ask("installed", python=python, env={}, names=["json", "nowhere"])[0]
        assert asked["missing"] == ["nowhere"]


@pytest.mark.parametrize("broken", ["spec.json", "events.jsonl", "outputs.json"])
def test_a_job_that_cannot_be_read_keeps_no_other_from_being_removed(
    broken: str, tmp_path: Path
) -> None:
    with agent(tmp_path / "root") as worker:
        jobs = sorted(worker.start("return 1") for _ in range(3))
        for job in jobs:
            worker.end(job)
        (worker.root / "jobs" / jobs[1] / broken).write_bytes(b"{\n")
        worker.send("remove", jobs=[[job, None] for job in jobs])
        removed = {}
        more = True
        while more:
            header, _ = worker.receive()
            removed.update({each["id"]: each["removed"] for each in header["done"]})
            more = header["more"]
        assert removed == {jobs[0]: True, jobs[1]: False, jobs[2]: True}
        assert worker.ask("ping")[0]["ok"]


@pytest.fixture
def hiding(tmp_path: Path) -> Iterator[Agent]:
    """Run an agent that may not look at the processes of others, of which there is one."""
    script = tmp_path / "python"
    private = "unshare -m"
    mount = "mount -t proc -o hidepid=1,gid=65533 proc /proc"
    drop = "setpriv --bounding-set -sys_ptrace --inh-caps -sys_ptrace"
    if os.getuid():  # who can't mount it is one to whom nothing is hidden
        private, mount, drop = "env", "true", "env"
    other = ["setpriv", "--reuid", "65534", "--clear-groups"] if not os.getuid() else []
    script.write_text(
        f'#!/bin/sh\nexec {private} sh -c \'{mount} && exec {drop} "$0" "$@"\' '
        f'{shlex.quote(sys.executable)} "$@"\n'
    )
    script.chmod(0o755)
    with subprocess.Popen([*other, "sleep", "600"]) as process:
        try:
            with agent(tmp_path / "root", str(script)) as running:
                yield running
        finally:
            process.kill()


def test_where_others_are_hidden_jobs_end_as_anywhere(hiding: Agent) -> None:
    look = "[open(f'/proc/{name}/stat') for name in os.listdir('/proc') if name.isdigit()]"
    job = hiding.start(f"import os; {look}")
    seen = hiding.end(job)
    assert os.getuid() or "PermissionError" in seen["reason"], seen  # or this tests nothing
    deaf = hiding.start(
        "import signal, subprocess, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['setsid', 'sleep', '600'])\n"
        "print(child.pid, flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    hiding.ask("log", job=deaf, offset=0, limit=100, wait=30.0)
    hiding.ask("cancel", job=deaf)
    end = hiding.end(deaf)
    assert (end["state"], end["reason"].split(";")[0]) == ("cancelled", "cancelled as asked")
    child = int(hiding.log(deaf))
    assert not Path(f"/proc/{child}").exists()


def test_a_job_that_cannot_be_read_keeps_no_other_from_its_end(tmp_path: Path) -> None:
    with agent(tmp_path / "root") as worker:
        jobs = sorted(worker.start("return 1") for _ in range(2))
        for job in jobs:
            worker.end(job)
        for job in jobs:  # as when the worker was switched off while they ran
            folder = worker.root / "jobs" / job
            lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
            (folder / "events.jsonl").write_bytes(b"".join(lines[:2]))
            os.mkfifo(folder / "control")
        (worker.root / "jobs" / jobs[0] / "spec.json").write_bytes(b"")
    with agent(tmp_path / "root") as worker:
        worker.ask("hello")
        events = worker.root / "jobs" / jobs[1] / "events.jsonl"
        deadline = time.monotonic() + 60
        while b'"lost"' not in events.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.02)


NUMBERED = """
import os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from chutes_jupyter.agent import processes

def start(after):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(after))
    return subprocess.Popen(["sleep", "600"])

many = [start(number) for number in (20000, 30000, 400, 500)]
print([pid for pid in processes._pids() if pid in {each.pid for each in many}])
for each in many:
    each.kill()
"""


def test_who_came_last_is_looked_at_first_also_when_the_numbers_begin_again() -> None:
    private = ["unshare", "-pf" if os.getuid() == 0 else "-Urpf", "--mount-proc"]
    package = str(Path(chutes_jupyter.__file__).parents[1])
    done = subprocess.run(
        [*private, sys.executable, "-c", NUMBERED, package],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[501, 401, 30001, 20001]", done.stderr
