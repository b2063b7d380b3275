"""What is known of a job: events once and in order, and nobody's fault but one's own."""

from __future__ import annotations

from typing import Any

import pytest

from chutes_jupyter.client.live import Live
from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.replies import Event
from chutes_jupyter.store import JobRecord


def event(number: int, state: str, **fields: Any) -> Event:
    return Event(n=number, t=100.0 + number, type="state", state=state, **fields)


def live(**known: Any) -> Live:
    return Live(JobRecord(id="3f9c2a" + "0" * 26, name="train", worker="gpu1", **known))


def test_events_make_the_state() -> None:
    job = live()
    job.apply([event(1, "starting"), event(2, "running", python="3.12.1")])
    assert (job.state, job.event, job.started, job.python) == ("running", 2, 102.0, "3.12.1")
    job.apply([event(3, "collecting"), event(4, "failed", reason="no", has_value=False)])
    assert (job.state, job.reason, job.ended, job.has_value) == ("failed", "no", 104.0, False)


def waiting(number: int, message: str) -> Event:
    return Event(n=number, t=100.0 + number, type="waiting", message=message)


def test_what_a_job_waits_for_is_its_reason_until_it_starts() -> None:
    job = live()
    job.apply([event(1, "starting"), waiting(2, "waiting for 1 GPU, 1 ahead")])
    assert (job.state, job.reason, job.event) == ("pending", "waiting for 1 GPU, 1 ahead", 2)
    assert job.acknowledged
    job.apply([waiting(3, "waiting for 1 GPU, next in line")])
    assert (job.state, job.reason, job.event) == ("pending", "waiting for 1 GPU, next in line", 3)
    job.apply([event(4, "starting")])
    assert (job.state, job.reason) == ("starting", None)
    job.apply([event(5, "running"), waiting(6, "nothing any more")])
    assert (job.state, job.reason) == ("running", None)


def test_waiting_that_is_read_again_does_not_take_back_what_the_store_knew() -> None:
    job = live(state="failed", event=4, reason="it broke")
    job.apply(
        [event(1, "starting"), waiting(2, "waiting for 1 GPU, 1 ahead"), event(3, "starting")]
    )
    assert (job.state, job.reason) == ("failed", "it broke")


def test_a_worker_may_wait_neither_after_the_end_nor_at_length() -> None:
    job = live()
    job.apply([event(1, "starting"), waiting(2, "x" * 60_000)])
    assert job.reason == "x" * 200
    job.apply([event(3, "failed", reason="no", has_value=False)])
    with pytest.raises(AgentFailed, match="twice"):
        job.apply([waiting(4, "still")])


@pytest.mark.parametrize("number", [1, 3, 7])
def test_a_number_twice_or_left_out_is_refused(number: int) -> None:
    job = live()
    job.apply([event(1, "starting")])
    with pytest.raises(AgentFailed, match="after event 1"):
        job.apply([event(number, "running")])
    assert job.state == "starting"


def test_reading_again_does_not_take_back_what_the_store_knew() -> None:
    job = live(state="succeeded", event=4, started=102.0, ended=104.0)
    seen: list[str] = []
    job.subscribe(lambda: seen.append(job.state))
    job.apply([event(1, "starting"), event(2, "running")])
    assert set(seen) == {"succeeded"}
    job.apply([event(3, "collecting"), event(4, "succeeded", has_value=True)])
    assert (job.state, job.has_value) == ("succeeded", True)


def test_a_notice_is_kept_once_and_their_number_is_bounded() -> None:
    job = live()
    for number in range(1000):
        job.notice(f"notice {number % 200}")
    assert len(job.notices) == len(set(job.notices)) == 50


def test_the_clock_stands_still_at_the_end() -> None:
    assert live().elapsed is None
    assert live(state="succeeded", started=10.0, ended=14.5).elapsed == 4.5
