"""Where a forward listens on this machine: the rules, and the socket."""

from __future__ import annotations

import errno
import ipaddress
import os
import secrets
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ForwardFailed, SpecError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LOOPBACK", "Place"]

LOOPBACK = "127.0.0.1"
_BUFFER = 1024 * 1024
#: A random address is tried so often before a port that is taken there is called taken.
_TRIES = 3


@dataclass(frozen=True)
class Place:
    """An address on this machine.

    Parameters
    ----------
    host : str, optional
        An address of this machine. By default a loopback address that no cookie of localhost
        is sent to, where the system has many: Linux has all of 127/8.
    port : int
        0 for one that is free.
    path : Path, optional
        In place of both a unix socket, which is made there for this person alone (0600). Its
        folder is the caller's, and must be this person's alone, too.
    """

    host: str | None = None
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, port: object = None, bind: object = None) -> Place:
        """Return the place that a person asked for.

        Raises
        ------
        SpecError
            If the port is no port, or `bind` no address.
        """
        if port is not None and not (type(port) is int and 1 <= port <= 65535):
            rule = "must be a whole number from 1 to 65535, or None for one that is free"
            raise SpecError("port", port, rule, "forward(port=9000)")
        if bind is not None:
            try:
                if not isinstance(bind, str) or "%" in bind:
                    raise ValueError
                bind = str(ipaddress.ip_address(bind))
            except ValueError:
                rule = (
                    "must be an IP address of this machine, not a name: 127.0.0.1 for this "
                    "machine alone, 0.0.0.0 for every network that it is in"
                )
                raise SpecError("bind", bind, rule, 'forward(bind="127.0.0.1")') from None
        return cls(bind, 0 if port is None else port)

    @property
    def warning(self) -> str:
        """What a person should know who listens there, or ""."""
        if self.host is None or ipaddress.ip_address(self.host).is_loopback:
            return ""
        return (
            f"{self.host} is not this machine alone: whoever reaches it can use the job's port, "
            "without any login. Without bind only programs of this machine can."
        )

    def listen(self, kind: socket.SocketKind) -> socket.socket:
        """Return a socket bound to the place, not yet listening.

        Raises
        ------
        ForwardFailed
            If the port is taken, or the address is not this machine's.
        """
        if self.path is not None:
            return _listen_at(self.path)
        for host in self._hosts():
            try:
                return self._bound(host, kind)
            except OSError as error:
                failure = self._failure(error, host, kind)
                if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                    break
        raise failure

    def _hosts(self) -> list[str]:
        if self.host is not None:
            return [self.host]
        # Not every system has all of 127/8, containers without it included.
        many = _TRIES if sys.platform == "linux" else 0
        return [*(_random_loopback() for _ in range(many)), LOOPBACK]

    def _bound(self, host: str, kind: socket.SocketKind) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, kind)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_DGRAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            elif sys.platform != "win32":
                # The port of a forward that was just closed is free; on Windows this would
                # share one that is taken.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, self.port))
            if kind == socket.SOCK_STREAM:
                # Here and not later: with SO_REUSEADDR only this finds out who has the port.
                sock.listen(100)
        except BaseException:
            sock.close()
            raise
        return sock

    def _failure(self, error: OSError, host: str, kind: socket.SocketKind) -> ForwardFailed:
        where = f"{host}:{self.port}"
        if error.errno == errno.EADDRINUSE:
            who = _holder(self.port, kind)
            return ForwardFailed(
                f"Port {self.port} of this machine is taken{f' by {who}' if who else ''} "
                f"(at {host}). End that program, name another port, or leave it out for one "
                "that is free."
            )
        if error.errno == errno.EADDRNOTAVAIL:
            return ForwardFailed(
                f"{host} is no address of this machine. Leave bind out, or name one that it "
                "has: 127.0.0.1, or 0.0.0.0 for all."
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return ForwardFailed(
                f"{where}: this machine keeps its ports below 1024 for root. Name a port from "
                "1024 on, or leave it out for one that is free."
            )
        return ForwardFailed(f"{where}: {os.strerror(error.errno or 0)}.")


def _listen_at(path: Path) -> socket.socket:
    if sys.platform == "win32":
        raise ForwardFailed(
            f"{path}: this system has no unix sockets that can be used here. Name a port."
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(str(path))
        # Nobody else can enter the folder; and nobody can connect before it listens.
        path.chmod(0o600)
        sock.listen(100)
    except OSError as error:
        sock.close()
        raise ForwardFailed(f"{path}: {os.strerror(error.errno or 0)}.") from error
    return sock


def _random_loopback() -> str:
    return ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])


def _holder(port: int, kind: socket.SocketKind) -> str | None:
    if sys.platform != "linux":
        return None
    from chutes_jupyter.agent.ports import holder

    return holder(port, kind)
