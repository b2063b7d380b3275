"""The small cut run: nothing lost, nothing doubled. `make faults` runs the full one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.client.conftest import here, own_client
from tests.faults.cut_run import LITTLE, run
from tests.sshd import Sshd

__all__ = ["here", "own_client"]  # fixtures


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_doubled_while_the_link_is_cut(
    sshd: Sshd, home: Path, tmp_path: Path, dialling: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    figures = run(1, LITTLE, sshd, home, folder, dialling)
    assert (figures.lost, figures.doubled, figures.wrong) == ([], [], []), str(figures)
    assert figures.cuts >= LITTLE.cuts
    # Not in logins alone, however long those take: then little else would have been shown.
    assert figures.at_work > LITTLE.cuts / 3
    assert figures.collecting > 0
    assert figures.connections > LITTLE.cuts / 2
