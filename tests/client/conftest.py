"""A worker of every kind, known by its name, and a client of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, Workers
from tests.client.rig import Submit, start
from tests.faults.kit import Line, line_to
from tests.sshd import Sshd


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, as a notebook's."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def own_client(home: Path, here: Path) -> Iterator[None]:
    """A client that begins and ends with the test, as a process's does."""
    jobs_module.close_client()
    yield
    for each in jobs_module.jobs(refresh=False):
        if not each.done():
            each.cancel(wait=10 if each.confirmed_at else 0)
    jobs_module.close_client()


@pytest.fixture
def worker(any_worker: Worker) -> Worker:
    """Each kind of worker in turn, as the workers file has it."""
    Workers.load().add(any_worker)
    return any_worker


@pytest.fixture
def local(tmp_path: Path) -> Worker:
    """The embedded server alone, for what is the same on every worker."""
    found = Worker("local", dir=str(tmp_path / "worker"))
    Workers.load().add(found)
    return found


@pytest.fixture
def line(sshd: Sshd, home: Path, tmp_path: Path) -> Iterator[Line]:
    """A worker behind a line that can be cut."""
    with line_to(sshd, home, tmp_path / "worker") as found:
        yield found


@pytest.fixture
def submit() -> Submit:
    """Submits a cell as a job."""
    return start


@pytest.fixture
def environment() -> dict[str, str]:
    """What another process of the same person needs."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
