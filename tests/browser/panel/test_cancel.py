"""Cancel works at once with every ipykernel, whatever its kernel is busy with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.panel import ipykernels
from tests.browser.panel.cancels import BUSY, Server, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Jupyter server and a browser for all of them."""
    with serving(tmp_path_factory.mktemp("jupyter"), ipykernels.tested()) as found:
        yield found


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("version", ipykernels.tested())
def test_cancel_with_an_older_ipykernel(server: Server, version: str, busy: str) -> None:
    # The cell that is busy goes on or ends as it should: `time` looks at that, too. It is bounded
    # only against "when the cell ends", which would be after a minute.
    assert server.time(version, "JupyterLab", busy) < 20
