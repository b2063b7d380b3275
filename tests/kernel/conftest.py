"""Kernels and what they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.kernel.modules import module_page
from tests.kernel.notebook import Notebook, open_notebook


@pytest.fixture
def notebook(home: Path, tmp_path: Path) -> Iterator[Notebook]:
    """A kernel that nobody looks at, as papermill would have it."""
    with open_notebook(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """A page that can import the panel's modules; `modules` is the same, fresh for each test."""
    with module_page() as found:
        yield found


@pytest.fixture
def modules(browser: Page) -> Page:
    """A page that can import the panel's modules, and has none of them yet."""
    browser.reload()
    return browser
