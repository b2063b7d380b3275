"""Asking the workers for their jobs, now and then, while somebody watches the list."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chutes_jupyter.config import Workers

if TYPE_CHECKING:
    from chutes_jupyter.client import JobClient

#: How often a worker that answers is asked, in seconds. What this machine follows or submits
#: is known anyway: this finds what other machines of the person did.
_ROUND = 60.0
#: One that does not answer is asked after such pauses: from, to. Each may be a failed login,
#: and some hosts lock out who has a few of them.
_FIRST, _LONGEST = 120.0, 900.0


class Rounds:
    """When each worker is to be asked next."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._pauses: dict[str, float] = {}

    async def take(self, client: JobClient) -> None:
        """Ask those workers whose time has come."""
        now = time.monotonic()
        due = [worker for worker in Workers.load() if self._next.get(worker.name, 0.0) <= now]
        if not due:
            return
        await client.discover(workers=due)
        for worker in due:
            pause = _ROUND
            if worker.name in client.silent:
                pause = min(2 * self._pauses.get(worker.name, _FIRST / 2), _LONGEST)
                self._pauses[worker.name] = pause
            else:
                self._pauses.pop(worker.name, None)
            self._next[worker.name] = time.monotonic() + pause

    def soon(self, worker: str) -> None:
        """Ask a worker at the next occasion: it was changed, or somebody logged in to it."""
        self._next.pop(worker, None)
        self._pauses.pop(worker, None)
