"""SIGKILL of whoever submitted or follows a job: the next process finds all of it.

Each job notes how often it was started, in a file of the test's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter import portal
from chutes_jupyter.client import follow
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.store import Store
from tests.client import conftest
from tests.client.rig import PATIENCE, process, until
from tests.conftest import add_to_ssh_config
from tests.kernel.notebook import open_notebook
from tests.sshd import Sshd
from tests.transports.proxy import Proxy

here, own_client, local = conftest.here, conftest.own_client, conftest.local
submit, environment = conftest.submit, conftest.environment
worker = conftest.worker

LINES = 400
BODY = """
import os, time
with open(job_data["starts"], "a") as file:
    file.write("started\\n")
out = job_data["output_dir"]
for number in range(job_data["lines"]):
    print("line", number, flush=True)
    if number % 100 == 0:
        with open(f"{out}/{number}.txt", "w") as file:
            file.write("x" * number)
    time.sleep(0.005)
return {"lines": job_data["lines"]}
"""
SCRIPT = f"""
import sys
from chutes_jupyter import Chute
from chutes_jupyter.client import follow
chute = Chute(username="me", name="demo")

@chute.job()
def work(self, **job_data):
{"".join("    " + line + chr(10) for line in BODY.strip().splitlines())}

if __name__ == "__main__":
    job = work.options(worker=sys.argv[1]).submit(lines={LINES}, starts=sys.argv[2])
    print(job.id, flush=True)
    job.wait()
"""
LOG = "".join(f"line {number}\n" for number in range(LINES))


def check_whole(job_id: str, starts: Path) -> None:
    """See that a new process finds all of a job, which ran once."""
    jobs_module.close_client()
    job = jobs_module.attach(job_id)
    assert job.result(PATIENCE) == {"lines": LINES}
    assert starts.read_text() == "started\n"
    assert job.logs() == LOG
    assert job.logs(tail=3) == "".join(LOG.splitlines(keepends=True)[-3:])
    assert list(job.logs(follow=True, tail=2)) == LOG.splitlines(keepends=True)[-2:]
    sizes = {path.name: path.stat().st_size for path in job.output_dir.iterdir()}
    assert sizes == {f"{n}.txt": n for n in range(0, LINES, 100)}
    assert job._live.seen == job._live.event, "every event was read, from the first on"
    assert Store.open().get(job_id).state == "succeeded"


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    folder = tmp_path / "starts"
    folder.mkdir()
    folder.chmod(0o777)
    return folder / "starts.txt"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work.py"
    path.write_text(SCRIPT)
    return path


@contextlib.contextmanager
def running(*command: object, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program, which is gone afterwards."""
    program = subprocess.Popen(
        list(map(str, command)),
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


# -- while the job runs


@pytest.mark.parametrize("seed", range(3))
def test_a_script_is_killed_at_any_moment(
    local: Worker, script: Path, starts: Path, environment: dict[str, str], seed: int
) -> None:
    print("seed", seed)
    command = (sys.executable, script, "local", starts)
    with running(*command, environment=environment) as program:
        assert program.stdout
        job_id = program.stdout.readline().strip()
        until(starts.exists, "the job runs")
        time.sleep(random.Random(seed).uniform(0, 2.5))
        program.kill()
    check_whole(job_id, starts)


@pytest.mark.slow
def test_a_kernel_is_killed_while_its_panel_follows(
    local: Worker, starts: Path, tmp_path: Path
) -> None:
    cell = f"%%chute_job work -o job --run lines={LINES} starts={str(starts)!r}\n{BODY}"
    name = str(tmp_path / "notebook.ipynb")
    with open_notebook(tmp_path, {"JPY_SESSION_NAME": name}) as notebook:
        notebook.run(cell)
        job_id = notebook.run("print(job.id); job").stdout.strip()
        until(starts.exists, "the job runs")
        (pid,) = [int(notebook.run("import os; print(os.getpid())").stdout)]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not notebook.manager.is_alive(), "the kernel is dead")
    assert Store.open().get(job_id).notebook == name
    check_whole(job_id, starts)


@pytest.mark.parametrize("words", [("run", "--wait"), ("logs", "-f"), ("files", "--wait")])
def test_the_command_line_is_killed(
    local: Worker,
    script: Path,
    starts: Path,
    environment: dict[str, str],
    words: tuple[str, str],
) -> None:
    chute = Path(sys.executable).parent / "jupyter-chute"
    data = (f"lines={LINES}", f"starts={str(starts)!r}", "--worker", "local")
    run = (chute, "run", f"{script}:work", *data)
    if words[0] == "run":
        with running(*run, "--wait", environment=environment) as program:
            assert program.stdout
            label = program.stdout.readline().split()[0]
            until(starts.exists, "the job runs")
            program.kill()
    else:
        with running(*run, environment=environment) as program:
            assert program.stdout
            label = program.stdout.readline().split()[0]
            assert program.wait(PATIENCE) == 0
        with running(chute, *words, label, environment=environment) as program:
            until(starts.exists, "the job runs")
            time.sleep(0.7)
            program.kill()
    check_whole(jobs_module.attach(label).id, starts)


# -- between submit and the word that it has arrived

SUBMITS = """
import os, sys, threading, time
from tests.client.rig import start
delay = float(sys.argv[1]) if len(sys.argv) > 1 else {delay}
job = start({worker!r}, {source!r}, data={data!r})
print(job.id, flush=True)
if delay < 0:
    time.sleep(600)
time.sleep(delay)
os.kill(os.getpid(), 9)
"""


def test_a_script_is_killed_at_seeded_moments_right_after_submit(
    local: Worker,
    starts: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job has run once, or nobody ever starts it; both happen, and nothing in between."""
    chance = random.Random(7)
    delays = [0.0, 0.0, *(chance.uniform(0.0, 1.2) for _ in range(6))]
    jobs = {}
    with contextlib.ExitStack() as stack:
        for number, delay in enumerate(delays):
            own = starts.with_name(f"{number}.txt")
            data = {"lines": 1, "starts": str(own)}
            source = SUBMITS.format(worker="local", source=BODY, data=data, delay=delay)
            one = stack.enter_context(process(source, environment))
            jobs[number] = one
        ids = {}
        for number, one in jobs.items():
            assert one.stdout
            ids[number] = one.stdout.readline().strip()
            assert one.wait(PATIENCE) == -signal.SIGKILL
    monkeypatch.setattr(follow, "ON_ITS_WAY", 2.0)
    for number, job_id in ids.items():
        job = jobs_module.attach(job_id)
        job.wait(PATIENCE)
        own = starts.with_name(f"{number}.txt")
        if job.state == "lost":
            assert job.reason == "never reached the worker"
            assert not own.exists()
        else:
            assert (job.state, own.read_text()) == ("succeeded", "started\n"), delays[number]
            assert job.logs() == "line 0\n"
            assert job.result(PATIENCE) == {"lines": 1}


class Line:
    """A proxy in the background that can let go, hold and cut what it carries."""

    def __init__(self, target: int) -> None:
        self._proxy = Proxy(target)
        self._over = asyncio.Event()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    async def _run(self) -> None:
        async with self._proxy:
            self._ready.set()
            await self._over.wait()

    def __enter__(self) -> Line:
        self._thread.start()
        assert self._ready.wait(10)
        self.port = self._proxy.port
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()

    def stall(self) -> None:
        self._loop.call_soon_threadsafe(self._proxy.stall)

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._proxy.cut)


def test_a_client_that_is_killed_while_its_worker_is_silent_never_leaves_it_pending(
    sshd: Sshd,
    home: Path,
    tmp_path: Path,
    starts: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line stalls before anything was sent: no process ever starts that job."""
    add_to_ssh_config(home, sshd, "gpu1")
    config = home / ".ssh" / "config"
    direct = config.read_text()
    Workers.load().add(Worker("gpu1", host="gpu1", dir=str(tmp_path / "worker")))
    with Line(sshd.port) as line:
        behind = direct.replace(f"Port {sshd.port}", f"Port {line.port}")
        key = next((home / ".ssh").glob("known_hosts_*"))
        key.write_text(
            key.read_text() + sshd.known_hosts_line.replace(str(sshd.port), str(line.port))
        )
        config.write_text(behind)
        line.stall()
        data = {"lines": 1, "starts": str(starts)}
        source = SUBMITS.format(worker="gpu1", source=BODY, data=data, delay=-1)
        with process(source, environment) as one:
            assert one.stdout
            job_id = one.stdout.readline().strip()
            assert Store.open().get(job_id).state == "pending"
            time.sleep(0.5)
            os.kill(one.pid, signal.SIGKILL)
            one.wait()
        line.cut()
    config.write_text(direct)
    monkeypatch.setattr(follow, "ON_ITS_WAY", 3.0)
    job = jobs_module.attach(job_id)
    job.wait(PATIENCE)
    assert (job.state, job.reason) == ("lost", "never reached the worker")
    assert not starts.exists()


def test_a_job_whose_word_of_arrival_was_lost_with_its_client_is_found_running(
    local: Worker, starts: Path, environment: dict[str, str]
) -> None:
    """The store knows it as pending: its client died before it could write down more."""
    data = {"lines": LINES, "starts": str(starts)}
    source = SUBMITS.format(worker="local", source=BODY, data=data, delay=-1)
    # Nothing of what the worker says reaches the store.
    deaf = (
        "from chutes_jupyter.client.records import Records\n"
        "async def nothing(*_, **__): pass\n"
        "Records._write = nothing\n"
    )
    with process(deaf + source, environment) as one:
        assert one.stdout
        job_id = one.stdout.readline().strip()
        until(starts.exists, "the job runs")
        os.kill(one.pid, signal.SIGKILL)
        one.wait()
    record = Store.open().get(job_id)
    assert (record.state, record.event) == ("pending", 0)
    check_whole(job_id, starts)


# -- the end of a long log


def test_the_end_of_a_long_log_is_there_without_what_is_before_it(
    local: Worker, environment: dict[str, str]
) -> None:
    count = 100_000
    source = f"for n in range({count}): print('a line of some length, number', n)\nreturn 1"
    script = f"from tests.client.rig import start\nprint(start('local', {source!r}, ack=True).id)"
    with process(script, environment) as one:
        out, err = one.communicate(timeout=PATIENCE)
        assert out, err
    job = jobs_module.attach(out.strip())
    job.wait(PATIENCE)
    jobs_module.close_client()
    job = jobs_module.attach(out.strip())
    control = next(iter(jobs_module.current_client()._sessions.values()))[0]
    received: list[int] = []
    asked = control.persist

    async def counting(op: str, **fields: object):
        reply = await asked(op, **fields)  # type: ignore[arg-type]
        received.append(len(reply.body))
        return reply

    control.persist = counting  # type: ignore[method-assign,assignment]
    last = f"a line of some length, number {count - 1}\n"
    assert job.logs(tail=1) == last
    assert list(job.logs(follow=True, tail=200))[-1] == last
    unsubscribe = job.subscribe(lambda: None)
    until(lambda: job.tail.endswith(last), "the panel has the end")
    unsubscribe()
    assert sum(received) < 2 * 1024 * 1024
    # More lines than one piece holds are all there.
    assert job.logs(tail=30_000) == "".join(job.logs().splitlines(keepends=True)[-30_000:])
    assert job.logs(tail=2 * count) == job.logs()
    assert portal.call(jobs_module.current_client().log_offset, job._live, 2 * count) == 0
