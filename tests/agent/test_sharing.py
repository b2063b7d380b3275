"""GPUs shared without a scheduler: one job at a time has each, in the order in which they came."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.agent import sharing, tickets
from tests.agent.rig import PATIENCE, Agent, agent
from tests.agent.test_endings import nothing_is_left, parent
from tests.freeport import free_port
from tests.interpreters import newest, oldest
from tests.nvml import Cards, build, uuid

#: Writes down when it has which GPUs, and keeps them until it is told to go.
JOB = """
import os, pathlib, subprocess, time
folder = pathlib.Path(job_data["folder"])
name = job_data["name"]
others = [int(pid) for file in folder.glob("*.pids") for pid in file.read_text().split()]
alive = [pid for pid in others if os.path.exists(f"/proc/{pid}")
         and open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"]
child = subprocess.Popen(["sleep", "300"], start_new_session=True)
(folder / f"{name}.pids").write_text(f"{os.getpid()} {child.pid}")
def write(word):
    with open(folder / "book", "a") as book:
        book.write(f"{word} {name} {os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')} {alive}\\n")
write("has")
while not (folder / f"{name}.go").exists() and not self.cancel_event.is_set():
    time.sleep(0.005)
write("gives")
(folder / f"{name}.pids").unlink()
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def cards(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    """One GPU, for every agent that the test starts."""
    found = Cards(tmp_path, library, 1)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


@pytest.fixture
def worker(tmp_path: Path, cards: Cards) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running
        # Jobs that a failed test has left would wait, and sleep, for ever.
        for job in running.ask("jobs", after="", limit=500)[0]["jobs"]:
            running.ask("cancel", job=job["id"])
        for job in running.ask("jobs", after="", limit=500)[0]["jobs"]:
            running.end(job["id"])


class Book:
    """What the jobs wrote down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def start(self, worker: Agent, name: str, gpus: int | None = 1, **changes: Any) -> str:
        data = {"folder": str(self.folder), "name": name}
        return worker.start(JOB, data, gpus=gpus, **changes)

    def let_go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()

    def lines(self) -> list[list[str]]:
        file = self.folder / "book"
        return (
            [line.split(" ", 3) for line in file.read_text().splitlines()] if file.exists() else []
        )

    def has(self, name: str) -> list[str]:
        """Wait until a job has its GPUs, and return what it sees."""
        return eventually(
            lambda: next((line for line in self.lines() if line[:2] == ["has", name]), None),
            f"{name} begins",
        )[2].split(",")

    def pids(self, name: str) -> list[int]:
        return [int(word) for word in (self.folder / f"{name}.pids").read_text().split()]

    def order(self) -> list[str]:
        return [line[1] for line in self.lines() if line[0] == "has"]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "book")


def eventually(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"never: {what}")


def events(worker: Agent, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = worker.ask("events", job=job, after=0)[0]["events"]
    return found


def waits(worker: Agent, job: str) -> str | None:
    """Return what a job waits for at present."""
    kinds = [e for e in events(worker, job) if e["type"] in ("state", "waiting")]
    return kinds[-1].get("message") if kinds else None


def until_waits(worker: Agent, job: str, text: str) -> None:
    eventually(lambda: waits(worker, job) == text, f"{text}, but {waits(worker, job)}")


def notices(worker: Agent, job: str) -> list[str]:
    return [e["message"] for e in events(worker, job) if e["type"] == "notice"]


def keepers(worker: Agent, job: str) -> dict[str, int]:
    path = worker.root / "jobs" / job / "child.json"
    child = eventually(lambda: path.exists() and json.loads(path.read_text())["pid"], "it runs")
    guardian = parent(child)
    supervisor = parent(guardian)
    return {
        "job": child,
        "guardian": guardian,
        "supervisor": supervisor,
        "warden": parent(supervisor),
    }


# -- in turn


@pytest.mark.parametrize("python", [oldest, newest])
def test_jobs_have_a_gpu_one_after_the_other_in_the_order_in_which_they_came(
    tmp_path: Path, cards: Cards, book: Book, python: Callable[[], Path]
) -> None:
    names = [f"job{number}" for number in range(8)]
    cards.set(2)
    with agent(tmp_path / "root", str(python())) as worker:
        jobs = [book.start(worker, name, python=str(python())) for name in names]
        for name in names:
            book.let_go(name)
        for job in jobs:
            assert worker.end(job)["state"] == "succeeded"
    had: dict[str, str] = {}
    for word, name, seen, _ in book.lines():
        assert seen in (uuid(0), uuid(1))
        if word == "has":
            assert seen not in had.values()
            had[name] = seen
        else:
            del had[name]
    # Of two that begin at once on two GPUs either may write first.
    assert {"job0", "job1"} == set(book.order()[:2])
    assert all(abs(book.order().index(name) - number) <= 1 for number, name in enumerate(names))
    assert list(cards.locks.glob("*.has")) == list(cards.locks.glob("*.waits")) == []


def test_one_gpu_makes_the_order_strict(worker: Agent, book: Book) -> None:
    names = [f"job{number}" for number in range(6)]
    jobs = [book.start(worker, name) for name in names]
    for name in reversed(names):
        book.let_go(name)
    assert [worker.end(job)["state"] for job in jobs] == ["succeeded"] * 6
    assert book.order() == names


def test_who_waits_is_told_how_many_are_ahead(worker: Agent, book: Book, cards: Cards) -> None:
    cards.set(2)
    first = book.start(worker, "first", 2)
    book.has("first")
    second, third, last = (book.start(worker, name) for name in ("second", "third", "last"))
    wide = book.start(worker, "wide", 2)
    until_waits(worker, second, "waiting for 1 GPU, next in line")
    until_waits(worker, last, "waiting for 1 GPU, 2 ahead")
    until_waits(worker, wide, "waiting for 2 GPUs, 3 ahead")
    page = worker.ask("jobs", after="", limit=500)[0]["jobs"]
    assert {job["id"]: (job["state"], job["waiting"]) for job in page} == {
        first: ("running", None),
        second: ("starting", "waiting for 1 GPU, next in line"),
        third: ("starting", "waiting for 1 GPU, 1 ahead"),
        last: ("starting", "waiting for 1 GPU, 2 ahead"),
        wide: ("starting", "waiting for 2 GPUs, 3 ahead"),
    }
    book.let_go("first")
    for name in ("second", "third"):
        book.has(name)
    until_waits(worker, last, "waiting for 1 GPU, next in line")
    until_waits(worker, wide, "waiting for 2 GPUs, 1 ahead")
    for name in ("second", "third", "last", "wide"):
        book.let_go(name)
    assert worker.end(wide)["state"] == "succeeded"
    told = [e.get("state") or e.get("message") for e in events(worker, wide)]
    assert told[0] == "starting"
    assert told[-4:] == ["running", "collecting", None, "succeeded"]
    assert "waiting for 2 GPUs, next in line" in told
    assert waits(worker, wide) is None


def test_nobody_slips_past_a_job_that_wants_many(worker: Agent, book: Book, cards: Cards) -> None:
    cards.set(2)
    jobs = [book.start(worker, "small"), book.start(worker, "wide", 2), book.start(worker, "late")]
    until_waits(worker, jobs[2], "waiting for 1 GPU, 1 ahead")  # though a GPU is free
    for name in ("small", "wide", "late"):
        book.let_go(name)
    assert [worker.end(job)["state"] for job in jobs] == ["succeeded"] * 3
    assert book.order() == ["small", "wide", "late"]


def test_the_time_of_waiting_is_not_of_the_timeout(worker: Agent, book: Book) -> None:
    book.start(worker, "first")
    book.has("first")
    second = book.start(worker, "second", timeout=1)
    until_waits(worker, second, "waiting for 1 GPU, next in line")
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.5, "more than its timeout")
    assert waits(worker, second) == "waiting for 1 GPU, next in line"
    book.let_go("first")
    assert worker.end(second)["state"] == "timed_out"
    assert book.order() == ["first", "second"]


def test_who_waits_keeps_nobody_from_a_port(worker: Agent, book: Book) -> None:
    port = {"name": "web", "port": free_port(), "proto": "http"}
    book.start(worker, "first")
    book.has("first")
    second = book.start(worker, "second", ports=[port])
    until_waits(worker, second, "waiting for 1 GPU, next in line")
    third = worker.start("return 1", ports=[port])
    assert worker.end(third)["state"] == "succeeded"
    for name in ("first", "second"):
        book.let_go(name)
    assert worker.end(second)["state"] == "succeeded"


def test_two_roots_share_the_gpus_of_a_machine(tmp_path: Path, worker: Agent, book: Book) -> None:
    with agent(tmp_path / "other") as other:
        book.start(worker, "first")
        book.has("first")
        second = book.start(other, "second")
        third = book.start(worker, "third")
        until_waits(other, second, "waiting for 1 GPU, next in line")
        until_waits(worker, third, "waiting for 1 GPU, 1 ahead")
        for name in ("first", "second", "third"):
            book.let_go(name)
        assert other.end(second)["state"] == worker.end(third)["state"] == "succeeded"
    assert book.order() == ["first", "second", "third"]


def test_who_waits_needs_neither_client_nor_serve(tmp_path: Path, cards: Cards, book: Book) -> None:
    with agent(tmp_path / "root") as worker:
        book.start(worker, "first")
        book.has("first")
        second = book.start(worker, "second")
        until_waits(worker, second, "waiting for 1 GPU, next in line")
        worker.process.kill()
    book.let_go("first")
    assert book.has("second") == [uuid(0)]
    book.let_go("second")
    with agent(tmp_path / "root") as worker:
        assert worker.end(second)["state"] == "succeeded"


def test_who_waits_costs_next_to_nothing(worker: Agent, book: Book) -> None:
    book.start(worker, "first")
    book.has("first")
    waiting = [book.start(worker, f"job{number}") for number in range(5)]
    for number, job in enumerate(waiting):
        place = f"{number} ahead" if number else "next in line"
        until_waits(worker, job, f"waiting for 1 GPU, {place}")
    line = [json.loads(f.read_text())["pid"] for f in cards_waiting()]
    assert len(line) == 5
    supervisors = [child for pid in line for child in children(pid)]
    before = sum(map(cpu_ticks, supervisors))
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 3, "3 s")
    # A hundredth of a second each, in three; a poll without end would have 300.
    assert sum(map(cpu_ticks, supervisors)) - before <= 5


def cards_waiting() -> list[Path]:
    return sorted(Path(os.environ["CHUTES_GPU_LOCKS"]).glob("*.waits"))


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in told.split()]


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# -- ends of those who have and of those who wait


def test_a_cancel_while_waiting_works_at_once(worker: Agent, book: Book) -> None:
    book.start(worker, "first")
    book.has("first")
    second, third = book.start(worker, "second"), book.start(worker, "third")
    until_waits(worker, third, "waiting for 1 GPU, 1 ahead")
    began = time.monotonic()
    worker.ask("cancel", job=second)
    last = worker.end(second)
    assert time.monotonic() - began < 1.5  # far below any pause of who waits
    assert (last["state"], last["reason"]) == ("cancelled", "cancelled as asked")
    until_waits(worker, third, "waiting for 1 GPU, next in line")
    for name in ("first", "third"):
        book.let_go(name)
    assert worker.end(third)["state"] == "succeeded"
    assert book.order() == ["first", "third"]


def test_a_dead_waiter_is_passed_over(worker: Agent, book: Book, cards: Cards) -> None:
    book.start(worker, "first")
    book.has("first")
    second, third = book.start(worker, "second"), book.start(worker, "third")
    until_waits(worker, third, "waiting for 1 GPU, 1 ahead")
    (dead,) = [t for t in cards.tickets() if str(t["label"]).endswith(second[:6])]
    (supervisor,) = children(int(str(dead["pid"])))
    for number in (signal.SIGSTOP, signal.SIGKILL):  # nobody sees the other one die
        for pid in (int(str(dead["pid"])), supervisor):
            os.kill(pid, number)
    until_waits(worker, third, "waiting for 1 GPU, next in line")
    assert worker.end(second)["state"] == "lost"
    book.let_go("first")
    assert book.has("third") == [uuid(0)]
    # This person's own ticket of the dead is taken away, too.
    assert [str(t["label"])[-6:] for t in cards.tickets()] == [third[:6]]


@pytest.mark.parametrize(
    "victims",
    [
        "job",
        "supervisor",
        "guardian",
        "warden supervisor",
        "supervisor guardian",
        "warden guardian",
        "warden supervisor guardian",
        "warden supervisor guardian job",
    ],
)
def test_the_gpus_of_a_dead_job_are_free_when_its_last_process_is_gone(
    worker: Agent, book: Book, victims: str
) -> None:
    first = book.start(worker, "first")
    book.has("first")
    second = book.start(worker, "second")
    until_waits(worker, second, "waiting for 1 GPU, next in line")
    pids = keepers(worker, first)
    began = time.monotonic()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for name in victims.split():
            os.kill(pids[name], number)
    if {"warden", "supervisor", "guardian"} <= set(victims.split()):
        worker.follow(first)  # a client that follows the job has it swept
    assert book.has("second") == [uuid(0)]
    assert time.monotonic() - began < 5
    ((*_, alive),) = [line for line in book.lines() if line[:2] == ["has", "second"]]
    left = [str(pid) for pid in book.pids("first")]
    if victims.endswith("guardian job"):
        # Its orphan is out of sight until the sweep, and holds nothing.
        left = left[:1]
    assert not [pid for pid in left if pid in alive]
    book.let_go("second")
    assert worker.end(second)["state"] == "succeeded"
    assert nothing_is_left(worker)


def test_while_its_keepers_are_dead_and_it_lives_a_job_keeps_its_gpu(
    worker: Agent, book: Book
) -> None:
    first = book.start(worker, "first")
    book.has("first")
    second = book.start(worker, "second")
    until_waits(worker, second, "waiting for 1 GPU, next in line")
    pids = keepers(worker, first)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for name in ("warden", "supervisor", "guardian"):
            os.kill(pids[name], number)
    folder = tickets.Folder(os.environ["CHUTES_GPU_LOCKS"], 0o1777)
    eventually(lambda: parent(pids["guardian"]) == 0, "the guardian is gone")
    assert folder.lock(uuid(0)) is None
    assert book.order() == ["first"]
    os.kill(pids["job"], signal.SIGKILL)
    book.has("second")
    folder.close()


@pytest.mark.parametrize("holder", ["warden", "supervisor", "guardian"])
def test_each_keeper_holds_the_gpus_until_it_has_ended_what_is_left(
    worker: Agent, book: Book, holder: str
) -> None:
    job = book.start(worker, "first")
    book.has("first")
    pids = keepers(worker, job)
    _, orphan = book.pids("first")
    os.kill(pids[holder], signal.SIGSTOP)
    others = [pid for name, pid in pids.items() if name != holder]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in others:
            os.kill(pid, number)
    eventually(lambda: not any(map(runs, others)), "the others are gone")
    folder = tickets.Folder(os.environ["CHUTES_GPU_LOCKS"], 0o1777)
    try:
        assert folder.lock(uuid(0)) is None
        assert runs(orphan)
    finally:
        os.kill(pids[holder], signal.SIGCONT)
    fd = eventually(lambda: folder.lock(uuid(0)), "it is free")
    assert not runs(orphan)
    os.close(fd)
    folder.close()
    worker.follow(job)


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


# -- how many, and which


def test_more_than_there_are_is_refused_with_figures(worker: Agent, cards: Cards) -> None:
    cards.set(2)
    job = worker.start("return 1", gpus=3)
    last = worker.end(job)
    assert last["state"] == "failed"
    assert last["reason"] == (
        "the job asks for 3 GPUs; the worker has 2 (2 x FAKE GPU (simulated))"
    )


def test_a_job_sees_its_gpus_and_says_which_it_has(worker: Agent, cards: Cards) -> None:
    cards.set(4)
    job = worker.start("import os; return os.environ['CUDA_VISIBLE_DEVICES']", gpus=2)
    worker.end(job)
    assert worker.value(job) == f"{uuid(0)},{uuid(1)}"
    (told,) = [e for e in events(worker, job) if e["type"] == "gpus"]
    assert told["message"] == "GPUs 0, 1 (2 x FAKE GPU (simulated))"
    assert told["gpus"] == [uuid(0), uuid(1)]
    assert [e["state"] for e in events(worker, job) if e["type"] == "state"] == [
        "starting",
        "running",
        "collecting",
        "succeeded",
    ]


def test_who_comes_through_the_door_of_a_job_sees_its_gpus(worker: Agent, book: Book) -> None:
    job = book.start(worker, "first", ssh=True)
    book.has("first")
    door = worker.root / "jobs" / job / "door" / "session.json"
    assert json.loads(door.read_text())["env"]["CUDA_VISIBLE_DEVICES"] == uuid(0)
    book.let_go("first")
    worker.end(job)


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (None, "3,4")])
def test_zero_hides_the_gpus_and_who_does_not_say_is_not_touched(
    worker: Agent, gpus: int | None, seen: str
) -> None:
    source = "import os; return os.environ['CUDA_VISIBLE_DEVICES']"
    job = worker.start(source, gpus=gpus, env={"CUDA_VISIBLE_DEVICES": "3,4"})
    worker.end(job)
    assert worker.value(job) == seen


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,1", {1, 2}),
        ("GPU-00000003,0", {0, 3}),
        ("1,-1,2", {1}),
        ("0,9,1", {0}),
        ("GPU-0000000", set()),  # of two or more, which?
        ("", set()),
        ("MIG-0000", set()),
    ],
)
def test_what_the_workers_environment_shows_limits_the_choice(
    worker: Agent, cards: Cards, visible: str, expected: set[int]
) -> None:
    cards.set(4)
    count = max(1, len(expected))
    source = "import os; return os.environ['CUDA_VISIBLE_DEVICES']"
    environment = {"CUDA_VISIBLE_DEVICES": visible}
    job = worker.start(source, gpus=count, env=environment)
    worker.end(job)
    if expected:
        assert set(worker.value(job).split(",")) == {uuid(index) for index in expected}
        last = worker.end(worker.start(source, gpus=count + 1, env=environment))
        assert last["state"] == "failed"
        assert (
            f"has 4 (4 x FAKE GPU (simulated)), of which its jobs may use {count}"
            in (last["reason"])
        )
    else:
        assert worker.value(job) == visible
        assert notices(worker, job) == [
            "CUDA_VISIBLE_DEVICES of the worker leaves its jobs no whole GPU: "
            "it has no GPU of its own"
        ]


def test_people_with_other_gpus_do_not_wait_for_each_other(
    worker: Agent, book: Book, cards: Cards
) -> None:
    cards.set(2)
    zero, one = {"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}
    book.start(worker, "first", env=zero)
    book.has("first")
    second = book.start(worker, "second", env=zero)
    until_waits(worker, second, "waiting for 1 GPU, next in line")
    book.start(worker, "third", env=one)
    assert book.has("third") == [uuid(1)]
    for name in ("first", "second", "third"):
        book.let_go(name)


@pytest.mark.parametrize(
    ("count", "options", "reason"),
    [
        (None, (), "the worker has no GPU tools (NVML)"),
        (0, (), "the worker has no GPU"),
        (1, (0,), "the worker's GPUs are split into instances (MIG), which are not shared out"),
    ],
)
def test_where_there_is_none_to_have_it_runs_and_is_told(
    worker: Agent,
    cards: Cards,
    count: int | None,
    options: tuple[int, ...],
    reason: str,
    tmp_path: Path,
) -> None:
    environment = {}
    if count is None:
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / "libnvidia-ml.so.1").write_bytes(b"")
        environment = {"LD_LIBRARY_PATH": str(tmp_path / "none")}
    cards.set(count or 0, split=options)
    source = "import os; return os.environ.get('CUDA_VISIBLE_DEVICES')"
    job = worker.start(source, gpus=1, env=environment)
    assert worker.end(job)["state"] == "succeeded"
    assert worker.value(job) is None
    assert notices(worker, job) == [f"{reason}: it has no GPU of its own"]
    assert cards.tickets() == []


def test_only_cards_that_the_selector_asks_for_are_given(worker: Agent, cards: Cards) -> None:
    cards.set(3, memory=(15109, 81559, 81559))
    selector = {"gpu_count": 1, "min_vram_gb_per_gpu": 40, "include": None, "exclude": None}
    source = "import os; return os.environ['CUDA_VISIBLE_DEVICES']"
    job = worker.start(source, gpus=2, node_selector=selector)
    worker.end(job)
    assert worker.value(job) == f"{uuid(1)},{uuid(2)}"
    last = worker.end(worker.start(source, gpus=3, node_selector=selector))
    assert last["reason"].endswith(", of which 2 fit the NodeSelector")


# -- those who use GPUs without asking


def test_a_gpu_that_others_use_is_taken_last_and_told(
    worker: Agent, cards: Cards, book: Book
) -> None:
    with subprocess.Popen(["sleep", "300"]) as other:
        try:
            cards.set(2, users={0: [(other.pid, 1000), (2**22 + 1, 5)]})
            book.start(worker, "first")
            assert book.has("first") == [uuid(1)]
            second = book.start(worker, "second")
            assert book.has("second") == [uuid(0)]
        finally:
            other.kill()
    told = f"GPU 0 is also used by sleep (pid {other.pid}, {user()}), pid 4194305"
    assert notices(worker, second) == [told]
    for name in ("first", "second"):
        book.let_go(name)


def user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def test_the_worker_says_who_has_which_gpu_and_who_waits(
    worker: Agent, cards: Cards, book: Book
) -> None:
    cards.set(3)
    first = book.start(worker, "first", 2)
    book.has("first")
    second = book.start(worker, "second", 2)
    until_waits(worker, second, "waiting for 2 GPUs, next in line")
    own, _ = book.pids("first")
    with subprocess.Popen(["sleep", "300"]) as other:
        try:
            cards.set(3, users={0: [(own, 500)], 1: [(own, 500), (other.pid, 60)]})
            told, _ = worker.ask("gpus")
        finally:
            other.kill()
    holder = {"label": f"job-{first[:6]}", "user": user()}
    foreign = f"sleep (pid {other.pid}, {user()})"
    assert told["waiting"] == [{"label": f"job-{second[:6]}", "user": user(), "wants": 2}]
    seen = [(g["index"], g["uuid"], g["free_mib"], g["holder"], g["others"]) for g in told["gpus"]]
    assert seen == [
        (0, uuid(0), 81420, holder, []),
        (1, uuid(1), 81360, holder, [foreign]),
        (2, uuid(2), 81920, None, []),
    ]
    for name in ("first", "second"):
        book.let_go(name)


def test_a_worker_without_gpus_says_so(worker: Agent, cards: Cards) -> None:
    cards.set(0)
    assert worker.ask("gpus")[0]["gpus"] == []


# -- those who mean harm


def test_the_folder_of_the_line_is_open_to_all_and_nobody_can_take_from_others(
    worker: Agent, cards: Cards
) -> None:
    worker.end(worker.start("return 1", gpus=1))
    assert stat.S_IMODE(cards.locks.stat().st_mode) == 0o1777
    (lock,) = cards.locks.glob("*.lock")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o1644


@pytest.mark.parametrize("trap", ["link", "file", "unsafe"])
def test_a_folder_that_is_a_trap_is_not_used(
    worker: Agent, cards: Cards, tmp_path: Path, trap: str
) -> None:
    if trap == "link":
        (tmp_path / "elsewhere").mkdir()
        cards.locks.symlink_to(tmp_path / "elsewhere")
        words = "is not a folder"
    elif trap == "file":
        cards.locks.touch()
        words = "is not a folder"
    else:
        cards.locks.mkdir()
        cards.locks.chmod(0o777)
        os.chown(cards.locks, 12345, 12345)
        words = "has the mode 777, not 1777"
    job = worker.start("import os; return os.environ['CUDA_VISIBLE_DEVICES']", gpus=1)
    assert worker.end(job)["state"] == "succeeded"
    assert worker.value(job) == uuid(0)
    (notice,) = notices(worker, job)
    assert notice.startswith("GPUs are shared with jobs of this folder alone: ")
    assert words in notice
    assert (worker.root / "gpus" / f"{uuid(0)}.lock").exists()


def test_what_others_put_into_the_line_stops_nobody(
    worker: Agent, cards: Cards, tmp_path: Path
) -> None:
    worker.end(worker.start("return 1", gpus=1))
    early = "0" * 20 + "-" + "a" * 31
    target = tmp_path / "precious"
    target.write_text("kept")
    (cards.locks / f"{early}1.waits").symlink_to(target)
    os.mkfifo(cards.locks / f"{early}2.waits")
    (cards.locks / f"{early}3.waits").write_bytes(b"\xff" * 100_000)
    (cards.locks / f"{early}4.waits").write_text("[" * 100_000)
    (cards.locks / f"{early}5.has").mkdir()
    (cards.locks / "junk").write_text("x")
    job = worker.start("return 1", gpus=1)
    assert worker.end(job)["state"] == "succeeded"
    assert worker.ask("gpus")[0]["waiting"] == []
    assert target.read_text() == "kept"


def test_a_lock_that_is_a_link_is_not_followed(worker: Agent, cards: Cards, tmp_path: Path) -> None:
    cards.locks.mkdir()
    cards.locks.chmod(0o1777)
    target = tmp_path / "precious"
    target.write_text("kept")
    (cards.locks / f"{uuid(0)}.lock").symlink_to(target)
    last = worker.end(worker.start("return 1", gpus=1))
    assert last["state"] == "failed"
    assert f"{uuid(0)}.lock" in last["reason"]
    assert target.read_text() == "kept"


def test_a_lock_file_that_is_replaced_meanwhile_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "line" / "GPU-1.lock"

    class Unlucky(tickets.Folder):
        """Somebody takes the file away, right after it was opened for the first time."""

        opened = 0

        def _open_lock(self, name: str) -> int:
            fd = super()._open_lock(name)
            self.opened += 1
            if self.opened == 1:
                path.unlink()
            return fd

    folder = Unlucky(str(tmp_path / "line"))
    fd = folder.lock("GPU-1")
    assert fd is not None
    assert folder.opened == 2
    assert os.path.samestat(os.fstat(fd), path.stat())
    assert folder.lock("GPU-1") is None
    os.close(fd)
    folder.close()


def test_a_line_that_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "LONGEST", 3)
    folder = tickets.Folder(str(tmp_path / "line"))
    drawn = [folder.draw(f"{number:032x}", {}) for number in range(3)]
    (tmp_path / "line" / "GPU-1.lock").touch()
    with pytest.raises(OSError, match="more than 3 jobs want GPUs here"):
        folder.draw("a" * 32, {})
    os.close(drawn.pop().fd)  # it dies
    drawn.append(folder.draw("a" * 32, {}))
    for ticket in drawn:
        os.close(ticket.fd)
    folder.close()


def test_the_largest_ticket_is_read_as_it_was_written(tmp_path: Path) -> None:
    names = [uuid(number) for number in range(64)]
    facts = {"label": "ä" * 207, "wants": 64, "pid": 2**22, "among": names, "has": []}
    folder = tickets.Folder(str(tmp_path / "line"))
    ticket = folder.draw("a" * 32, facts)
    assert [seen.facts for seen in folder.tickets()] == [facts]
    ticket.remove()
    os.close(ticket.fd)
    folder.close()


def test_nothing_but_the_name_of_a_gpu_becomes_a_path(tmp_path: Path) -> None:
    folder = tickets.Folder(str(tmp_path / "line"))
    with pytest.raises(OSError, match="no GPU is called"):
        folder.lock("../x")
    folder.close()


def test_descriptors_reach_the_warden() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    assert sharing.receive(ours) == []
