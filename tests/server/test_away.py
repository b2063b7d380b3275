"""While a worker is away, and while a kernel is dead."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.server.client import Api, ApiProblem
from tests.client.rig import Submit, until
from tests.conftest import add_to_ssh_config
from tests.sshd import Sshd

PATIENCE = 60.0


@pytest.fixture
def host(home: Path, place: Path) -> Iterator[Sshd]:
    """A worker's host, which can be switched off."""
    server = Sshd.start()
    add_to_ssh_config(home, server, "far1")
    Workers.load().add(Worker("far1", host="far1", dir=str(place / "far")))
    yield server
    Workers.load().remove("far1")
    server.remove()


def test_what_is_known_of_a_job_is_shown_while_its_worker_is_away(
    api: Api, host: Sshd, submit: Submit
) -> None:
    job = submit("far1", "import time\nopen(job_data['output_dir'] + '/a.txt', 'w').write('a')\n"
                 "print('on')\ntime.sleep(600)", ack=True)  # fmt: skip
    until(lambda: api.job(job.id).state == "running", "it runs", PATIENCE)
    until(lambda: api.files(job.id).files, "its file is listed", PATIENCE)
    until(lambda: (job.output_dir / "a.txt").exists(), "its file is here", PATIENCE)
    before = api.job(job.id)
    assert before.trouble is None
    host.switch_off()
    away = until(
        lambda: next(filter(lambda found: found.trouble, [api.job(job.id)]), None),
        "the outage is told",
        PATIENCE,
    )
    assert away.state == "running"
    assert away.confirmed is not None
    assert "as of" in away.outage
    assert away.trouble_since is not None
    listed = next(each for each in api.jobs().jobs if each.id == job.id)
    assert (listed.state, bool(listed.trouble)) == ("running", True)

    began = time.monotonic()
    files = api.files(job.id)
    assert [(each.path, each.state) for each in files.files] == [("a.txt", "here")]
    assert not files.confirmed
    assert files.trouble
    assert api.preview(job.id, "a.txt").text == "a"
    for ask in (lambda: api.log(job.id), lambda: api.events(job.id)):
        with pytest.raises(ApiProblem) as caught:
            ask()
        assert caught.value.status in (503, 504)
        assert caught.value.problem.hint
    assert "far1" in api.jobs(refresh=True).silent
    (far,) = [each for each in api.workers() if each.name == "far1"]
    assert (far.reachable, far.jobs) == (False, 1)
    told = api.cancel(job.id, wait=0.5)
    assert not told.told
    assert told.job.cancel_asked
    assert time.monotonic() - began < PATIENCE  # nothing waits for ever

    host.run()
    # Nobody asks again: this server keeps the cancel and delivers it.
    until(lambda: api.job(job.id).state == "cancelled", "the cancel is delivered", PATIENCE)
    assert api.job(job.id).trouble is None
    assert api.log(job.id).text == "on\n"


def test_a_job_is_seen_and_cancelled_when_its_kernel_was_killed(api: Api, place: Path) -> None:
    manager, client = start_new_kernel(startup_timeout=60)
    try:
        cell = (
            "%load_ext chutes_jupyter\n"
            "get_ipython().run_cell_magic('chute_job', 'sleeper --worker local --run',"
            " 'import time\\nprint(\"on\")\\ntime.sleep(600)')\n"
        )
        client.execute_interactive(cell, timeout=PATIENCE, output_hook=lambda _message: None)
        job = until(
            lambda: next(iter(api.jobs(name="sleeper", state="running").jobs), None),
            "it runs",
            PATIENCE,
        )
    finally:
        client.stop_channels()
        with contextlib.suppress(ProcessLookupError):
            manager.signal_kernel(signal.SIGKILL)
        manager.shutdown_kernel(now=True)
    until(lambda: api.log(job.id).text == "on\n", "its log is read", PATIENCE)
    with api.stream("/events") as events:
        next(events)
        assert api.cancel(job.id).told
        for event in events:
            if event.name == "job" and event.data["state"] == "cancelled":
                break
    assert api.job(job.id).state == "cancelled"
