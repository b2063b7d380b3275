"""What only the person and the job may know, and which files nobody else may read."""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker, Workers
from tests.agent import rig
from tests.client.rig import until

REPOSITORY = Path(__file__).resolve().parents[2]
#: The canaries come over standard input: neither its text nor its arguments hold them.
SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, filename=sys.argv[1])
from chutes_jupyter import Chute
variable, key = sys.stdin.readline().split()
chute = Chute(username="me", name="demo", image="none")

@chute.job()
async def work(self, **job_data):
    open(job_data["output_dir"] + "/file", "w").write("x")
    print("running", flush=True)
    await self.cancel_event.wait()
    return [variable, job_data["key"]]

job = work.options(worker=sys.argv[2], secret=["variable"]).submit(key=key)
job.subscribe(lambda: None)
print(job.id, flush=True)
sys.stdin.readline()
job.cancel()
job.wait(60)
assert job.value == [variable, key], job.value
print(repr(job), flush=True)
"""


def holders(folder: Path, canaries: list[str]) -> set[str]:
    """Return the names of the files below a folder that hold a canary."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        path.name
        for path in files
        if any(canary.encode() in path.read_bytes() for canary in canaries)
    }


def seen_in_proc(canaries: list[str]) -> list[str]:
    """Return the processes whose arguments, title or environment hold a canary."""
    found = []
    for process in Path("/proc").iterdir():
        for name in ("cmdline", "environ", "comm"):
            try:
                data = (process / name).read_bytes()
            except OSError:
                continue
            found += [f"{process}/{name}" for canary in canaries if canary.encode() in data]
    return found


@pytest.fixture(params=[0o000, 0o022], ids=["umask 000", "umask 022"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of the login."""
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


@pytest.fixture(params=["local", "sshd"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Worker:
    if request.param == "sshd":
        found: Worker = request.getfixturevalue("ssh_worker")
    else:
        found = Worker("local", dir=str(tmp_path / "worker"))
    Workers.load().add(found)
    return found


def test_job_data_and_values_are_nowhere_but_where_the_job_needs_them(
    worker: Worker, tmp_path: Path, home: Path
) -> None:
    canaries = [f"sk-{secrets.token_hex(16)}" for _ in range(2)]
    root = Path(worker.dir or "")
    here = tmp_path / "notebooks"
    here.mkdir()
    (here / "script.py").write_text(SCRIPT)
    running = subprocess.Popen(
        [sys.executable, "script.py", str(tmp_path / "debug.log"), worker.name],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdin
        assert running.stdout
        running.stdin.write(" ".join(canaries) + "\n")
        running.stdin.flush()
        job = running.stdout.readline().strip()
        log = root / "jobs" / job / "log"
        until(lambda: log.exists() and b"running" in log.read_bytes(), "running")
        assert seen_in_proc(canaries) == []
        assert holders(root, canaries) == {"payload.bin"}
        assert holders(home, canaries) == set()
        running.stdin.write("\n")
        running.stdin.flush()
        shown = running.stdout.read()
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.communicate()
    assert "cancelled" in shown
    # What it was given is gone with it; what it returned is the person's to fetch.
    assert holders(root, canaries) == {"result.bin"}
    assert holders(home, canaries) == set()
    assert holders(here, canaries) == set()
    assert len((tmp_path / "debug.log").read_bytes()) > 1000
    assert holders(tmp_path, canaries) == {"result.bin"}


def open_to_others(folder: Path, leave: tuple[Path, ...] = ()) -> list[str]:
    """Return what below a folder somebody else may use, but for what lies in some folders."""
    found = []
    for path in [folder, *folder.rglob("*")]:
        if any(path.is_relative_to(other) and path != other for other in leave):
            continue
        mode = path.lstat().st_mode
        if mode & 0o077 or (stat.S_ISDIR(mode) and stat.S_IMODE(mode) != 0o700):
            found.append(f"{path} {stat.filemode(mode)}")
    return found


def test_only_the_person_may_read_what_we_keep_whatever_the_umask(
    umask: int, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with rig.agent(root) as agent:
        large = "x" * 2_000_000
        first = agent.start("import asyncio\nawait asyncio.sleep(60)", ports=[])
        agent.follow(first, until="running")
        agent.ask("stage", b"half", job="0" * 32, offset=0, total=len(large))
        second = agent.start("open(job_data['output_dir'] + '/f', 'w').write('x')\nreturn 1")
        agent.end(second)
        leave = [root / "agents"]  # laid out by the rig
        for job in (first, second):
            leave += [root / "jobs" / job / name for name in ("output", "work", "tmp")]
        (root / "agents").chmod(0o700)
        root.chmod(0o700)
        # The fifo and the lock are there while it runs.
        names = {path.name for path in (root / "jobs" / first).iterdir()}
        assert {"control", "lock", "spec.json", "payload.bin", "events.jsonl", "log"} <= names
        assert open_to_others(root, tuple(leave)) == []
        agent.ask("cancel", job=first)
        agent.end(first)
    # The job's own files are as the person would have made them.
    file = root / "jobs" / second / "output" / "f"
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask


def test_only_the_person_may_read_what_is_kept_here_and_there(
    umask: int, worker: Worker, tmp_path: Path, home: Path
) -> None:
    here = tmp_path / "notebooks"
    here.mkdir()
    script = (
        "from tests.client.rig import start\n"
        "source = \"open(job_data['output_dir'] + '/f', 'w').close()\\nreturn 1\"\n"
        f"job = start({worker.name!r}, source)\n"
        "assert job.result(60) == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    root = Path(worker.dir or "")
    assert len(list((root / "jobs").iterdir())) == 1
    leave = [folder for job in (root / "jobs").iterdir() for folder in job.iterdir()]
    assert open_to_others(root, tuple(path for path in leave if path.is_dir())) == []
    assert list((root / "agents").rglob("__pycache__"))
    if worker.host is None:  # sshd has its own umask
        file = next((root / "jobs").glob("*/output/f"))
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask
    kept = [path for path in home.rglob("*") if "chute" in path.name]
    assert "jobs.sqlite3" in {path.name for folder in kept for path in folder.rglob("*")}
    assert [fault for path in kept for fault in open_to_others(path)] == []


def test_a_payload_that_was_sent_again_does_not_stay(tmp_path: Path) -> None:
    body = rig.payload("return 1", data={"x": "y" * 100_000})
    spec = rig.spec(body)
    with rig.agent(tmp_path / "root") as agent:
        for _ in range(2):  # the answer to the first was lost
            agent.ask("stage", body, job=spec["id"], offset=0, total=len(body))
            assert agent.ask("submit", spec=spec)[0]["ok"]
        agent.end(spec["id"])
        assert os.listdir(tmp_path / "root" / "jobs") == [spec["id"]]
        assert not (tmp_path / "root" / "jobs" / spec["id"] / "payload.bin").exists()
        header, _ = agent.ask("submit", spec=spec)
        assert (header["known"], header["state"]) == (True, "succeeded")
