"""Full disks, on the worker and here: said so, nothing torn, and it goes on with room."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.client.live import Live
from chutes_jupyter.client.records import Records
from chutes_jupyter.store import JobRecord, Store
from tests.agent.rig import Agent, payload, spec
from tests.agent.test_endings import files, nothing_is_left, parent, wait_for_log
from tests.faults.full_here import SCENARIOS
from tests.faults.small_disk import agent_on, seen_by, wrapper

FULL = "the worker's disk is full: "
ADVICE = "bytes free; remove files there, or `jupyter chute clean`"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent_on(tmp_path, "4m") as running:
        yield running


def folder_of(worker: Agent, job: str) -> Path:
    return seen_by(worker, worker.root / "jobs" / job)


def check_journal(worker: Agent, job: str, events: list[dict[str, Any]]) -> None:
    """Every file of the job is whole, and nothing that was on its way is left."""
    folder = folder_of(worker, job)
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    assert [json.loads(line) for line in lines] == events
    assert all(line.endswith(b"\n") for line in lines)
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    for path in folder.glob("*.json"):
        # That a job was cancelled is said by a file that is there, whatever is in it.
        assert path.name == "cancel.json" or json.loads(path.read_bytes())
    assert [path.name for path in folder.iterdir() if path.name.endswith(".new")] == []
    assert not (folder / "reserve").exists()
    assert (folder / "log.idx").stat().st_size % struct.calcsize("!QBd") == 0


def notices(events: list[dict[str, Any]]) -> str:
    return "\n".join(event["message"] for event in events if event["type"] == "notice")


def fill(worker: Agent, leave: int = 0) -> Path:
    """Fill the disk of the worker's jobs, but for `leave` bytes."""
    path = seen_by(worker, worker.root / "jobs" / "filler")
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"f" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - leave))
    return path


PRINTS = """
import os
open(job_data["output_dir"] + "/early.txt", "w").write("kept")
line = b"x" * 99 + b"\\n"
while True:
    os.write(1, line * 100)
"""


def test_a_job_that_prints_the_disk_full_ends_and_says_so(worker: Agent) -> None:
    job = worker.start(PRINTS)
    events = worker.follow(job)
    end = events[-1]
    assert end["state"] == "failed"
    assert FULL in end["reason"]
    assert ADVICE in end["reason"]
    assert str(worker.root / "jobs") in end["reason"]
    check_journal(worker, job, events)
    log = worker.log(job)
    assert len(log) > 3_000_000
    assert set(log.splitlines()[:-1]) == {b"x" * 99}
    assert files(worker, job) == {"early.txt": b"kept"}
    assert nothing_is_left(worker)


HOGS = """
import os, subprocess, sys
place = {place}
out = job_data["output_dir"]
open(out + "/early.txt", "w").write("kept")
with open(os.path.join(place, "hog"), "wb", buffering=0) as file:
    while True:
        file.write(b"h" * 4096)
"""


@pytest.mark.parametrize(
    "place", ['job_data["output_dir"]', 'os.environ["TMPDIR"]'], ids=["outputs", "tmp"]
)
def test_a_job_that_fills_the_disk_with_files_fails_with_its_own_error(
    worker: Agent, place: str
) -> None:
    job = worker.start(HOGS.format(place=place))
    events = worker.follow(job)
    end = events[-1]
    assert end["state"] == "failed"
    assert "OSError: [Errno 28]" in end["reason"]
    assert "In[1]" in end["error"]["traceback"]
    assert FULL in notices(events)
    assert ADVICE in notices(events)
    check_journal(worker, job, events)
    header, _ = worker.ask("outputs", job=job, start=0, limit=10)
    assert header["final"]
    assert files(worker, job)["early.txt"] == b"kept"


NEVER_MINDS = """
import os, time
file = open(job_data["output_dir"] + "/hog", "wb", buffering=0)
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        file.write(b"h" * 4096)
    except OSError:
        print("still trying", flush=True)
"""


def test_a_job_that_grabs_all_room_again_and_again_can_not_take_its_own_last_words(
    worker: Agent,
) -> None:
    job = worker.start(NEVER_MINDS)
    events = worker.follow(job)
    assert events[-1]["state"] == "failed"
    assert FULL in events[-1]["reason"]
    check_journal(worker, job, events)
    assert b"still trying\n" in worker.log(job)
    header, _ = worker.ask("outputs", job=job, start=0, limit=10)
    assert (header["final"], [entry["path"] for entry in header["entries"]]) == (True, ["hog"])


GREEDY = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    while True:
        try:
            file.write(b"g" * 4096)
        except OSError:
            pass
"""


def test_the_end_is_written_while_another_takes_every_byte(worker: Agent) -> None:
    """The room of the events is theirs: a reserve that is given back, others may take."""
    job = worker.start(
        "import time\nopen(job_data['output_dir'] + '/a', 'w').write('a')\nprint('one')\n"
        "time.sleep(1)\nraise ValueError('€' * 200_000)"
    )
    wait_for_log(worker, job, b"one")
    greedy = subprocess.Popen([sys.executable, "-c", GREEDY, str(fill(worker))])
    try:
        events = worker.follow(job)
    finally:
        greedy.kill()
        greedy.wait()
    assert events[-1]["state"] == "failed"
    assert events[-1]["reason"].endswith("€€€")
    assert FULL in notices(events)
    check_journal(worker, job, events)
    assert worker.log(job) == b"one\n"


def test_a_value_too_large_for_the_disk_fails_and_says_so(worker: Agent) -> None:
    job = worker.start("print('done')\nreturn b'v' * 5_000_000")
    events = worker.follow(job)
    assert events[-1]["state"] == "failed"
    assert "the returned value has 5000" in events[-1]["reason"]
    assert FULL in events[-1]["reason"]
    assert not events[-1]["has_value"]
    check_journal(worker, job, events)
    assert not (folder_of(worker, job) / "result.bin").exists()
    assert worker.log(job) == b"done\n"


def test_a_submit_to_a_full_disk_is_refused_and_leaves_nothing(worker: Agent) -> None:
    filler = fill(worker, leave=100_000)
    body = payload("return 1")
    fields = spec(body)
    header, _ = worker.ask("submit", body, spec=fields)
    assert not header["ok"]
    assert header["error"]["code"] == "disk_full"
    assert FULL in header["error"]["message"]
    assert ADVICE in header["error"]["message"]
    assert os.listdir(filler.parent) == ["filler"]
    filler.unlink()
    header, _ = worker.ask("submit", body, spec=fields)
    assert header["ok"], header
    assert worker.end(fields["id"])["state"] == "succeeded"
    assert worker.value(fields["id"]) == 1


def test_a_payload_that_finds_no_room_is_refused_and_leaves_nothing(worker: Agent) -> None:
    filler = fill(worker, leave=100_000)
    header, _ = worker.ask("stage", b"p" * 500_000, job="a" * 32, offset=0, total=500_000)
    assert header["error"]["code"] == "disk_full"
    assert os.listdir(filler.parent) == ["filler"]


def test_a_cancel_reaches_its_job_on_a_full_disk(worker: Agent) -> None:
    job = worker.start("await self.cancel_event.wait()")
    worker.follow(job, until="running")
    fill(worker)
    header, _ = worker.ask("cancel", job=job)
    assert header["ok"], header
    events = worker.follow(job)
    assert events[-1]["state"] == "cancelled"
    check_journal(worker, job, events)


def test_a_job_may_meet_a_full_disk_and_go_on(worker: Agent) -> None:
    """Only what can't be written ends a job: a list of outputs may wait."""
    job = worker.start(
        "import os, time\npath = job_data['output_dir'] + '/hog'\n"
        "file = open(path, 'wb', buffering=0)\n"
        "try:\n    while True: file.write(b'h' * 4096)\nexcept OSError: pass\n"
        "file.close()\ntime.sleep(3.5)\nos.remove(path)\nprint('went on')\nreturn 'value'"
    )
    events = worker.follow(job)
    assert events[-1]["state"] == "succeeded"
    assert worker.value(job) == "value"
    assert worker.log(job) == b"went on\n"
    check_journal(worker, job, events)


def test_an_events_file_with_a_torn_tail_goes_on_whole(worker: Agent) -> None:
    job = worker.start("import time; time.sleep(60)")
    worker.follow(job, until="running")
    folder = folder_of(worker, job)
    guardian = parent(json.loads((folder / "child.json").read_text())["pid"])
    supervisor = parent(guardian)
    os.kill(supervisor, signal.SIGSTOP)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(b'{"state":"succ')
    fill(worker)
    os.kill(supervisor, signal.SIGKILL)
    events = worker.follow(job)
    assert events[-1]["state"] == "lost"
    check_journal(worker, job, events)


WITHOUT_ROOM_AHEAD = """
import json, os, sys
from chutes_jupyter.agent import journal, space
space._fallocate = lambda: None
jobs = sys.argv[1]
assert journal.claim(os.path.dirname(jobs), {"id": "a" * 32}, b"payload", None)
job = journal.JobDir(os.path.dirname(jobs), "a" * 32)
assert os.stat(job.reserve).st_blocks * 512 >= space.RESERVE
events = journal.EventWriter(job)
events.write("state", state="starting")
filler = open(jobs + "/filler", "wb", buffering=0)
try:
    while True: filler.write(b"f" * 4096)
except OSError:
    pass
def told():
    log = journal.EventLog(job)
    log.refresh()
    lines = open(job.events, "rb").read().splitlines(keepends=True)
    assert [json.loads(line) for line in lines] == log.events
    assert [event["n"] for event in log.events] == list(range(1, len(lines) + 1))
    return len(lines)
# What is left of the last block takes some; then one that does not fit leaves nothing.
try:
    while True: events.write("notice", message="n" * 999)
except OSError as error:
    assert space.is_full(error), error
count = told()
for write in (lambda: journal.write_json(job.outputs, ["x" * 9999]),
              lambda: journal.write_bytes(job.result, b"x" * 9999)):
    try:
        write()
    except OSError as error:
        assert space.is_full(error), error
    else:
        raise AssertionError("there was room")
assert not [name for name in os.listdir(job.path) if ".new" in name or name == "result.bin"]
space.give_back(job.reserve)
events.insist()
events.write("state", state="failed", reason="r" * 300_000, durable=True)
assert told() == count + 1
# A writer that died in the middle of a line leaves the next one room for whole ones.
with open(job.events, "ab") as file: file.write(b'{"n":')
journal.EventWriter(job).write("notice", message="after")
assert told() == count + 2
"""


def test_where_no_room_can_be_set_aside_the_reserve_takes_the_last_words(tmp_path: Path) -> None:
    """As on NFS or macOS, whose files can't have blocks beyond their end."""
    jobs = tmp_path / "root" / "jobs"
    python = wrapper(tmp_path / "python", jobs, "1m")
    done = subprocess.run(
        [python, "-c", WITHOUT_ROOM_AHEAD, str(jobs)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- on the notebook's side


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_a_full_disk_here(scenario: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    python = wrapper(tmp_path / "python", disk, "6m")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "JUPYTER_DATA_DIR": str(disk / "data"),
        "WORKER_DIR": str(tmp_path / "worker"),
        "GATE": str(tmp_path / "gate"),
    }
    # It changes its folder itself: before the mount it is another one.
    begin = "import os, runpy, sys; os.chdir(sys.argv.pop(1)); sys.argv.pop(0); "
    begin += "runpy.run_module('tests.faults.full_here', run_name='__main__', alter_sys=True)"
    done = subprocess.run(
        [python, "-c", begin, str(disk), "full_here", scenario],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_noting_where_outputs_lie_hides_no_state_that_the_store_missed(tmp_path: Path) -> None:
    """The write that told the end failed; the next must not put an old state at that event."""
    store = Store.open(tmp_path / "jobs.sqlite3")
    record = JobRecord(id="a" * 32, name="job", worker="local", created=1.0)
    store.add(record)
    live = Live(record)
    live.set(state="succeeded", event=5, ended=2.0)
    Records(store).place(live, tmp_path / "outputs")
    found = store.get(record.id)
    assert (found.state, found.event, found.ended) == ("succeeded", 5, 2.0)
