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
