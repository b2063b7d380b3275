"""Every way in which a job ends: what it says, what it leaves, and that nothing stays."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.agent.rig import PATIENCE, Agent, agent, payload, spec
from tests.freeport import free_port
from tests.interpreters import oldest

#: Children that try to get away; each prints nothing and sleeps long.
ESCAPES = {
    "plain child": "subprocess.Popen(['sleep', '300'])",
    "deaf to SIGTERM": "subprocess.Popen(['sh', '-c', 'trap \"\" TERM; sleep 300; sleep 300'])",
    "setsid": "subprocess.Popen(['sleep', '300'], start_new_session=True)",
    "forked twice": (
        "subprocess.run(['sh', '-c', 'setsid sh -c \"trap : TERM; sleep 300\" "
        "</dev/null >/dev/null 2>&1 &'])"
    ),
    "cleared environment": "subprocess.Popen(['sleep', '300'], env={}, start_new_session=True)",
}

BLOCK = """
import subprocess, time
{escape}
open(job_data["output_dir"] + "/early.txt", "w").write("kept")
print("ready", flush=True)
end = time.monotonic() + 300
while time.monotonic() < end:
    pass
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


def below(root: Path) -> list[int]:
    """Return every process that has anything of this root open, or in its command."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            cwd = str((folder / "cwd").readlink())
        except OSError:
            continue
        if str(root).encode() in words or cwd.startswith(str(root)):
            found.append(int(folder.name))
    return found


def parent(pid: int) -> int:
    """Return a process's parent; 0 when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def nothing_is_left(worker: Agent) -> bool:
    """Wait until `serve` and its templates alone are left of what this root started."""
    serve = worker.process.pid
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        ours = {serve, os.getpid()}
        if all(pid in ours or parent(pid) in ours for pid in below(worker.root)):
            return True
        time.sleep(0.02)
    return False


def wait_for_log(worker: Agent, job: str, text: bytes) -> None:
    """Wait until the job has printed `text`."""
    offset = 0
    deadline = time.monotonic() + PATIENCE
    seen = b""
    while text not in seen:
        assert time.monotonic() < deadline, seen
        header, body = worker.ask("log", job=job, offset=offset, limit=65536, wait=1.0)
        seen += body
        offset += len(body)
        assert not header["end"] or text in seen, seen


def files(worker: Agent, job: str) -> dict[str, bytes]:
    """Return the collected outputs of a job that has ended."""
    header, _ = worker.ask("outputs", job=job, start=0, limit=100)
    assert header["final"]
    return {
        entry["path"]: worker.ask("read", job=job, path=entry["path"], offset=0)[1]
        for entry in header["entries"]
    }


def test_a_return_is_succeeded_with_its_value_and_its_whole_log(worker: Agent) -> None:
    job = worker.start("print('one'); print('two'); return {'n': job_data['n'] + 1}", {"n": 41})
    end = worker.end(job)
    assert end["state"] == "succeeded"
    assert worker.value(job) == {"n": 42}
    assert worker.log(job) == b"one\ntwo\n"


def test_events_are_numbered_without_gaps_and_go_through_the_states(worker: Agent) -> None:
    events = worker.follow(worker.start("pass"))
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    states = [event["state"] for event in events if event["type"] == "state"]
    assert states == ["starting", "running", "collecting", "succeeded"]


def test_an_exception_is_failed_with_the_cells_own_lines(worker: Agent) -> None:
    job = worker.start("x = 1\ndef inner():\n    raise ValueError('bad ' + str(x))\ninner()")
    end = worker.end(job)
    assert (end["state"], end["reason"]) == ("failed", "ValueError: bad 1")
    assert end["error"]["type"] == "ValueError"
    trace = end["error"]["traceback"]
    assert 'File "In[1]", line 4, in inner\n    raise ValueError' in trace
    assert 'File "In[1]", line 5, in job\n    inner()' in trace
    assert "execute.py" not in trace
    assert "asyncio" not in trace


def test_files_that_the_function_leaves_open_are_written_whole(worker: Agent) -> None:
    # Their numbers are those of what the supervisor, whose copy this process was, had open.
    source = (
        "import os\nfolder = job_data['output_dir']\n"
        "files = [open(os.path.join(folder, str(n)), 'w') for n in range(40)]\n"
        "for file in files:\n    file.write('kept')\n"
    )
    job = worker.start(source)
    assert worker.end(job)["state"] == "succeeded"
    assert files(worker, job) == {str(n): b"kept" for n in range(40)}
    assert worker.log(job) == b""


def test_sys_exit_is_failed_and_says_so(worker: Agent) -> None:
    end = worker.end(worker.start("import sys; sys.exit(3)"))
    assert (end["state"], end["reason"]) == ("failed", "the function called sys.exit(3)")


def test_a_pipe_that_nobody_reads_is_an_exception_as_in_any_python(worker: Agent) -> None:
    source = "import os\nread, write = os.pipe()\nos.close(read)\nos.write(write, b'x')"
    end = worker.end(worker.start(source))
    assert end["state"] == "failed"
    assert end["error"]["type"] == "BrokenPipeError"


def test_a_value_that_cannot_travel_is_failed_naming_where_it_sits(worker: Agent) -> None:
    end = worker.end(worker.start("import threading\nreturn {'a': [1, threading.Lock()]}"))
    assert end["state"] == "failed"
    assert "the returned value can't travel" in end["reason"]
    assert 'result["a"][1] is of type _thread.lock' in end["reason"]


def test_a_value_that_can_not_be_read_there_is_not_called_the_returned_one(worker: Agent) -> None:
    data = {"x": np.arange(3)}
    end = worker.end(worker.start("return 1", data=data, python=str(oldest())))
    assert end["state"] == "failed"
    assert end["reason"].startswith("what the job was given can't be read here: ")
    assert "NumPy is not installed in" in end["reason"]


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_cancel_ends_a_body_that_never_awaits_and_all_its_children(
    worker: Agent, escape: str
) -> None:
    job = worker.start(BLOCK.format(escape=escape))
    wait_for_log(worker, job, b"ready")
    header, _ = worker.ask("cancel", job=job)
    assert header["ok"]
    end = worker.end(job)
    assert end["state"] == "cancelled"
    assert nothing_is_left(worker), below(worker.root)
    assert files(worker, job) == {"early.txt": b"kept"}
    assert worker.log(job) == b"ready\n"


def test_cancel_twice_is_one_cancel(worker: Agent) -> None:
    job = worker.start(BLOCK.format(escape=""))
    wait_for_log(worker, job, b"ready")
    for _ in range(3):
        worker.ask("cancel", job=job)
    events = worker.follow(job)
    states = [event["state"] for event in events if event["type"] == "state"]
    assert states.count("cancelling") == 1
    assert worker.ask("cancel", job=job)[0]["state"] == "cancelled"


def test_a_body_deaf_to_sigterm_is_killed(worker: Agent) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    job = worker.start(BLOCK.format(escape=deaf))
    wait_for_log(worker, job, b"ready")
    worker.ask("cancel", job=job)
    assert worker.end(job)["state"] == "cancelled"
    assert nothing_is_left(worker)


def test_a_body_that_sees_the_event_ends_politely_with_its_value(worker: Agent) -> None:
    job = worker.start(
        "import time\nprint('ready', flush=True)\n"
        "while not self.cancel_event.is_set(): time.sleep(0.01)\nreturn 'saved'",
        grace=60.0,
    )
    wait_for_log(worker, job, b"ready")
    worker.ask("cancel", job=job)
    end = worker.end(job)
    assert (end["state"], end["has_value"]) == ("cancelled", True)
    assert worker.value(job) == "saved"


def test_a_body_that_awaits_gets_cancelled_error_after_the_grace(worker: Agent) -> None:
    job = worker.start(
        "import asyncio\nprint('ready', flush=True)\n"
        "try:\n    await asyncio.sleep(300)\nexcept asyncio.CancelledError:\n"
        "    print('told', flush=True)\n    raise"
    )
    wait_for_log(worker, job, b"ready")
    worker.ask("cancel", job=job)
    assert worker.end(job)["state"] == "cancelled"
    assert b"told\n" in worker.log(job)


def test_wait_on_the_event_wakes_async_and_blocking_bodies(worker: Agent) -> None:
    awaiting = worker.start("print('ready', flush=True); await self.cancel_event.wait(); return 1")
    blocking = worker.start(
        "print('ready', flush=True); return self.cancel_event.wait_blocking(300)"
    )
    for job in (awaiting, blocking):
        wait_for_log(worker, job, b"ready")
        worker.ask("cancel", job=job)
    assert worker.end(awaiting)["has_value"]
    assert worker.end(blocking)["has_value"]
    assert worker.value(blocking) is True


def test_the_timeout_takes_the_same_ladder_and_keeps_the_outputs(worker: Agent) -> None:
    began = time.monotonic()
    job = worker.start(BLOCK.format(escape=ESCAPES["setsid"]), timeout=1)
    end = worker.end(job)
    assert end["state"] == "timed_out"
    assert end["reason"].startswith("ran longer than its timeout of 1 s")
    assert time.monotonic() - began >= 1.0
    assert nothing_is_left(worker)
    assert files(worker, job) == {"early.txt": b"kept"}


def test_sigkill_from_outside_is_failed_naming_the_signal(worker: Agent) -> None:
    job = worker.start(
        "import os, time\nopen(job_data['output_dir'] + '/early.txt', 'w').write('kept')\n"
        "print(os.getpid(), flush=True)\ntime.sleep(300)"
    )
    wait_for_log(worker, job, b"\n")
    _, log = worker.ask("log", job=job, offset=0, limit=100)
    os.kill(int(log), signal.SIGKILL)
    end = worker.end(job)
    assert end["state"] == "failed"
    assert "signal 9, SIGKILL" in end["reason"]
    assert files(worker, job) == {"early.txt": b"kept"}
    assert worker.log(job) == log


def test_children_left_behind_by_a_return_are_ended(worker: Agent) -> None:
    job = worker.start(f"import subprocess\n{ESCAPES['forked twice']}\nreturn 'done'")
    assert worker.end(job)["state"] == "succeeded"
    assert worker.value(job) == "done"
    assert nothing_is_left(worker)


def test_a_thread_left_behind_by_a_return_does_not_hold_the_job(worker: Agent) -> None:
    job = worker.start(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(300,)).start()\nreturn 5"
    )
    assert worker.end(job)["state"] == "succeeded"
    assert worker.value(job) == 5
    assert nothing_is_left(worker)


def test_the_job_needs_no_serve(tmp_path: Path) -> None:
    with agent(tmp_path / "root") as first:
        job = first.start("import time\ntime.sleep(0.5)\nprint('late')\nreturn 1")
    with agent(tmp_path / "root") as second:
        assert second.end(job)["state"] == "succeeded"
        assert second.log(job) == b"late\n"


def test_a_taken_port_fails_the_job_naming_port_and_holder(worker: Agent) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        job = worker.start("pass", ports=[{"name": "web", "port": port, "proto": "http"}])
        end = worker.end(job)
    assert end["state"] == "failed"
    assert f"port {port} (web) is taken on the worker by " in end["reason"]
    assert f"(pid {os.getpid()})" in end["reason"]


def test_a_port_of_another_job_is_taken_before_it_listens(worker: Agent) -> None:
    port = free_port()
    ports = [{"name": "web", "port": port, "proto": "http"}]
    first = worker.start("await self.cancel_event.wait()", ports=ports)
    second = worker.start("pass", ports=ports)
    end = worker.end(second)
    assert (end["state"], first in end["reason"]) == ("failed", True), end["reason"]
    worker.ask("cancel", job=first)
    assert worker.end(first)["state"] == "cancelled"
    assert worker.end(worker.start("pass", ports=ports))["state"] == "succeeded"


@pytest.mark.parametrize("cell", [True, False])
@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("sys.exit(3)", 3, b""),
        ("sys.exit('enough')", 1, b"enough"),
        ("return 'child'", 0, b""),
        ("raise ValueError('child')", 1, b"ValueError: child"),
    ],
)
def test_the_end_of_a_forked_process_is_not_the_jobs(
    worker: Agent, cell: bool, end: str, code: int, said: bytes
) -> None:
    lines = [
        "import os, sys, time",
        "pid = os.fork()",
        "if pid == 0:",
        "    print('last words', end='')",
        f"    {end}",
        "status = os.waitpid(pid, 0)[1]",
        "time.sleep(0.6)",  # longer than what is left of a job that has ended may live
        "return 'parent', os.WIFEXITED(status), os.WEXITSTATUS(status)",
    ]
    source = "\n".join(lines)
    if not cell:
        source = "def job(self, **job_data):\n" + "".join(f"    {line}\n" for line in lines)
    body = payload(source, cell=cell)
    fields = spec(body)
    worker.ask("submit", body, spec=fields)
    ended = worker.end(fields["id"])
    assert ended["state"] == "succeeded", ended
    assert worker.value(fields["id"]) == ("parent", True, code)
    log = worker.log(fields["id"])
    assert b"last words" in log
    assert said in log


def test_a_job_whose_loop_was_shared_with_a_fork_still_hears_a_cancel(worker: Agent) -> None:
    job = worker.start(
        "import os\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    return\n"
        "os.waitpid(pid, 0)\n"
        "print('up', flush=True)\n"
        "await self.cancel_event.wait()\n"
        "return 'heard'"
    )
    wait_for_log(worker, job, b"up")
    worker.ask("cancel", job=job)
    assert worker.end(job)["state"] == "cancelled"
    assert worker.value(job) == "heard"
