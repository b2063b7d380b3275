"""What the processes of a job use: sampled by its supervisor, GPUs by a simulated library."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.agent import gpuwatch, usage
from tests import interpreters
from tests.agent.rig import PATIENCE, Agent, agent
from tests.nvml import Cards, build, uuid

WAITS = "self.cancel_event.wait_blocking()"


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a simulated driver library."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root", str(interpreters.oldest())) as running:
        yield running


@contextmanager
def running(worker: Agent, source: str, **spec: Any) -> Iterator[str]:
    """Run a job that waits, and end it."""
    job = worker.start(source, **spec)
    try:
        worker.follow(job, until="running")
        yield job
    finally:
        worker.ask("cancel", job=job)
        worker.end(job)


def samples(worker: Agent, job: str, after: int = 0) -> list[dict[str, Any]]:
    header, _ = worker.ask("readings", job=job, stamps={}, metrics=0, sample=after)
    assert header["ok"], header
    found: list[dict[str, Any]] = header["usage"]
    return found


def until(worker: Agent, job: str, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Wait for a sample of which something holds."""
    deadline, after = time.monotonic() + 2 * PATIENCE, 0
    seen: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        for sample in samples(worker, job, after):
            assert sample["n"] == after + 1
            after = sample["n"]
            seen.append(sample)
            if condition(sample):
                return sample
        time.sleep(0.05)
    raise AssertionError(f"no such sample: {seen}")


def test_time_and_memory_of_all_processes_of_a_job(worker: Agent) -> None:
    source = f"""
import subprocess, sys
kept = bytearray(64 << 20)
burn = "import time\\nx = bytearray(64 << 20)\\nwhile True: pass"
child = subprocess.Popen(["/bin/sh", "-c", sys.executable + " -c '" + burn + "' & wait"])
{WAITS}
"""
    with running(worker, source) as job:
        found = until(worker, job, lambda sample: (sample["cpu"] or 0) > 1 and sample["mem"] > 128)
    assert found["cpu"] < 130
    assert found["mem"] < 400
    assert found["gpus"] == []


def test_time_of_processes_that_have_ended(worker: Agent) -> None:
    source = """
import subprocess, sys
burn = "import time\\nend = time.process_time() + 0.2\\nwhile time.process_time() < end: pass"
while not self.cancel_event.is_set():
    # Below a shell that does not wait: its orphans come to the guardian.
    subprocess.run(["/bin/sh", "-c", sys.executable + " -I -S -c '" + burn + "' &"])
    self.cancel_event.wait_blocking(0.6)
"""
    with running(worker, source) as job:
        deadline, seconds = time.monotonic() + 2 * PATIENCE, 0.0
        while seconds < 1.5:
            assert time.monotonic() < deadline
            time.sleep(0.2)
            seconds = sum(2 * (sample["cpu"] or 0) / 100 for sample in samples(worker, job))


def test_a_job_that_sleeps_uses_nothing(worker: Agent) -> None:
    with running(worker, WAITS) as job:
        found = until(worker, job, lambda sample: sample["n"] >= 2 and sample["cpu"] < 1)
    assert found["mem"] < 100


def test_samples_are_kept_for_a_while(
    worker: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Folder:
        usage = str(tmp_path / "usage.jsonl")

    meter = usage.Meter(Folder(), os.getpid(), None)  # type: ignore[arg-type]
    monkeypatch.setattr(usage, "KEPT", 5)
    monkeypatch.setattr(usage.GpuWatch, "look", lambda *_: [])
    monkeypatch.setattr(usage, "_processes", lambda _: (1.0, 2, [3]))
    for number in range(13):
        meter.take(time.monotonic() + 1000.0 * (number + 1))
    lines = [
        json.loads(line)["n"]
        for path in (Folder.usage + ".old", Folder.usage)
        for line in Path(path).read_text().splitlines()
    ]
    assert lines == [6, 7, 8, 9, 10, 11, 12, 13]


def test_the_gpus_of_a_job_and_who_uses_them(worker: Agent, nvml: Path, tmp_path: Path) -> None:
    cards = Cards(tmp_path, nvml, 3)
    source = f"print(__import__('os').getpid(), flush=True)\n{WAITS}"
    with running(worker, source, env=cards.environment) as job:
        pid = None
        while not pid:
            header, body = worker.ask("log", job=job, offset=0, limit=100, wait=PATIENCE)
            pid = int(body)
        # It was given none, and uses none so far.
        until(worker, job, lambda sample: sample["n"] >= 2)
        assert all(sample["gpus"] == [] for sample in samples(worker, job))
        cards.set(3, users={1: [(pid, 3000), (os.getpid(), 500)], 2: [(os.getpid(), 700)]})
        found = until(worker, job, lambda sample: sample["gpus"])
    assert found["gpus"] == [
        {
            "index": 1,
            "name": "FAKE GPU (simulated)",
            "uuid": uuid(1),
            "util": 41,
            "used": 3500,
            "own": 3000,
            "total": 80 * 1024,
        }
    ]


def test_the_gpus_that_a_job_was_given(worker: Agent, nvml: Path, tmp_path: Path) -> None:
    cards = Cards(tmp_path, nvml, 2)
    with running(worker, WAITS, env=cards.environment, gpus=1) as job:
        found = until(worker, job, lambda sample: sample["gpus"])
        folder = f"/proc/{watch_of(worker, job)}/fd"
        held = sorted(os.readlink(f"{folder}/{number}") for number in os.listdir(folder))
        # One that hangs in the driver can't be killed: it must hold nothing of the job.
        assert held[:-1] == [os.devnull] * 3
        assert held[-1].startswith("pipe:")
    assert [(gpu["index"], gpu["own"], gpu["used"]) for gpu in found["gpus"]] == [(0, 0, 0)]


@pytest.mark.parametrize("fault", ["FAKE_HANG", "FAKE_CRASH", "FAKE_INIT"])
def test_a_sick_driver_harms_nobody(worker: Agent, nvml: Path, tmp_path: Path, fault: str) -> None:
    env = {**Cards(tmp_path, nvml, 2).environment, fault: "1"}
    with running(worker, WAITS, env=env) as job:
        found = until(worker, job, lambda sample: sample["n"] >= 2)
    assert found["gpus"] == []
    assert found["mem"] > 0
    assert worker.end(job)["reason"] == "cancelled as asked"


def test_nobody_is_left_when_the_supervisor_is_killed(
    worker: Agent, nvml: Path, tmp_path: Path
) -> None:
    cards = Cards(tmp_path, nvml, 1)
    mark = f"FAKE_NVML={cards.environment['FAKE_NVML']}".encode()
    job = worker.start(WAITS, env=cards.environment, gpus=1)
    until(worker, job, lambda sample: sample["gpus"])
    guardian = parent(json.loads((worker.root / "jobs" / job / "child.json").read_text())["pid"])
    os.kill(parent(guardian), signal.SIGKILL)
    assert worker.end(job)["state"] == "lost"
    worker.close()
    deadline = time.monotonic() + PATIENCE
    while left := [
        pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if has(pid, mark)
    ]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def watch_of(worker: Agent, job: str) -> int:
    """Return the process that asks the driver."""
    child = json.loads((worker.root / "jobs" / job / "child.json").read_text())["pid"]
    guardian = parent(child)
    supervisor = parent(guardian)
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (found,) = set(map(int, children)) - {guardian}
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def has(pid: int, mark: bytes) -> bool:
    try:
        return pid != os.getpid() and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


_DEAR = """
import sys, time
from pathlib import Path
from chutes_jupyter.agent import gpuwatch
from tests.nvml import Cards

gpuwatch.PERIOD, gpuwatch.LONGEST_PERIOD, gpuwatch.SHARE = 0.01, 0.1, 1e-9
folder, library = map(Path, sys.argv[1:])
watch = gpuwatch.GpuWatch(None)
deadline = time.monotonic() + 30
for count in (1, 2, 3):
    Cards(folder, library, count)
    while len(watch.look(time.monotonic())) != count:
        assert time.monotonic() < deadline, count
        time.sleep(0.01)
watch.close()
"""


def test_a_driver_that_is_dear_to_ask_is_asked_again_in_time(nvml: Path, tmp_path: Path) -> None:
    # Or its answer would be too old to tell before the next one comes.
    assert gpuwatch.LONGEST_PERIOD < gpuwatch._STALE
    environment = {**os.environ, **Cards(tmp_path, nvml, 1).environment, "FAKE_COST": "20"}
    subprocess.run(
        [sys.executable, "-c", _DEAR, str(tmp_path), str(nvml)],
        env=environment,
        cwd=Path(__file__).resolve().parents[2],
        check=True,
    )
