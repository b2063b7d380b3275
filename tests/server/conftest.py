"""One server for the tests of a module, in a home that they share, with a worker of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, Workers
from chutes_jupyter.server.client import Api
from tests.client.rig import Submit, start
from tests.server.rig import Server, serving


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests of a module share."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def shared_home(place: Path) -> Iterator[pytest.MonkeyPatch]:
    """A home that this process and the server have together."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(place / "home" / name.lower()))
        patch.setenv("CHUTES_GPU_LOCKS", str(place / "gpu-locks"))
        for name in ("SSH_AUTH_SOCK", "SSH_AGENT_PID", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            patch.delenv(name, raising=False)
        (place / "home" / "home").mkdir(parents=True)
        (place / "work").mkdir()
        jobs_module.close_client()
        Workers.load().add(Worker("local", dir=str(place / "worker")))
        yield patch
        jobs_module.close_client()


@pytest.fixture(autouse=True)
def home(shared_home: pytest.MonkeyPatch, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module's home instead of each test's own; a folder to work in, as a notebook's."""
    monkeypatch.chdir(place / "work")
    return place / "home" / "home"


@pytest.fixture(scope="module")
def server(shared_home: pytest.MonkeyPatch, place: Path) -> Iterator[Server]:
    """A server, with its own client of the same worker."""
    with serving(place / "root") as found:
        yield found


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    """The API of that server, with its token."""
    with Api(server.url, server.token) as found:
        yield found


@pytest.fixture
def submit() -> Iterator[Submit]:
    """Submits cells as jobs from this process, as a kernel does; ends them afterwards."""
    made = []

    def submit(*args: object, **options: object) -> jobs_module.Job:
        job = start(*args, **options)
        made.append(job)
        return job

    yield submit
    for job in made:
        if not job.done():
            job.cancel(wait=10)
            job.wait(30, outputs=False)
