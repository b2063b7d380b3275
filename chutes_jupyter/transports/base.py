"""What a transport is: how bytes reach a worker.

A `Transport` makes connections; a `Connection` starts processes and opens TCP streams on the
worker. Whatever goes wrong below is raised as one of our own errors, so that nothing above
this package knows which library carried the bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

__all__ = ["Connection", "Hop", "Login", "Process", "Route", "Stream", "Transport"]


class Stream(ABC):
    """Bytes both ways; either direction may end before the other."""

    @abstractmethod
    async def read(self, n: int) -> bytes:
        """Return what has arrived, at most `n` bytes; wait if nothing has.

        Returns
        -------
        bytes
            ``b""`` if the other end has said that nothing more comes.

        Raises
        ------
        ConnectionLost
            If the connection broke before the end; again on every later read.
        """

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send bytes, waiting while the other end takes none.

        Raises
        ------
        ConnectionLost
            If they can't be sent any more.
        """

    @abstractmethod
    def write_eof(self) -> None:
        """Say that nothing more will be written; reading goes on."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close both directions. Closing twice, or what is lost, does nothing."""


class Process(Stream):
    """A command that runs on the worker: its stdin and stdout as a stream."""

    @abstractmethod
    async def wait(self) -> int | None:
        """Wait for the command's end and return its exit status.

        Returns
        -------
        int or None
            Negative for a signal, as in `subprocess`; None where the worker did not say.

        Raises
        ------
        ConnectionLost
            If the connection broke before the worker told of the end.
        """

    @abstractmethod
    def stderr_tail(self) -> str:
        """Return the end of what the command has written to stderr so far."""


@dataclass(frozen=True)
class Hop:
    """One host on the way to a worker, as the person's settings resolve it.

    Parameters
    ----------
    host : str
        Its name or address.
    port : int
        The port of its sshd.
    user : str
        Who logs in there.
    alias : str
        What the person calls it.
    """

    host: str
    port: int
    user: str
    alias: str = ""


@dataclass(frozen=True)
class Route:
    """The way to a worker.

    Parameters
    ----------
    hops : tuple of Hop
        Jump hosts in order, then the worker. This machine connects to the first.
    command : str
        The ProxyCommand that reaches the first, or "" where a plain TCP connection does.
    """

    hops: tuple[Hop, ...]
    command: str = ""


@dataclass(frozen=True)
class Login:
    """One login on the way to a worker; what is not known is "".

    Parameters
    ----------
    user : str
        Who logged in.
    method : str
        By what (``publickey``).
    server : str
        What the server calls itself (``OpenSSH_9.2``).
    key_kind, fingerprint : str
        The host key that it proved to have.
    """

    user: str = ""
    method: str = ""
    server: str = ""
    key_kind: str = ""
    fingerprint: str = ""


class Connection(ABC):
    """A connection to one worker."""

    #: Names the other end in messages (``worker 'gpu1' (me@gpu1.example.org)``).
    description: str
    #: The logins on the way, the worker's last, where the transport can tell.
    logins: tuple[Login, ...] = ()

    @abstractmethod
    async def start(self, command: str) -> Process:
        """Start a command through the login shell.

        Raises
        ------
        ConnectionLost
            If the connection broke.
        ConnectFailed
            If the worker refuses one more session.
        """

    @abstractmethod
    async def open_tcp(self, host: str, port: int) -> Stream:
        """Open a TCP connection from the worker to `host` and `port`.

        Raises
        ------
        ConnectionLost
            If the connection to the worker broke.
        ConnectFailed
            If nothing listens there, or the worker forbids it.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connection and everything in it. Jobs go on."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the connection is closed or lost."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the connection is closed or lost."""


class Transport(ABC):
    """A way to reach one worker.

    Parameters
    ----------
    name : str
        The worker's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    async def route(self) -> Route | None:
        """Return the way to the worker, without connecting; None where there is nothing to say.

        Raises
        ------
        ConnectFailed
            If the settings for its host can't be used.
        """
        return None

    @abstractmethod
    async def connect(self, *, bulk: bool = False) -> Connection:
        """Connect and log in.

        Parameters
        ----------
        bulk : bool
            Whether the connection is for files: then it takes more at a time, at the price of
            a longer way for everything else in it.

        Raises
        ------
        ConnectFailed
            If that can't be done: `LoginFailed`, `UnknownHostKey` and `ChangedHostKey` say why.
        """
