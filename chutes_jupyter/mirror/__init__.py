"""Outputs of jobs, brought to this machine: while they run, resumed, checked, contained."""

from __future__ import annotations

from chutes_jupyter.mirror.folder import MirrorFolder
from chutes_jupyter.mirror.run import Mirror
from chutes_jupyter.mirror.status import FileView, MirrorStatus, Snapshot, Source

__all__ = ["FileView", "Mirror", "MirrorFolder", "MirrorStatus", "Snapshot", "Source"]
