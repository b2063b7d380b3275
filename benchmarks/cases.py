"""The cases: what a person waits for, and the plain tool that does the like."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chutes_jupyter import JobFunction

from .jobs import hello, run, talk, write
from .measure import Case
from .memory import touched
from .peers import OpenSSH

LINES = 1_000_000
MANY_LINES = 100_000
MANY_JOBS = 10_000
GIBIBYTE = 1 << 30
MEMORY = 5 * GIBIBYTE // 2
PRINT = f"for number in range({LINES}): print('line', number)"
LINE_BY_LINE = "import sys; sys.stdout.reconfigure(line_buffering=True)"


def cases(worker: str, ssh: OpenSSH, folder: Path) -> dict[str, Case]:
    """Return every case by its short name.

    Parameters
    ----------
    worker : str
        The name of the worker whose interpreter is this one.
    ssh : OpenSSH
        The peer, with its master connection open to the same sshd.
    folder : Path
        Where files may be written; on the disk that outputs land on.
    """
    return {
        "start": Case(
            "submit to the first output byte; ssh python3 -c 'print(1)'",
            start(hello.options(worker=worker)),
            lambda: ssh.first_byte([sys.executable, "-c", "print(1)"]),
            limit=1.5,
            repeat=5,
        ),
        "log": Case(
            f"{LINES:,} printed lines, kept and received whole; ssh python3 > /dev/null",
            log(talk.options(worker=worker)),
            lambda: ssh.to_null([sys.executable, "-c", f"{LINE_BY_LINE}\n{PRINT}"]),
            limit=2.0,
        ),
        # A job's lines are written as they are printed: they outlive a kill, and come at once.
        # Python alone keeps them in blocks when it writes to a pipe. This is what that costs.
        "log_blocks": Case(
            f"{LINES:,} printed lines, whole; ssh python3 > /dev/null, which prints in blocks",
            log(talk.options(worker=worker)),
            lambda: ssh.to_null([sys.executable, "-c", PRINT]),
        ),
        "log_program": Case(
            f"{LINES:,} lines of a program, kept and received whole; ssh seq > /dev/null",
            log(run.options(worker=worker)),
            lambda: ssh.to_null(["seq", "-f", "line %.0f", "0", str(LINES - 1)]),
            limit=2.0,
        ),
        "output": Case(
            "an output of 1 GiB, checked and in place; scp",
            output(write.options(worker=worker), folder / "worker"),
            copy(ssh, folder),
            limit=1.5,
        ),
        "reattach": Case(
            f"attach to a job of {MANY_LINES:,} lines in a new process, to the end of its log",
            reattach(talk.options(worker=worker)),
            None,
            limit=1.0,
        ),
        "jobs_10000": Case(
            f"a list of {MANY_JOBS:,} jobs, of which one is new, in a new process",
            many_jobs(hello.options(worker=worker), folder / "worker"),
            None,
            limit=2.0,
        ),
        "load_ext": Case("%load_ext chutes_jupyter", load_ext, None, limit=0.3),
    }


def start(function: JobFunction) -> Callable[[], float]:
    """Return a timer of a submit on a warm worker, to the first byte of the log here."""

    def once() -> float:
        began = time.perf_counter()
        job = function.submit()
        line = next(iter(job.logs(follow=True)))
        took = time.perf_counter() - began
        assert line.strip() == "1", line
        job.wait(timeout=60)
        return took

    return once


def log(function: JobFunction) -> Callable[[], float]:
    """Return a timer of a submit, to the last byte of a long log here."""
    expected = sum(len(f"line {number}\n") for number in range(LINES))

    def once() -> float:
        began = time.perf_counter()
        job = function.submit(lines=LINES)
        received = sum(len(line) for line in job.logs(follow=True))
        took = time.perf_counter() - began
        assert received == expected, f"{received} of {expected} bytes"
        job.wait(timeout=60)
        return took

    return once


def output(function: JobFunction, worker: Path) -> Callable[[], float]:
    """Return a timer from a job's return, when it wrote a large file, until that is in place."""
    go = worker / "go"

    def once() -> float:
        go.unlink(missing_ok=True)
        job = function.submit(size=GIBIBYTE, go=str(go))
        line = next(iter(job.logs(follow=True)))
        assert line.strip() == "written", line
        with touched(MEMORY):
            began = time.perf_counter()
            go.touch()
            job.wait(timeout=300)
            took = time.perf_counter() - began
        assert (job.output_dir / "large.bin").stat().st_size == GIBIBYTE
        shutil.rmtree(job.output_dir)
        shutil.rmtree(worker / "jobs" / job.id)
        return took

    return once


def copy(ssh: OpenSSH, folder: Path) -> Callable[[], float]:
    """Return a timer of scp with a file of the same size."""
    source, target = folder / "source.bin", folder / "target.bin"

    def once() -> float:
        if not source.exists():
            block = bytes(range(256)) * 4096
            with source.open("wb") as file:
                for _ in range(GIBIBYTE // len(block)):
                    file.write(block)
        with touched(MEMORY):
            took = ssh.copy(source, target)
        assert target.stat().st_size == GIBIBYTE
        target.unlink()
        return took

    return once


def reattach(function: JobFunction) -> Callable[[], float]:
    """Return a timer from `attach`, on a fresh connection, to the log's last lines."""
    label: list[str] = []
    code = (
        "import sys, time\n"
        "import chutes_jupyter\n"
        "from chutes_jupyter.job import current_client\n"
        "current_client()\n"
        "began = time.perf_counter()\n"
        "text = chutes_jupyter.attach(sys.argv[1]).logs(tail=200)\n"
        "print(time.perf_counter() - began, len(text.splitlines()), text.split()[-1])\n"
    )

    def once() -> float:
        if not label:
            job = function.submit(lines=MANY_LINES)
            job.wait(timeout=120)
            label.append(job.label)
        took, lines, last = fresh(code, label[0]).split()
        assert (int(lines), int(last)) == (200, MANY_LINES - 1), (lines, last)
        return float(took)

    return once


def many_jobs(function: JobFunction, worker: Path) -> Callable[[], float]:
    """Return a timer of listing jobs, where the worker and the store have many."""
    code = (
        "import time\n"
        "import chutes_jupyter\n"
        "from chutes_jupyter.job import current_client\n"
        "current_client()\n"
        "began = time.perf_counter()\n"
        "found = chutes_jupyter.jobs()\n"
        "print(time.perf_counter() - began, len(found), found[0].label)\n"
    )

    def once() -> float:
        job = function.submit()
        job.wait(timeout=60)
        folder = worker / "jobs" / job.id
        missing = MANY_JOBS - sum(len(path.name) == 32 for path in folder.parent.iterdir())
        for number in range(missing):
            like(folder, number)
        took, count, first = fresh(code).split()
        assert int(count) >= MANY_JOBS, count
        assert first == job.label, first
        return float(took)

    return once


def like(folder: Path, number: int) -> None:
    """Make a job directory like that one, as old as its number says."""
    job = secrets.token_hex(16)
    copy = folder.with_name(job)
    copy.mkdir(mode=0o700)
    spec = json.loads((folder / "spec.json").read_text())
    spec.update(id=job, created=spec["created"] - 60 - number)
    (copy / "spec.json").write_text(json.dumps(spec))
    for name in ("events.jsonl", "outputs.json", "log", "lock"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, copy / name)


def fresh(code: str, *words: str) -> str:
    """Return what a new interpreter prints."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def load_ext() -> float:
    """Return how long `%load_ext` takes in a fresh IPython, in its own clock."""
    code = (
        "import time\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "began = time.perf_counter()\n"
        "shell.run_line_magic('load_ext', 'chutes_jupyter')\n"
        "print(time.perf_counter() - began)\n"
    )
    return float(fresh(code).splitlines()[-1])
