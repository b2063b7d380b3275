"""One JupyterLab and one browser for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.sidebar.stage import Stage, built
from tests.kernel.lab import browser_page, lab_server


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A JupyterLab in a browser."""
    built()
    folder = tmp_path_factory.mktemp("lab")
    (folder / "home").mkdir()
    with lab_server(folder) as address, browser_page(width=1300) as page:
        found = Stage(folder, address, page)
        page.on("pageerror", found.complain)
        yield found


@pytest.fixture
def stage(lab: Stage) -> Iterator[Stage]:
    """JupyterLab without a notebook and without tabs, as when it was just opened."""
    if lab.page.url == "about:blank":
        lab.open()
    lab.clear()
    yield lab
    assert not lab.complaints
