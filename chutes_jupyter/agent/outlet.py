"""The relay's way out to the client: frames wait here while the channel takes none."""

from __future__ import annotations

import os
import selectors

from . import lanes, wire

_WRITE = 64 * 1024


class Outlet:
    """Frames for standard output, which may never block, and the selector of all sockets."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self._out = bytearray(wire.MARKER)
        self._waits_for_room = False

    @property
    def backlog(self) -> int:
        """How much waits to be sent to the client, in bytes."""
        return len(self._out)

    def send(self, kind: int, flow: int, port: int = 0, body: bytes = b"") -> None:
        """Put a frame in line for the client."""
        self._out += lanes.head(kind, flow, port, len(body))
        self._out += body

    def write(self) -> None:
        """Write what the channel takes now; the selector tells when it takes more.

        Raises
        ------
        OSError
            If there is nobody any more who could take it.
        """
        try:
            while self._out:
                written = os.write(1, self._out[:_WRITE])
                del self._out[:written]
        except BlockingIOError:
            pass
        wanted = bool(self._out)
        if wanted == self._waits_for_room:
            return
        self._waits_for_room = wanted
        if wanted:
            self.selector.register(1, selectors.EVENT_WRITE, _nothing)
        else:
            self.selector.unregister(1)


def _nothing(_events: int) -> None:
    """Be woken: writing comes first in every round."""
