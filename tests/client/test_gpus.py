"""Jobs that want GPUs, as a person sees them: what they wait for, who has what, what is refused."""

from __future__ import annotations

import dataclasses
import getpass
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.commands.jobs import jobs_table
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.job import Job, attach, close_client
from chutes_jupyter.kernel.view import facts
from chutes_jupyter.nodes import NodeSelector
from tests.client.rig import PATIENCE, Submit, until
from tests.nvml import Cards, build, uuid

SEEN = "import os; return os.environ['CUDA_VISIBLE_DEVICES']"
KEEP = "await self.cancel_event.wait()"


@pytest.fixture(scope="session")
def library() -> Iterator[Path]:
    """The stand-in library, where every user finds it."""
    folder = Path(tempfile.mkdtemp(prefix="chutes-nvml-"))
    yield build(folder)
    shutil.rmtree(folder)


@pytest.fixture
def cards(library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    """One GPU of this machine, for every user of it."""
    folder = Path(tempfile.mkdtemp(prefix="chutes-gpus-"))
    folder.chmod(0o1777)
    found = Cards(folder, library, 1)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    yield found
    shutil.rmtree(folder)


@pytest.fixture
def gpu_worker(local: Worker, cards: Cards) -> Worker:
    return local


def verb(*words: str) -> str:
    """Return what a verb shows in a terminal."""
    text: list[str] = []
    execute(words, Surroundings(text.append))
    return "".join(text)


def until_waits(job: Job, reason: str) -> None:
    until(lambda: (job.state, job.reason) == ("pending", reason), f"{reason}; now {job!r}")


def test_a_job_that_waits_is_pending_and_says_for_what(gpu_worker: Worker, submit: Submit) -> None:
    first = submit(gpu_worker, KEEP, gpus=1)
    until(lambda: first.state == "running", "the first runs")
    second = submit(gpu_worker, SEEN, gpus=1, ack=True)
    third = submit(gpu_worker, SEEN, gpus=1)
    until_waits(second, "waiting for 1 GPU, next in line")
    until_waits(third, "waiting for 1 GPU, 1 ahead")
    assert third.confirmed_at is not None
    assert "waiting for 1 GPU, 1 ahead" in repr(third)
    shown = facts(third)  # what a panel gets
    assert (shown["state"], shown["reason"]) == ("pending", "waiting for 1 GPU, 1 ahead")
    assert "pending: waiting for 1 GPU, 1 ahead" in jobs_table([third.record], time.time())
    assert "GPU 0 (1 x FAKE GPU (simulated))" in repr(first)
    first.cancel()
    assert third.result(PATIENCE) == second.result(PATIENCE) == uuid(0)
    assert second.reason is None


def test_another_process_sees_what_it_waits_for(gpu_worker: Worker, submit: Submit) -> None:
    first = submit(gpu_worker, KEEP, gpus=1)
    until(lambda: first.state == "running", "the first runs")
    second = submit(gpu_worker, SEEN, gpus=1)
    until_waits(second, "waiting for 1 GPU, next in line")
    close_client()  # this process's knowledge goes; what a new one has is the store's
    jobs_module.current_client().store.remove([second.id])
    assert f"{second.label}  pending: waiting for 1 GPU, next in line  local" in verb("jobs")
    again = attach(second.id)
    until_waits(again, "waiting for 1 GPU, next in line")
    attach(first.id).cancel()
    assert again.result(PATIENCE) == uuid(0)
    assert (again.state, again.reason) == ("succeeded", None)


def test_a_waiting_job_is_durable_and_can_be_cancelled(gpu_worker: Worker, submit: Submit) -> None:
    first = submit(gpu_worker, KEEP, gpus=1)
    until(lambda: first.state == "running", "the first runs")
    second = submit(gpu_worker, SEEN, gpus=1)
    until_waits(second, "waiting for 1 GPU, next in line")
    close_client()
    second = attach(second.id)
    until_waits(second, "waiting for 1 GPU, next in line")
    began = time.monotonic()
    second.cancel()
    second.wait(PATIENCE)
    assert time.monotonic() - began < 3
    assert (second.state, second.reason) == ("cancelled", "cancelled as asked")
    assert second.started_at is None


def test_more_than_the_worker_has_is_refused_by_its_name(
    gpu_worker: Worker, submit: Submit
) -> None:
    job = submit(gpu_worker, SEEN, gpus=3)
    job.wait(PATIENCE)
    assert job.state == "failed"
    assert job.reason == ("local has 1 (FAKE GPU (simulated) (86 GB)); the job asks for 3 GPUs.")


@pytest.mark.parametrize(("selector", "state"), [(None, "succeeded"), (NodeSelector(), "failed")])
def test_where_there_is_no_gpu_who_asks_runs_and_who_demands_is_refused(
    gpu_worker: Worker, cards: Cards, submit: Submit, selector: NodeSelector | None, state: str
) -> None:
    cards.set(0)
    job = submit(gpu_worker, "return 1", gpus=1, node_selector=selector)
    job.wait(PATIENCE)
    assert job.state == state
    if selector is None:
        assert job.notices == ["the worker has no GPU: it has no GPU of its own"]
    else:
        assert job.reason == "local has no GPU; the job asks for 1 GPU with 16 GB or more."


def test_who_follows_the_log_is_told_what_it_waits_for(gpu_worker: Worker, submit: Submit) -> None:
    first = submit(gpu_worker, KEEP, gpus=1)
    until(lambda: first.state == "running", "the first runs")
    second = submit(gpu_worker, KEEP, gpus=1)
    third = submit(gpu_worker, "print('my turn')", gpus=1)
    until_waits(third, "waiting for 1 GPU, 1 ahead")
    text: list[str] = []
    remarks: list[str] = []

    def remark(line: str) -> None:
        remarks.append(line)
        if "next" in line:
            second.cancel(wait=0)

    first.cancel()
    execute(["logs", "-f", third.id], Surroundings(text.append, beside=remark))
    assert remarks[-1] == f"[{third.label}: waiting for 1 GPU, next in line]\n"
    assert "".join(text) == "my turn\n"


def test_two_people_share_the_gpus_of_a_machine(
    ssh_worker: Worker, ordinary_worker: Worker, cards: Cards, submit: Submit
) -> None:
    mine, theirs = (
        dataclasses.replace(each, env=cards.environment) for each in (ssh_worker, ordinary_worker)
    )
    for each in (mine, theirs):
        Workers.load().add(each)
    first = submit(theirs, KEEP, gpus=1)
    until(lambda: first.state == "running", "the first runs")
    second = submit(mine, KEEP, gpus=1)
    until_waits(second, "waiting for 1 GPU, next in line")
    third = submit(theirs, SEEN, gpus=1)
    until_waits(third, "waiting for 1 GPU, 1 ahead")
    first.cancel()
    until(lambda: second.state == "running", "it is the turn of the second")
    until_waits(third, "waiting for 1 GPU, next in line")
    second.cancel()
    assert third.result(PATIENCE) == uuid(0)
    owners = {file.name: file.stat().st_uid for file in cards.locks.iterdir()}
    assert list(owners) == [f"{uuid(0)}.lock"]


def test_the_list_of_workers_shows_their_gpus(
    gpu_worker: Worker, cards: Cards, submit: Submit
) -> None:
    cards.set(2)
    me = getpass.getuser()
    Workers.load().add(Worker("gone", host="me@127.0.0.1:1"))
    mute = socket.create_server(("127.0.0.1", 0))  # takes connections, and says nothing
    Workers.load().add(Worker("mute", host=f"me@127.0.0.1:{mute.getsockname()[1]}"))
    first = submit(gpu_worker, KEEP, gpus=2)
    until(lambda: first.state == "running", "the first runs")
    second = submit(gpu_worker, SEEN, gpus=1)
    until_waits(second, "waiting for 1 GPU, next in line")
    began = time.monotonic()
    *_, head, zero, one, waiting, gone, silent = verb("worker", "list").splitlines()
    assert time.monotonic() - began < 8
    assert head.split("  ")[0] == "WORKER"
    assert zero.split() == [
        "local", "0", "FAKE", "GPU", "(simulated)", "80.0", "of", "80.0", "GiB", first.label,
        f"({me})",
    ]  # fmt: skip
    assert one.split()[1] == "1"
    assert waiting == f"local: 1 waiting: {second.label} ({me}, 1)"
    assert gone.startswith("gone was not asked for its GPUs: ")
    assert silent == "mute was not asked for its GPUs: no answer"
    mute.close()
    assert "FAKE" not in verb("worker", "list", "--cached")
    (told,) = [line for line in verb("worker", "test", "local").splitlines() if " GPUs " in line]
    assert told.endswith(
        f"2 x FAKE GPU (simulated) (81920 MiB); 0 free of jobs; 1 waiting: {second.label} ({me}, 1)"
    )
    first.cancel()
    assert second.result(PATIENCE) == uuid(0)
