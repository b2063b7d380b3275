"""`clean` removes what has ended, on both sides, and nothing else."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.agent.clean import Cleaner
from chutes_jupyter.agent.history import History, Removed
from chutes_jupyter.agent.journal import Lock
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import JobNotFound, RequestRefused, ResultError, UnknownWorker
from chutes_jupyter.store import JobRecord, Store
from tests.agent.rig import Agent, agent, payload, spec
from tests.client import conftest
from tests.client.rig import PATIENCE, Submit, process, until

here, own_client, local = conftest.here, conftest.own_client, conftest.local
submit, environment = conftest.submit, conftest.environment

WRITES = "open(job_data['output_dir'] + '/a.txt', 'w').write('x' * 5000); return 7"
GOES_ON = (
    "import time\nprint('on', flush=True)\nwhile not self.cancel_event.is_set(): time.sleep(0.02)"
)
DAY = 86400


def chute(*words: str) -> str:
    """Run a verb as a terminal would, and return what it shows."""
    said: list[str] = []
    execute(words, Surroundings(said.append))
    return "".join(said)


def on_worker(worker: Worker) -> set[str]:
    """The ids of the jobs that the worker has, and whatever hides beside them."""
    names = os.listdir(Path(worker.dir or "") / "jobs")
    return {name for name in names if not name.startswith(".removed")}


def removal(worker: Agent, *pairs: tuple[str, int | None], **fields: object) -> list[dict]:
    """Ask an agent to remove jobs, and return what it says of each."""
    number = worker.send("remove", jobs=[list(pair) for pair in pairs], **fields)
    done: list[dict] = []
    while True:
        header, _ = worker.receive()
        assert header["ok"], header
        assert header["id"] == number
        done += header["done"]
        if not header["more"]:
            return done


# -- what goes, and what stays


def test_what_ended_goes_on_both_sides_and_what_lives_stays(local: Worker, submit: Submit) -> None:
    ended = [submit(local, WRITES) for _ in range(3)]
    living = submit(local, GOES_ON, ack=True)
    for job in ended:
        job.wait(PATIENCE)
    folders = [job.output_dir for job in ended]
    said = chute("clean")
    assert re.match(r"removed 3 jobs, freed [\d.]+ kB on local\.\n$", said), said
    assert on_worker(local) == {living.id}
    assert [record.id for record in Store.open().list()] == [living.id]
    # The person's files stay, without anything of ours beside them.
    assert all((folder / "a.txt").stat().st_size == 5000 for folder in folders)
    assert not any((folder.parent / ".chute" / folder.name).exists() for folder in folders)
    # Named, it is kept as well, and goes on as if nothing had been.
    said = chute("clean", living.label)
    assert said == f"removed 0 jobs; kept 1:\n  kept {living.label}: it is running\n"
    assert not living.done()
    living.cancel()
    living.wait(PATIENCE)
    assert living.state == "cancelled"
    assert chute("clean").startswith("removed 1 job, freed ")
    assert chute("clean") == "Nothing to remove.\n"


def test_a_dry_run_says_the_same_and_changes_nothing(local: Worker, submit: Submit) -> None:
    job = submit(local, WRITES)
    job.wait(PATIENCE)
    before = on_worker(local)
    said = chute("clean", "--dry-run", "--outputs")
    assert re.match(
        r"would remove 1 job, would free [\d.]+ kB on local, 5.0 kB of outputs here\.\n$", said
    ), said
    assert on_worker(local) == before
    assert Store.open().get(job.id).state == "succeeded"
    assert (job.output_dir / "a.txt").exists()


def test_outputs_go_only_when_asked_and_only_those_that_we_brought(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, WRITES)
    job.wait(PATIENCE)
    (job.output_dir / "mine.txt").write_text("a note of the person's own")
    said = chute("clean", "--outputs")
    assert "5.0 kB of outputs here" in said
    assert os.listdir(job.output_dir) == ["mine.txt"]


def test_files_that_are_nowhere_else_are_kept_unless_given_up(
    local: Worker, environment: dict[str, str]
) -> None:
    script = f"from tests.client.rig import start\nprint(start('local', {WRITES!r}, ack=True).id)"
    with process(script, environment) as other:
        job_id = other.communicate(timeout=PATIENCE)[0].strip()
    job = jobs_module.attach(job_id, mirror=False)
    until(job.done, "the end of the job")
    said = chute("clean")
    assert f"kept {job.label}: output files of it are on the worker alone (1 in all)" in said
    assert f"jupyter chute files --wait {job.label}" in said
    assert job_id in on_worker(local)
    job.wait(PATIENCE)
    assert chute("clean").startswith("removed 1 job")
    assert (job.output_dir / "a.txt").exists()


def test_age_and_worker_choose(local: Worker, submit: Submit) -> None:
    job = submit(local, "return 1")
    job.wait(PATIENCE)
    assert chute("clean", "--older-than", "1h") == "Nothing to remove.\n"
    with pytest.raises(UnknownWorker):
        chute("clean", "--worker", "no-such")
    Workers.load().add(Worker("gpu9", host="me@127.0.0.1:1"))
    said = chute("clean", "--worker", "gpu9")
    assert "removed" not in said
    assert job.id in on_worker(local)
    assert chute("clean", "--worker", "local", "--older-than", "0m").startswith("removed 1 job")
    with pytest.raises(JobNotFound):
        chute("clean", job.label)


def test_a_worker_that_is_away_keeps_its_jobs_in_the_list(local: Worker, submit: Submit) -> None:
    job = submit(local, "return 1")
    job.wait(PATIENCE)
    later = job.record.event + 1
    jobs_module.close_client()  # what it knows is in the store by then
    Store.open().update(job.id, later, worker="away")
    Workers.load().add(Worker("away", host="me@127.0.0.1:1"))
    said = chute("clean", job.label)
    assert f"kept {job.label}: away can't be asked" in said
    assert "not cleaned: away (" in said
    assert Store.open().get(job.id)


def test_a_job_that_never_reached_its_worker_just_leaves_the_list(
    home: Path, submit: Submit
) -> None:
    Workers.load().add(Worker("gone", host="me@127.0.0.1:1"))
    job = submit("gone", "return 1")
    job.wait(PATIENCE)
    assert job.state == "failed"
    assert chute("clean", job.label) == "removed 1 job.\n"
    assert Store.open().list() == []


# -- others who know the job


def test_another_client_learns_that_a_job_was_removed_and_how_it_ended(
    local: Worker, submit: Submit
) -> None:
    """Its record says `running`; that must become neither `lost` nor stay for ever."""
    jobs = [submit(local, "return 3", upload=False) for _ in range(2)]
    for job in jobs:
        job.wait(PATIENCE)
    jobs_module.close_client()
    store = Store.open()
    stale = [store.get(job.id) for job in jobs]
    assert chute("clean").startswith("removed 2 jobs")
    for record in stale:
        store.add(type(record)(**{**vars(record), "state": "running", "event": 2, "ended": None}))
    # The list alone finds out.
    jobs_module.close_client()
    (listed,) = [each for each in jobs_module.jobs() if each.id == stale[0].id]
    assert (listed.state, listed.reason) == ("succeeded", "removed on the worker")
    # So does the one who opens it, without any list.
    store.remove([stale[1].id])
    store.add(type(stale[1])(**{**vars(stale[1]), "state": "running", "event": 2, "ended": None}))
    jobs_module.close_client()
    found = jobs_module.attach(stale[1].id)
    until(found.done, "the end of the job")
    assert found.state == "succeeded"
    assert found.ended_at == stale[1].ended
    assert "removed on the worker" in repr(found)
    with pytest.raises(ResultError, match="was removed on local since"):
        found.result(PATIENCE)
    with pytest.raises(RequestRefused, match="was removed on this worker"):
        found.logs()
    assert chute("clean").startswith("removed 2 jobs")


def test_the_result_of_a_job_that_its_worker_lost_is_refused_and_not_awaited(
    local: Worker, submit: Submit
) -> None:
    job = submit(local, "return 3", upload=False)
    job.wait(PATIENCE)
    jobs_module.close_client()
    folder = Path(local.dir or "") / "jobs" / job.id
    folder.rename(folder.with_name("elsewhere"))
    found = jobs_module.attach(job.id)
    with pytest.raises(ResultError, match="was removed on local since"):
        found.result(PATIENCE)


# -- the agent


def test_a_removed_job_is_not_started_again(tmp_path: Path) -> None:
    """A client that slept since it sent the job sends it again."""
    with agent(tmp_path) as first:
        body = payload("print('once'); return 1")
        fields = spec(body)
        assert first.ask("submit", body, spec=fields)[0]["ok"]
        first.end(fields["id"])
        assert removal(first, (fields["id"], None))[0]["removed"]
    with agent(tmp_path) as later:
        header, _ = later.ask("submit", body, spec=fields)
        assert header["error"]["code"] == "removed"
        header, _ = later.ask("events", job=fields["id"], after=0)
        assert header["error"]["code"] == "removed"
        (told,) = later.ask("jobs", ids=[fields["id"], "0" * 32])[0]["jobs"]
        assert (told["state"], told["removed"]) == ("succeeded", True)


def test_a_job_whose_directory_is_owned_is_kept_whatever_its_events_say(tmp_path: Path) -> None:
    with agent(tmp_path) as worker:
        job = worker.start("return 1")
        worker.end(job)
        lock = tmp_path / "jobs" / job / "lock"
        holds = (
            "import fcntl,os,sys;fd=os.open(sys.argv[1],os.O_RDWR);fcntl.lockf(fd,fcntl.LOCK_EX);"
            "print('held',flush=True);sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", holds, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout
            assert holder.stdout.readline() == b"held\n"
            (kept,) = removal(worker, (job, None))
            assert (kept["removed"], kept["reason"]) == (False, "its supervisor has not left yet")
            assert worker.log(job) == b""
            holder.communicate()
        assert removal(worker, (job, None))[0]["removed"]


def test_cleaning_while_jobs_end_removes_each_once_and_none_that_lives(tmp_path: Path) -> None:
    """Two connections clean again and again while jobs come to their end."""
    with agent(tmp_path) as worker:
        jobs = [worker.start(f"import time; time.sleep({n * 0.05})") for n in range(12)]
        removed: list[str] = []
        wrong: list[dict] = []

        def clean() -> None:
            with agent(tmp_path) as cleaner:
                deadline = time.monotonic() + PATIENCE
                while any((tmp_path / "jobs" / job).exists() for job in jobs):
                    assert time.monotonic() < deadline
                    for done in removal(cleaner, *((job, None) for job in jobs)):
                        if done["removed"] and done["bytes"]:
                            removed.append(done["id"])
                        elif not done["removed"] and "can't" in done["reason"]:
                            wrong.append(done)

        threads = [threading.Thread(target=clean) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert wrong == []
        assert sorted(removed) == sorted(jobs)
        told = worker.ask("jobs", ids=jobs)[0]["jobs"]
        assert {each["state"] for each in told} == {"succeeded"}


@pytest.mark.parametrize("function", [History.summary, Lock.take, os.rename])
def test_a_job_that_another_clean_takes_away_meanwhile_is_removed(
    function: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent(tmp_path) as worker:
        job = worker.start("return 1")
        worker.end(job)

        def late(*args: object, **kwargs: object) -> object:
            shutil.rmtree(tmp_path / "jobs" / job, ignore_errors=True)
            return function(*args, **kwargs)

        owner = {History.summary: History, Lock.take: Lock}.get(function, os)
        monkeypatch.setattr(owner, function.__name__, late)
        cleaner = Cleaner(History(str(tmp_path), lambda job, log: None), "0" * 32)
        done = [
            each for header, _ in cleaner.remove({"jobs": [(job, None)]}) for each in header["done"]
        ]
        assert done == [{"id": job, "removed": True, "bytes": 0, "reason": ""}]


def test_what_was_taken_away_and_can_not_be_deleted_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with agent(tmp_path) as worker:
        job = worker.start("return 1")
        worker.end(job)

        def refused(path: str) -> None:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)

        cleaner = Cleaner(History(str(tmp_path), lambda job, log: None), "0" * 32)
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", refused)
            (done,) = [
                each
                for header, _ in cleaner.remove({"jobs": [(job, None)]})
                for each in header["done"]
            ]
        assert not (tmp_path / "jobs" / job).exists()
        assert not done["removed"]
        assert "it can't be removed: [Errno 1] Operation not permitted" in done["reason"]


def test_a_serve_that_is_killed_while_it_deletes_leaves_no_half_job(tmp_path: Path) -> None:
    many = (
        "import os\nfor n in range(20_000):\n"
        "    open(f\"{job_data['output_dir']}/{n}\", 'w').close()"
    )
    with agent(tmp_path) as worker:
        job = worker.start(many, upload=False)
        worker.end(job)
        worker.send("remove", jobs=[[job, None]])
        until(lambda: not (tmp_path / "jobs" / job).exists(), "the job is taken away")
        os.kill(worker.process.pid, signal.SIGKILL)
    left = [name for name in os.listdir(tmp_path / "jobs") if name.startswith(".gone-")]
    assert len(left) == 1
    with agent(tmp_path) as later:
        assert later.ask("events", job=job, after=0)[0]["error"]["code"] == "removed"
        assert later.ask("jobs", after="", limit=10)[0]["jobs"] == []
        removal(later, sweep=True)
    assert [n for n in os.listdir(tmp_path / "jobs") if not n.startswith(".removed")] == []


def test_others_are_answered_while_much_is_deleted(tmp_path: Path) -> None:
    many = (
        "import os\nfor n in range(20_000):\n"
        "    open(f\"{job_data['output_dir']}/{n}\", 'w').close()"
    )
    with agent(tmp_path) as worker:
        job = worker.start(many, upload=False)
        worker.end(job)
        cleaning = worker.send("remove", jobs=[[job, None]])
        worker.receive()  # it has begun
        ping = worker.send("ping")
        order = []
        while cleaning not in order:
            header, _ = worker.receive()
            if header["id"] == ping or not header.get("more"):
                order.append(header["id"])
        assert order == [ping, cleaning]


def test_links_are_not_followed_and_protected_folders_go(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("stays")
    cell = (
        "import os\nout = job_data['output_dir']\n"
        f"os.symlink({str(precious)!r}, out + '/link')\n"
        "os.mkdir(out + '/deep'); open(out + '/deep/file', 'w').close()\n"
        "os.chmod(out + '/deep', 0o500)"
    )
    root = tmp_path / "root"
    root.mkdir()
    with agent(root) as worker:
        job = worker.start(cell, upload=False)
        worker.end(job)
        assert removal(worker, (job, None))[0]["removed"]
    assert (precious / "file").read_text() == "stays"
    assert not [name for name in os.listdir(root / "jobs") if name.startswith(".gone-")]


def test_old_leftovers_go_and_new_ones_stay(tmp_path: Path) -> None:
    with agent(tmp_path) as worker:
        jobs, agents = tmp_path / "jobs", tmp_path / "agents"
        for age, name in ((2 * DAY, "old"), (0, "new")):
            for folder, prefix in ((jobs, ".new-"), (jobs, ".stage-"), (agents, ".new-")):
                path = folder / f"{prefix}{name}"
                path.write_text("") if prefix == ".stage-" else path.mkdir()
                os.utime(path, (time.time() - age, time.time() - age))
        unused, used = agents / ("a" * 32), agents / ("b" * 32)
        for path in (unused, used):
            path.mkdir()
            (path / "ok").write_text("")
            for each in (path / "ok", path):
                os.utime(each, (time.time() - 40 * DAY, time.time() - 40 * DAY))
        runs = [sys.executable, "-c", "import sys; sys.stdin.read()", str(used)]
        with subprocess.Popen(runs, stdin=subprocess.PIPE) as process:
            removal(worker, sweep=True)
            process.communicate()
        assert {n for n in os.listdir(jobs) if n.startswith((".new", ".st"))} == {
            ".new-new",
            ".stage-new",
        }
        assert sorted(os.listdir(agents)) == sorted([".new-new", "test", used.name])


def test_half_a_line_about_removed_jobs_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    removed = Removed(str(tmp_path))
    one, two = "1" * 32, "2" * 32
    removed.note({"id": one, "state": "failed"})
    with (tmp_path / "jobs" / ".removed.jsonl").open("ab") as file:
        file.write(b'{"id":"2222')
    removed.note({"id": two, "state": "succeeded"})
    found = [removed.find(each) for each in (one, two, "3" * 32)]
    assert [each and each["state"] for each in found] == ["failed", "succeeded", None]


def test_a_job_that_was_claimed_and_never_started_is_lost_in_time(tmp_path: Path) -> None:
    """Its `serve` was killed in between, and so was the client that would have asked again."""
    with agent(tmp_path) as worker:
        job = worker.start("return 1")
        worker.end(job)
        folder = tmp_path / "jobs" / job
        until(lambda: removal(worker, (job, None), dry=True)[0]["removed"], "its end")
        (folder / "events.jsonl").unlink()
        (folder / "summary.json").unlink()
    with agent(tmp_path) as later:
        (told,) = later.ask("jobs", after="", limit=10)[0]["jobs"]
        assert told["state"] is None
        assert removal(later, (job, None))[0]["reason"] == "it has not started yet"
        os.utime(folder / "spec.json", (1, 1))
        until(
            lambda: later.ask("jobs", after="", limit=10)[0]["jobs"][0]["state"] == "lost",
            "the job is lost",
        )


# -- workers that are gone


def remember(name: str, state: str, event: int = 4) -> str:
    """Have a job in the list whose worker is not, or no more, among the workers."""
    now = time.time()
    ended = now - 50 if state in ("succeeded", "lost") else None
    made = JobRecord(
        id=name.encode().hex().ljust(32, "0"), name=name, worker="rented", state=state,
        event=event, created=now - 200, started=now - 100, ended=ended,
    )  # fmt: skip
    Store.open().add(made)
    return made.label


def listed() -> set[str]:
    return {record.name for record in Store.open().list()}


def test_jobs_of_a_worker_that_was_removed_leave_the_list_when_they_are_meant(
    local: Worker, submit: Submit
) -> None:
    remember("done", "succeeded")
    lost, still = remember("lost", "lost"), remember("still", "running")
    remember("never", "lost", event=0)
    job = submit(local, "return 1")
    job.wait(PATIENCE)
    said = chute("clean")
    assert said.startswith("removed 2 jobs"), said  # `never` needs nobody
    assert f"kept {lost}: its worker was removed: name the job to take it off the list\n" in said
    assert listed() == {"done", "lost", "still"}
    assert chute("clean", "--dry-run", lost) == "would remove 1 job.\n"
    assert chute("clean", lost) == "removed 1 job.\n"
    assert listed() == {"done", "still"}
    assert chute("clean", "--worker", "rented") == "removed 1 job.\n"
    assert listed() == {"still"}
    assert chute("clean", "--worker", "rented") == "Nothing to remove.\n"
    assert chute("clean", still) == "removed 1 job.\n"
    assert listed() == set()
    with pytest.raises(UnknownWorker):
        chute("clean", "--worker", "rented")


def test_of_a_worker_that_is_out_of_reach_nothing_goes_and_what_to_do_is_said(
    local: Worker,
) -> None:
    Workers.load().add(Worker("rented", host="me@127.0.0.1:1"))
    label = remember("done", "succeeded")
    said = chute("clean", label)
    assert "rented can't be asked; if it is gone for good, remove the worker, and then" in said
    assert listed() == {"done"}
