"""The control socket of a running `ssh`: OpenSSH's own protocol for sharing its connection.

OpenSSH describes it in its file PROTOCOL.mux; version 4 is spoken since 2010. Over it we get
what the `ssh` program would only tell in words: whether the connection stands, whether a session
was refused, and with what status a command ended. No process is started for any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = 4
#: Longest message that is believed; the master sends short ones.
_LONGEST = 256 * 1024
_NO_ESCAPE = 0xFFFFFFFF
_INT = struct.Struct(">I")

_HELLO = 0x00000001
_NEW_SESSION, _ALIVE_CHECK, _TERMINATE, _NEW_STDIO = 0x10000002, 0x10000004, 0x10000005, 0x10000008
_DENIED, _FAILURE, _EXIT, _ALIVE, _OPENED = (0x80000000 + n for n in range(2, 7))


class MuxError(Exception):
    """The master is not there, is gone, or says what it should not."""


class MuxRefused(MuxError):
    """The master lives, and answered no."""


class MuxSocket:
    """One conversation with a master, which takes what it is asked in order.

    Parameters
    ----------
    sock : socket.socket
        Connected, not blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._numbers = itertools.count(1)
        self._received = bytearray()

    @classmethod
    async def open(cls, path: Path) -> MuxSocket:
        """Connect to a master and greet it.

        Raises
        ------
        MuxError
            If nothing listens there, or not a master.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            # Not the loop's own: a full queue of a hung master says EAGAIN, and is to be waited on.
            await _connect(sock, path)
            found = cls(sock)
            found._send(_message(_HELLO, VERSION))
            kind, rest = await found._receive()
            if kind != _HELLO or _int(rest)[0] != VERSION:
                raise MuxError("it speaks another protocol")
        except OSError as error:
            sock.close()
            raise MuxError(str(error)) from error
        except BaseException:
            sock.close()
            raise
        return found

    async def alive(self) -> int:
        """Return the process id of the master, which shows that it lives."""
        self.ask_alive()
        return await self.next_alive()

    def ask_alive(self) -> None:
        """Ask whether the master lives; the answers come in order."""
        self._send(_message(_ALIVE_CHECK, next(self._numbers)))

    async def next_alive(self) -> int:
        """Wait for an answer to `ask_alive`, and return the process id in it."""
        kind, rest = await self._receive()
        if kind != _ALIVE:
            raise MuxError(f"it sends a message of kind {kind:#x}")
        return _int(_int(rest)[1])[0]

    async def terminate(self) -> None:
        """End the master, and the connection for everyone who uses it."""
        self._send(_message(_TERMINATE, next(self._numbers)))
        with contextlib.suppress(MuxError):
            while True:  # it says yes, or just goes
                await self._receive()

    async def session(self, command: str, fds: Sequence[int]) -> None:
        """Run a command with these descriptors as stdin, stdout and stderr.

        Raises
        ------
        MuxRefused
            If the other end takes no further session.
        MuxError
            If the master is gone.
        """
        number = next(self._numbers)
        no = (0,) * 4  # no terminal, no X11, no agent, no subsystem
        request = _message(_NEW_SESSION, number, b"", *no, _NO_ESCAPE, b"", command.encode("utf-8"))
        await self._open(request, number, fds)

    async def stdio(self, host: str, port: int, fds: Sequence[int]) -> None:
        """Connect from the other end to a port, with these two descriptors as its ends.

        Raises
        ------
        MuxRefused
            If that could not be done there.
        MuxError
            If the master is gone.
        """
        number = next(self._numbers)
        request = _message(_NEW_STDIO, number, b"", host.encode("utf-8"), port)
        await self._open(request, number, fds)

    async def ended(self) -> int | None:
        """Wait until the master closes this conversation; return the status that it told."""
        status = None
        while True:
            try:
                kind, rest = await self._receive()
            except MuxError:
                return status
            if kind == _EXIT:
                status = _int(_int(rest)[1])[0]

    def close(self) -> None:
        """End the conversation; the master then closes what was opened over it."""
        self._sock.close()

    async def _open(self, request: bytes, number: int, fds: Sequence[int]) -> None:
        self._send(request, fds)
        kind, rest = await self._receive()
        answered, rest = _int(rest)
        if answered != number:
            raise MuxError("it answers what was not asked")
        if kind in (_FAILURE, _DENIED):
            raise MuxRefused(_text(rest))
        if kind != _OPENED:
            raise MuxError(f"it answers with a message of kind {kind:#x}")

    def _send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        # In one go: between the message and its descriptors the master waits for us alone.
        try:
            if self._sock.send(message) != len(message):
                raise MuxError("the request is too long for the control socket")
            for fd in fds:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))
                self._sock.sendmsg([b"\0"], [rights])
        except OSError as error:
            raise MuxError(str(error)) from error

    async def _receive(self) -> tuple[int, bytes]:
        size = _int(await self._exactly(4))[0]
        if not 4 <= size <= _LONGEST:
            raise MuxError(f"it announces a message of {size} bytes")
        return _int(await self._exactly(size))

    async def _exactly(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._received) < size:
            try:
                data = await loop.sock_recv(self._sock, 4096)
            except OSError as error:
                raise MuxError(str(error)) from error
            if not data:
                raise MuxError("it closed the control socket")
            self._received += data
        found = bytes(self._received[:size])
        del self._received[:size]
        return found


async def _connect(sock: socket.socket, path: Path) -> None:
    while True:
        try:
            sock.connect(os.fspath(path))
            return
        except BlockingIOError:
            await asyncio.sleep(0.05)


def answers(path: Path) -> bool:
    """Whether something listens on a control socket; quick, and asks it nothing."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # its queue is full: it listens
            probe.connect(os.fspath(path))
        return True
    return False


def _message(*parts: int | bytes) -> bytes:
    body = b"".join(
        _INT.pack(part) if isinstance(part, int) else _INT.pack(len(part)) + part for part in parts
    )
    return _INT.pack(len(body)) + body


def _int(data: bytes) -> tuple[int, bytes]:
    if len(data) < 4:
        raise MuxError("it sends a message that is too short")
    return _INT.unpack_from(data)[0], data[4:]


def _text(data: bytes) -> str:
    size, rest = _int(data)
    return rest[:size].decode("utf-8", "replace")
