"""Jobs with web servers, and a Jupyter server that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chutes_jupyter import job as jobs_module
from chutes_jupyter.config import Worker, Workers
from tests.client.rig import start
from tests.freeport import free_port
from tests.tabs.jupyter import Jupyter, jupyter_server
from tests.tabs.servers import Serve, Served, served


@pytest.fixture
def serve(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Submits jobs that serve something; they end with the test."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    jobs_module.close_client()

    def make(source: str, worker: Worker | None = None, **options: object) -> Served:
        worker = worker or Worker("local", dir=str(tmp_path / "worker"))
        if Workers.load().get("local").dir is None or worker.host is not None:
            Workers.load().add(worker)
        return served(start, source, worker, free_port(), **options)

    yield Serve(make)
    for each in jobs_module.jobs(refresh=False):
        if not each.done():
            each.cancel(wait=10 if each.confirmed_at else 0)
    jobs_module.close_client()


@pytest.fixture
def jupyter(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jupyter]:
    """A Jupyter server with tabs."""
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    with jupyter_server(tmp_path) as found:
        yield found
