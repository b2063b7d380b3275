"""The end of a process that has just submitted jobs."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live

#: How long to wait for workers to confirm what was just submitted, and how long in silence.
_EXIT_PATIENCE = 10.0
_EXIT_QUIET = 1.0


async def wait_for_words(pending: list[Live]) -> None:
    """Wait for acknowledgements, telling of it where that takes long."""
    words = [asyncio.ensure_future(_word(live)) for live in pending]
    _, late = await asyncio.wait(words, timeout=_EXIT_QUIET)
    if late:
        names = ", ".join(f"{live.label} on {live.worker}" for live in pending)
        sys.stderr.write(f"chutes_jupyter: waiting for the word that {names} has started …\n")
        _, late = await asyncio.wait(late, timeout=_EXIT_PATIENCE - _EXIT_QUIET)
    for live in pending:
        if not live.acknowledged and not live.terminal:
            sys.stderr.write(
                f"chutes_jupyter: {live.label} was not confirmed by {live.worker} within "
                f"{_EXIT_PATIENCE:.0f} s and may never start.\n"
            )
    for word in late:
        word.cancel()


async def _word(live: Live) -> None:
    """Wait until the worker has the job, or nothing will come of it."""
    await live.until(lambda: live.acknowledged or live.over)
