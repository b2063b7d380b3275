"""The extension, as the Jupyter server loads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chutes_jupyter.server.handlers import SETTING
from chutes_jupyter.server.routes import rules
from chutes_jupyter.server.service import Service
from chutes_jupyter.server.tabs import install

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def load(serverapp: ServerApp) -> None:
    """Serve the API below the server's base URL; nothing is connected to until somebody asks."""
    web = serverapp.web_app
    root = getattr(serverapp, "root_dir", "")
    folder = Path(root).expanduser().absolute() if root else None
    web.settings[SETTING] = Service(folder, install(serverapp))
    web.add_handlers(".*$", rules(web.settings["base_url"]))  # type: ignore[no-untyped-call]
    serverapp.log.debug("chutes_jupyter answers below %schutes/api", web.settings["base_url"])
