"""`jupyter chute …` in a terminal: real processes, real jobs on the embedded worker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.store import Store

pytestmark = pytest.mark.slow

SCRIPT = """\
import time
from chutes_jupyter import Chute, Image

chute = Chute(username="me", name="demo")


@chute.job(timeout=60)
async def train(self, **job_data):
    for epoch in range(job_data["epochs"]):
        print("epoch", epoch, flush=True)
        with open(f"{job_data['output_dir']}/checkpoint{epoch}.txt", "w") as file:
            file.write("x" * 2000)
    return {"epochs": epoch + 1}


@chute.job()
def fail(self, **job_data):
    print("about to fail")
    raise ValueError("no good")


@chute.job()
def go_on(self, **job_data):
    print("it runs", flush=True)
    self.cancel_event.wait_blocking(120)
    print("it was told")


@chute.job(timeout=30)
def count(self, **job_data):
    for number in range(job_data["lines"]):
        print("line", number)


if __name__ == "__main__":
    raise SystemExit("must not run")
"""
#: The programs that installing puts beside Python.
PROGRAMS = Path(sys.executable).parent


class Shell:
    """Runs the program in a folder, with the test's own home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [PROGRAMS / "jupyter-chute", *words],
            cwd=self.folder,
            # As people have it: what is not flushed is not seen.
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def __call__(self, *words: str, status: int = 0) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=100)
        assert process.returncode == status, (out, err)
        # An error is told on stderr, and nothing else ever is.
        assert bool(err) == (status != 0), err
        return err if status else out

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def shell(home, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "jobs.py").write_text(SCRIPT)
    Workers.load().add(Worker("local", dir=str(tmp_path / "worker")))
    found = Shell(folder)
    yield found
    for record in Store.open().list(live=True):
        found.start("cancel", record.id).wait(60)
    found.close()


def label_in(text: str) -> str:
    match = re.match(r"(\w+-[0-9a-f]{6}) ", text)
    assert match, text
    return match[1]


def until(condition, *, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)
    return found


def test_a_job_runs_and_everything_comes_back(shell):
    said = shell("run", "jobs.py:train", "epochs=3", "--wait")
    label = label_in(said)
    assert re.match(rf"{label} (is|\w+\.)", said)
    assert "\nepoch 0\nepoch 1\nepoch 2\n" in said
    folder = shell.folder / "chute_outputs" / label
    assert said.endswith(
        f"{label} succeeded.\nIt returned {{'epochs': 3}}\nIts files are in {folder}\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == [
        f"checkpoint{number}.txt" for number in range(3)
    ]
    assert shell("logs", label) == "epoch 0\nepoch 1\nepoch 2\n"
    assert shell("logs", label, "--tail", "1") == "epoch 2\n"
    assert shell("logs", "-f", label, "--tail", "2") == "epoch 1\nepoch 2\n"
    said = shell("files", label)
    assert said.splitlines()[0].split() == ["FILE", "SIZE", "STATE"]
    assert said.splitlines()[1].split() == ["checkpoint0.txt", "2.0", "kB", "here"]
    assert said.splitlines()[-1] == f"here: {folder}"
    assert shell("cancel", label) == f"{label} has ended already: succeeded.\n"
    for words in (["jobs"], ["jobs", "--cached"], ["jobs", "--worker", "local"]):
        assert re.search(rf"^{label} +succeeded +local +\d\d:\d\d:\d\d +\d+s +jobs\.py$",
                         shell(*words), re.M)  # fmt: skip
    assert shell("jobs", "--live") == "No live jobs.\n"
    assert shell("jobs", "--worker", "gpu1") == "No jobs.\n"


def test_a_job_needs_nobody_and_other_processes_see_it(shell):
    said = shell("run", "jobs.py:go_on")
    label = label_in(said)
    assert said.endswith(f"Its log: jupyter chute logs -f {label}\n")
    until(lambda: shell("logs", label) == "it runs\n")
    listed = shell("jobs", "--live").splitlines()
    assert listed[1].split()[:3] == [label, "running", "local"]
    following = shell.start("logs", "--follow", label)
    assert following.stdout.readline() == "it runs\n"
    said = shell("cancel", label)
    assert re.fullmatch(rf"{label} (is (cancelling|collecting) on local|cancelled)\.\n", said)
    assert following.communicate(timeout=60) == ("it was told\n", "")
    assert following.returncode == 0
    shell("files", label, "--wait")
    assert shell("jobs").splitlines()[1].split()[1] == "cancelled"


def test_the_store_can_be_deleted_meanwhile(shell):
    label = label_in(shell("run", "jobs.py:go_on"))
    Store.open().path.unlink()
    assert shell("jobs", "--live").splitlines()[1].split()[0] == label
    Store.open().path.unlink()
    shell("cancel", label)


def test_a_failed_job_fails_the_command_with_its_traceback(shell):
    said = shell("run", "jobs.py:fail", "--wait", status=1)
    assert "ValueError: no good" in said.splitlines()[0]
    line = SCRIPT.splitlines().index('    raise ValueError("no good")') + 1
    assert f'File "{shell.folder}/jobs.py", line {line}, in fail' in said
    assert "chutes_jupyter/cli.py" not in said
    assert shell("logs", "fail") == "about to fail\n"
    assert "no good" in shell("jobs", "--full")


def test_a_job_that_can_not_start_fails_the_command(shell, tmp_path):
    Workers.load().add(Worker("local", python="/nowhere/python", dir=str(tmp_path / "worker")))
    for words in (["run", "jobs.py:train", "epochs=1"], ["run", "jobs.py:train", "--wait"]):
        assert "/nowhere/python" in shell(*words, status=1)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([], 2, "the following arguments are required: VERB"),
        (["fly"], 2, "invalid choice: 'fly'"),
        (["run", "jobs.py:train", "epochs=three"], 2, "not a Python literal"),
        (["run", "jobs.py:trian"], 2, "Did you mean 'train'?"),
        (["run", "jobs.py:train", "--worker", "gpu9"], 1, "UnknownWorker: There is no worker"),
        (["run", "jobs.py:train", "--timeout", "5"], 2, "from 30 s to 86400 s"),
        (["logs", "nothing"], 1, "JobNotFound: No job 'nothing' is known here"),
        (["worker", "remove", "local"], 1, "ConfigError: The worker 'local' is this machine"),
    ],
)
def test_what_is_wrong_is_said_shortly_on_stderr(shell, words, status, message):
    said = shell(*words, status=status)
    assert message in said
    assert "Traceback" not in said
    assert len(said.splitlines()) < 12
    assert Store.open().list() == []


@pytest.mark.parametrize("words", [["run", "jobs.py:go_on", "--wait"], ["logs", "-f", "go_on"]])
def test_an_interrupt_ends_the_watching_and_not_the_job(shell, words):
    if words[0] == "logs":
        shell("run", "jobs.py:go_on")
    process = shell.start(*words)
    until(lambda: process.stdout.readline() == "it runs\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    [record] = Store.open().list()
    advice = f"\n{record.label} goes on. Cancel it with: jupyter chute cancel {record.label}\n"
    assert (out, err) == (advice, "")
    assert process.returncode == 130
    assert shell("jobs", "--live").splitlines()[1].split()[1] == "running"


def test_a_reader_that_has_enough_ends_the_command_quietly(shell):
    label = label_in(shell("run", "jobs.py:count", "lines=200000", "--wait"))
    process = shell.start("logs", label)
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 1


def test_the_whole_log_comes(shell):
    label = label_in(shell("run", "jobs.py:count", "lines=100000", "--wait"))
    expected = "".join(f"line {number}\n" for number in range(100_000))
    assert shell("logs", label) == expected
    assert shell("logs", "-f", label) == expected
    assert shell("logs", label, "--tail", "0") == ""


def test_jupyter_finds_the_program(shell):
    environment = {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [PROGRAMS / "jupyter", "chute", "--help"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.startswith("usage: jupyter chute")
    assert shutil.which("jupyter-chute", path=str(PROGRAMS))


def test_help_needs_no_heavy_imports(shell):
    code = (
        "import sys; from chutes_jupyter.cli import main; main(['--help']);"
        "sys.exit(bool({'asyncssh', 'pydantic', 'IPython', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done
