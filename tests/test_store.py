"""The cache of jobs: shared by processes, guarded by event numbers, and never the truth."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
from dataclasses import replace

import pytest

from chutes_jupyter import store as store_module
from chutes_jupyter.config import state_dir
from chutes_jupyter.errors import ConfigError, JobNotFound
from chutes_jupyter.models import new_job_id
from chutes_jupyter.store import FILE_NAME, JobRecord, Store

ID = "3f9c2a" + "0" * 26


def record(job: str = ID, name: str = "train", **values: object) -> JobRecord:
    return JobRecord(job, name, values.pop("worker", "local"), **values)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "state" / FILE_NAME)
    yield opened
    opened.close()


def test_a_record_comes_back_as_it_was(store):
    full = record(
        worker="gpu1",
        state="succeeded",
        event=4,
        created=1.5,
        started=2.5,
        ended=3.5,
        reason="because",
        notebook="/home/me/ü.ipynb",
        cell="c1",
        output_dir="/home/me/chute_outputs/train-3f9c2a",
        ports=({"name": "web", "port": 8080, "proto": "http"},),
        timeout=60,
        upload=False,
        confirmed=4.5,
        root="/scratch",
    )
    assert store.add(full)
    assert store.get(ID) == full
    assert store.get(ID).label == "train-3f9c2a"
    assert Store.open(store.path).get(ID) == full
    assert store.get(ID).ended_for_good
    assert not record().ended_for_good


def test_the_defaults_of_a_record(store):
    store.add(record())
    assert store.get(ID) == record()
    assert store.get(ID).state == "pending"
    assert store.get(ID).event == 0


def test_adding_twice_changes_nothing(store):
    assert store.add(record(state="running", event=2))
    assert not store.add(record(state="pending"))
    assert store.get(ID).state == "running"


def test_only_a_newer_event_changes_a_job(store):
    store.add(record())
    assert store.update(ID, 2, state="running", started=5.0, confirmed=6.0)
    assert not store.update(ID, 1, state="starting", confirmed=99.0)
    assert not store.update(ID, 2, state="failed")
    assert store.get(ID) == record(state="running", event=2, started=5.0, confirmed=6.0)
    assert store.update(ID, 3, state="failed", reason="x", ended=7.0)
    assert store.get(ID).state == "failed"


def test_an_equal_event_changes_what_this_machine_knows(store):
    store.add(record(state="running", event=2))
    assert store.update(ID, 2, state="lost", confirmed=9.0, output_dir="/o", root="/r")
    assert store.get(ID) == record(
        state="running", event=2, confirmed=9.0, output_dir="/o", root="/r"
    )


def test_an_event_without_a_new_state_still_counts(store):
    store.add(record(state="running", event=2))
    assert store.update(ID, 3)
    assert store.get(ID).event == 3


def test_updating_an_unknown_job_does_nothing(store):
    assert not store.update(ID, 5, state="running")
    assert store.list() == []


@pytest.mark.parametrize("name", ["id", "event", "env", "job_data", "x = 1; --"])
def test_only_fields_of_a_record_can_be_written(store, name):
    with pytest.raises(TypeError, match="no such field"):
        store.update(ID, 1, **{name: 1} if name != "event" else {"events": 1})


def test_merging_adds_or_updates(store):
    said = record(state="running", event=2, started=3.0, confirmed=4.0)
    store.merge([said, replace(said, id="f" * 32)])
    assert store.get("f" * 32).state == "running"
    store.merge([replace(said, state="succeeded", event=3, ended=5.0)])
    store.merge([replace(said, state="starting", event=1)])
    assert store.get(ID).state == "succeeded"
    store.update(ID, 3, output_dir="/o")
    store.merge([replace(said, state="failed", event=3, confirmed=6.0)])
    assert store.get(ID).output_dir == "/o"
    assert (store.get(ID).state, store.get(ID).confirmed) == ("succeeded", 6.0)
    store.merge([])


def test_a_job_that_never_reached_its_worker_can_be_settled(store):
    store.add(record())
    assert store.settle(ID, 0, state="lost", reason="never reached the worker", ended=9.0)
    assert store.get(ID) == record(state="lost", reason="never reached the worker", ended=9.0)
    assert not store.settle(ID, 0, state="failed", reason="again", ended=10.0)
    assert store.update(ID, 1, state="starting")  # the worker is right, whatever we thought


def test_settling_loses_against_what_the_worker_said(store):
    store.add(record())
    store.update(ID, 1, state="starting")
    assert not store.settle(ID, 0, state="lost", reason="never reached the worker", ended=9.0)
    assert store.get(ID).state == "starting"


def test_jobs_are_found_by_any_unique_beginning(store):
    store.add(record("3f9c2a" + "0" * 26, "train"))
    store.add(record("3f9c2b" + "0" * 26, "train2"))
    store.add(record("aa" + "1" * 30, "serve"))
    for text in ("serve", "serve-aa", "serve-aa1111", "aa", "AA11", "aa" + "1" * 30, " aa ", "s"):
        assert store.find(text).name == "serve"
    assert store.find("train-3f9c2a").name == "train"
    assert store.find("train-").name == "train"
    assert store.find("train2").name == "train2"
    assert store.find("3f9c2a").name == "train"
    assert store.find("train-3f9c2a" + "0" * 26).name == "train"


@pytest.mark.parametrize("text", ["b", "train-3f9c2b", "%", "_", "train-%", "' OR 1=1 --", "*"])
def test_jobs_that_are_not_there(store, text):
    store.add(record())
    with pytest.raises(JobNotFound, match=r"known here\. `jupyter chute jobs` lists them"):
        store.find(text)
    with pytest.raises(JobNotFound, match="known here"):
        store.get(text)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_id_is_no_id(store, text):
    store.add(record())
    with pytest.raises(JobNotFound, match="id is missing"):
        store.find(text)


def test_an_ambiguous_beginning_lists_the_candidates(store):
    for number in range(3):
        store.add(record(f"3f9c{number}" + "0" * 27, "train", created=number, state="running"))
    with pytest.raises(JobNotFound) as caught:
        store.find("3f9c")
    zeros = "0" * 27
    assert str(caught.value) == (
        "'3f9c' begins the ids of 3 jobs; type more of the one you mean:\n"
        f"  train-3f9c2{zeros} (running)\n  train-3f9c1{zeros} (running)\n"
        f"  train-3f9c0{zeros} (running)"
    )
    for number in range(3, 12):
        store.add(record(f"3f9c{number:x}" + "0" * 27, "train"))
    with pytest.raises(JobNotFound, match="… and 4 more"):
        store.find("train")


def test_listing_is_newest_first_and_can_be_narrowed(store):
    for number in range(5):
        store.add(
            record(
                f"{number:032x}",
                worker=["local", "gpu1"][number % 2],
                state=["running", "succeeded"][number // 3],
                created=float(number),
                notebook=["a.ipynb", None][number % 2],
            )
        )

    def ids(*args: object, **values: object) -> list[int]:
        return [int(each.id, 16) for each in store.list(*args, **values)]

    assert ids() == [4, 3, 2, 1, 0]
    assert ids(2) == ids(limit=2) == [4, 3]
    assert ids(worker="gpu1") == [3, 1]
    assert ids(notebook="a.ipynb") == [4, 2, 0]
    assert ids(live=True) == [2, 1, 0]
    assert ids(live=False) == [4, 3]
    assert ids(live=True, worker="gpu1", notebook="a.ipynb") == []
    assert ids(0) == []


def test_removing(store):
    store.add(record())
    store.remove([ID])
    assert store.list() == []
    store.remove([ID])
    store.remove([])
    assert store.list() == []


def test_only_this_person_can_read_it(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    old = os.umask(0)
    try:
        opened = Store.open()
        opened.add(record())
    finally:
        os.umask(old)
    assert opened.path == state_dir() / FILE_NAME
    assert stat.S_IMODE(opened.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(opened.path.parent.stat().st_mode) == 0o700


def test_no_wal(store):
    store.add(record())
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    connection.close()


def test_deleting_the_file_in_use_loses_only_the_cache(store):
    other = Store.open(store.path)
    store.add(record())
    store.path.unlink()
    assert not store.update(ID, 1, state="running")
    assert store.list() == other.list() == []
    assert store.add(record())
    assert other.get(ID) == store.get(ID) == record()
    for path in store.path.parent.iterdir():
        path.unlink()
    store.path.parent.rmdir()
    assert other.add(record())
    assert store.get(ID) == record()
    other.close()


@pytest.mark.parametrize("version", [0, 99])
def test_a_file_of_another_version_is_made_anew(store, version):
    store.add(record())
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("DROP TABLE jobs")
    connection.execute("CREATE TABLE jobs (something TEXT)")
    connection.execute("INSERT INTO jobs VALUES ('else')")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    assert store.list() == []
    assert store.add(record())


def test_a_file_of_a_newer_version_is_not_believed(store):
    store.add(record())
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")  # the same table, which may mean other things
    connection.close()
    assert store.list() == []


def test_a_file_of_this_version_with_another_table_is_made_anew(store):
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("DROP TABLE jobs")
    connection.commit()
    connection.close()
    assert store.add(record())
    assert store.get(ID) == record()


@pytest.mark.parametrize("damage", [b"this is not a database at all" * 99, None])
def test_a_broken_file_is_made_anew(store, damage):
    for number in range(300):
        store.add(record(f"{number:032x}"))
    store.close()
    data = bytearray(store.path.read_bytes())
    store.path.write_bytes(damage or bytes(data[:4096]) + os.urandom(len(data) - 4096))
    fresh = Store.open(store.path)
    fresh.add(record())
    assert fresh.get(ID) == record()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    fresh.close()


def test_a_store_that_is_locked_for_too_long_says_so(store, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.1)
    store.close()
    connection = sqlite3.connect(store.path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ConfigError, match=f"^{store.path}: can't be used: database is locked"):
        store.add(record())
    connection.close()
    assert store.add(record())


JOBS = [f"{number:032x}" for number in range(4)]
EVENTS = 40


def _hammer(path, number: int, start) -> None:
    opened = Store.open(path)
    start.wait(60)
    for job in JOBS:
        opened.add(record(job))
    opened.add(record(new_job_id(), f"own{number}"))
    for event in range(1, EVENTS + 1):
        for job in JOBS:
            # Every process tells the same story, at its own pace.
            opened.update(job, event, state="running", reason=f"event {event}", confirmed=1.0)
            seen = opened.get(job)
            assert seen.event >= event
            assert seen.reason == f"event {seen.event}"


@pytest.mark.slow
def test_ten_processes_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(10)
    path = tmp_path / FILE_NAME
    processes = [context.Process(target=_hammer, args=(path, n, start)) for n in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    assert [process.exitcode for process in processes] == [0] * 10
    found = {each.id: each for each in Store.open(path).list()}
    assert len(found) == len(JOBS) + 10
    assert {found[job].event for job in JOBS} == {EVENTS}
    assert {found[job].reason for job in JOBS} == {f"event {EVENTS}"}


def test_threads_share_one_store(store):
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for count in range(20):
                store.add(record(f"{number:016x}{count:016x}"))
                store.list(5)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(store.list()) == 120


def test_a_forked_process_opens_the_file_for_itself(store):
    store.add(record())
    child = os.fork()
    if child == 0:
        try:
            store.add(record("f" * 32))
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(store.list()) == 2
    store.add(record("e" * 32))
    assert len(store.list()) == 3


def test_the_table_has_no_room_for_secrets(store):
    columns = set(JobRecord.__dataclass_fields__)
    connection = sqlite3.connect(store.path)
    found = {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}
    connection.close()
    assert found == columns
    assert not columns & {"env", "job_data", "payload", "spec", "result", "value", "code"}
