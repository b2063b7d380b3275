"""A job from submit to each of its ends, over every kind of worker."""

from __future__ import annotations

import os
import signal
import time

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import (
    JobCancelled,
    JobFailed,
    JobTimedOut,
    UnknownWorker,
    WaitTimeout,
)
from chutes_jupyter.nodes import NodeSelector
from tests.client.rig import PATIENCE, Submit, until

OVER_OPENSSH = True

WRITES = """
import os, time
with open(job_data["output_dir"] + "/written.txt", "w") as file:
    file.write("before the end")
print("up", flush=True)
"""


def test_a_job_returns_its_value_and_leaves_its_log_and_files(
    worker: Worker, submit: Submit
) -> None:
    job = submit(
        worker,
        """
import os, sys
folder = job_data["output_dir"] + "/deep/er"
os.makedirs(folder)
with open(folder + "/a.bin", "wb") as file:
    file.write(bytes(range(256)) * job_data["times"])
print("out")
print("err", file=sys.stderr)
temporary = os.path.realpath(os.environ["TMPDIR"])
return {"at": (1, 2), "raw": b"\\x00\\xff", "folder": os.path.basename(temporary)}
""",
        data={"times": 3000},
    )
    assert job.state == "pending"
    assert job.result(PATIENCE) == {"at": (1, 2), "raw": b"\x00\xff", "folder": "tmp"}
    assert job.done()
    assert job.state == "succeeded"
    assert sorted(job.logs().splitlines()) == ["err", "out"]
    assert (job.output_dir / "deep/er/a.bin").read_bytes() == bytes(range(256)) * 3000
    assert [(file.path, file.state) for file in job.files] == [("deep/er/a.bin", "here")]
    assert (job.mirror.state, job.mirror.done, job.mirror.total) == ("complete", 768000, 768000)
    assert job.created_at <= time.time()
    assert job.started_at is not None
    assert job.ended_at is not None
    assert job.started_at <= job.ended_at


def test_an_exception_comes_back_with_the_lines_of_the_cell(worker: Worker, submit: Submit) -> None:
    job = submit(worker, WRITES + "def inner():\n    raise KeyError('no such row')\ninner()")
    with pytest.raises(JobFailed) as caught:
        job.result(PATIENCE)
    assert caught.value.exception_type == "KeyError"
    assert "raise KeyError('no such row')" in caught.value.remote_traceback
    assert 'File "In[1]", line 8, in inner' in caught.value.remote_traceback
    assert "chutes_jupyter" not in caught.value.remote_traceback
    assert (job.output_dir / "written.txt").read_text() == "before the end"
    assert job.logs() == "up\n"
    assert "no such row" in repr(job)


def test_a_job_raises_what_its_function_raised_with_frames_and_source(
    worker: Worker, submit: Submit
) -> None:
    job = submit(
        worker,
        """
import os, sys
with open("helper.py", "w") as file:
    file.write("def half(n):\\n    if n % 2:\\n        raise ValueError(n)\\n")
sys.path.insert(0, os.getcwd())
import helper
try:
    helper.half(3)
except ValueError as error:
    raise OSError(2, "no half") from error
""",
    )
    with pytest.raises(FileNotFoundError) as caught:
        job.result(PATIENCE)
    failed = caught.value
    assert isinstance(failed, JobFailed)
    last, cause = failed.raised
    assert (last.said, last.cause) == ("FileNotFoundError: [Errno 2] no half", True)
    assert cause.frames[-1].file.endswith("/work/helper.py")
    assert cause.frames[-1].lines == [
        "def half(n):",
        "    if n % 2:",
        "        raise ValueError(n)",
    ]
    assert [frame.line for frame in cause.frames] == [9, 3]
    with pytest.raises(ValueError, match="third"):
        submit(worker, "class Third(ValueError): pass\nraise Third('third')").result(PATIENCE)


def test_cancel_ends_a_body_that_never_looks(worker: Worker, submit: Submit) -> None:
    job = submit(worker, WRITES + "while True:\n    time.sleep(0.05)")
    assert next(job.logs(follow=True)) == "up\n"
    job.cancel()
    job.cancel()
    with pytest.raises(JobCancelled) as caught:
        job.result(PATIENCE)
    assert caught.value.value is None
    assert job.state == "cancelled"
    assert (job.output_dir / "written.txt").read_text() == "before the end"


def test_cancel_keeps_what_a_polite_body_returned(local: Worker, submit: Submit) -> None:
    job = submit(
        local, WRITES + "self.cancel_event.wait_blocking(60)\nreturn {'until': 7}", grace=20
    )
    assert next(job.logs(follow=True)) == "up\n"
    job.cancel()
    with pytest.raises(JobCancelled) as caught:
        job.result(PATIENCE)
    assert caught.value.value == {"until": 7}
    assert job.value == {"until": 7}


def test_a_timeout_brings_what_was_written(worker: Worker, submit: Submit) -> None:
    job = submit(worker, WRITES + "while True:\n    time.sleep(0.05)", timeout=1)
    with pytest.raises(JobTimedOut, match=r"1 s; it was in job .In.1., line [78]") as caught:
        job.result(PATIENCE)
    assert 'File "In[1]", line' in caught.value.remote_traceback
    assert (job.output_dir / "written.txt").read_text() == "before the end"
    assert job.logs() == "up\n"


def test_a_killed_job_brings_what_was_written(worker: Worker, submit: Submit) -> None:
    job = submit(worker, WRITES + "import signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(JobFailed, match="SIGKILL"):
        job.result(PATIENCE)
    assert (job.output_dir / "written.txt").read_text() == "before the end"
    assert job.logs() == "up\n"


def test_submit_returns_at_once_and_ack_waits_for_the_worker(
    worker: Worker, submit: Submit
) -> None:
    submit(worker, "return 1").result(PATIENCE)  # the connection is there now
    control, _ = current_client().way_to(worker.name)
    assert control.hello
    os.kill(control.hello.pid, signal.SIGSTOP)
    try:
        job = submit(worker, "return 1")  # by a worker that says nothing
        assert job.state == "pending"
        with pytest.raises(WaitTimeout):
            job.wait(0.2)
    finally:
        os.kill(control.hello.pid, signal.SIGCONT)
    assert job.result(PATIENCE) == 1
    acknowledged = submit(worker, "return 2", ack=True)
    assert acknowledged.state != "pending"
    assert acknowledged.confirmed_at is not None


def test_a_wait_that_runs_out_leaves_the_job_running(local: Worker, submit: Submit) -> None:
    job = submit(local, "import time; time.sleep(2); return 3")
    with pytest.raises(WaitTimeout, match="It goes on"):
        job.wait(0.2)
    with pytest.raises(TimeoutError):
        job.result(0.1)
    assert job.result(PATIENCE) == 3


@pytest.mark.anyio
async def test_a_job_can_be_awaited(local: Worker, submit: Submit) -> None:
    assert await submit(local, "return 'awaited'") == "awaited"
    with pytest.raises(JobFailed, match="in vain"):
        await submit(local, "raise RuntimeError('in vain')")


def test_a_large_payload_travels_in_pieces(worker: Worker, submit: Submit) -> None:
    blob = bytes(range(256)) * 20_000
    job = submit(worker, "return job_data['blob'] + b'!'", data={"blob": blob})
    assert job.result(PATIENCE) == blob + b"!"


def test_upload_false_brings_no_files(worker: Worker, submit: Submit) -> None:
    job = submit(worker, WRITES + "return 1", upload=False)
    assert job.result(PATIENCE) == 1
    assert job.files == []
    assert not job.output_dir.exists()
    assert job.mirror.state == "complete"


def test_an_unknown_worker_is_refused_before_anything_starts(submit: Submit) -> None:
    with pytest.raises(UnknownWorker, match="gpu99"):
        submit("gpu99", "return 1")
    assert jobs_module.jobs(refresh=False) == []


def test_a_missing_interpreter_ends_the_job_with_its_name(worker: Worker, submit: Submit) -> None:
    job = submit(worker, "return 1", python="/nowhere/python3")
    with pytest.raises(JobFailed, match="/nowhere/python3"):
        job.result(PATIENCE)
    assert job.started_at is None


def test_a_worker_without_what_the_chute_needs_is_refused_or_noted(
    local: Worker, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(local, "return 1", node_selector=NodeSelector(gpu_count=8))
    job.wait(PATIENCE)
    if job.state == "failed":  # this machine has GPU tools, and fewer GPUs
        assert "GPU" in str(job.reason)
    else:
        assert any("GPU tools" in notice for notice in job.notices)


def test_a_callback_is_told_of_changes_and_the_tail_is_kept(local: Worker, submit: Submit) -> None:
    job = submit(local, "print('one', flush=True)\nimport time; time.sleep(0.3)\nprint('two')")
    seen: list[str] = []

    def failing() -> None:
        raise RuntimeError("a panel's own fault")

    unsubscribe = job.subscribe(lambda: seen.append(job.state))
    job.subscribe(failing)
    job.wait(PATIENCE)
    until(lambda: job.tail == "one\ntwo\n", "the tail is whole")
    unsubscribe()
    assert seen[-1] == "succeeded"
    assert "running" in seen
