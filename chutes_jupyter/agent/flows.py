"""The relay's flows of datagrams: a connected socket for each of the client's senders."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Dict, List, Optional, Set

from . import lanes
from .kernel_drops import kernel_drops

if TYPE_CHECKING:
    from .outlet import Outlet

#: With so much waiting to be sent to the client, datagrams are dropped, in bytes.
ROOM = 512 * 1024
#: Asked of the system for each socket, which gives what it allows.
BUFFER = 1024 * 1024
#: So many datagrams of one flow are read before others have their turn.
_TURN = 64
#: What was dropped is told so often at the most, in seconds.
_REPORT = 0.2


class _Flow:
    """One of the client's senders, as a socket that is connected to the job's port."""

    def __init__(self, number: int, port: int) -> None:
        self.number, self.port = number, port
        self.unread = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.sock.setblocking(False)
            with contextlib.suppress(OSError):
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self.sock.connect(("127.0.0.1", port))
        except BaseException:
            self.sock.close()
            raise


class Flows:
    """All flows of datagrams, and the count of what was dropped.

    Parameters
    ----------
    outlet : Outlet
        The channel to the client.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._flows: OrderedDict[int, _Flow] = OrderedDict()
        #: By port: how many were dropped towards the job, and towards the client.
        self._dropped: Dict[int, List[int]] = {}
        self._touched: Set[_Flow] = set()
        self._next_report = 0.0

    def __contains__(self, number: int) -> bool:
        return number in self._flows

    # -- to the job -------------------------------------------------------------------

    def take(self, number: int, port: int, body: bytes) -> None:
        """Send one datagram to the job."""
        flow = self._flows.get(number)
        if flow is None:
            try:
                flow = self._open(number, port)
            except OSError:  # no more descriptors, or no port 0
                self._drop(port, up=1)
                return
        self._flows.move_to_end(number)
        self._touched.add(flow)
        self._drop(port, up=_send(flow.sock, body))

    def _open(self, number: int, port: int) -> _Flow:
        while len(self._flows) >= lanes.MAX_FLOWS:
            oldest = next(iter(self._flows))
            self.close(oldest)
            self._outlet.send(lanes.CLOSE, oldest)
        flow = self._flows[number] = _Flow(number, port)
        self._outlet.selector.register(
            flow.sock, selectors.EVENT_READ, lambda _events: self._read(flow)
        )
        return flow

    # -- to the client ----------------------------------------------------------------

    def _read(self, flow: _Flow) -> None:
        if self._flows.get(flow.number) is not flow:
            return  # closed since the selector spoke of it
        self._touched.add(flow)
        for _ in range(_TURN):
            try:
                data = flow.sock.recv(lanes.MAX_BODY + 1)
            except BlockingIOError:
                return
            except OSError:  # an earlier one was refused: nobody listens there (yet)
                self._drop(flow.port, up=1)
                continue
            if self._outlet.backlog > ROOM or len(data) > lanes.MAX_BODY:
                self._drop(flow.port, down=1)
            else:
                self._outlet.send(lanes.DATAGRAM, flow.number, flow.port, data)

    # -- the end ----------------------------------------------------------------------

    def close(self, number: int) -> None:
        """Close a flow; what lies unread in it is dropped."""
        flow = self._flows.pop(number)
        self._outlet.selector.unregister(flow.sock)
        self._count_unread(flow)
        self._touched.discard(flow)
        while True:
            try:
                flow.sock.recv(1)
            except BlockingIOError:
                break
            except OSError:
                self._drop(flow.port, up=1)
            else:
                self._drop(flow.port, down=1)
        flow.sock.close()
        self._next_report = 0.0  # who closes it waits for the last word

    def close_all(self) -> None:
        """Close every flow, and tell what was dropped."""
        for number in list(self._flows):
            self.close(number)
        self.report()

    # -- what was dropped -------------------------------------------------------------

    def _drop(self, port: int, *, up: int = 0, down: int = 0) -> None:
        if up or down:
            counts = self._dropped.setdefault(port, [0, 0])
            counts[0] += up
            counts[1] += down

    def _count_unread(self, flow: _Flow) -> None:
        unread = kernel_drops(flow.sock)
        # The system's number begins again at 0 after 2**32.
        self._drop(flow.port, down=(unread - flow.unread) % 2**32)
        flow.unread = unread

    def patience(self) -> Optional[float]:
        """Return in how many seconds there may be something to tell, or None."""
        if not self._touched and not self._dropped:
            return None
        return max(0.0, self._next_report - time.monotonic())

    def report(self) -> None:
        """Tell the client what was dropped, now and then."""
        if self.patience() != 0.0:
            return
        self._next_report = time.monotonic() + _REPORT
        for flow in self._touched:
            self._count_unread(flow)
        self._touched.clear()
        for port, counts in self._dropped.items():
            body = lanes.DROPS.pack(*(min(count, lanes.MOST_DROPS) for count in counts))
            self._outlet.send(lanes.DROPPED, 0, port, body)
        self._dropped.clear()


def _send(sock: socket.socket, body: bytes) -> int:
    """Send a datagram; return how many are known to be lost, of this and earlier ones."""
    lost = 0
    for _ in range(2):
        try:
            sock.send(body)
        except ConnectionRefusedError:
            lost += 1  # an earlier one, and this one was not sent
            continue
        except OSError:  # no room, or too large for this system
            return lost + 1
        # On loopback a refusal is there at once; asking takes it away.
        return lost + bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    return lost + 1
