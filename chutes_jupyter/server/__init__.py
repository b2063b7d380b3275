"""The Jupyter server's side: an API that works while a kernel is busy, dead, or was never there.

It has a client of its own, and never imports `kernel`. Handlers parse, call the client, and
answer; `shapes` says what goes in and out, `problems` what an error becomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["_load_jupyter_server_extension"]


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    from chutes_jupyter.server.app import load

    load(serverapp)
