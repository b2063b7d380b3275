"""What a client does on a small disk of its own; run in a process for which that is mounted.

`python -m tests.faults.full_here SCENARIO`, in the mounted folder. Any fault is an exception.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.job import Job
from chutes_jupyter.mirror import room
from tests.client.rig import PATIENCE, start, until

KB = 1000
FILES = {"a": 100 * KB, "big": 4000 * KB, "deep/z": 100 * KB}
WRITES = """
import os
out = job_data["output_dir"]
os.mkdir(out + "/deep")
for name, size in job_data["files"].items():
    open(os.path.join(out, name), "wb").write((name[0] * size).encode())
return "written"
"""


def fill(leave: int) -> Path:
    """Take all room of this disk but for so many bytes."""
    path = Path("filler")
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"f" * 4096)
        except OSError:
            file.truncate(file.tell() - leave)
    return path


def check_files(job: Job, *names: str) -> None:
    """These files are here, whole, and no others."""
    found = {p.relative_to(job.output_dir).as_posix(): p for p in job.output_dir.rglob("*")}
    plain = {name: path.read_bytes() for name, path in found.items() if path.is_file()}
    assert sorted(plain) == sorted(names), sorted(plain)
    for name, data in plain.items():
        assert data == name[0].encode() * FILES[name], (name, len(data))


def stopped(job: Job) -> str:
    """Wait until the outputs stop for want of room, and return the reason."""
    job.wait(PATIENCE)  # which does not wait for a disk
    assert job.mirror.state == "stopped", job.mirror
    reason = str(job.mirror.reason)
    assert reason.startswith(f"the disk of {job.output_dir} is full: "), reason
    return reason


def asks_first() -> None:
    """Files that fit are brought, the others wait; it goes on by itself."""
    filler = fill(leave=1000 * KB)
    job = start("local", WRITES, data={"files": FILES})
    reason = stopped(job)
    lacking = int(reason.split("needs ")[1].split()[0].replace(",", ""))
    # What is missing, less what was free beside the two others.
    assert 4000 * KB - 1000 * KB < lacking < 4000 * KB, reason
    check_files(job, "a", "deep/z")
    filler.unlink()
    until(lambda: job.mirror.state == "complete", "it goes on with room")
    check_files(job, *FILES)
    job.wait(PATIENCE)


def finds_out() -> None:
    """A disk that is full in the middle of a file leaves nothing under the file's name."""
    room.free = lambda path: None
    filler = fill(leave=1000 * KB)
    job = start("local", WRITES, data={"files": {"big": FILES["big"]}})
    reason = stopped(job)
    assert "it takes no more" in reason, reason
    check_files(job)
    filler.unlink()
    until(lambda: job.mirror.state == "complete", "it goes on with room")
    check_files(job, "big")


def resumes_when_told() -> None:
    """`job.mirror.resume()` looks at once."""
    room.PAUSE = 600.0
    filler = fill(leave=1000 * KB)
    job = start("local", WRITES, data={"files": FILES})
    stopped(job)
    job.mirror.resume()
    stopped(job)
    filler.unlink()
    job.mirror.resume()
    job.wait(PATIENCE)
    assert job.mirror.state == "complete", job.mirror
    check_files(job, *FILES)


def nothing_fits() -> None:
    """Not even our own notes can be written, nor the list of jobs."""
    gate = Path(os.environ["GATE"])
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
    job = start("local", waits + WRITES, data={"files": FILES}, ack=True)
    filler = fill(leave=0)
    gate.touch()
    assert job.result(PATIENCE) == "written"
    assert job.mirror.state == "stopped", job.mirror
    assert "is full" in str(job.mirror.reason), job.mirror
    assert "the list of jobs on this machine was not written" in "\n".join(job.notices)
    check_files(job)
    filler.unlink()
    until(lambda: job.mirror.state == "complete", "it goes on with room")
    check_files(job, *FILES)
    # Another process sees it whole: what could not be noted is noted now.
    jobs_module.close_client()
    again = jobs_module.attach(job.id)
    again.wait(PATIENCE)
    assert (again.state, again.mirror.state) == ("succeeded", "complete")
    check_files(again, *FILES)
    hidden = again.output_dir.parent / ".chute" / again.output_dir.name
    assert list(hidden.parent.iterdir()) == [hidden]
    assert sorted(path.name for path in hidden.iterdir()) == [
        "done.json",
        "job",
        "lock",
        "placed.jsonl",
    ]


SCENARIOS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (asks_first, finds_out, resumes_when_told, nothing_fits)
}

if __name__ == "__main__":
    room.PAUSE = 0.1
    Workers.load().add(Worker("local", dir=os.environ["WORKER_DIR"]))
    SCENARIOS[sys.argv[1]]()
    jobs_module.close_client()
