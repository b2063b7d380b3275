"""What a job tells of itself reaches whoever looks: progress, metrics, results."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.client import readings
from chutes_jupyter.client.session import Session
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import JobCancelled
from chutes_jupyter.job import Job, attach
from chutes_jupyter.store import Store
from tests.client.rig import PATIENCE, Submit, process, until
from tests.faults.kit import Line

STEPS = """
import time
for epoch in range(4):
    self.progress(epoch + 1, 4, unit="epoch", description="training", loss=1 / (epoch + 1))
    self.metric("lr", 0.1 * epoch, step=10 * epoch)
    time.sleep(0.25)
display("two", {"a": 1})
while not self.cancel_event.is_set():
    time.sleep(0.02)
"""


def told(job: Job, done: float) -> bool:
    return job.progress is not None and job.progress.done >= done


def test_progress_and_metrics_of_a_running_job(worker: Worker, submit: Submit) -> None:
    job = submit(worker, STEPS)
    until(lambda: told(job, 4), "the last progress")
    now = job.progress
    assert now is not None
    assert (now.done, now.total, now.unit, now.description) == (4, 4, "epoch", "training")
    assert now.fraction == 1
    assert now.metrics == {"loss": 0.25}
    assert now.seconds_left == 0
    # Four steps, a quarter of a second or more apart.
    assert now.rate is not None
    assert 0 < now.rate <= 4.5
    until(lambda: len(job.displays) == 2, "both results")
    assert [point[:2] for point in job.metrics["loss"]] == [
        (1, 1),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
        (4, 0.25),
    ]
    assert [point.step for point in job.metrics["lr"]] == [0, 10, 20, 30]
    assert [shown.number for shown in job.displays] == [1, 2]
    assert job.displays[0].data == {"text/plain": "two"}
    assert not job.done()
    job.cancel()
    job.wait(PATIENCE)


def test_who_attaches_later_has_all_of_it(local: Worker, submit: Submit) -> None:
    job = submit(local, "for n in range(50): self.metric('n', n)\nself.progress(3)\ndisplay('x')")
    job.wait(PATIENCE)
    jobs_module.close_client()
    again = attach(job.label)
    # The first look waits for the worker.
    assert again.progress is not None
    assert (again.progress.done, again.progress.total, again.progress.fraction) == (3, None, None)
    assert str(again.progress) == "3"
    assert [point.value for point in again.metrics["n"]] == list(range(50))
    assert [shown.data for shown in again.displays] == [{"text/plain": "x"}]


def test_what_was_told_while_the_line_was_cut_comes_afterwards(line: Line, submit: Submit) -> None:
    job = submit(line.worker, NUMBERS)
    heard: list[float] = []
    unsubscribe = job.subscribe(lambda: heard.append(job.progress.done if job.progress else 0))
    for part in (0.2, 0.4, 0.6, 0.8):
        until(lambda: told(job, part * 300), "progress goes on")  # noqa: B023
        line.cut()
    job.wait(PATIENCE)
    until(lambda: told(job, 300), "the last progress")
    until(lambda: len(job.metrics["n"]) == 300, "every value once")
    until(lambda: len(job.displays) == 10, "every display, which may come after the values")
    assert [point[:2] for point in job.metrics["n"]] == [(n, n) for n in range(300)]
    assert [shown.data["text/plain"] for shown in job.displays] == [str(n) for n in range(10)]
    assert heard == sorted(heard)
    assert heard[-1] == 300
    unsubscribe()


NUMBERS = """
import time
for n in range(300):
    self.metric("n", n)
    self.progress(n + 1, 300)
    if n % 30 == 0: display(n // 30)
    time.sleep(0.01)
"""


def test_nothing_is_asked_for_unless_somebody_looks(
    local: Worker, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    persist = Session.persist

    def noted(session: Session, op: str, **fields: Any) -> Any:
        asked.append(op)
        return persist(session, op, **fields)

    monkeypatch.setattr(Session, "persist", noted)
    job = submit(local, STEPS.replace("0.25", "0"))
    until(lambda: job.state == "running", "it runs")
    "".join(job.logs(tail=5))
    assert "readings" not in asked
    until(lambda: told(job, 4), "the last progress")
    assert "readings" in asked
    job.cancel()
    job.wait(PATIENCE)


def test_when_nobody_looks_any_more_it_is_asked_for_no_more(
    local: Worker, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "_LOOKS", 0.5)
    job = submit(
        local,
        "while not self.cancel_event.wait_blocking(0.05): self.progress(1)",
    )
    unsubscribe = job.subscribe(lambda: None)
    until(lambda: job.progress, "the first progress")
    task = jobs_module.current_client()._followers[job.id]._tasks["readings"]
    # Nobody has looked for long, but somebody is told.
    early = job._live.readings.progress
    until(lambda: job._live.readings.progress != early, "it goes on")
    assert not task.done()
    unsubscribe()
    until(task.done, "its end")
    late = job._live.readings.progress
    # The next look begins anew.
    assert job.progress is not None
    until(lambda: job._live.readings.progress != late, "it goes on")
    job.cancel()
    job.wait(PATIENCE)


def test_another_process_sees_the_same(
    local: Worker, submit: Submit, environment: dict[str, str]
) -> None:
    job = submit(local, STEPS)
    until(lambda: told(job, 4), "the last progress")
    script = (
        "from chutes_jupyter.job import attach\n"
        f"job = attach({job.label!r})\n"
        "print(job.progress, len(job.metrics['loss']), flush=True)\nimport os; os._exit(0)"
    )
    with process(script, environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "4 of 4, 100 % 4\n"
    job.cancel()
    job.wait(PATIENCE)


def test_a_flood_keeps_no_cancel_and_no_log_waiting(local: Worker, submit: Submit) -> None:
    job = submit(
        local,
        "import itertools\n"
        "for n in itertools.count():\n"
        "    self.progress(n)\n"
        "    for name in 'abcdefgh': self.metric(name, n)\n"
        "    if n % 100 == 0: print(n, flush=True); display('x' * 50_000)\n"
        "    if self.cancel_event.is_set(): return n\n",
    )
    unsubscribe = job.subscribe(lambda: None)
    until(lambda: told(job, 1000), "progress comes")
    job.cancel()
    with pytest.raises(JobCancelled) as ended:
        job.result(PATIENCE)
    assert ended.value.value > 1000
    until(lambda: told(job, ended.value.value), "the last progress")
    unsubscribe()


def test_usage_comes_with_the_job(local: Worker, submit: Submit) -> None:
    job = submit(local, "x = bytearray(50 << 20)\nself.cancel_event.wait_blocking()")
    until(lambda: len(job.usage) >= 2, "two samples")
    first, second = job.usage[:2]
    assert first.cpu_percent is None
    assert second.cpu_percent is not None
    assert second.at > first.at
    assert second.memory_mib is not None
    assert second.memory_mib >= 50
    assert second.gpus == ()
    job.cancel()
    job.wait(PATIENCE)


def test_a_list_of_jobs_says_how_far_they_are(
    local: Worker, submit: Submit, environment: dict[str, str]
) -> None:
    job = submit(local, STEPS)
    until(lambda: told(job, 4), "the last progress")
    # Another process, which never looked at this job.
    command = [sys.executable, "-m", "chutes_jupyter.cli", "jobs"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    head, row = shown.stdout.splitlines()
    assert "PROGRESS" in head
    assert "100 %" in row
    # And without the worker.
    jobs_module.close_client()
    record = Store.open().get(job.id)
    assert record.progress is not None
    assert (record.progress.done, record.progress.description) == (4, "training")
    again = attach(job.label)
    again.cancel()
    again.wait(PATIENCE)


def test_a_job_that_says_nothing_has_nothing(local: Worker, submit: Submit) -> None:
    job = submit(local, "return 1")
    assert job.result(PATIENCE) == 1
    assert (job.progress, job.metrics, job.displays, job.usage) == (None, {}, (), ())
