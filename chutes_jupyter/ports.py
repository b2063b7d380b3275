"""Forwards: a job's port, opened on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.errors import WorkerError
from chutes_jupyter.models import SSH_PORT, Port
from chutes_jupyter.places import LOOPBACK, Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chutes_jupyter.transports.base import Stream

CHUNK = 64 * 1024


class Forward:
    """A local address that leads to one port of a job.

    Parameters
    ----------
    port : Port
        The job's port.
    dial : callable
        Connects to the port on the worker; called for each connection that is made here, so
        that the forward outlives any connection to the worker.
    place : Place
        Where to listen.
    """

    def __init__(
        self, port: Port, dial: Callable[[], Awaitable[Stream]], place: Place | None = None
    ) -> None:
        self.port, self.place = port, place or Place()
        #: Where to connect, as host and port; None before `open`, where there is a `notice`,
        #: and for a unix socket, whose path the place has.
        self.address: tuple[str, int] | None = None
        #: Why the last attempt to reach the port failed, or "".
        self.last_error = ""
        self._dial = dial
        self._server: asyncio.Server | None = None
        self._splices: set[asyncio.Task[None]] = set()

    @property
    def notice(self) -> str:
        """Why this port has no local address, or ""."""
        if self.port.port == SSH_PORT:
            return "Nothing listens there: job.ssh_command opens it."
        return ""

    async def open(self) -> None:
        """Listen on a local address; a port with a `notice` stays without one.

        Raises
        ------
        ForwardFailed
            If the place can't be had.
        """
        if self.notice or self._server is not None:
            return
        sock = self.place.listen(socket.SOCK_STREAM)
        if self.place.path is None:
            self.address = sock.getsockname()[:2]
        self._server = await asyncio.start_server(self._accept, sock=sock)

    async def aclose(self) -> None:
        """Stop listening and close every connection that goes through here."""
        server, self._server, self.address = self._server, None, None
        if server is None:
            return
        server.close()
        splices = list(self._splices)
        for splice in splices:
            splice.cancel()
        await asyncio.gather(*splices, return_exceptions=True)
        await server.wait_closed()
        if self.place.path is not None:
            self.place.path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splice = asyncio.ensure_future(self._serve(reader, writer))
        self._splices.add(splice)
        splice.add_done_callback(self._splices.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            remote = await self._dial()
            self.last_error = ""
            await _splice(reader, writer, remote)
        except (WorkerError, OSError) as error:
            self.last_error = str(error)
            _reset(writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def url(proto: str, address: tuple[str, int] | None) -> str | None:
    """Return ``http://…/``, ``tcp://…`` or ``udp://…``; None where there is no address."""
    if address is None:
        return None
    host, number = address
    # Nobody can connect to "all addresses": this machine's own is one of them.
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
    where = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
    return f"http://{where}/" if proto == "http" else f"{proto}://{where}"


def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, so that whoever made it never takes a part for the whole."""
    # Closing with a linger time of 0 sends a reset; without it, an end like any other.
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    with contextlib.suppress(OSError):  # gone already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def _splice(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, remote: Stream
) -> None:
    """Pass bytes both ways until both ends have said that no more come; or raise."""
    ways = [
        asyncio.ensure_future(_upwards(reader, remote)),
        asyncio.ensure_future(_downwards(remote, writer)),
    ]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        await remote.aclose()


async def _upwards(reader: asyncio.StreamReader, remote: Stream) -> None:
    while data := await reader.read(CHUNK):
        await remote.write(data)
    remote.write_eof()


async def _downwards(remote: Stream, writer: asyncio.StreamWriter) -> None:
    while data := await remote.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
