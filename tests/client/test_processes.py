"""One job and several processes: the one that submitted it is not needed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import JobNotFound
from chutes_jupyter.store import Store
from tests.client.rig import PATIENCE, Submit, process

SLOW = """
import os, time
with open(job_data["output_dir"] + "/early.txt", "w") as file:
    file.write("early")
for number in range(30):
    print("line", number, flush=True)
    time.sleep(0.1)
with open(job_data["output_dir"] + "/late.txt", "w") as file:
    file.write("late")
return {"lines": 30}
"""

SUBMITS = """
import time
from tests.client.rig import start
job = start({worker!r}, {source!r}, ack={ack})
print(job.id, flush=True)
time.sleep({stays})
"""


def test_a_job_outlives_the_process_that_submitted_it(
    worker: Worker, environment: dict[str, str]
) -> None:
    script = SUBMITS.format(worker=worker.name, source=SLOW, ack=True, stays=600)
    with process(script, environment) as first:
        assert first.stdout
        job_id = first.stdout.readline().strip()
        assert job_id, first.communicate()[1]
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    job = jobs_module.attach(job_id)
    assert job.state in ("starting", "running")
    assert job.result(PATIENCE) == {"lines": 30}
    assert job.logs() == "".join(f"line {number}\n" for number in range(30))
    assert (job.output_dir / "early.txt").read_text() == "early"
    assert (job.output_dir / "late.txt").read_text() == "late"


def test_a_script_may_end_right_after_submit(worker: Worker, environment: dict[str, str]) -> None:
    script = SUBMITS.format(worker=worker.name, source="return 'ran'", ack=False, stays=0)
    with process(script, environment) as first:
        out, err = first.communicate(timeout=PATIENCE)
        assert first.returncode == 0, err
    assert jobs_module.attach(out.strip()).result(PATIENCE) == "ran"


def test_a_script_that_ends_says_what_was_not_confirmed(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket() as silent:  # accepts, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        add_host(tmp_path, silent.getsockname()[1])
        script = SUBMITS.format(worker="mute", source="return 1", ack=False, stays=0)
        script = "import chutes_jupyter.client.farewell as end\nend._EXIT_PATIENCE = 1.5\n" + script
        with process(script, environment) as first:
            _, err = first.communicate(timeout=PATIENCE)
    assert "waiting for the word that job-" in err
    assert "was not confirmed by mute" in err
    assert "Traceback" not in err


def add_host(tmp_path: Path, port: int) -> None:
    Workers.load().add(Worker("mute", host=f"me@127.0.0.1:{port}", dir=str(tmp_path / "worker")))


def test_attach_finds_a_job_that_the_store_does_not_know(worker: Worker, submit: Submit) -> None:
    job = submit(worker, "print('kept'); return 5")
    job.wait(PATIENCE)
    jobs_module.close_client()
    store = Store.open()
    store.path.unlink()
    found = jobs_module.attach(job.label)
    assert found.id == job.id
    assert found.result(PATIENCE) == 5
    assert found.logs() == "kept\n"
    assert [each.id for each in jobs_module.jobs()] == [job.id]
    # The folder of before is its folder still; nothing is brought twice.
    assert found.output_dir == job.output_dir


def test_attach_says_what_it_does_not_find(local: Worker, submit: Submit) -> None:
    submit(local, "return 1").wait(PATIENCE)
    with pytest.raises(JobNotFound, match="train-abc"):
        jobs_module.attach("train-abc")


def test_jobs_of_a_worker_that_was_removed_are_still_shown(local: Worker, submit: Submit) -> None:
    Workers.load().add(Worker("old1", host="nowhere.invalid"))
    job = submit("old1", "return 1")
    job.wait(PATIENCE)
    Workers.load().remove("old1")
    jobs_module.close_client()
    (found,) = jobs_module.jobs(refresh=False)
    assert (found.id, found.state, found.worker) == (job.id, "failed", "old1")
    assert "old1" in repr(found)


def test_another_process_cancels(
    worker: Worker, submit: Submit, environment: dict[str, str]
) -> None:
    job = submit(worker, "import time\nwhile True: time.sleep(0.05)", ack=True)
    script = f"from chutes_jupyter.job import attach\nattach({job.label!r}).cancel()"
    with process(script, environment) as other:
        _, err = other.communicate(timeout=PATIENCE)
        assert other.returncode == 0, err
    job.wait(PATIENCE)
    assert job.state == "cancelled"


def test_two_processes_bring_the_outputs_once(
    local: Worker, submit: Submit, environment: dict[str, str]
) -> None:
    job = submit(local, SLOW, ack=True)
    script = (
        "from chutes_jupyter.job import attach\n"
        f"job = attach({job.id!r})\n"
        "print(job.result(60), job.mirror.state, [f.state for f in job.files], job.output_dir)"
    )
    with process(script, environment) as other:
        job.wait(PATIENCE)
        out, err = other.communicate(timeout=PATIENCE)
    assert other.returncode == 0, err
    assert out.strip() == f"{{'lines': 30}} complete ['here', 'here'] {job.output_dir}"
    placed = job.output_dir.parent / ".chute" / job.output_dir.name / "placed.jsonl"
    assert len(placed.read_text().splitlines()) == 2


def test_an_interrupt_ends_the_wait_and_not_the_job(
    local: Worker, environment: dict[str, str], tmp_path: Path
) -> None:
    # It ends when it may: a busy machine must not let it end before the interrupt.
    go = str(tmp_path / "go")
    source = f"import os, time\nwhile not os.path.exists({go!r}): time.sleep(0.02)\nreturn 9"
    script = (
        "from tests.client.rig import start\n"
        f"job = start('local', {source!r}, ack=True)\n"
        "try:\n    print('waiting', flush=True)\n    job.wait()\n"
        "except KeyboardInterrupt:\n    print('interrupted', job.done(), flush=True)\n"
        f"open({go!r}, 'w').close()\n"
        "print(job.result(60))"
    )
    with process(script, environment) as waiting:
        assert waiting.stdout
        assert waiting.stdout.readline() == "waiting\n"
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=PATIENCE)
    assert out == "interrupted False\n9\n", err


def test_a_fork_has_a_client_of_its_own(local: Worker, submit: Submit) -> None:
    job = submit(local, "return 4")
    assert job.result(PATIENCE) == 4
    child = os.fork()
    if child == 0:
        code = 1
        try:
            mine = jobs_module.attach(job.id)
            code = 0 if (mine.result(PATIENCE), job.result(PATIENCE)) == (4, 4) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert submit(local, "return 6").result(PATIENCE) == 6
