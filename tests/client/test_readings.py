"""What a job tells of itself reaches whoever looks: progress, metrics, results."""

from __future__ import annotations

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker
from chutes_jupyter.job import Job, attach
from tests.client.rig import PATIENCE, Submit, until

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
