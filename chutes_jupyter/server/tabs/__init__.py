"""The pages of jobs in tabs of Jupyter, where they reach nothing of Jupyter's.

- `manager`: opens tabs and takes them back; `where`: which kind can be had
- `router`: leads requests here; `handlers`: what they are answered
- `gate`: tickets and keys; `labels`: the secret names
- `proxy`, `websocket`, `headers`: passing on
- `backend`: the way to the job; `hints`: which app it is; `pages`: our own few pages
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.server.tabs.manager import ChutesTabs

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from chutes_jupyter.server.tabs.backend import Bridge

__all__ = ["ChutesTabs", "install"]


def install(serverapp: ServerApp, bridge: Bridge | None = None) -> ChutesTabs:
    """Let a Jupyter server show the pages of jobs.

    Parameters
    ----------
    serverapp : ServerApp
        The server; its web application is there already.
    bridge : Bridge, optional
        Runs a function of the client where the client lives; by default this process's own
        client in the background thread.
    """
    return ChutesTabs(serverapp, bridge)
