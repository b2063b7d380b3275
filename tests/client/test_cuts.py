"""The connection breaks, and nothing is lost or doubled."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import JobCancelled, JobFailed
from tests.client.rig import PATIENCE, Submit, until
from tests.faults.kit import Line, line_to
from tests.freeport import free_port
from tests.sshd import Sshd


@pytest.fixture
def line(sshd: Sshd, home: Path, tmp_path: Path, dialling: str) -> Iterator[Line]:
    with line_to(sshd, home, tmp_path / "worker", transport=dialling) as found:
        yield found


COUNTS = """
import time
for number in range(60_000):
    print("line", number)
    if number % 1000 == 0:
        time.sleep(0.05)
return "counted"
"""


def test_a_log_is_whole_through_many_cuts(line: Line, submit: Submit) -> None:
    job = submit(line.worker, COUNTS)
    lines = []
    for number, text in enumerate(job.logs(follow=True)):
        lines.append(text)
        if number % 9000 == 5000:
            line.cut()
    assert lines == [f"line {number}\n" for number in range(60_000)]
    assert job.result(PATIENCE) == "counted"
    assert job.trouble is None


def test_a_file_goes_on_where_the_cut_left_it(line: Line, submit: Submit) -> None:
    job = submit(
        line.worker,
        "import hashlib, os\npiece = os.urandom(1 << 20)\ndigest = hashlib.sha256()\n"
        "with open(job_data['output_dir'] + '/big', 'wb') as file:\n"
        "    for n in range(150):\n        file.write(piece); digest.update(piece)\n"
        "return digest.hexdigest()",
    )
    for _ in range(4):
        before = job.mirror.done
        until(lambda: job.mirror.done > before, "bytes arrive")  # noqa: B023
        assert job.mirror.state == "arriving"
        line.cut()
    digest = job.result(PATIENCE)
    whole = (job.output_dir / "big").read_bytes()
    assert hashlib.sha256(whole).hexdigest() == digest
    assert job.mirror.state == "complete"


def test_a_cut_before_the_word_of_the_worker_starts_the_job_once(
    line: Line, submit: Submit, tmp_path: Path
) -> None:
    submit(line.worker, "return 1").result(PATIENCE)  # the connection is there
    starts = tmp_path / "starts"
    for _ in range(3):
        job = submit(line.worker, f"open({str(starts)!r}, 'a').write('x'); return 2")
        line.cut()
        assert job.result(PATIENCE) == 2
    assert starts.read_text() == "xxx"


def test_a_cut_while_a_known_worker_is_connected_to_again_is_no_end(
    line: Line, submit: Submit
) -> None:
    submit(line.worker, "return 1").result(PATIENCE)
    line.cut()
    before = line.accepted
    line.cut_after(100, times=2)  # in the middle of the handshake
    job = submit(line.worker, "return 2")
    assert job.result(PATIENCE) == 2
    assert job.trouble is None
    assert line.accepted > before + 2


def test_while_the_worker_is_out_of_reach_the_state_says_since_when(
    line: Line, submit: Submit
) -> None:
    job = submit(line.worker, "import time; time.sleep(1); return 3", ack=True)
    line.stall()
    line.cut()
    until(lambda: job.trouble, "the trouble is told")
    assert job.state in ("starting", "running")
    assert "can't be reached" in repr(job)
    assert job.confirmed_at is not None
    line.flow()
    line.cut()
    assert job.result(PATIENCE) == 3


def test_a_refused_connection_ends_the_job_with_the_reason(submit: Submit) -> None:
    Workers.load().add(Worker("off", host=f"me@127.0.0.1:{free_port()}"))
    job = submit("off", "return 1")
    with pytest.raises(JobFailed, match="refused"):
        job.result(PATIENCE)
    assert job.confirmed_at is None
    assert job.logs() == ""
    assert job.files == []


def test_an_unknown_host_key_ends_the_job_with_its_fingerprint(
    sshd: Sshd, submit: Submit, tmp_path: Path
) -> None:
    host = f"{sshd.user}@127.0.0.1:{sshd.port}"
    Workers.load().add(Worker("new1", host=host, dir=str(tmp_path / "worker")))
    job = submit("new1", "return 1")
    with pytest.raises(JobFailed, match="SHA256:"):
        job.result(PATIENCE)


def test_cancel_before_the_worker_is_reached_starts_nothing(submit: Submit) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        Workers.load().add(Worker("mute", host=f"me@127.0.0.1:{silent.getsockname()[1]}"))
        job = submit("mute", "return 1")
        time.sleep(0.2)
        assert job.state == "pending"
        job.cancel()
        with pytest.raises(JobCancelled, match="before it was sent"):
            job.result(PATIENCE)


def test_cancel_while_the_worker_may_have_the_job_reaches_it(line: Line, submit: Submit) -> None:
    submit(line.worker, "return 1").result(PATIENCE)
    line.stall()
    job = submit(line.worker, "import time\nwhile True: time.sleep(0.05)")
    job.cancel(wait=0)
    line.flow()
    line.cut()
    job.wait(PATIENCE)
    assert job.state == "cancelled"
