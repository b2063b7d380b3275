"""A job that a request is about, with the ways to it; everything here is in the background loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from chutes_jupyter.errors import ConnectFailed, JobNotFound, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from chutes_jupyter.client import JobClient, Live
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.store import JobRecord

T = TypeVar("T")

#: How long a request waits for a worker that does not answer, in seconds.
PATIENCE = 10.0
#: And for one that is known to be away.
_AWAY = 1.5
#: How long one waits for the worker's word on a job that was not looked at before.
_FIRST_WORD = 2.0
#: All workers are asked for a job that nobody knows once in so many seconds at the most.
_ASKING = 60.0


@dataclass(frozen=True)
class Case:
    """A job that a request is about.

    Parameters
    ----------
    client : JobClient
        The server's.
    live : Live
        The job, which the client follows.
    root : Path, optional
        What the server's file browser shows.
    """

    client: JobClient
    live: Live
    root: Path | None

    @property
    def control(self) -> Session:
        """The way to the worker for requests."""
        return self.client.follower(self.live).control

    @property
    def bulk(self) -> Session:
        """The way for files."""
        return self.client.follower(self.live).bulk

    def trouble(self, reason: str | None) -> None:
        """Note why the worker can't be reached."""
        self.live.set(trouble=reason)

    async def within(self, asking: Awaitable[T], patience: float = PATIENCE) -> T:
        """Wait for a worker's answer, but not for ever.

        Raises
        ------
        ConnectFailed
            If the worker can't be reached.
        WaitTimeout
            If it does not answer in time.
        """
        if self.live.trouble:
            patience = min(patience, _AWAY)  # whoever follows the job tries again and again
        try:
            async with asyncio.timeout(patience):
                return await asking
        except TimeoutError:
            live = self.live
            if live.trouble:
                raise ConnectFailed(f"{live.worker} can't be reached: {live.trouble}") from None
            raise WaitTimeout(
                f"{live.worker} has not answered for {live.label} within {patience:g} s."
            ) from None


async def open_case(client: JobClient, text: str, root: Path | None) -> Case:
    """Find a job by its id or label, and follow it; its outputs stay where they are.

    Raises
    ------
    JobNotFound
        If there is none, or more than one.
    """
    live = await client.adopt(await _find(client, text))
    client.follow(live, mirror=False)
    with contextlib.suppress(TimeoutError):
        # What the store knew may be old; a worker that is away is shown as such.
        async with asyncio.timeout(_FIRST_WORD):
            await live.until(lambda: live.checked or live.trouble is not None or live.over)
    return Case(client, live, root)


_asked = -_ASKING


async def _find(client: JobClient, text: str) -> JobRecord:
    """Find a job in the store; ask the workers for one that is not there, but not each time."""
    global _asked
    try:
        return await asyncio.to_thread(client.store.find, text)
    except JobNotFound:
        # A page that goes on asking for a job that was removed would knock at every host.
        if time.monotonic() - _asked < _ASKING:
            raise
        _asked = time.monotonic()
        return await client.find(text)
