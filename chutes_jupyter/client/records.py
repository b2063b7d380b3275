"""The store, written from the background loop: a cache, whose failures end nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from chutes_jupyter.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.store import Store

_log = logging.getLogger(__name__)
#: A mere confirmation is written at most this often, in seconds.
_CONFIRM = 30.0


class Records:
    """Writes what is known of jobs into the store, in threads.

    Parameters
    ----------
    store : Store
        This person's store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._confirmed: dict[str, float] = {}
        self._writing: set[asyncio.Future[Any]] = set()

    async def save(self, live: Live) -> None:
        """Write the present state of a job."""
        self._confirmed[live.id] = time.monotonic()
        await self._write(
            live,
            self.store.update,
            live.id,
            live.event,
            **_known(live),
        )

    async def tell(self, live: Live) -> None:
        """Write how far a job is, which comes without an event."""
        known = {**_known(live), "progress": live.readings.progress}
        await self._write(live, self.store.update, live.id, live.event, **known)

    async def confirm(self, live: Live) -> None:
        """Write that the worker still says the same, now and then."""
        if time.monotonic() - self._confirmed.get(live.id, 0.0) >= _CONFIRM:
            await self.save(live)

    async def settle(self, live: Live) -> None:
        """Write an end that the worker did not tell."""
        await self._write(
            live,
            self.store.settle,
            live.id,
            live.event,
            state=live.state,
            reason=live.reason,
            ended=live.ended,
        )

    def place(self, live: Live, folder: Path) -> None:
        """Write where the outputs lie here; called in a thread."""
        try:
            # With what the event says: written without it, the record would stay behind for ever
            # where the write that should have told it has failed.
            known = _known(live)
            self.store.update(live.id, live.event, output_dir=str(folder), **known)
        except (ConfigError, OSError) as error:
            _log.warning("%s: the store was not written: %s", live.label, error)

    async def flush(self) -> None:
        """Wait until everything is written."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    async def _write(self, live: Live, function: Any, *args: Any, **fields: Any) -> None:
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(None, partial(function, *args, **fields))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        try:
            # Shielded: what was shown must be written, also when following ends right then.
            await asyncio.shield(writing)
        except (ConfigError, OSError) as error:
            _log.warning("%s: the store was not written: %s", live.label, error)
            live.notice(f"the list of jobs on this machine was not written: {error}")


def _known(live: Live) -> dict[str, Any]:
    """Return what the events up to the present one have told."""
    return {
        "state": live.state,
        "started": live.started,
        "ended": live.ended,
        "reason": live.reason,
        "confirmed": live.confirmed,
        "root": live.root,
    }
