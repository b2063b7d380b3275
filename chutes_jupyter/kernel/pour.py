"""The log on its way to the views of a panel: at their pace, and never more than they show."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

from chutes_jupyter import portal
from chutes_jupyter.client.logfeed import LogFeed
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import ChuteError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from chutes_jupyter.client.live import Live

#: A view begins so far before the end, and is never further behind, in bytes.
WINDOW = 8 * 1024 * 1024
#: The shortest time between two messages, in seconds: eight a second.
PAUSE = 0.12
#: So many logs have that pace; more of them share it, so that a kernel has time for its cells.
SHARERS = 3
#: Two views of one panel are poured to; a page that was closed does not say so.
_MOST_VIEWS = 2
_ENDLESS = 1 << 62

_log = logging.getLogger(__name__)
#: How many logs are poured in this process.
_pouring = 0


class Send(Protocol):
    """How a message gets to the front end."""

    def __call__(self, content: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Send it, from any thread."""


class Pour:
    """Pours one job's log to those views that ask for it.

    Parameters
    ----------
    live : Live
        The job, which the client follows.
    send : callable
        Sends a message to all views; each takes those that name it.
    """

    def __init__(self, live: Live, send: Send) -> None:
        self._live, self._send = live, send
        self._lock = threading.Lock()
        self._views: dict[str, Future[None]] = {}

    def start(self, view: str, begin: int | None, earlier: int | None) -> None:
        """Pour to a view from now on, in place of what was poured to it.

        Parameters
        ----------
        view : str
            Its name for itself.
        begin : int, optional
            The first byte; without one the end of the log.
        earlier : int, optional
            Give the part before this byte, and what comes next, but not all that follows.
        """
        self.stop(view)
        future = portal.spawn(self._pour, view, begin, earlier)
        with self._lock:
            self._views[view] = future
            old = list(self._views)[:-_MOST_VIEWS]
        for each in old:
            self.stop(each)

    def stop(self, view: str) -> None:
        """Pour no more to a view."""
        with self._lock:
            future = self._views.pop(view, None)
        if future is not None:
            future.cancel()

    def stop_all(self) -> None:
        """Pour to nobody."""
        for view in list(self._views):
            self.stop(view)

    async def _pour(self, view: str, begin: int | None, earlier: int | None) -> None:
        window, apart = WINDOW, earlier is not None
        if earlier is not None:
            # A part far from the end: as much before that place as behind it.
            begin, window = max(0, earlier - WINDOW // 2), _ENDLESS
        control, _ = current_client().way_to(self._live.worker)
        feed = LogFeed(control, self._live, begin, window)
        global _pouring
        _pouring += 1  # in the background loop alone
        try:
            await self._pieces(view, feed, begin, apart)
        except ChuteError as error:
            self._send({"view": view, "fault": str(error)})
        except Exception:  # a fault must not vanish with its task
            _log.exception("the log of %s can't be shown", self._live.label)
            raise
        finally:
            _pouring -= 1
            with contextlib.suppress(ChuteError):
                await feed.aclose()

    async def _pieces(self, view: str, feed: LogFeed, begin: int | None, apart: bool) -> None:
        end: int | None = None
        reset = apart
        while (part := await feed.next()) is not None:
            end = part.end
            stopped = apart and end - (begin or 0) > WINDOW and feed.behind > WINDOW
            said = {
                "begin": part.begin,
                "end": end,
                "runs": [list(run) for run in part.runs],
                "reset": part.reset or reset,
                "stopped": stopped,
            }
            reset = False
            self._send({"view": view, "log": said}, [part.data])
            if stopped:
                return
            await asyncio.sleep(PAUSE * max(1.0, _pouring / SHARERS))
        place = begin if end is None else end
        over = {"begin": place or 0, "end": place or 0, "runs": [], "over": True}
        self._send({"view": view, "log": {**over, "reset": place is None}})
