"""Versions side by side: two clients with different agents, one worker, one folder of jobs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import chutes_jupyter
from chutes_jupyter.agent import wire
from chutes_jupyter.bootstrap import agent_bundle
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.errors import AgentFailed
from chutes_jupyter.job import close_client, current_client
from chutes_jupyter.portal import call
from tests.agent import rig

PACKAGE = Path(chutes_jupyter.__file__).parent
REPOSITORY = PACKAGE.parent
LONG = "print('hello', flush=True)\nopen(job_data['output_dir'] + '/a', 'w').write('x')\n"
LONG += "await self.cancel_event.wait()\nreturn 'told to end'"
CLIENT = """
import json, sys
from chutes_jupyter import job as jobs
from chutes_jupyter.bootstrap import agent_bundle
from chutes_jupyter.config import Worker, Workers
from tests.client.rig import start, until
Workers.load().add(Worker("local", dir=sys.argv[1]))
for line in sys.stdin:
    try:
        answer = {"answer": eval(line)}
    except Exception as error:
        answer = {"error": [type(error).__name__, str(error)]}
    print(json.dumps(answer), flush=True)
jobs.close_client()
"""


class Refusal(Exception):
    """What a client raised: the name of the error, and its words."""


class Client:
    """A process with a version of its own and a home of its own."""

    def __init__(self, code: Path, home: Path, root: Path) -> None:
        home.mkdir()
        paths = os.pathsep.join([str(code), str(REPOSITORY)])
        personal = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(root)],
            env={**os.environ, **personal, "HOME": str(home), "PYTHONPATH": paths},
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, expression: str) -> Any:
        """Return what an expression gives there."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise Refusal(*answer["error"])
        return answer["answer"]

    def until(self, expression: str, wanted: Any) -> None:
        deadline = time.monotonic() + 30
        while (found := self(expression)) != wanted:
            assert time.monotonic() < deadline, f"{expression} is {found!r}, not {wanted!r}"
            time.sleep(0.05)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()


Change = tuple[str, str, str]
Make = Callable[..., Client]
#: Of the same format, but another agent.
NEWS: list[Change] = [
    (
        "supervise",
        '"state", state="running", python=word["running"])',
        '"state", state="running", python=word["running"], mood="good")\n'
        '                self.events.write("weather", sky={"colour": "blue"})',
    ),
    ("requests", '"protocol": wire.PROTOCOL,', '"protocol": wire.PROTOCOL, "moon": [1, None],'),
]
NEW_FORMAT: list[Change] = [("journal", "\nFORMAT = 1\n", "\nFORMAT = 2\n")]


def other_version(folder: Path, changes: list[Change]) -> Path:
    """Return a folder with a copy of the package whose agent is another one."""
    copy = folder / "chutes_jupyter"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in changes:
        file = copy / "agent" / f"{module}.py"
        text = file.read_text()
        assert text.count(old) == 1, (module, old)
        file.write_text(text.replace(old, new))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The worker's folder, which every version uses."""
    return tmp_path / "worker"


@pytest.fixture
def client(tmp_path: Path, root: Path) -> Iterator[Make]:
    """Makes clients of this version, or of one with a changed agent."""
    made: list[Client] = []

    def make(changes: list[Change] | None = None) -> Client:
        folder = tmp_path / f"version{len(made)}"
        code = REPOSITORY if changes is None else other_version(folder, changes)
        made.append(Client(code, tmp_path / f"home{len(made)}", root))
        return made[-1]

    yield make
    for each in made:
        each.close()


def begin(client: Client) -> str:
    """Submit a job that runs until it is told to end, and return its id."""
    job = str(client(f"start('local', {LONG!r}, ack=True).id"))
    client.until(f"jobs.attach({job!r}).state", "running")
    return job


def test_two_agents_share_a_worker_and_each_others_jobs(client: Make, root: Path) -> None:
    ours, theirs = client(), client(NEWS)
    hashes = [each("agent_bundle()[0]") for each in (ours, theirs)]
    assert hashes[0] != hashes[1]
    jobs = {begin(ours): theirs, begin(theirs): ours}
    assert sorted(os.listdir(root / "agents")) == sorted(hashes)
    for job, other in jobs.items():
        assert set(other("[each.id for each in jobs.jobs()]")) == set(jobs)
        other.until(f"jobs.attach({job!r}).logs()", "hello\n")
        other(f"jobs.attach({job!r}).cancel()")
        other(f"jobs.attach({job!r}).wait(30)")
        assert other(f"jobs.attach({job!r}).state") == "cancelled"
        assert other(f"jobs.attach({job!r}).value") == "told to end"
        assert other(f"[(f.path, f.state) for f in jobs.attach({job!r}).files]") == [["a", "here"]]


def test_what_a_newer_agent_adds_is_passed_over(client: Make, root: Path) -> None:
    ours, theirs = client(), client(NEWS)
    job = begin(theirs)
    ours.until(f"jobs.attach({job!r}).state", "running")
    events = [json.loads(line) for line in (root / "jobs" / job / "events.jsonl").open()]
    assert "weather" in [event["type"] for event in events]
    assert ours(f"jobs.attach({job!r}).trouble") is None
    theirs(f"jobs.attach({job!r}).cancel()")
    ours(f"jobs.attach({job!r}).wait(30)")
    assert ours(f"jobs.attach({job!r}).state") == "cancelled"


OLDER: list[Change] = [("execute", '        "raised": raised.tell(error),\n', "")]


def test_an_older_agent_tells_what_was_raised_as_text_alone(client: Make) -> None:
    ours, theirs = client(), client(OLDER)
    job = str(theirs("start('local', 'raise KeyError(7)', ack=True).id"))
    for each in (ours, theirs):
        with pytest.raises(Refusal) as caught:
            each(f"jobs.attach({job!r}).result(30)")
        assert caught.value.args[0] == "JobFailed"
        assert 'File "In[1]", line 2, in job\n    raise KeyError(7)' in caught.value.args[1]
    newer = str(ours("start('local', 'raise KeyError(7)', ack=True).id"))
    assert theirs(f"jobs.attach({newer!r}).wait(30)") is None
    assert theirs(f"jobs.attach({newer!r}).state") == "failed"


NO_READINGS: list[Change] = [
    ("requests", '            "readings": lambda header, body: self._readings(header),\n', ""),
]


def test_of_an_agent_without_readings_nothing_is_shown(client: Make) -> None:
    theirs = client(NO_READINGS)
    job = str(theirs("start('local', 'self.progress(1, 2)', ack=True).id"))
    theirs(f"jobs.attach({job!r}).wait(30)")
    assert theirs(f"jobs.attach({job!r}).progress") is None
    assert theirs(f"list(jobs.attach({job!r}).displays)") == []
    assert theirs(f"jobs.attach({job!r}).notices") == []


REFUSED = "newer chutes_jupyter .*journal 2; this one reads 1.*upgrade here with.*pip install -U"


def test_a_job_of_a_newer_format_is_refused_by_name_and_left_alone(
    client: Make, root: Path
) -> None:
    ours, theirs = client(), client(NEW_FORMAT)
    plain, newer = begin(ours), begin(theirs)
    before = (root / "jobs" / newer / "events.jsonl").read_bytes()
    assert ours("[each.id for each in jobs.jobs()]") == [plain]
    for what in (newer, newer[:8], f"job-{newer[:6]}"):
        with pytest.raises(Refusal, match=REFUSED) as caught:
            ours(f"jobs.attach({what!r})")
        assert caught.value.args[0] == "RequestRefused"
        assert newer in caught.value.args[1]
    # The newer one reads both.
    assert set(theirs("[each.id for each in jobs.jobs()]")) == {plain, newer}
    theirs(f"jobs.attach({plain!r}).cancel()")
    ours(f"jobs.attach({plain!r}).wait(30)")
    assert ours(f"jobs.attach({plain!r}).state") == "cancelled"
    assert (root / "jobs" / newer / "events.jsonl").read_bytes() == before
    theirs(f"jobs.attach({newer!r}).cancel()")
    theirs(f"jobs.attach({newer!r}).wait(30)")


def test_attach_says_so_too_where_the_store_already_knows_the_job(client: Make, root: Path) -> None:
    ours = client()
    job = begin(ours)
    ours("jobs.close_client()")
    number = root / "jobs" / job / "format"
    number.write_text("2\n")
    with pytest.raises(Refusal, match=REFUSED):
        ours(f"jobs.attach({job!r}).id")
    assert ours("[each.id for each in jobs.jobs()]") == [job]
    ours("jobs.close_client()")
    number.write_text("1\n")
    ours(f"jobs.attach({job!r}).cancel()")
    ours(f"jobs.attach({job!r}).wait(30)")


# -- The agent by itself -----------------------------------------------------------------------


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[rig.Agent]:
    with rig.agent(tmp_path / "root") as running:
        yield running


def ended(agent: rig.Agent) -> tuple[str, Path]:
    job = agent.start("return 1")
    agent.end(job)
    return job, agent.root / "jobs" / job


def test_every_request_about_a_job_of_another_format_is_refused(agent: rig.Agent) -> None:
    job, folder = ended(agent)
    assert (folder / "format").read_text() == "1\n"
    (folder / "format").write_text("2\n")
    fields = {"after": 0, "offset": 0, "limit": 9, "start": 0, "record": 0, "path": "a"}
    for op in ("events", "log", "index", "outputs", "read", "result", "cancel"):
        header, _ = agent.ask(op, job=job, **fields)
        assert header["error"]["code"] == "other_format", op
    spec = json.loads((folder / "spec.json").read_text())
    header, _ = agent.ask("submit", spec=spec)
    assert header["error"]["code"] == "other_format"


def test_a_job_from_before_formats_were_numbered_is_read(agent: rig.Agent) -> None:
    job, folder = ended(agent)
    (folder / "format").unlink()
    assert agent.value(job) == 1
    assert [item["id"] for item in agent.ask("jobs", after="", limit=9)[0]["jobs"]] == [job]


def test_a_job_that_can_not_be_read_does_not_hide_the_others(agent: rig.Agent) -> None:
    whole = ended(agent)[0]
    damage = {"spec.json": b"{", "events.jsonl": b"no\n", "format": b"new"}
    broken = {}
    for name, data in damage.items():
        job, folder = ended(agent)
        (folder / name).write_bytes(data)
        broken[job] = name
    header, _ = agent.ask("jobs", after="", limit=9)
    assert [item["id"] for item in header["jobs"]] == [whole]
    assert {item["id"] for item in header["unreadable"]} == set(broken)
    assert all(item["reason"] for item in header["unreadable"])


# -- An agent that is not the one that was sent ------------------------------------------------


@pytest.mark.parametrize("marker", [False, True], ids=["in its reply", "in its first word"])
def test_another_protocol_is_told_with_both_numbers_and_the_next_step(
    root: Path, home: Path, marker: bool
) -> None:
    worker = Worker("local", dir=str(root))
    Workers.load().add(worker)
    call(current_client().worker_info, "local")
    close_client()
    file = root / "agents" / agent_bundle()[0] / "chutes_jupyter" / "agent" / "wire.py"
    text = file.read_text().replace(f"\nPROTOCOL = {wire.PROTOCOL}\n", "\nPROTOCOL = 7\n")
    if marker:
        text = text.replace("chutes-agent:1", "chutes-agent:7")
    file.write_text(text + "# of another size, so that what was compiled is not used\n")
    folder = f"agents/{agent_bundle()[0]}"
    with pytest.raises(AgentFailed, match=f"protocol 7, .*speaks 1: .*Remove {folder}"):
        call(current_client().worker_info, "local")
