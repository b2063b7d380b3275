"""What a job listens on: told by its supervisor, reached by the relay while it is its own."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chutes_jupyter.agent import lanes, listening
from chutes_jupyter.agent.journal import JobDir
from chutes_jupyter.agent.outlet import Outlet
from chutes_jupyter.agent.streams import Streams
from tests import interpreters
from tests.agent.rig import PATIENCE, Agent, agent
from tests.agent.test_relay import RelayProcess
from tests.freeport import free_port

#: Serves by a process that nobody but the guardian knows, until it is told to end.
SERVES = """
import os, subprocess, sys
serve = '''
import os, socket, sys, threading, time
host, port, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
both = host == "::"
server = socket.create_server((host, port), family=family, dualstack_ipv6=both)
def answer():
    while True:
        server.accept()[0].sendall(b"from the job")
threading.Thread(target=answer, daemon=True).start()
while not os.path.exists(end):
    time.sleep(0.02)
'''
words = [sys.executable, "-c", serve, job_data["host"], str(job_data["port"]), job_data["end"]]
if os.fork() == 0:
    subprocess.Popen(words, start_new_session=True, env={})
    os._exit(0)
os.wait()
self.cancel_event.wait_blocking()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root", str(interpreters.oldest())) as running:
        yield running


@pytest.fixture
def relay(worker: Agent) -> Iterator[RelayProcess]:
    running = RelayProcess(worker.root, str(interpreters.oldest()))
    yield running
    running.close()


@contextlib.contextmanager
def serving(worker: Agent, host: str, port: int, end: Path, **spec: Any) -> Iterator[str]:
    """Run a job that listens."""
    job = worker.start(SERVES, {"host": host, "port": port, "end": str(end)}, **spec)
    try:
        worker.follow(job, until="running")
        yield job
    finally:
        worker.ask("cancel", job=job)
        worker.end(job)


def told(worker: Agent, job: str, count: int) -> list[list[dict[str, Any]]]:
    """Return what was told, as soon as that was so often."""
    deadline, events = time.monotonic() + 2 * PATIENCE, []
    while time.monotonic() < deadline:
        header, _ = worker.ask("events", job=job, after=len(events), wait=5.0)
        events += header["events"]
        found = [event["ports"] for event in events if event["type"] == "listening"]
        if len(found) >= count:
            return found
    raise AssertionError(f"told {events}")


def stands(job: JobDir, port: int) -> list[listening.Way]:
    deadline = time.monotonic() + PATIENCE
    while not (found := listening.ways(job, port)):
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(("host", "everywhere"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_port_is_told_while_a_process_of_the_job_listens(
    worker: Agent, tmp_path: Path, host: str, everywhere: bool
) -> None:
    port = free_port()
    with serving(worker, host, port, tmp_path / "end") as job:
        whole = [{"port": port, "everywhere": everywhere}]
        assert told(worker, job, 1) == [whole]
        (tmp_path / "end").touch()
        assert told(worker, job, 2) == [whole, []]


def test_neither_others_nor_what_is_declared_or_short_is_told(
    worker: Agent, tmp_path: Path
) -> None:
    port, declared = free_port(), free_port()
    ports = [{"name": "web", "port": declared, "proto": "tcp"}]
    source = f"""
import socket, time
with socket.create_server(("127.0.0.1", 0)):
    time.sleep(0.2)
kept = [socket.create_server(("127.0.0.1", {declared}))]
{SERVES}
"""
    with socket.create_server(("127.0.0.1", 0)) as others:
        data = {"host": "127.0.0.1", "port": port, "end": str(tmp_path / "end")}
        job = worker.start(source, data, ports=ports)
        try:
            found = told(worker, job, 1)
        finally:
            worker.ask("cancel", job=job)
            worker.end(job)
        assert others.getsockname()[1] != port
    assert found == [[{"port": port, "everywhere": False}]]


def test_of_very_many_the_lowest_are_told(worker: Agent) -> None:
    source = """
import socket
kept = [socket.create_server(("127.0.0.1", 0)) for _ in range(40)]
print(*sorted(each.getsockname()[1] for each in kept), flush=True)
self.cancel_event.wait_blocking()
"""
    job = worker.start(source)
    try:
        (found,) = told(worker, job, 1)
    finally:
        worker.ask("cancel", job=job)
    every = [int(word) for word in worker.log(job).split()]
    assert [each["port"] for each in found] == every[: listening.MOST]


def looked(monkeypatch: pytest.MonkeyPatch, each: int) -> list[Any]:
    """Return what is told of a job that has another socket after so many looks, in 400 looks."""
    words: list[Any] = []
    watch = listening.Watch(1, [], lambda kind, ports: words.append((kind, ports)))
    monkeypatch.setattr(listening, "held", lambda _pids, inodes: inodes)
    monkeypatch.setattr(listening.processes, "below", lambda _: [])
    now = 100.0
    for number in range(400):
        there = [listening.Listener(str(number // each), "127.0.0.1", 9000 + number // each)]
        monkeypatch.setattr(listening, "listeners", lambda _, there=there: there)
        watch.look(now)
        now += listening.PERIOD + 0.01
    return words


def test_what_stands_for_a_moment_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked(monkeypatch, 1) == []


def test_who_changes_ports_all_the_time_is_told_of_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    words = looked(monkeypatch, 2)
    assert 50 < len(words) < 100
    assert words[0] == ("listening", [{"port": 9000, "everywhere": False}])


def test_where_the_system_does_not_tell_nothing_is_offered(
    worker: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    port = free_port()
    with serving(worker, "127.0.0.1", port, tmp_path / "end") as job:
        directory = JobDir(str(worker.root), job)
        stands(directory, port)
        monkeypatch.setattr(listening, "_TABLES", (str(tmp_path / "none"),))
        assert listening.ways(directory, port) == []
        words: list[Any] = []
        watch = listening.Watch(1, [], lambda kind, ports: words.append((kind, ports)))
        for now in (100.0, 110.0, 120.0):
            watch.look(now)
        assert words == []


def test_the_relay_connects_only_to_the_jobs_own(
    worker: Agent, relay: RelayProcess, tmp_path: Path
) -> None:
    port, end = free_port(), tmp_path / "end"
    with (
        socket.create_server(("127.0.0.1", 0)) as others,
        serving(worker, "127.0.0.1", port, end) as job,
        serving(worker, "127.0.0.1", free_port(), tmp_path / "never") as second,
    ):
        stands(JobDir(str(worker.root), job), port)
        relay.say(lanes.OPEN, 1, port, job.encode())
        assert relay.hear(lanes.OPENED, lanes.REFUSED)[0] == lanes.OPENED
        assert relay.hear(lanes.DATA)[3] == b"from the job"
        refused = [
            (others.getsockname()[1], job),
            (port, second),
            (port, "0" * 32),
            (port, "../" + job),
            (free_port(), job),
        ]
        for flow, (number, owner) in enumerate(refused, 2):
            for asked in (owner, owner + lanes.ONLY_ASK):
                relay.say(lanes.OPEN, flow, number, asked.encode())
                kind, _, _, reason = relay.hear(lanes.OPENED, lanes.REFUSED)
                assert kind == lanes.REFUSED, (number, asked)
                assert reason.startswith(b"no process of the job listens there")
        others.setblocking(False)
        with pytest.raises(BlockingIOError):
            others.accept()  # nobody was there
        relay.say(lanes.OPEN, 50, port, (job + lanes.ONLY_ASK).encode())
        assert relay.hear(lanes.OPENED, lanes.REFUSED)[:2] == (lanes.OPENED, 50)
    relay.say(lanes.OPEN, 51, port, job.encode())
    assert relay.hear(lanes.OPENED, lanes.REFUSED)[0] == lanes.REFUSED


@pytest.mark.parametrize(
    ("host", "reached"), [("127.0.0.2", "127.0.0.2"), ("::1", "::1"), ("0::0", "::1")]
)
def test_the_same_number_at_another_address_is_somebody_elses(
    worker: Agent, relay: RelayProcess, tmp_path: Path, host: str, reached: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as others:
        port = others.getsockname()[1]
        with serving(worker, host, port, tmp_path / "end") as job:
            assert [way.host for way in stands(JobDir(str(worker.root), job), port)] == [reached]
            relay.say(lanes.OPEN, 1, port, job.encode())
            assert relay.hear(lanes.DATA, lanes.REFUSED)[3] == b"from the job"
            others.setblocking(False)
            with pytest.raises(BlockingIOError):
                others.accept()


def test_all_addresses_of_both_kinds_are_reached(
    worker: Agent, relay: RelayProcess, tmp_path: Path
) -> None:
    port = free_port()
    with serving(worker, "::", port, tmp_path / "end") as job:
        ways = stands(JobDir(str(worker.root), job), port)
        assert [way.host for way in ways] == ["::1", "127.0.0.1"]
        relay.say(lanes.OPEN, 1, port, job.encode())
        assert relay.hear(lanes.DATA, lanes.REFUSED)[3] == b"from the job"
        assert told(worker, job, 1) == [[{"port": port, "everywhere": True}]]


def test_who_took_the_port_over_meanwhile_gets_no_connection(worker: Agent, tmp_path: Path) -> None:
    port, end = free_port(), tmp_path / "end"
    with serving(worker, "127.0.0.1", port, end) as job:
        directory = JobDir(str(worker.root), job)
        (way,) = stands(directory, port)
        assert listening.still(directory, port, way)
        with taken_over(end, port):
            assert not listening.still(directory, port, way)


def test_a_connection_that_somebody_else_took_passes_nothing(
    worker: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks first and connects then may meet another one: it is looked once more."""
    port = free_port()
    with serving(worker, "127.0.0.1", port, tmp_path / "end") as job:
        directory = JobDir(str(worker.root), job)
        before = stands(directory, port)
        with taken_over(tmp_path / "end", port) as others:
            outlet = Outlet()
            frames: list[int] = []
            monkeypatch.setattr(outlet, "send", lambda kind, *_: frames.append(kind))
            streams = Streams(outlet, str(worker.root))
            with monkeypatch.context() as then:
                then.setattr(listening, "ways", lambda *_: before)
                streams.open(1, port, job)
            streams.take(1, b"for the job alone")
            for key, events in outlet.selector.select(PATIENCE):
                key.data(events)
            assert frames == [lanes.REFUSED]
            assert 1 not in streams
            with others.accept()[0] as connection, pytest.raises(ConnectionResetError):
                connection.recv(100)


def taken_over(end: Path, port: int) -> socket.socket:
    """Let the job's process end, and listen in its place."""
    end.touch()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:  # it is still there
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_directory_that_lies_names_nobody_elses_processes(worker: Agent, tmp_path: Path) -> None:
    """The job can write there what it likes: what nobody keeps any more is nobody's."""
    port = free_port()
    with serving(worker, "127.0.0.1", port, tmp_path / "end") as job:
        stands(JobDir(str(worker.root), job), port)
    ended = JobDir(str(worker.root), job)
    with socket.create_server(("127.0.0.1", port)):
        Path(ended.child).write_text('{"pid": 1, "start": 0, "boot": ""}')
        assert listening.ways(ended, port) == []


def test_of_many_connections_few_are_read(tmp_path: Path) -> None:
    """A busy machine has tens of thousands, and each of them would cost every look."""
    table = Path("/proc/self/net/tcp").read_text().splitlines()
    head, rows = table[0], [line.split() for line in table[1:]]
    listens = next(" ".join(row) for row in rows if row[3] == "0A")
    other = listens.replace(" 0A ", " 01 ", 1)
    written = tmp_path / "tcp"
    written.write_text("\n".join([head, *[other] * 90, listens, *[other] * 200, listens]))
    assert len(listening._rows(str(written))) == 1
