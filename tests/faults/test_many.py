"""Many jobs, many processes, a long history; and nothing that stays behind."""

from __future__ import annotations

import base64
import contextlib
import gc
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter import portal
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.store import JobRecord, Store
from tests.agent.rig import agent
from tests.client import conftest
from tests.client.rig import PATIENCE, Submit, process, until

here, own_client, local = conftest.here, conftest.own_client, conftest.local
submit, environment = conftest.submit, conftest.environment

MEET = """
import os, time
number, gate = job_data["number"], job_data["gate"]
open(f"{gate}/{number}", "w").close()
print("job", number, flush=True)
while len(os.listdir(gate)) < job_data["all"]:
    time.sleep(0.2)
with open(job_data["output_dir"] + "/number.txt", "w") as file:
    file.write(str(number))
return number
"""


@contextlib.contextmanager
def few_descriptors(limit: int = 1024) -> Iterator[None]:
    """As many as people have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def descriptors() -> list[str]:
    """What this process has open, but for the listing itself."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [each for each in found if each != f"/proc/{os.getpid()}/fd"]


def naming(text: str) -> list[str]:
    """The processes whose command line or environment names a text."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            said = [words, Path(f"/proc/{name}/environ").read_bytes()]
            for word in words.split(b"\0"):
                with contextlib.suppress(ValueError):  # the loader of a `serve` is encoded
                    said.append(base64.b64decode(word, validate=True))
            if any(text.encode() in each for each in said):
                found.append(f"{name}: {words.decode(errors='replace')[:300]}")
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_200_jobs_run_at_once_over_one_connection(
    ssh_worker: Worker, submit: Submit, tmp_path: Path
) -> None:
    """Each waits until all have started; so they do run at the same time."""
    gate = tmp_path / "gate"
    gate.mkdir()
    Workers.load().add(ssh_worker)
    count = 200
    with few_descriptors():
        data = {"gate": str(gate), "all": count}
        jobs = [submit("gpu1", MEET, data={**data, "number": n}) for n in range(count)]
        until(lambda: len(os.listdir(gate)) == count, "all have started", 120)
        assert len(descriptors()) < 100
        assert threading.active_count() < 50
        client = jobs_module.current_client()
        assert len(client._sessions) == 1
        assert [job.result(120) for job in jobs] == list(range(count))
        assert [job.logs() for job in jobs] == [f"job {n}\n" for n in range(count)]
        files = [(job.output_dir / "number.txt").read_text() for job in jobs]
        assert files == [str(n) for n in range(count)]
        assert {job.state for job in jobs} == {"succeeded"}


WRITER = """
import sys, time
from chutes_jupyter.store import JobRecord, Store
who, count = int(sys.argv[1]), int(sys.argv[2])
store = Store.open()
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    job = f"{who:04x}{number:04x}" + "0" * 24
    store.add(JobRecord(id=job, name="job", worker="gpu1", created=float(number)))
    for event in (1, 3, 2):
        store.update(job, event, state="failed", started=float(event))
    shared = "f" * 32
    store.merge([JobRecord(id=shared, name="all", worker="gpu1", state="failed",
                           event=who * count + number + 1, started=float(who), confirmed=1.0)])
    store.list(10)
print(len(store.list()), flush=True)
"""


def test_ten_processes_write_the_store_at_once(home: Path, environment: dict[str, str]) -> None:
    count = 20
    store = Store.open()
    command = [sys.executable, "-c", WRITER]
    writers = [
        subprocess.Popen(
            [*command, str(who), str(count)], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for who in range(10)
    ]  # fmt: skip
    try:
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, err = writer.communicate(timeout=60)
            assert writer.returncode == 0, err
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    found = store.list()
    assert len(found) == 10 * count + 1
    assert {(each.event, each.started) for each in found if each.name == "job"} == {(3, 3.0)}
    # What all have written is what the highest number said, whoever came last.
    assert (store.get("f" * 32).event, store.get("f" * 32).started) == (10 * count, 9.0)


def test_a_store_that_is_deleted_under_its_processes_loses_nothing(
    local: Worker, submit: Submit, environment: dict[str, str]
) -> None:
    """The worker knows; the next list finds every job again."""
    kept = [submit(local, "return 1", upload=False) for _ in range(3)]
    for job in kept:
        job.wait(PATIENCE)
    runs = (
        "import sys\nfrom tests.client.rig import start\nprint('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "jobs = [start('local', 'return 2', upload=False) for _ in range(3)]\n"
        "for job in jobs:\n    assert job.result(60) == 2\n    print(job.id, flush=True)\n"
    )
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(process(runs, environment)) for _ in range(4)]
        for other in others:
            assert other.stdout
            assert other.stdout.readline() == "ready\n"
        for other in others:
            assert other.stdin
            other.stdin.write("go\n")
            other.stdin.flush()
        path, ids = Store.open().path, []
        for number, other in enumerate(others):
            assert other.stdout
            ids.append(other.stdout.readline().strip())
            if number % 2 == 0:
                path.unlink(missing_ok=True)
        for other in others:
            assert other.stdout
            ids += other.stdout.read().split()
            assert other.wait(60) == 0
    path.unlink(missing_ok=True)
    jobs_module.close_client()
    said: list[str] = []
    execute(["jobs", "--full", "--all"], Surroundings(said.append))
    rows = "".join(said).splitlines()[1:]
    assert len(ids) == 12
    wanted = {f"job-{each}" for each in ids} | {f"job-{job.id}" for job in kept}
    assert {row.split()[0] for row in rows} == wanted
    assert {row.split()[1] for row in rows} == {"succeeded"}


MIRRORS = """
import sys, time
from chutes_jupyter.job import attach
job = attach({job!r})
while job.mirror.status.files_done < 1:
    time.sleep(0.02)
print("brings", flush=True)
sys.stdin.readline()
"""
WRITES = """
import os, time
out = job_data["output_dir"]
for number in range(3):
    open(f"{out}/{number}.txt", "w").write(str(number) * 1000)
while not os.path.exists(job_data["go"]):
    time.sleep(0.02)
open(f"{out}/late.txt", "w").write("late")
return 5
"""


def test_who_reads_takes_over_when_the_process_that_brings_the_files_is_killed(
    local: Worker, submit: Submit, environment: dict[str, str], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    job = submit(local, WRITES, data={"go": str(go)}, ack=True)
    jobs_module.close_client()
    with process(MIRRORS.format(job=job.id), environment) as first:
        assert first.stdout
        assert first.stdout.readline() == "brings\n"
        mine = jobs_module.attach(job.id)
        until(
            lambda: mine.mirror.reason == "another process of this machine brings them",
            "the other one brings them",
        )
        until(lambda: [f.state for f in mine.files] == ["here"] * 3, "what it brought is seen")
        first.kill()
        first.wait()
        go.touch()
        assert mine.result(PATIENCE) == 5
    assert mine.mirror.state == "complete"
    assert sorted(os.listdir(mine.output_dir)) == ["0.txt", "1.txt", "2.txt", "late.txt"]
    placed = mine.output_dir.parent / ".chute" / mine.output_dir.name / "placed.jsonl"
    assert len(placed.read_text().splitlines()) == 4


# -- a long history


def test_a_list_shows_the_newest_and_says_how_many_more(home: Path) -> None:
    now = time.time()
    Store.open().merge(
        JobRecord(
            id=f"{n:032x}", name="job", worker="gone", state="failed", event=2, created=now - n,
            ended=now - n,
        )
        for n in range(10_000)
    )  # fmt: skip

    def jobs(*words: str) -> list[str]:
        said: list[str] = []
        execute(["jobs", "--cached", *words], Surroundings(said.append))
        return "".join(said).splitlines()

    rows = jobs()
    assert len(rows) == 52
    assert rows[1].startswith("job-000000 ")
    assert rows[-1] == "… and 9,950 older: jupyter chute jobs --all"
    assert len(jobs("--all")) == 10_001
    assert jobs("-n", "2")[-1] == "… and 9,998 older: jupyter chute jobs --all"
    assert len(jobs_module.jobs(refresh=False, limit=7)) == 7
    assert len(jobs_module.jobs(refresh=False)) == 10_000


def test_a_client_is_told_of_ended_jobs_once_and_of_live_ones_again(tmp_path: Path) -> None:
    with agent(tmp_path) as worker:
        ended = [worker.start("return 1") for _ in range(3)]
        for job in ended:
            worker.end(job)
        living = worker.start("import time; time.sleep(60)")
        first, _ = worker.ask("jobs", after="", limit=100, since=0.0)
        assert {each["id"] for each in first["jobs"]} == {*ended, living}
        again, _ = worker.ask("jobs", after="", limit=100, since=first["newest"] + 1e-6)
        assert [each["id"] for each in again["jobs"]] == [living]
        assert again["newest"] == first["newest"]
        # In pages, with none left out and none twice.
        after, paged = "", []
        while after is not None:
            page, _ = worker.ask("jobs", after=after, limit=2, since=0.0)
            paged += [each["id"] for each in page["jobs"]]
            after = page["next"]
        assert paged == sorted([*ended, living])
        worker.ask("cancel", job=living)
        worker.end(living)
        last, _ = worker.ask("jobs", after="", limit=100, since=first["newest"] + 1e-6)
        assert [(each["id"], each["state"]) for each in last["jobs"]] == [(living, "cancelled")]


def test_a_job_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    with agent(tmp_path) as worker:
        jobs = sorted(worker.start("return 1") for _ in range(3))
        for job in jobs:
            worker.end(job)
        (tmp_path / "jobs" / jobs[0] / "spec.json").write_text("{")
        page, _ = worker.ask("jobs", after="", limit=2)
        assert [each["id"] for each in page["unreadable"]] == [jobs[0]]
        assert [each["id"] for each in page["jobs"]] == [jobs[1]]
        page, _ = worker.ask("jobs", after=page["next"], limit=2)
        assert [each["id"] for each in page["jobs"]] == [jobs[2]]


def test_jobs_that_ended_while_nobody_looked_are_found(local: Worker, submit: Submit) -> None:
    """Also by a client that was told of the others, and asks only for what is new."""
    first = submit(local, "return 1", upload=False)
    first.wait(PATIENCE)
    assert [job.id for job in jobs_module.jobs()] == [first.id]
    second = submit(local, "import time; time.sleep(0.3)", upload=False, ack=True)
    jobs_module.close_client()
    store = Store.open()
    until(lambda: {j.id: j.state for j in jobs_module.jobs()}[second.id] == "succeeded", "its end")
    # A job that the worker has no more, and that was live as far as is known, is lost.
    third = submit(local, "import time; time.sleep(60)", upload=False, ack=True)
    third.cancel()
    third.wait(PATIENCE)
    jobs_module.close_client()
    store.remove([third.id])
    store.add(JobRecord(**{**vars(third.record), "state": "running", "event": 2}))
    folder = Path(local.dir or "") / "jobs" / third.id
    folder.rename(folder.with_name("elsewhere"))
    (found,) = [job for job in jobs_module.jobs() if job.id == third.id]
    assert (found.state, found.reason) == ("lost", "the worker has no record of it any more")


def test_a_submit_whose_process_died_is_lost_in_the_list_too(local: Worker) -> None:
    now = time.time()
    store = Store.open()
    record = JobRecord(id="1" * 32, name="job", worker="local", created=now - 3600)
    store.add(record)
    store.add(JobRecord(id="2" * 32, name="job", worker="local", created=now - 1))
    states = {job.id: (job.state, job.reason) for job in jobs_module.jobs()}
    assert states == {
        "1" * 32: ("lost", "never reached the worker"),
        "2" * 32: ("pending", None),
    }


# -- what stays


@pytest.mark.parametrize("kind", ["local", "sshd"])
def test_nothing_stays_of_jobs_and_a_client_that_are_over(
    request: pytest.FixtureRequest,
    kind: str,
    submit: Submit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker: Worker = request.getfixturevalue("ssh_worker" if kind == "sshd" else "local")
    Workers.load().add(worker)
    root = Path(worker.dir or "")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def batch() -> list[str]:
        jobs = [
            submit(worker, "import subprocess; subprocess.run(['true'])\n" + body, timeout=limit)
            for body, limit in (
                ("print('x'); return 1", None),
                ("raise ValueError('no')", None),
                ("open(job_data['output_dir'] + '/f', 'w').write('1')", None),
                ("import time\nwhile True: time.sleep(0.05)", 1),
            )
        ]
        for job in jobs:
            job.wait(PATIENCE)
            job.logs()
        return [job.state for job in jobs]

    # The first time things are loaded that stay, as the thread that runs the loop.
    assert sorted(batch()) == ["failed", "succeeded", "succeeded", "timed_out"]
    jobs_module.close_client()
    gc.collect()
    before = Counter(map(_kind, descriptors()))
    batch()
    portal.call(jobs_module.current_client().discover)
    assert naming(str(root)), "what is looked for can be seen"
    jobs_module.close_client()
    with contextlib.suppress(AssertionError):
        until(lambda: naming(str(root)) == [], "no process of ours")
    assert naming(str(root)) == []
    until(
        lambda: not Counter(map(_kind, descriptors())) - before,
        f"{sorted(descriptors())} is {before}",
        15,
    )
    until(
        lambda: not [t.name for t in threading.enumerate() if t.name.startswith("chutes mirror")],
        "the threads of the mirrors have ended",
        15,
    )
    assert os.listdir(temporary) == []
    folders = [path for path in (root / "jobs").iterdir() if len(path.name) == 32]
    assert len(folders) == 8
    assert not [path.name for path in (root / "jobs").iterdir() if path not in folders]
    names = {name for folder in folders for name in os.listdir(folder)}
    assert not {name for name in names if name.endswith(".new") or name == "control"}
    assert not any(os.listdir(folder / "tmp") for folder in folders)


def _kind(link: str) -> str:
    """What a descriptor is, without the number that it happened to get."""
    return link.partition(":")[0]
