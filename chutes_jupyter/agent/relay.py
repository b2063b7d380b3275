"""A program of the agent: passes datagrams and streams between one channel and jobs' ports.

It holds nothing that outlives it, and ends when the client closes its input. Frames are those
of `lanes`.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from typing import Optional

from . import lanes, streams
from .flows import Flows
from .outlet import Outlet
from .streams import Streams

_READ = 64 * 1024
#: For so long the client may take to hear the last words, in seconds.
_LAST_WORDS = 1.0


def main(root: str, _agent_hash: str, umask: Optional[int] = None) -> int:  # noqa: ARG001
    """Relay on standard input and output until the input ends; see `lanes`."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return Relay(os.path.abspath(os.path.expanduser(root))).run()


class Relay:
    """Moves frames between the channel and the sockets.

    Parameters
    ----------
    root : str
        The agent's folder on this worker.
    """

    def __init__(self, root: str) -> None:
        self._outlet = Outlet()
        self._decoder = lanes.Decoder()
        self._flows, self._streams = Flows(self._outlet), Streams(self._outlet, root)
        self._taken = self._told = 0
        self._open = True

    def run(self) -> int:
        """Relay until the client closes its side."""
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        self._outlet.selector.register(0, selectors.EVENT_READ, self._read)
        try:
            while self._open:
                self._write()
                for key, events in self._outlet.selector.select(self._flows.patience()):
                    key.data(events)
                self._flows.report()
                if self._taken != self._told:
                    self._told = self._taken
                    self._outlet.send(lanes.TAKEN, 0, 0, lanes.COUNT.pack(self._taken))
            self._say_last()
        except (BrokenPipeError, ConnectionResetError):
            return 0  # the client has gone without waiting
        return 0

    def _write(self) -> None:
        full = self._outlet.backlog >= streams.ROOM
        self._outlet.write()
        if full and self._outlet.backlog < streams.ROOM:
            self._streams.refresh()

    def _say_last(self) -> None:
        """Tell what was dropped, to a client that still listens."""
        self._flows.close_all()
        self._streams.close_all()
        until = time.monotonic() + _LAST_WORDS
        while self._outlet.backlog and time.monotonic() < until:
            self._outlet.write()
            self._outlet.selector.select(0.05)

    # -- in ---------------------------------------------------------------------------

    def _read(self, _events: int) -> None:
        try:
            data = os.read(0, _READ)
        except BlockingIOError:
            return
        if not data:
            self._open = False
            self._outlet.selector.unregister(0)
            return
        self._taken += len(data)
        for kind, flow, port, body in self._decoder.feed(data):
            self._take(kind, flow, port, body)

    def _take(self, kind: int, flow: int, port: int, body: bytes) -> None:
        if kind == lanes.DATAGRAM:
            self._flows.take(flow, port, body)
        elif kind == lanes.OPEN:
            self._streams.open(flow, port, body.decode("ascii", "replace"))
        elif flow in self._flows:
            if kind == lanes.CLOSE:
                self._flows.close(flow)
        elif flow in self._streams:  # else it has just ended here, and the client learns it
            self._take_stream(kind, flow, body)

    def _take_stream(self, kind: int, flow: int, body: bytes) -> None:
        if kind == lanes.DATA:
            self._streams.take(flow, body)
        elif kind == lanes.END:
            self._streams.end(flow)
        elif kind == lanes.ROOM:
            self._streams.make_room(flow, lanes.number(lanes.ROOM_MADE, body)[0])
        elif kind == lanes.CLOSE:
            self._streams.close(flow)
