"""A job whose process a signal ended says where it was, on the oldest and the newest Python."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.agent import faults
from tests import interpreters
from tests.agent.rig import Agent, agent, payload, spec
from tests.agent.test_endings import wait_for_log

PYTHONS = {
    "oldest": interpreters.oldest,
    "this": lambda: Path(sys.executable),
    "newest": interpreters.newest,
}


@pytest.fixture(params=PYTHONS)
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root", str(PYTHONS[request.param]())) as running:
        yield running


@pytest.fixture
def this(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


CRASHES = {
    "SIGSEGV": "import ctypes\ndef crash():\n    ctypes.string_at(0)\ncrash()",
    "SIGABRT": "import os\ndef crash():\n    os.abort()\ncrash()",
}
PLACE = {"SIGSEGV": "string_at (", "SIGABRT": "crash (In[1], line 4)"}


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_in_c_code_shows_the_line_that_called_it(worker: Agent, name: str) -> None:
    end = worker.end(worker.start(CRASHES[name]))
    assert end["state"] == "failed"
    assert f", {name}; it was in {PLACE[name]}" in end["reason"]
    assert "crash (In[1], line 4)" in end["reason"]
    assert end["error"]["type"] == name
    trace = end["error"]["traceback"]
    assert trace.startswith("Fatal Python error: ")
    assert '  File "In[1]", line 4 in crash\n  File "In[1]", line 5 in job' in trace
    assert "execute.py" not in trace


HANGS = {
    "a loop": "def spin():\n    while True:\n        pass\nprint('up', flush=True)\nspin()",
    "deaf to SIGTERM": "import signal\ndef spin():\n    while True: pass\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nspin()",
    "a lock": "import threading\nlock = threading.Lock(); lock.acquire()\n"
    "print('up', flush=True)\n\nlock.acquire()",
}
WHERE = {"a loop": "spin (In[1], line ", "deaf to SIGTERM": "spin (In[1], line 4)"}
WHERE["a lock"] = "job (In[1], line 6)"


@pytest.mark.parametrize("name", HANGS)
def test_what_never_ends_by_itself_shows_where_it_hung(worker: Agent, name: str) -> None:
    job = worker.start(HANGS[name], timeout=1)
    end = worker.end(job)
    assert end["state"] == "timed_out"
    assert end["reason"].startswith("ran longer than its timeout of 1 s; it was in ")
    assert WHERE[name] in end["reason"]
    assert 'File "In[1]", line' in end["error"]["traceback"]
    assert "asyncio" not in end["error"]["traceback"]


def test_a_plain_def_in_its_thread_is_found_beside_the_waiting_loop(worker: Agent) -> None:
    source = (
        "def job(self, **job_data):\n    import time\n    print('up', flush=True)\n"
        "    while True:\n        time.sleep(0.01)\n"
    )
    body = payload(source, cell=False)
    fields = spec(body)
    worker.ask("submit", body, spec=fields)
    wait_for_log(worker, fields["id"], b"up")
    worker.ask("cancel", job=fields["id"])
    end = worker.end(fields["id"])
    assert end["state"] == "cancelled"
    assert "; it was in job (In[1], line " in end["reason"]


def test_who_ends_when_asked_or_by_itself_has_no_place_to_tell(this: Agent) -> None:
    job = this.start("print('up', flush=True)\nawait self.cancel_event.wait()")
    wait_for_log(this, job, b"up")
    this.ask("cancel", job=job)
    assert this.end(job)["reason"] == "cancelled as asked"
    assert this.end(this.start("1 / 0"))["error"]["type"] == "ZeroDivisionError"
    end = this.end(this.start("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    assert "it was in" not in end["reason"]


KILLED = """
import threading, time
def spin():
    # By the clock of the processor: the thread that tells where it is had its turns.
    while time.process_time() < 1.5:
        pass
    print("old", "words", sep="\\n")
    print("up", flush=True)
    while True:
        pass
spin()
"""


@pytest.mark.parametrize("plain", [False, True], ids=["cell", "plain function"])
def test_what_was_killed_without_a_word_says_where_it_was_last_seen(
    worker: Agent, plain: bool
) -> None:
    source = KILLED
    if plain:
        source = "def job(self, **job_data):" + KILLED.replace("\n", "\n    ")
    body = payload(source, cell=not plain)
    fields = spec(body)
    worker.ask("submit", body, spec=fields)
    wait_for_log(worker, fields["id"], b"up")
    child = json.loads((worker.root / "jobs" / fields["id"] / "child.json").read_text())
    os.kill(child["pid"], signal.SIGKILL)
    end = worker.end(fields["id"])
    assert end["state"] == "failed"
    assert "ended by signal 9, SIGKILL (somebody killed it, or the worker ran out" in end["reason"]
    assert re.search(r"; it was last seen in spin \(In\[1\], line \d+\)$", end["reason"])
    assert end["error"]["type"] == "SIGKILL"
    assert end["error"]["traceback"] == "The last lines of its log:\n  old\n  words\n  up"


def test_what_waits_is_nowhere(this: Agent) -> None:
    source = "import asyncio, time\nend = time.monotonic() + 1\nwhile time.monotonic() < end:\n"
    job = this.start(
        source + "    await asyncio.sleep(0.01)\nprint('up', flush=True)\nawait asyncio.sleep(300)"
    )
    wait_for_log(this, job, b"up")
    child = json.loads((this.root / "jobs" / job / "child.json").read_text())
    os.kill(child["pid"], signal.SIGKILL)
    assert this.end(job)["error"]["traceback"] == "The last lines of its log:\n  up"


def test_a_process_that_the_function_forked_does_not_speak_for_it(this: Agent) -> None:
    source = (
        "import ctypes, multiprocessing, signal\n"
        "def child():\n    ctypes.string_at(0)\n"
        "forked = multiprocessing.get_context('fork').Process(target=child)\n"
        "forked.start(); forked.join()\n"
        "def wait(end):\n    end.send('up')\n    signal.pause()\n"
        "mine, its = multiprocessing.Pipe()\n"
        "other = multiprocessing.get_context('fork').Process(target=wait, args=(its,))\n"
        "other.start(); mine.recv(); other.terminate(); other.join()\n"
        "return [forked.exitcode, other.exitcode]"
    )
    job = this.start(source)
    assert this.end(job)["state"] == "succeeded"
    assert this.value(job) == [-11, -15]
    # Its crash is in the log, and not in the file of the job's own process.
    assert b"Fatal Python error: Segmentation fault" in this.log(job)
    assert (this.root / "jobs" / job / "faults").read_bytes() == b""


def test_a_file_that_says_nothing_of_use_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "faults"
    assert faults.read(str(path)) is None
    for text in ("", "\xff\0", "Thread 0x1 (most recent call first):\n  <no Python frame>\n"):
        path.write_text(text)
        assert faults.read(str(path)) is None
    thread = "Thread 0x%x (most recent call first):\n" + '  File "In[1]", line 3 in f\n' * 100
    path.write_text("".join(thread % number for number in range(500)))
    began = time.process_time()
    found: Any = faults.read(str(path))
    assert found.where == "f (In[1], line 3)"
    assert len(found.text) <= 20_000
    assert time.process_time() - began < 1
