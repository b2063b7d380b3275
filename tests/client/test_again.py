"""A job run again: the same function with the same data, by whoever asks."""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import pytest

import chutes_jupyter
from chutes_jupyter import job as jobs_module
from chutes_jupyter.chute import Chute, JobFunction, NodeSelector, cell_job
from chutes_jupyter.commands import Surroundings, execute
from chutes_jupyter.config import Worker, Workers, config_file, state_dir
from chutes_jupyter.errors import JobFailed, NotKept, UnknownWorker, UsageError
from chutes_jupyter.models import JobOptions
from tests.client.rig import Submit, process, until

PATIENCE = 60.0

#: A function with options of every kind, a module of its own and what it uses of the notebook.
_SCRIPT = """
import sys, json
sys.path.insert(0, {folder!r})
import chutes_jupyter, own_helper
chute = chutes_jupyter.Chute(username="me", name="demo")
scale = 3

@chute.job(ports=[chutes_jupyter.Port("web", 8077, "http")], timeout=600, upload=False)
async def train(self, **job_data):
    return [own_helper.twice(scale), job_data["epochs"], job_data["odd"]]

job = train.submit(epochs=2, odd={{"a": (1, None)}}, ack=True)
job.wait()
print(job.id)
"""


def options_of(job: jobs_module.Job) -> tuple[object, ...]:
    """Return what a job was declared with, as its record has it."""
    record = job.record
    return (
        record.name, record.worker, record.notebook, record.cell, record.ports, record.timeout,
        record.upload,
    )  # fmt: skip


def test_it_runs_again_in_another_process_with_all_that_it_was_given(
    worker: Worker, tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "own_helper.py").write_text("def twice(x):\n    return 2 * x\n")
    script = tmp_path / "train.py"
    text = _SCRIPT.format(folder=str(tmp_path))
    script.write_text(text.replace("train.submit", f"train.options(worker={worker.name!r}).submit"))
    with process(f"import runpy; runpy.run_path({str(script)!r})", environment) as running:
        out, err = running.communicate(timeout=PATIENCE)
    assert out, err
    first = chutes_jupyter.attach(out.strip())
    # The worker has forgotten what it was given, and who made it is dead.
    again = first.again()
    assert again.id != first.id
    assert options_of(again) == options_of(first)
    assert again.result(timeout=PATIENCE) == first.result() == [6, 2, {"a": (1, None)}]
    # And that one again.
    assert again.again(ack=True).result(timeout=PATIENCE) == [6, 2, {"a": (1, None)}]


def test_a_job_that_runs_is_run_beside_itself(local: Worker, submit: Submit) -> None:
    first = submit(local, "await self.cancel_event.wait()\nreturn 1", data={"lr": 0.1}, ack=True)
    second = first.again(ack=True)
    until(lambda: second.state == "running" and first.state == "running", "both run")
    for each in (first, second):
        each.cancel()


def test_a_failed_job_fails_again_and_a_large_one_goes_ahead_of_itself(
    local: Worker, submit: Submit
) -> None:
    first = submit(local, "raise ValueError(len(job_data['text']))", data={"text": "x" * 2_000_000})
    first.wait()
    with pytest.raises(JobFailed, match="2000000"):
        first.again().result(timeout=PATIENCE)


def test_what_is_kept_is_for_this_person_alone_and_goes_with_the_job(
    local: Worker, submit: Submit
) -> None:
    Workers.load().add(Worker("local", dir=local.dir, env={"TOKEN": "hf_of_the_worker"}))
    job = submit(local, "return 1", data={"lr": 0.25})
    job.wait()
    (file,) = (state_dir() / "again").iterdir()
    if sys.platform != "win32":
        assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    # A worker's environment holds secrets, and is that of today anyway.
    with zipfile.ZipFile(file) as archive:
        assert b"hf_of_the_worker" not in b"".join(map(archive.read, archive.namelist()))
    execute(["clean", job.id], Surroundings(lambda _: None))
    assert list((state_dir() / "again").iterdir()) == []


def test_of_a_secret_nothing_is_kept(local: Worker) -> None:
    names = {"hf_token": "hf_abcdefghijklmnopqrstuvwxyz0123456789"}
    job = _function(names, "return len(hf_token)").options(secret=["hf_token"]).submit()
    assert job.result(timeout=PATIENCE) == 39
    with pytest.raises(NotKept, match="it was given secrets, which are kept nowhere"):
        job.again()
    (file,) = (state_dir() / "again").iterdir()
    with zipfile.ZipFile(file) as archive:
        kept = b"".join(map(archive.read, archive.namelist()))
    assert names["hf_token"].encode() not in kept


def test_it_has_the_worker_s_environment_of_today(local: Worker, submit: Submit) -> None:
    source = "import os\nreturn os.environ.get('STAGE')"
    first = submit(local, source)
    assert first.result(timeout=PATIENCE) is None
    Workers.load().add(Worker("local", dir=local.dir, env={"STAGE": "new"}))
    jobs_module.close_client()
    assert chutes_jupyter.attach(first.id).again().result(timeout=PATIENCE) == "new"


def test_why_it_can_t_run_again_is_said(
    local: Worker, submit: Submit, home: Path, tmp_path: Path
) -> None:
    jobs = [submit(local, f"return {number}") for number in range(2)]
    for each in jobs:
        each.wait()
    folder = state_dir() / "again"
    (folder / f"{jobs[0].id}.zip").unlink()
    (folder / f"{jobs[1].id}.zip").write_bytes(b"half")
    for job, why in zip(
        jobs, ("it was submitted from another machine", "can't be read"), strict=True
    ):
        with pytest.raises(NotKept, match=f"{job.label} can't be run again from here: .*{why}"):
            job.again()
    assert len(chutes_jupyter.jobs(refresh=False)) == 2
    gone = Workers.load()
    gone.add(Worker("gpu1", host="127.0.0.1:9"))
    far = submit("gpu1", "return 1")
    far.wait()
    Workers.load().remove("gpu1")
    with pytest.raises(UnknownWorker, match="gpu1"):
        far.again()


def test_the_oldest_makes_room_and_none_takes_all(
    local: Worker, submit: Submit, settings: Path
) -> None:
    settings.write_text(settings.read_text() + "\n[settings]\nagain_limit_gb = 0.0001\n")
    jobs = [submit(local, "return 1", data={"x": os.urandom(20_000)}) for _ in range(6)]
    large = submit(local, "return 1", data={"x": os.urandom(30_000)})
    for each in (*jobs, large):
        each.wait()
    jobs_module.close_client()
    found = chutes_jupyter.jobs(refresh=False)
    by_id = {each.id: each for each in found}
    with pytest.raises(NotKept, match=r"0\.0 MB\) is more than a quarter of again_limit_gb"):
        by_id[large.id].again()
    assert by_id[jobs[-1].id].again().result(timeout=PATIENCE) == 1
    with pytest.raises(NotKept, match="too long ago"):
        by_id[jobs[0].id].again()


def test_nothing_is_kept_where_nothing_may_be(
    local: Worker, submit: Submit, settings: Path
) -> None:
    settings.write_text(settings.read_text() + "\n[settings]\nagain_limit_gb = 0\n")
    submit(local, "return 1").wait()
    assert not (state_dir() / "again").exists()


def test_the_command(local: Worker, submit: Submit) -> None:
    job = submit(local, "print('said')\nreturn 5")
    job.wait()
    said: list[str] = []
    again = execute(["again", job.label, "--wait"], Surroundings(said.append))
    assert again.id != job.id
    assert "said\n" in "".join(said)
    assert "It returned 5" in "".join(said)
    with pytest.raises(UsageError):
        execute(["again"], Surroundings(said.append))


def test_its_node_selector_comes_back(local: Worker) -> None:
    chute = Chute(username="me", name="demo", node_selector=NodeSelector(gpu_count=2))
    job = _function({}, "return 1", chute).submit()
    job.wait()
    assert any("2 GPUs with 16 GB or more" in notice for notice in job.notices)
    again = job.again()
    again.wait()
    assert again.notices == job.notices


@pytest.fixture
def settings(home: Path) -> Path:
    """The workers file."""
    return config_file()


def _function(names: dict[str, object], body: str, chute: Chute | None = None) -> JobFunction:
    return cell_job(body, "task", JobOptions(), names, chute or Chute(), "In[1]")
