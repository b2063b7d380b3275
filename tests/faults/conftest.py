"""A client of the test's own, and workers of every kind, as the client's tests have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.conftest import environment, here, local, own_client, submit, worker
from tests.faults.kit import Line, line_to
from tests.sshd import Sshd

__all__ = ["environment", "here", "local", "own_client", "submit", "worker"]


@pytest.fixture
def line(sshd: Sshd, home: Path, tmp_path: Path) -> Iterator[Line]:
    with line_to(sshd, home, tmp_path / "worker") as found:
        yield found
