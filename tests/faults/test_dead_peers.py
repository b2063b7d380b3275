"""The other end is there no more, and nobody says so: no byte, no reset."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.client import hub, words
from chutes_jupyter.client.live import Live
from chutes_jupyter.client.session import Session
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.commands import jobs as verbs
from chutes_jupyter.config import Worker
from chutes_jupyter.errors import ConnectFailed, JobCancelled, WaitTimeout
from chutes_jupyter.job import Job
from chutes_jupyter.kernel.panel import Panel
from chutes_jupyter.kernel.view import facts
from chutes_jupyter.mirror import MirrorStatus
from chutes_jupyter.store import JobRecord
from tests.client.conftest import here, own_client
from tests.client.rig import PATIENCE, Submit, start, until
from tests.faults.kit import Line, line_to
from tests.sshd import Sshd, children

__all__ = ["here", "own_client"]  # fixtures

#: The promise, in seconds.
NOTICED = 6.0
IDLE = "import time\nwhile not self.cancel_event.is_set():\n    time.sleep(0.05)"
BUSY = """
import os, time
number = 0
while not self.cancel_event.is_set():
    print("line", number, "=" * 50)
    number += 1
    if number % 5000 == 0:
        with open(job_data["output_dir"] + "/file-%d" % (number // 5000), "wb") as file:
            file.write(os.urandom(3_000_000))
        time.sleep(0.05)
"""


@pytest.fixture
def line(sshd: Sshd, home: Path, tmp_path: Path, dialling: str) -> Iterator[Line]:
    with line_to(sshd, home, tmp_path / "worker", "gpu1", dialling) as found:
        yield found
        found.flow()
        found.cut()


@contextlib.contextmanager
def first_trouble(job: Job) -> Iterator[Callable[[], float | None]]:
    """Note when trouble was first told of."""
    told: list[float] = []

    def look() -> None:
        if job.trouble and not told:
            told.append(time.monotonic())

    end = job.subscribe(look)
    yield lambda: told[0] if told else None
    end()


def below(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *below(child))]


def sshds_of_connections(sshd: Sshd) -> list[int]:
    assert sshd.process
    names = ((pid, Path(f"/proc/{pid}/comm")) for pid in below(sshd.process.pid))
    return [pid for pid, name in names if name.exists() and "sshd" in name.read_text()]


@pytest.mark.parametrize("source", [IDLE, BUSY], ids=["idle", "busy"])
def test_a_stopped_sshd_is_noticed_in_time_and_another_one_asked(
    source: str, line: Line, sshd: Sshd
) -> None:
    job = start(line.worker, source, ack=True)
    until(lambda: job.state == "running", "it runs")
    with first_trouble(job) as told:
        if source == BUSY:
            until(lambda: len(job.tail) > 50_000, "it is busy")
        stopped = sshds_of_connections(sshd)
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            noticed = until(told, "the silence is noticed", 20.0)
            assert noticed - began < NOTICED
            until(lambda: job.trouble is None, "another connection is there")
            assert job.trouble_since is None
            confirmed = time.time()
            job.cancel()
            job.wait(PATIENCE, outputs=False)
            assert job.state == "cancelled"
            assert job.confirmed_at is not None
            assert job.confirmed_at >= confirmed
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_silence_while_connecting_is_noticed_in_time(line: Line) -> None:
    line.stall()
    began = time.monotonic()
    job = start(line.worker, "return 1")
    until(lambda: job.trouble, "the silence is noticed", 20.0)
    assert time.monotonic() - began < NOTICED
    assert re.search(r"connecting, \d s; nothing is confirmed so far", repr(job))
    assert "has not answered" in facts(job)["trouble"]
    job.cancel()
    with pytest.raises(JobCancelled, match="before it was sent"):
        job.result(PATIENCE)


def test_a_host_that_was_only_slow_to_connect_is_no_trouble(line: Line) -> None:
    line.stall()
    job = start(line.worker, "return 1")
    until(lambda: job.trouble, "the silence is noticed", 20.0)
    line.flow()
    assert job.result(PATIENCE) == 1
    assert job.trouble is None


def test_a_call_during_an_outage_waits_or_fails_in_words(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(line.worker, BUSY, ack=True)
    until(lambda: job.mirror.files and len(job.logs()) > 10_000, "it is busy")
    line.stall()
    until(lambda: job.trouble, "the silence is noticed", NOTICED)

    # What people see: for how long, and of when the state is. It goes on by itself.
    shown = facts(job)["trouble"]
    assert re.match(r"reconnecting, \d+ s; running as of \d+ s ago; the worker can't be", shown)
    assert re.search(r"reconnecting, \d+ s; running as of \d+ s ago", repr(job))
    panel = Panel(job)
    before = panel.widget.job["trouble"]
    assert "reconnecting, " in before

    def ticks() -> bool:
        panel._update()
        return bool(panel.widget.job["trouble"] != before)

    until(ticks, "the clock ticks", 3)

    # Never a false success.
    for call in (job.result, job.wait):
        with pytest.raises(WaitTimeout, match=r"not known to be over after 0\.2 s: reconnecting"):
            call(timeout=0.2)
    with pytest.raises(WaitTimeout, match="reconnecting"):
        job.logs(timeout=0.2)
    with pytest.raises(WaitTimeout, match="reconnecting"):
        list(job.logs(follow=True, tail=3, timeout=0.2))
    assert job.value is None
    assert job.state == "running"

    # The same from another process, which knows what the store does.
    jobs_module.close_client()
    monkeypatch.setattr(hub, "PATIENCE", 0.5)
    monkeypatch.setattr(jobs_module, "_FILES_PATIENCE", 6.0)
    found = jobs_module.attach(job.label)
    assert found.state == "running"
    with pytest.raises(
        WaitTimeout, match=rf"not known after 6 s.*{re.escape(str(job.output_dir))}"
    ):
        _ = found.files
    monkeypatch.setattr(verbs, "_TELL", 0.3)
    monkeypatch.setattr(verbs, "_NEXT_PIECE", 0.3)
    said: list[str] = []
    terminal = Surroundings(said.append)
    execute(["jobs"], terminal)
    assert "running, last confirmed" in said[0]
    assert said[1] == "gpu1 was not reached, its states are as last confirmed: no answer\n"
    with pytest.raises(WaitTimeout, match=r"NOT cancelled.*cancel --wait"):
        execute(["cancel", job.label], terminal)
    for verb in (["logs", job.label], ["logs", "--tail", "3", job.label]):
        with pytest.raises(WaitTimeout, match="reconnecting"):
            execute(verb, terminal)

    # A cancel is kept, and delivered by itself.
    with pytest.raises(WaitTimeout, match="kept and delivered when gpu1 can be reached"):
        found.cancel(timeout=0.2)
    line.flow()
    line.cut()
    found.wait(PATIENCE, outputs=False)
    assert found.state == "cancelled"


BEATS = """
import time
for number in range(1000):
    if self.cancel_event.is_set():
        break
    print("beat", number, flush=True)
    time.sleep(0.1)
"""


def test_who_follows_a_log_is_told_of_an_outage_and_of_its_end(
    line: Line, submit: Submit, environment: dict[str, str]
) -> None:
    job = submit(line.worker, BEATS, ack=True)
    here = {k: v for k, v in os.environ.items() if k.startswith("JUPYTER")}
    with subprocess.Popen(
        [sys.executable, "-m", "chutes_jupyter.cli", "logs", "-f", job.id],
        env={**environment, **here},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout
        assert command.stderr
        assert command.stdout.readline() == "beat 0\n"
        line.stall()
        told = command.stderr.readline()
        assert re.match(rf"\[{job.label}: reconnecting, \d+ s; running as of \d+ s ago; ", told)
        line.flow()
        line.cut()
        told = command.stderr.readline()
        assert re.match(rf"\[{job.label}: gpu1 answers again, after \d+s\]", told)
        job.cancel()
        rest, more = command.stdout.read(), command.stderr.read()
    assert command.returncode == 0
    assert more == ""
    beats = rest.splitlines()
    assert beats == [f"beat {number}" for number in range(1, len(beats) + 1)]


class _Unreachable(Session):
    async def _make_way(self) -> object:
        raise ConnectFailed("nobody there")


async def _pauses(number: int) -> list[float]:
    session = _Unreachable(Worker("off1", host="off1"))
    found = []
    for _ in range(number):
        with contextlib.suppress(ConnectFailed):
            await session.link()
        found.append(session._next_try - asyncio.get_running_loop().time())
    return found


def test_pauses_between_tries_grow_to_a_bound_and_are_never_the_same() -> None:
    pauses = asyncio.run(_pauses(30))
    assert pauses[0] < 0.3
    assert all(later > before for before, later in zip(pauses[:8], pauses[4:12], strict=True))
    assert all(15 < pause < 45 for pause in pauses[15:])
    assert len(set(pauses[15:])) == 15
    assert asyncio.run(_pauses(3)) != asyncio.run(_pauses(3))


def known(**values: object) -> Live:
    return Live(JobRecord("3f9c2a" + "0" * 26, "train", "gpu1", **values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"state": "running", "event": 2, "confirmed": 986.0},
            "reconnecting, 12 s; running as of 14 s ago; the worker can't be reached: no route",
        ),
        (
            {},
            "connecting, 12 s; nothing is confirmed so far; the worker can't be reached: no route",
        ),
        # The worker's clock may be ahead, and this one may be set back.
        (
            {"state": "starting", "event": 1, "confirmed": 5000.0},
            "reconnecting, 12 s; starting as of 0 s ago; the worker can't be reached: no route",
        ),
        ({"state": "succeeded", "event": 4, "confirmed": 986.0}, ""),
    ],
)
def test_an_outage_in_words(values: dict[str, object], text: str) -> None:
    live = known(**values)
    live.trouble, live.trouble_since = "no route\nmore", 988.0
    live.mirror = MirrorStatus(state="complete")
    assert words.outage(live, 1000.0) == text
    live.trouble = None
    assert words.outage(live, 1000.0) == ""


def test_outputs_that_wait_for_the_worker_say_so() -> None:
    live = known(state="succeeded", event=4, confirmed=986.0)
    live.trouble, live.trouble_since = "no route", 988.0
    assert words.outage(live, 1000.0) == (
        "reconnecting, 12 s; the rest of its outputs comes later; "
        "the worker can't be reached: no route"
    )


def test_trouble_is_as_old_as_its_first_word(monkeypatch: pytest.MonkeyPatch) -> None:
    live = known(state="running", event=2)
    now = [100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    live.set(trouble="silent")
    now[0] = 110.0
    live.set(trouble="refused")
    assert live.trouble_since == 100.0
    live.confirm()
    assert live.trouble_since is None
    live.set(trouble="silent")
    assert live.trouble_since == 110.0
