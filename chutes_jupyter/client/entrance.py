"""Asking a worker for the door of a job, and what this machine's own `ssh` needs for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chutes_jupyter.client.words import closed
from chutes_jupyter.doorway import DoorFolder
from chutes_jupyter.errors import DoorShut, RequestRefused, WaitTimeout
from chutes_jupyter.replies import DoorFacts, parse

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session

#: How long to wait for a job to start, in seconds, and for how long at a time.
_PATIENCE, _PAUSE = 60.0, 0.2
_NOT_OPEN = "not_open"


async def open_door(live: Live, control: Session) -> DoorFolder:
    """Return the files with which `ssh` reaches a job, once its worker said that it can be.

    Parameters
    ----------
    live : Live
        The job.
    control : Session
        The way to its worker.

    Raises
    ------
    DoorShut
        If the job has no door, it is shut, or the worker can't have one.
    WaitTimeout
        If the job does not start for a minute.
    WorkerError
        If the worker can't be reached.
    """
    folder = DoorFolder.of(live.id, live.label)
    try:
        async with asyncio.timeout(_PATIENCE):
            await live.until(lambda: live.acknowledged or live.over)
            facts = await _facts(live, control)
    except TimeoutError:
        raise WaitTimeout(
            f"{live.label} is {live.state}: its door opens when it has started. Ask again then."
        ) from None
    await asyncio.to_thread(folder.write, live.id, live.label, control.worker, facts)
    return folder


async def _facts(live: Live, control: Session) -> DoorFacts:
    while True:
        if live.terminal:
            raise DoorShut(closed(live), "ended")
        try:
            return parse(DoorFacts, (await control.request("door", job=live.id)).header)
        except RequestRefused as refusal:
            if refusal.code != _NOT_OPEN:
                raise DoorShut(f"{refusal}.", refusal.code) from refusal
        await asyncio.sleep(_PAUSE)
