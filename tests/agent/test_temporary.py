"""The folder of a job's temporary files has a path that sockets fit below, and no trace stays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter.agent import temporary
from chutes_jupyter.agent.journal import JobDir
from tests.agent.rig import Agent, agent

#: A worker of people with long names and deep homes.
DEEP = "a-rather-long-name-of-a-home/" * 3
#: As multiprocessing does for every tensor that a DataLoader's process hands over.
LISTENS = """
import os, tempfile
from multiprocessing.connection import Client, Listener
with Listener(family="AF_UNIX") as listener:
    address = listener.address
    with Client(address):
        listener.accept().close()
with open(os.path.join(tempfile.gettempdir(), "kept"), "w") as file:
    file.write("kept")
return os.environ["TMPDIR"], tempfile.gettempdir(), address
"""


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Agent]:
    root = tmp_path / DEEP / "root"
    root.mkdir(parents=True)
    with agent(root) as running:
        yield running


def test_a_socket_fits_into_the_temporary_folder_of_a_deep_home(deep: Agent) -> None:
    job = deep.start(LISTENS)
    deep.end(job)
    told, found, address = deep.value(job)
    assert told == found
    assert len(told) <= temporary.LONGEST
    assert address.startswith(told)
    # The files are the job's own, beside all else of it, and the link went with the job.
    assert (deep.root / "jobs" / job / "tmp" / "kept").read_text() == "kept"
    assert not os.path.lexists(told)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setattr(temporary, "PLACE", folder)
        yield folder


def test_a_short_path_stays_as_it_is(place: str) -> None:
    assert temporary.short("/home/jo/tmp", "a" * 32) == "/home/jo/tmp"
    assert os.listdir(place) == []


def test_what_somebody_else_put_there_is_neither_used_nor_removed(
    place: str, tmp_path: Path
) -> None:
    job = JobDir(str(tmp_path / DEEP), "a" * 32)
    os.makedirs(job.tmp)
    taken = os.path.join(place, "chute-" + "a" * 16)
    os.symlink("/elsewhere", taken)
    assert temporary.short(job.tmp, job.id) == job.tmp
    job.forget()
    assert os.readlink(taken) == "/elsewhere"
    os.unlink(taken)
    assert temporary.short(job.tmp, job.id) == temporary.short(job.tmp, job.id) == taken
    job.forget()
    assert os.listdir(place) == []


def test_without_a_place_for_links_the_folder_itself_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(temporary, "PLACE", str(tmp_path / "none"))
    folder = str(tmp_path / DEEP / "tmp")
    assert temporary.short(folder, "a" * 32) == folder
    temporary.forget(folder, "a" * 32)
