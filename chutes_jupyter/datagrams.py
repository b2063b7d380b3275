"""Forwards of udp ports: datagrams of this machine's programs, to a job and back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import TYPE_CHECKING, cast

from chutes_jupyter.agent.kernel_drops import kernel_drops
from chutes_jupyter.agent.lanes import MAX_BODY
from chutes_jupyter.places import Place

if TYPE_CHECKING:
    from chutes_jupyter.models import Port
    from chutes_jupyter.relay import Address, Lane

#: So many datagrams are taken from the socket before others have their turn.
_TURN = 128


class UdpForward:
    """A local address whose datagrams go to one udp port of a job, and the answers back.

    Parameters
    ----------
    port : Port
        The job's port.
    lane : Lane
        The way of its datagrams.
    place : Place
        Where to listen.
    """

    def __init__(self, port: Port, lane: Lane, place: Place | None = None) -> None:
        self.port, self.place = port, place or Place()
        #: Where to send, as host and port; None before `open` and after `aclose`.
        self.address: tuple[str, int] | None = None
        self._lane = lane
        self._socket: socket.socket | None = None
        self._counted = 0
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def unread(self) -> int:
        """How many datagrams the system dropped here that the lane does not count yet.

        They came faster than they were read.
        """
        sock = self._socket
        # The system's number begins again at 0 after 2**32.
        return 0 if sock is None else (kernel_drops(sock) - self._counted) % 2**32

    def _count_unread(self) -> None:
        unread = self.unread
        self._counted += unread
        self._lane.count(up=unread)

    async def open(self) -> None:
        """Take datagrams from now on.

        Raises
        ------
        ForwardFailed
            If the place can't be had.
        """
        if self._transport is not None:
            return
        sock = self.place.listen(socket.SOCK_DGRAM)
        try:
            self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Protocol(self), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        self._lane.open()
        self._socket = sock
        self.address = sock.getsockname()[:2]

    async def aclose(self) -> None:
        """Take no more, and forget who sent."""
        transport, self._transport, self.address = self._transport, None, None
        if transport is None:
            return
        self._count_unread()
        sock, self._socket = self._socket, None
        with contextlib.suppress(OSError):  # nothing more
            while sock is not None:
                sock.recvfrom(1)
                self._lane.count(up=1)
        transport.close()
        # The socket itself is closed in the next round of the loop, which comes in this wait.
        await self._lane.close_flows_of(self)

    def taken(self, data: bytes, address: Address) -> None:
        """Pass on a datagram, and those that wait behind it."""
        self._lane.send(self, address, data)
        sock = self._socket
        if sock is None or sys.platform == "win32":
            return  # there the loop has asked for the next one already
        # The loop itself takes one in each of its rounds: too slow for a burst.
        for _ in range(_TURN):
            try:
                data, address = sock.recvfrom(MAX_BODY + 1)
            except OSError:
                break
            self._lane.send(self, address, data)
        self._count_unread()

    def deliver(self, address: Address, data: bytes) -> bool:
        """Hand an answer to who asked; return whether that could be done at once."""
        if self._socket is None:
            return False
        try:
            # Not the loop's way, which would keep what can't be sent, without a limit.
            self._socket.sendto(data, address)
        except OSError:
            return False
        return True


class _Protocol(asyncio.DatagramProtocol):
    """What the loop calls."""

    def __init__(self, forward: UdpForward) -> None:
        self._forward = forward

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """Take a datagram."""
        self._forward.taken(data, cast("Address", addr))
