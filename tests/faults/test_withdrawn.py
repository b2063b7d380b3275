"""A job whose worker never acknowledged it: once it was ended, nothing starts it."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.client import follow
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import JobCancelled, JobLost
from chutes_jupyter.models import JobOptions, JobSpec, new_job_id
from chutes_jupyter.store import JobRecord, Store
from tests.agent.rig import payload
from tests.client.conftest import here, local, own_client
from tests.client.rig import PATIENCE, start, until
from tests.faults.kit import line_to
from tests.sshd import Sshd

__all__ = ["here", "local", "own_client"]  # fixtures


def late(source: str) -> tuple[JobSpec, bytes, JobRecord]:
    """Return a job that another process recorded, and has not handed over so far."""
    body = payload(source)
    spec = JobSpec(
        id=new_job_id(),
        name="job",
        options=JobOptions(worker="local"),
        payload_sha256=hashlib.sha256(body).hexdigest(),
        payload_size=len(body),
        created=time.time(),
    )
    record = JobRecord(id=spec.id, name="job", worker="local", created=spec.created)
    return spec, body, record


def sent(job: jobs_module.Job) -> bool:
    delivery = jobs_module.current_client()._followers[job.id]._delivery
    return delivery is not None and delivery.sent


def hand_over_late(spec: JobSpec, body: bytes) -> jobs_module.Job:
    """Submit as the process does that recorded the job, which knows nothing of the others."""
    jobs_module.close_client()
    Store.open().path.unlink()
    return jobs_module.submit(spec, body)


def test_a_submit_that_a_dying_connection_held_back_starts_nothing(
    sshd: Sshd, home: Path, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    source = f"open({str(starts)!r}, 'a').write('x')"
    with line_to(sshd, home, tmp_path / "worker") as line:
        start(line.worker, "return 1").result(PATIENCE, outputs=False)
        line.strand()
        job = start(line.worker, source)
        until(lambda: sent(job), "the submit is on its way")
        job.cancel(wait=0)
        with pytest.raises(JobCancelled, match="before the worker had it"):
            job.result(PATIENCE)
        line.release()
        until(lambda: line.open == 1, "the dying connection is over")
        assert list((tmp_path / "worker" / "jobs").glob(job.id)) != []
        time.sleep(1.0)  # if it started, it would have by now
        assert not starts.exists()


def test_a_cancel_of_another_process_comes_before_the_submit(local: Worker, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    spec, body, record = late(f"open({str(starts)!r}, 'a').write('x')")
    Store.open().add(record)
    other = jobs_module.attach(spec.id)
    assert other.state == "pending"
    other.cancel()
    with pytest.raises(JobCancelled, match="before the worker had it"):
        other.result(PATIENCE)
    job = hand_over_late(spec, body)
    with pytest.raises(JobCancelled, match="before the worker had it"):
        job.result(PATIENCE)
    assert not starts.exists()


def test_what_was_declared_lost_does_not_start_later(
    local: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    spec, body, record = late(f"open({str(starts)!r}, 'a').write('x')")
    Store.open().add(record)
    monkeypatch.setattr(follow, "ON_ITS_WAY", 0.0)
    with pytest.raises(JobLost, match="never reached the worker"):
        jobs_module.attach(spec.id).result(PATIENCE)
    with pytest.raises(JobLost, match="never reached the worker"):
        hand_over_late(spec, body).result(PATIENCE)
    assert not starts.exists()
