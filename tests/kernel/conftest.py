"""Kernels and what they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.notebook import Notebook, open_notebook


@pytest.fixture
def notebook(home: Path, tmp_path: Path) -> Iterator[Notebook]:
    """A kernel that nobody looks at, as papermill would have it."""
    with open_notebook(tmp_path) as found:
        yield found
