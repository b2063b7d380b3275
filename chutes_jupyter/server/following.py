"""Following the jobs that live, while somebody watches the list: their changes are there at once.

Everything here runs in the background loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ChuteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from chutes_jupyter.client import JobClient, Live

_log = logging.getLogger(__name__)
#: So many jobs are followed, the newest; of others what their workers say in rounds.
MOST = 200


class Following:
    """The jobs that are followed for the list.

    Parameters
    ----------
    changed : callable
        Called after every change of one of them.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._ends: dict[str, Callable[[], None]] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._ends))

    def lives(self, client: JobClient) -> list[Live]:
        """Return those of the jobs that have not ended, the newest first."""
        found = [live for live in map(client.followed, self._ends) if live and not live.terminal]
        return sorted(found, key=lambda live: -live.created)

    def follow(self, client: JobClient, jobs: Iterable[str]) -> None:
        """Follow these jobs, too, the first of them."""
        for job in list(jobs)[:MOST]:
            if job not in self._ends and job not in self._starting:
                self._starting[job] = asyncio.create_task(self._start(client, job))

    async def _start(self, client: JobClient, job: str) -> None:
        try:
            live = await client.adopt(await client.find(job))
            client.follow(live, mirror=False)
            # After that: who follows a job that is watched keeps the end of its log as well.
            self._ends[job] = live.subscribe(self._changed)
        except ChuteError as error:
            _log.info("job %s is not followed: %s", job[:6], error)
        finally:
            self._starting.pop(job, None)

    def drop(self, job: str) -> None:
        """Follow a job no more that is gone, or has ended."""
        if (end := self._ends.pop(job, None)) is not None:
            end()

    def leave(self) -> None:
        """Be told of nothing any more; nobody watches."""
        for task in self._starting.values():
            task.cancel()
        for job in list(self._ends):
            self.drop(job)
