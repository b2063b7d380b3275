"""All routes of the API: the one table, from which a test walks them all."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jupyter_server.utils import url_path_join

from chutes_jupyter.server import about, events, files, jobs, logs, ports, workers
from chutes_jupyter.server.openapi import BASE

if TYPE_CHECKING:
    from chutes_jupyter.server.base import ApiHandler

HANDLERS: tuple[type[ApiHandler], ...] = (
    *about.HANDLERS,
    *events.HANDLERS,
    *jobs.HANDLERS,
    *logs.HANDLERS,
    *files.HANDLERS,
    *ports.HANDLERS,
    *workers.HANDLERS,
)


def rules(base_url: str) -> list[tuple[str, type[Any]]]:
    """Return what a web application is told to serve the API below its base URL."""
    return [(_pattern(base_url, handler.path), handler) for handler in HANDLERS]


def _pattern(base_url: str, path: str) -> str:
    parts = re.split(r"{(\w+)}", url_path_join(base_url, BASE, path))
    return "".join(
        f"(?P<{part}>[^/]+)" if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
