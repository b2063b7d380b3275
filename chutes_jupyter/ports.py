"""Forwards: a job's port, opened on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
import sys
from typing import TYPE_CHECKING

from chutes_jupyter.errors import WorkerError
from chutes_jupyter.models import SSH_PORT, Port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chutes_jupyter.transports.base import Connection, Stream

#: Where a job's server listens, seen from its worker.
REMOTE = "127.0.0.1"
CHUNK = 64 * 1024


class Forward:
    """A local address that leads to one port of a job.

    Parameters
    ----------
    port : Port
        The job's port.
    connection : callable
        Returns the connection to the worker, making it again if it broke; asked for each
        time that somebody connects.
    """

    def __init__(self, port: Port, connection: Callable[[], Awaitable[Connection]]) -> None:
        self.port = port
        #: Where to connect, as host and port; None before `open` and where there is a `notice`.
        self.address: tuple[str, int] | None = None
        #: Why the last attempt to reach the port failed, or "".
        self.last_error = ""
        self._connection = connection
        self._server: asyncio.Server | None = None
        self._splices: set[asyncio.Task[None]] = set()

    @property
    def notice(self) -> str:
        """Why this port has no local address, or ""."""
        if self.port.port == SSH_PORT:
            return "Nothing listens there: job.ssh_command opens it."
        if self.port.proto == "udp":
            return f"Port {self.port.name} (udp) is declared; its door comes with a later version."
        return ""

    @property
    def url(self) -> str | None:
        """``http://…/`` or ``tcp://…``, or None where there is no local address."""
        if self.address is None:
            return None
        host, number = self.address
        return f"http://{host}:{number}/" if self.port.proto == "http" else f"tcp://{host}:{number}"

    async def open(self) -> None:
        """Listen on a local address; a port with a `notice` stays without one."""
        if self.notice or self._server is not None:
            return
        try:
            self._server = await asyncio.start_server(self._accept, _local_host(), 0)
        except OSError:
            # Not every system has all of 127/8, containers without it included.
            self._server = await asyncio.start_server(self._accept, REMOTE, 0)
        host, number = self._server.sockets[0].getsockname()[:2]
        self.address = (host, number)

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

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splice = asyncio.ensure_future(self._serve(reader, writer))
        self._splices.add(splice)
        splice.add_done_callback(self._splices.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = await self._connection()
            remote = await connection.open_tcp(REMOTE, self.port.port)
            self.last_error = ""
            await _splice(reader, writer, remote)
        except (WorkerError, OSError) as error:
            self.last_error = str(error)
            _reset(writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _local_host() -> str:
    """Return a loopback address that no cookie of localhost is sent to, where there are many."""
    host = REMOTE
    if sys.platform == "linux":
        host = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
    return host


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
