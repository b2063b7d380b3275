"""The client: one a process, in the background loop; everything that talks to workers."""

from __future__ import annotations

from chutes_jupyter.client.deliver import Submission
from chutes_jupyter.client.hub import JobClient, WorkerInfo
from chutes_jupyter.client.live import Live

__all__ = ["JobClient", "Live", "Submission", "WorkerInfo"]
