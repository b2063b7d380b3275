"""Pages of lists are bounded in bytes, too: long texts, and letters that take many bytes."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.agent import wire
from chutes_jupyter.replies import EventPage, JobPage, Listing, RemoteError, parse
from tests.agent.rig import Agent, agent

#: Six bytes in a header, and twelve.
WIDE, WIDER = "\u6570", "\U0001f600"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "root") as running:
        yield running


def listing(worker: Agent, job: str) -> tuple[list[str], list[Listing]]:
    """Return the paths of a job's outputs, and the pages that told them."""
    paths: list[str] = []
    pages: list[Listing] = []
    while not pages or len(paths) < pages[0].total:
        header, _ = worker.ask("outputs", job=job, start=len(paths), limit=2000)
        pages.append(parse(Listing, header))
        assert pages[-1].entries
        paths += [entry.path for entry in pages[-1].entries]
    return paths, pages


def error_of(worker: Agent, job: str) -> RemoteError:
    """Return the error that a job failed with, as the client takes it."""
    events = worker.follow(job)
    page = parse(EventPage, {"events": events, "state": "failed", "terminal": True})
    assert page.events[-1].state == "failed"
    error = page.events[-1].error
    assert error is not None
    return error


def test_very_many_outputs_of_long_names_are_all_listed(worker: Agent) -> None:
    names = [f"{WIDE * 80}{number}" for number in range(2500)]
    source = f"for n in range(2500): open(f'{{job_data[\"output_dir\"]}}/{WIDE * 80}{{n}}', 'w')"
    job = worker.start(source)
    worker.end(job)
    paths, pages = listing(worker, job)
    assert sorted(paths) == sorted(names)
    assert len(pages) > 2


def test_very_many_refused_names_leave_room_for_files(worker: Agent) -> None:
    job = worker.start(
        "import os\n"
        f"folder = os.path.join(job_data['output_dir'], *['{WIDE * 80}'] * 6)\n"
        "os.makedirs(folder)\n"
        "for n in range(999): os.mkfifo(f'{folder}/{n}')\n"
        "open(job_data['output_dir'] + '/file', 'w').close()"
    )
    worker.end(job)
    paths, pages = listing(worker, job)
    assert paths == ["file"]
    assert {item.reason for item in pages[0].refused} == {"a fifo"}


def test_an_error_of_very_many_letters_is_told_by_its_end(worker: Agent) -> None:
    job = worker.start(
        "error = None\n"
        "for _ in range(12):\n"
        f"    new = ValueError('{WIDER}' * 8000 + 'the end')\n"
        "    new.__cause__, error = error, new\n"
        "raise error"
    )
    error = error_of(worker, job)
    assert error.type == "ValueError"
    assert error.traceback.endswith("the end\n")


def test_an_error_of_a_long_name_is_told(worker: Agent) -> None:
    job = worker.start("raise type('Long' * 75, (ValueError,), {})('so it is')")
    error = error_of(worker, job)
    assert error.type == "Long" * 50
    assert error.message.endswith("so it is")


def test_jobs_that_say_much_of_their_end_are_all_listed(worker: Agent) -> None:
    first = worker.start(f"raise ValueError('{WIDE}' * 20_000)")
    worker.end(first)
    worker.ask("jobs", after="", limit=500)  # so that it is kept
    jobs = worker.root / "jobs"
    ids = {first}
    for _ in range(60):
        name = uuid.uuid4().hex
        ids.add(name)
        shutil.copytree(jobs / first, jobs / name, ignore=shutil.ignore_patterns("lock"))
        for file in ("summary.json", "spec.json"):
            text = (jobs / name / file).read_text()
            (jobs / name / file).write_text(text.replace(first, name))
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = parse(JobPage, worker.ask("jobs", after=after, limit=500)[0])
        found += [job.id for job in page.jobs]
        after = page.next
    assert found == sorted(ids)
    page = parse(JobPage, worker.ask("jobs", ids=sorted(ids))[0])
    assert {job.id for job in page.jobs} == ids
    assert {job.state for job in page.jobs} == {"failed"}


def test_an_answer_that_is_too_large_ends_only_itself(worker: Agent) -> None:
    job = worker.start("return 1")
    worker.end(job)
    spec = worker.root / "jobs" / job / "spec.json"
    long = "x" * wire.MAX_HEADER
    spec.write_text(spec.read_text().replace('"notebook":null', f'"notebook":"{long}"'))
    header, _ = worker.ask("jobs", ids=[job])
    assert (header["ok"], header["error"]["code"]) == (False, "internal")
    assert worker.ask("ping")[0]["ok"]


def test_errors_of_very_many_lines_are_told(worker: Agent) -> None:
    job = worker.start(
        "error = None\n"
        "for _ in range(12):\n"
        "    new = ValueError('\\n' * 7900 + 'x')\n"
        "    new.__cause__, error = error, new\n"
        "raise error"
    )
    assert len(error_of(worker, job).raised) == 12
