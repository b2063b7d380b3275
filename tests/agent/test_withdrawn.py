"""A job that was ended before it arrived: nothing starts it later."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.agent import journal
from chutes_jupyter.agent.journal import JobDir
from tests.agent.rig import Agent, agent, payload, spec


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


@pytest.mark.parametrize(
    ("state", "code"), [("cancelled", "withdrawn"), ("lost", "given_up")], ids=str
)
def test_a_submit_that_comes_late_is_refused(worker: Agent, state: str, code: str) -> None:
    body = payload("pass")
    fields = spec(body)
    for _ in range(2):  # the answer may be lost, and be asked for again
        header, _ = worker.ask("cancel", job=fields["id"], withdraw=state)
        assert (header["ok"], header["withdrawn"]) == (True, state)
    header, _ = worker.ask("submit", body, spec=fields)
    assert (header["ok"], header["error"]["code"]) == (False, code)
    header, _ = worker.ask("stage", b"x", job=fields["id"], offset=0, total=1)
    assert (header["ok"], header["error"]["code"]) == (False, code)
    header, _ = worker.ask("events", job=fields["id"], after=0, wait=0)
    assert header["error"]["code"] == "unknown_job"
    header, _ = worker.ask("jobs", after="", limit=10)
    assert header["jobs"] == []
    assert os.listdir(worker.root / "jobs") == [fields["id"]]


def test_a_job_that_has_arrived_is_cancelled_by_it(worker: Agent) -> None:
    job = worker.start("import time\nwhile True: time.sleep(0.05)")
    header, _ = worker.ask("cancel", job=job, withdraw="lost")
    assert (header["ok"], header["withdrawn"]) == (True, None)
    worker.follow(job, until="running")
    header, _ = worker.ask("cancel", job=job, withdraw="cancelled")
    assert header["ok"]
    assert not header.get("withdrawn")
    assert worker.end(job)["state"] == "cancelled"


def test_a_payload_that_is_arriving_is_not_given_up(worker: Agent) -> None:
    body = payload("return 1")
    fields = spec(body)
    worker.ask("stage", body, job=fields["id"], offset=0, total=len(body))
    header, _ = worker.ask("cancel", job=fields["id"], withdraw="lost", quiet=60)
    assert header["withdrawn"] is None
    header, _ = worker.ask("cancel", job=fields["id"], withdraw="lost", quiet=0)
    assert header["withdrawn"] == "lost"
    assert os.listdir(worker.root / "jobs") == [fields["id"]]


def test_of_a_submit_and_a_withdrawal_at_once_one_alone_holds(tmp_path: Path) -> None:
    body = b"payload"
    for _ in range(200):
        job = JobDir(str(tmp_path), uuid.uuid4().hex)
        (tmp_path / "jobs").mkdir(exist_ok=True)
        fields = spec(body, id=job.id)
        both = threading.Barrier(2)
        claimed = []

        def submit() -> None:
            both.wait()  # noqa: B023
            claimed.append(journal.claim(str(tmp_path), fields, body, None))  # noqa: B023

        racing = threading.Thread(target=submit)
        racing.start()
        both.wait()
        ended = journal.withdraw(job, "cancelled")
        racing.join()
        assert claimed == [ended is None]
        assert job.exists() == (ended is None)


def test_a_mark_without_a_word_still_holds(worker: Agent) -> None:
    body = payload("pass")
    fields = spec(body)
    (worker.root / "jobs" / fields["id"]).touch()  # its writer died between two steps
    header, _ = worker.ask("submit", body, spec=fields)
    assert header["error"]["code"] == "withdrawn"
