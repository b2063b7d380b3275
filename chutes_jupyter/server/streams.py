"""Server-sent events: written as they come, no faster than they are read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.iostream import StreamClosedError

from chutes_jupyter.server.base import ApiHandler
from chutes_jupyter.server.problems import problem_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EVENT_STREAM = "text/event-stream"
#: A comment is sent after so many seconds of silence: proxies end what is silent for a minute,
#: and a reader that is gone is found out.
KEEPALIVE = 15.0
#: How soon EventSource comes again after a break, in milliseconds.
_RETRY = 1000


@dataclass(frozen=True)
class Sent:
    """One event of a stream.

    Parameters
    ----------
    name : str
        Its type.
    data : str
        JSON on one line.
    id : str
        Where to go on after it; "" where it can't be gone on from.
    """

    name: str
    data: str
    id: str = ""

    def encode(self) -> bytes:
        """Return it as it is written."""
        lines = [f"event: {self.name}", f"data: {self.data}"]
        if self.id:
            lines.append(f"id: {self.id}")
        return ("\n".join(lines) + "\n\n").encode()


def sent(name: str, data: dict[str, Any], where: str = "") -> Sent:
    """Return an event of plain data."""
    return Sent(name, json.dumps(data, separators=(",", ":")), where)


class StreamHandler(ApiHandler):
    """A route that streams events for as long as somebody reads."""

    # A front end that only watches does not keep the server from being culled as idle.
    _track_activity = False

    def initialize(self) -> None:
        """Begin to know whether the reader is still there."""
        self._gone = asyncio.Event()

    def on_connection_close(self) -> None:
        """Note that the reader has left."""
        self._gone.set()
        super().on_connection_close()

    @property
    def last_event(self) -> str:
        """Where the reader says that it was."""
        return self.request.headers.get("Last-Event-ID", "")

    async def send_events(self, events: AsyncIterator[Sent]) -> None:
        """Write events until there are no more, or the reader has left.

        What goes wrong meanwhile is an event, too: `problem`, with the form that errors have.
        """
        self.set_header("Content-Type", EVENT_STREAM)
        self.set_header("Cache-Control", "no-store")
        # nginx would gather them.
        self.set_header("X-Accel-Buffering", "no")
        gone = asyncio.ensure_future(self._gone.wait())
        with contextlib.suppress(StreamClosedError):
            try:
                self.write(f"retry: {_RETRY}\n\n")
                await self.flush()
                await self._pass_on(events, gone)
                await self.finish(set_content_type=EVENT_STREAM)
            finally:
                gone.cancel()

    async def _pass_on(self, events: AsyncIterator[Sent], gone: asyncio.Future[Any]) -> None:
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait(
                    [coming, gone], timeout=KEEPALIVE, return_when=asyncio.FIRST_COMPLETED
                )
                if gone.done():
                    return
                if not coming.done():
                    self.write(": nothing new\n\n")
                    await self.flush()
                    continue
                found = self._taken(coming)
                if found is None:
                    return
                self.write(found.encode())
                # Waits while the reader does not read: then nothing more is asked for.
                await self.flush()
                if found.name == "problem":
                    return
                coming = asyncio.ensure_future(anext(events, None))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _taken(self, coming: asyncio.Future[Sent | None]) -> Sent | None:
        try:
            return coming.result()
        except Exception as error:  # noqa: BLE001 - the headers are out: it is told in the stream
            self.log_exception(type(error), error, error.__traceback__)
            return Sent("problem", problem_of(error)[1].model_dump_json())
