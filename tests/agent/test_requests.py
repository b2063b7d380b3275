"""What `serve` answers: idempotent submits, logs by offset, outputs by name, refusals."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.agent import wire
from tests import interpreters
from tests.agent.rig import Agent, agent, payload, spec

OLDEST_AND_NEWEST = ["oldest", "newest"]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


def test_the_same_submit_again_starts_nothing(worker: Agent) -> None:
    body = payload("open(job_data['output_dir'] + '/../starts', 'a').write('x')")
    fields = spec(body)
    first, _ = worker.ask("submit", body, spec=fields)
    again, _ = worker.ask("submit", body, spec=fields)
    assert (first["state"], first["known"]) == ("starting", False)
    assert again["known"] is True
    worker.end(fields["id"])
    worker.ask("submit", body, spec=fields)
    starts = worker.root / "jobs" / fields["id"] / "starts"
    assert starts.read_text() == "x"


def test_what_a_killed_serve_of_the_same_number_left_is_in_nobodys_way(worker: Agent) -> None:
    body = payload("return 1")
    fields = spec(body)
    left = worker.root / "jobs" / f".new-{fields['id']}-{worker.process.pid}"
    left.mkdir(parents=True)
    (left / "reserve").write_bytes(b"")
    assert worker.ask("submit", body, spec=fields)[0]["ok"]
    assert worker.end(fields["id"])["state"] == "succeeded"


def test_a_known_id_with_another_spec_is_refused(worker: Agent) -> None:
    body = payload("pass")
    fields = spec(body)
    worker.ask("submit", body, spec=fields)
    header, _ = worker.ask("submit", body, spec={**fields, "timeout": 60})
    assert (header["ok"], header["error"]["code"]) == (False, "other_spec")


def test_a_payload_in_pieces_arrives_whole(worker: Agent) -> None:
    data = {"blob": os.urandom(2_500_000)}
    body = payload("import hashlib; return hashlib.sha256(job_data['blob']).hexdigest()", data=data)
    fields = spec(body)
    step = wire.MAX_BODY
    for offset in range(0, len(body), step):
        worker.ask("stage", body[offset : offset + step], job=fields["id"], offset=offset, total=0)
    header, _ = worker.ask("submit", spec=fields)
    assert header["ok"], header
    worker.end(fields["id"])
    assert worker.value(fields["id"]) == hashlib.sha256(data["blob"]).hexdigest()


def test_a_payload_that_is_not_whole_is_refused_and_leaves_no_job(worker: Agent) -> None:
    body = payload("pass")
    fields = spec(body)
    header, _ = worker.ask("submit", b"\0" * len(body), spec=fields)
    assert (header["ok"], header["error"]["code"]) == (False, "bad_request")
    header, _ = worker.ask("events", job=fields["id"], after=0, wait=0)
    assert header["error"]["code"] == "unknown_job"


@pytest.mark.parametrize("job", ["../../etc", "", "0" * 31, "0" * 33, "A" * 32, None, 7])
def test_an_id_that_is_none_is_refused(worker: Agent, job: object) -> None:
    header, _ = worker.ask("events", job=job, after=0, wait=0)
    assert header["error"]["code"] == "unknown_job"


def test_an_unknown_operation_is_refused(worker: Agent) -> None:
    header, _ = worker.ask("explode")
    assert header["error"]["code"] == "bad_request"


def test_the_log_keeps_the_order_of_both_streams_and_tells_them_apart(worker: Agent) -> None:
    # Each line is in the log before the next one is printed: of two pipes with something in each,
    # nobody can tell what came first, and on a busy machine both soon have.
    job = worker.start(
        "import os, sys, time\n"
        "log, until = job_data['output_dir'] + '/../log', time.monotonic() + 60\n"
        "for i in range(20):\n"
        "    for name in ('out', 'err'):\n"
        "        line, before = f'{name} {i}\\n', os.path.getsize(log)\n"
        "        getattr(sys, 'std' + name).write(line)\n"
        "        while os.path.getsize(log) < before + len(line) and time.monotonic() < until:\n"
        "            time.sleep(0.001)\n"
    )
    log = worker.log(job)
    assert log == b"".join(b"out %d\nerr %d\n" % (i, i) for i in range(20))
    _, index = worker.ask("index", job=job, record=0, limit=1000)
    records = list(struct.iter_unpack("!QBd", index))
    starts = [start for start, _, _ in records] + [len(log)]
    by_stream = {1: b"", 2: b""}
    for (start, stream, _), end in zip(records, starts[1:], strict=True):
        by_stream[stream] += log[start:end]
    assert by_stream[1] == b"".join(b"out %d\n" % i for i in range(20))
    assert by_stream[2] == b"".join(b"err %d\n" % i for i in range(20))
    times = [time for _, _, time in records]
    assert times == sorted(times)


def test_a_large_log_arrives_whole_from_any_offset(worker: Agent) -> None:
    job = worker.start("for i in range(200_000): print(i)")
    whole = b"".join(b"%d\n" % i for i in range(200_000))
    assert worker.log(job) == whole
    header, body = worker.ask("log", job=job, offset=1000, limit=50)
    assert (body, header["size"]) == (whole[1000:1050], len(whole))
    header, body = worker.ask("log", job=job, tail=6, limit=100)
    assert (body, header["offset"], header["end"]) == (b"99999\n"[-6:], len(whole) - 6, True)


def test_what_a_dying_process_wrote_last_is_in_the_log(worker: Agent) -> None:
    job = worker.start("import os\nos.write(1, b'x' * 900_000 + b'end')\nos.kill(os.getpid(), 9)")
    assert worker.log(job) == b"x" * 900_000 + b"end"


def test_outputs_keep_folders_and_refuse_what_leads_outside(worker: Agent) -> None:
    job = worker.start(
        "import os\nout = job_data['output_dir']\nos.makedirs(out + '/a/b')\n"
        "open(out + '/a/b/deep.txt', 'w').write('deep')\n"
        "os.symlink('/etc/passwd', out + '/leak')\nos.symlink('..', out + '/up')\n"
        "os.symlink('a/b/deep.txt', out + '/copy.txt')\nos.symlink('a', out + '/folder')\n"
        "os.symlink('nothing', out + '/dangling')\nos.mkfifo(out + '/pipe')\n"
    )
    worker.end(job)
    header, _ = worker.ask("outputs", job=job, start=0, limit=100)
    assert {entry["path"]: entry["size"] for entry in header["entries"]} == {
        "a/b/deep.txt": 4,
        "copy.txt": 4,
    }
    digest = hashlib.sha256(b"deep").hexdigest()
    assert {entry["sha256"] for entry in header["entries"]} == {digest}
    assert {item["path"]: item["reason"] for item in header["refused"]} == {
        "leak": "a link that leaves the output folder",
        "up": "a link that leaves the output folder",
        "folder": "a link to a folder",
        "dangling": "a link to nothing",
        "pipe": "a fifo",
    }


@pytest.mark.parametrize("path", ["../spec.json", "/etc/passwd", "leak", "pipe", "", "nothing"])
def test_read_brings_nothing_from_outside(worker: Agent, path: str) -> None:
    job = worker.start(
        "import os\nos.symlink('/etc/passwd', job_data['output_dir'] + '/leak')\n"
        "os.mkfifo(job_data['output_dir'] + '/pipe')\n"
    )
    worker.end(job)
    header, body = worker.ask("read", job=job, path=path, offset=0)
    assert (header["ok"], body) == (False, b"")
    assert header["error"]["code"] == "not_found"


def test_read_goes_on_from_an_offset_and_hashes_what_it_sends(worker: Agent) -> None:
    job = worker.start(
        "open(job_data['output_dir'] + '/big', 'wb').write(bytes(range(256)) * 8000)"
    )
    worker.end(job)
    whole = bytes(range(256)) * 8000
    header, body = worker.ask("read", job=job, path="big", offset=1_000_000)
    assert body == whole[1_000_000:]
    assert header["sha256"] == hashlib.sha256(body).hexdigest()
    assert (header["size"], header["changed"]) == (len(whole), False)
    header, body = worker.ask("read", job=job, path="big", offset=1_000_000, hash=False)
    assert (header["sha256"], body) == (None, whole[1_000_000:])


def test_large_outputs_may_be_fetched_while_they_are_hashed(worker: Agent) -> None:
    job = worker.start(
        "with open(job_data['output_dir'] + '/big', 'wb') as file: file.truncate(1 << 28)"
    )
    events = worker.follow(job)
    collecting = [event.get("state") for event in events].index("collecting")
    told = [event for event in events[collecting:] if event["type"] == "outputs"]
    assert [(event["final"], event["bytes"]) for event in told] == [
        (False, 1 << 28),
        (True, 1 << 28),
    ]


def test_upload_false_lists_no_files(worker: Agent) -> None:
    job = worker.start("open(job_data['output_dir'] + '/x', 'w').write('x')", upload=False)
    worker.end(job)
    header, _ = worker.ask("outputs", job=job, start=0, limit=10)
    assert (header["entries"], header["final"]) == ([], True)


def test_outputs_are_listed_while_the_job_runs(worker: Agent) -> None:
    job = worker.start(
        "open(job_data['output_dir'] + '/early', 'w').write('x')\nawait self.cancel_event.wait()"
    )
    after = 0
    while True:
        header, _ = worker.ask("events", job=job, after=after, wait=10.0)
        assert header["events"], "no news of the file"
        after += len(header["events"])
        listing, _ = worker.ask("outputs", job=job, start=0, limit=10)
        if any(entry["quiet"] for entry in listing["entries"]):
            break
    assert (listing["final"], listing["entries"][0]["path"]) == (False, "early")
    worker.ask("cancel", job=job)
    worker.end(job)


def test_private_files_and_the_jobs_own_folders(worker: Agent) -> None:
    job = worker.start(
        "import os, tempfile\nreturn [os.getcwd(), os.path.realpath(tempfile.gettempdir()),"
        " os.path.realpath(os.environ['TMPDIR']),"
        " job_data['output_dir'], os.path.isdir(job_data['output_dir'])]"
    )
    worker.end(job)
    folder = worker.root / "jobs" / job
    cwd, temp, variable, output, there = worker.value(job)
    assert there is True
    assert temp == variable == str(folder / "tmp")
    assert (cwd, output) == (str(folder / "work"), str(folder / "output"))
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("spec.json", "format", "events.jsonl", "log", "result.bin", "outputs.json"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_jobs_lists_what_is_here_page_by_page(worker: Agent) -> None:
    ids = sorted(worker.start("pass") for _ in range(3))
    for job in ids:
        worker.end(job)
    first, _ = worker.ask("jobs", after="", limit=2)
    second, _ = worker.ask("jobs", after=first["next"], limit=2)
    found = first["jobs"] + second["jobs"]
    assert [item["id"] for item in found] == ids
    assert {item["state"] for item in found} == {"succeeded"}
    assert second["next"] is None


def test_an_interpreter_that_is_not_there_is_refused_before_the_start(worker: Agent) -> None:
    body = payload("pass")
    header, _ = worker.ask("submit", body, spec=spec(body, python="/nowhere/python"))
    assert header["error"]["code"] == "no_interpreter"
    assert "/nowhere/python" in header["error"]["message"]
    assert list((worker.root / "jobs").iterdir()) == []


@pytest.mark.parametrize("which", OLDEST_AND_NEWEST)
@pytest.mark.parametrize("side", ["agent", "job", "both"])
def test_old_and_new_pythons_on_either_side(tmp_path: Path, which: str, side: str) -> None:
    other = str(interpreters.oldest() if which == "oldest" else interpreters.newest())
    mine = sys.executable
    with agent(tmp_path / "root", mine if side == "job" else other) as worker:
        changes = {} if side == "both" else {"python": other if side == "job" else mine}
        job = worker.start("import sys\nreturn [sys.executable, (1, b'x')]", **changes)
        end = worker.end(job)
        assert end["state"] == "succeeded", end
        assert worker.value(job)[1] == (1, b"x")
        failing = worker.start("1 / 0", **changes)
        trace = worker.end(failing)["error"]["traceback"]
        assert 'File "In[1]", line 2, in job\n    1 / 0' in trace
        blocked = worker.start("import time\nwhile True: time.sleep(0.1)", **changes)
        worker.follow(blocked, "running")
        worker.ask("cancel", job=blocked)
        assert worker.end(blocked)["state"] == "cancelled"


def test_a_plain_def_runs_in_a_thread_beside_the_event_loop(worker: Agent) -> None:
    source = (
        "def job(self, **job_data):\n"
        "    import threading\n"
        "    print(threading.current_thread() is threading.main_thread())\n"
        "    return self.cancel_event.wait_blocking(0.01)\n"
    )
    body = payload(source, cell=False)
    fields = spec(body)
    worker.ask("submit", body, spec=fields)
    assert worker.end(fields["id"])["state"] == "succeeded"
    assert worker.log(fields["id"]) == b"False\n"
    assert worker.value(fields["id"]) is False
