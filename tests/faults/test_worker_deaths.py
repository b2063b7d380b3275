"""Processes of the worker are killed: nothing of a job outlives that, and its end is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.config import Worker, Workers
from tests.agent.rig import PATIENCE, Agent, agent
from tests.agent.test_endings import below, files, nothing_is_left, parent, wait_for_log
from tests.client.rig import Submit
from tests.faults.escapes import CELL, KINDS, end, survivors

#: Who is killed, at once, and how the job ends.
VICTIMS = {
    "supervisor": "lost",
    "guardian": "failed",
    "warden": None,
    "supervisor guardian": "lost",
    "warden supervisor": "lost",
    "warden guardian": "failed",
    "warden supervisor guardian": "lost",
}
#: Left by the sweep of a later `serve`, when all three keepers were killed together: who left
#: the job's session and took the mark out of its environment.
OUT_OF_SIGHT = {"daemon"}
ALL = {"job", *KINDS}


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


@dataclass
class Kept:
    """A job with every kind of children, and the processes that keep it."""

    id: str
    job: int
    keepers: dict[str, int]
    folder: Path

    def kill(self, *names: str) -> None:
        """Kill some of its keepers; none of them sees another one die."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for name in names:
                os.kill(self.keepers[name], number)

    def survivors(self) -> set[str]:
        return survivors(self.folder, self.job)


@pytest.fixture
def kept(worker: Agent, tmp_path: Path) -> Iterator[Kept]:
    folder = tmp_path / "escapes"
    job = worker.start(CELL, {"folder": str(folder)})
    wait_for_log(worker, job, b"\n")
    pid = int(worker.ask("log", job=job, offset=0, limit=100)[1].split()[1])
    guardian = parent(pid)
    supervisor = parent(guardian)
    keepers = {
        "guardian": guardian,
        "supervisor": supervisor,
        "warden": parent(supervisor),
    }
    found = Kept(job, pid, keepers, folder)
    assert found.survivors() == ALL
    yield found
    end(folder)  # after a failure, or those that are out of sight


def wait_until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait until a condition holds, and return what it gave, or its last no."""
    deadline = time.monotonic() + patience
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def last_event(root: Path, job: str) -> dict[str, Any]:
    """Return the newest event on the worker's disk, where no `serve` is asked."""
    lines = (root / "jobs" / job / "events.jsonl").read_text().splitlines()
    return dict(json.loads(lines[-1]))


@pytest.mark.parametrize("victims", VICTIMS)
def test_whoever_of_its_keepers_is_killed_no_process_of_the_job_is_left(
    worker: Agent, kept: Kept, victims: str
) -> None:
    kept.kill(*victims.split())
    if victims == "warden":
        assert kept.survivors() == ALL  # the job has lost nothing that it needs
        worker.ask("cancel", job=kept.id)
    ended = worker.end(kept.id)
    assert ended["state"] == (VICTIMS[victims] or "cancelled")
    if VICTIMS[victims]:
        assert ("supervisor" if ended["state"] == "lost" else "guardian") in ended["reason"]
    # With the warden or the supervisor alive, all are dead before the end is told.
    patience = PATIENCE if victims == "warden supervisor" else 0
    unseen = OUT_OF_SIGHT if victims == "warden supervisor guardian" else set()
    assert wait_until(lambda: kept.survivors() <= unseen, patience), kept.survivors()
    assert nothing_is_left(worker), below(worker.root)
    assert files(worker, kept.id) == {"early.txt": b"kept"}
    assert not (worker.root / "jobs" / kept.id / "control").exists()


def test_a_killed_supervisor_is_told_on_the_disk_though_nobody_asks(
    tmp_path: Path, kept: Kept, worker: Agent
) -> None:
    worker.close()
    kept.kill("supervisor", "guardian")
    assert wait_until(lambda: last_event(worker.root, kept.id).get("state") == "lost")
    reason = "its supervisor on the worker was ended by signal 9, SIGKILL"
    assert last_event(worker.root, kept.id)["reason"] == reason
    assert kept.survivors() == set()
    assert wait_until(lambda: below(worker.root) == []), below(worker.root)


def test_the_next_connection_ends_what_lost_all_its_keepers(
    tmp_path: Path, kept: Kept, worker: Agent
) -> None:
    worker.close()
    kept.kill("warden", "supervisor", "guardian")
    time.sleep(0.2)
    assert kept.survivors() == ALL
    with agent(worker.root) as another:
        assert another.ask("hello")[0]["ok"]
        assert wait_until(lambda: last_event(worker.root, kept.id).get("state") == "lost")
    assert kept.survivors() <= OUT_OF_SIGHT


def test_a_sweep_leaves_other_jobs_alone(worker: Agent) -> None:
    job = worker.start("print('ready', flush=True); await self.cancel_event.wait(); return 1")
    wait_for_log(worker, job, b"ready")
    for _ in range(3):
        with agent(worker.root) as another:
            another.ask("hello")
    worker.ask("cancel", job=job)
    assert worker.end(job)["state"] == "cancelled"
    assert worker.value(job) == 1


def test_a_template_ends_when_its_serve_is_killed(worker: Agent) -> None:
    job = worker.start("print('ready', flush=True); await self.cancel_event.wait()")
    wait_for_log(worker, job, b"ready")
    templates = [pid for pid in below(worker.root) if parent(pid) == worker.process.pid]
    assert len(templates) == 1
    worker.process.kill()
    worker.process.wait()
    assert wait_until(lambda: parent(templates[0]) == 0)
    with agent(worker.root) as another:
        another.ask("cancel", job=job)
        assert another.end(job)["state"] == "cancelled"


# -- a worker that was restarted


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the same person that has nothing to do with any job."""
    running = subprocess.Popen(["sleep", "300"], start_new_session=True)
    yield running
    running.kill()
    running.wait()


def left_by_an_earlier_boot(root: Path, job: str, bystander: int) -> None:
    """Make a job directory what a reboot leaves, with a number that somebody else has now."""
    folder = root / "jobs" / job
    events = (folder / "events.jsonl").read_text()
    here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert here in events
    before = str(uuid.uuid4())
    (folder / "events.jsonl").write_text(events.replace(here, before))
    child = json.loads((folder / "child.json").read_text())
    assert child["boot"] == here
    start = int(Path(f"/proc/{bystander}/stat").read_text().rpartition(")")[2].split()[19])
    # The worst of chances: number and start time are those of a living process.
    child.update(pid=bystander, start=start, boot=before)
    (folder / "child.json").write_text(json.dumps(child))


def test_a_job_that_a_restart_of_the_worker_ended_is_lost_and_says_so(
    tmp_path: Path, kept: Kept, worker: Agent, bystander: subprocess.Popen[bytes]
) -> None:
    worker.close()
    kept.kill("warden", "supervisor", "guardian")
    os.kill(kept.job, signal.SIGKILL)
    end(kept.folder)
    left_by_an_earlier_boot(worker.root, kept.id, bystander.pid)
    with agent(worker.root) as after:
        ended = after.end(kept.id)
        assert files(after, kept.id) == {"early.txt": b"kept"}
    assert (ended["state"], ended["reason"]) == ("lost", "the worker was restarted while it ran")
    assert bystander.poll() is None


def test_a_number_that_was_used_again_is_not_the_job(
    tmp_path: Path, kept: Kept, worker: Agent, bystander: subprocess.Popen[bytes]
) -> None:
    worker.close()
    kept.kill("warden", "supervisor", "guardian")
    os.kill(kept.job, signal.SIGKILL)
    end(kept.folder)
    file = worker.root / "jobs" / kept.id / "child.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pid": bystander.pid}))
    with agent(worker.root) as after:
        assert after.end(kept.id)["state"] == "lost"
    assert bystander.poll() is None


# -- serve, seen by a client through a real sshd

PRINTS = """
import os, time
for number in range(20_000):
    print("line", number)
    if number % 500 == 0:
        with open(job_data["output_dir"] + f"/{number}.bin", "wb") as file:
            file.write(os.urandom(20_000))
        time.sleep(0.05)
return "printed"
"""


def serves(worker: Worker) -> list[int]:
    """Return every `serve` of a worker: what runs a job's template, which no keeper does."""
    found = []
    for pid in below(Path(str(worker.dir))):
        above = parent(pid)
        try:
            words = Path(f"/proc/{above}/cmdline").read_bytes()
        except OSError:
            continue
        # Forks of the template have its command; the loader of `serve` has another.
        if above > 1 and b"import sys,binascii" in words and b"agent.template" not in words:
            found.append(above)
    return found


def test_a_client_goes_on_with_another_serve(ssh_worker: Worker, submit: Submit) -> None:
    Workers.load().add(ssh_worker)
    job = submit(ssh_worker, PRINTS)
    killed = set()
    lines = []
    for number, text in enumerate(job.logs(follow=True)):
        lines.append(text)
        if number % 5000 == 2500:
            for pid in serves(ssh_worker):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    assert len(killed) >= 3
    assert lines == [f"line {number}\n" for number in range(20_000)]
    assert job.result(PATIENCE) == "printed"
    folder = Path(str(ssh_worker.dir), "jobs", job.id)
    theirs = {path.name: path.read_bytes() for path in (folder / "output").iterdir()}
    assert {path.name: path.read_bytes() for path in job.output_dir.iterdir()} == theirs
    assert len(theirs) == 40
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    states = [event["state"] for event in events if event["type"] == "state"]
    assert states == ["starting", "running", "collecting", "succeeded"]
