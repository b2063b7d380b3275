"""The way into a running job with ``ssh=True``: what this machine's own `ssh` program needs."""

from __future__ import annotations

from chutes_jupyter.doorway.folder import DoorFolder, sweep

__all__ = ["DoorFolder", "sweep"]
