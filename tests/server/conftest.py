"""One server for all tests here, in a home that they share, with a worker of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import FILE_NAME
from chutes_jupyter.server.client import Api
from tests.client.rig import Submit, start
from tests.conftest import PERSONAL
from tests.server.rig import Server, serving


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What these tests share."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def surroundings(place: Path) -> Mapping[str, str]:
    """The environment of a home that this process and the server have together."""
    home = place / "home"
    (home / "config").mkdir(parents=True)
    (home / "config" / FILE_NAME).write_text(f'[workers.local]\ndir = "{place}/worker"\n')
    (place / "work").mkdir()
    return {
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "CHUTES_GPU_LOCKS": str(place / "gpu-locks"),
    }


@pytest.fixture(autouse=True)
def home(
    surroundings: Mapping[str, str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The shared home instead of each test's own; a folder to work in, as a notebook's."""
    jobs_module.close_client()
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    for name in PERSONAL:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(place / "work")
    yield place / "home"
    jobs_module.close_client()


@pytest.fixture(scope="session")
def server(surroundings: Mapping[str, str], place: Path) -> Iterator[Server]:
    """A server, with its own client of the same worker."""
    with serving(place / "root", surroundings) as found:
        yield found
        log = found.log.read_text()
        # What goes wrong for a reason is an answer; anything else would be a fault of ours.
        assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]


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
