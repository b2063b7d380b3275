"""Workers over SSH, through asyncssh: the module that knows that library's client.

Its exceptions, and the system's, end here as our own. The host key is checked on every
connection, against OpenSSH's known hosts files and our own; there is no way around that.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import asyncssh

from chutes_jupyter.config import HostAddress, parse_host
from chutes_jupyter.errors import (
    ConfigError,
    ConnectFailed,
    ConnectionLost,
)
from chutes_jupyter.transports import failures, hostkeys, keyfiles
from chutes_jupyter.transports.base import (
    Connection,
    Hop,
    Login,
    Process,
    Route,
    Stream,
)
from chutes_jupyter.transports.channel import Buffer, BufferedProcess, BufferedStream
from chutes_jupyter.transports.dialling import (
    BULK_WINDOW,
    CIPHERS,
    CONNECT_TIMEOUT,
    LOGIN_TIMEOUT,
    WINDOW,
    DiallingTransport,
)
from chutes_jupyter.transports.sshconfig import HostSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence


#: A dead peer is noticed after (KEEPALIVE_COUNT + 1) * KEEPALIVE_INTERVAL seconds at the most.
KEEPALIVE_INTERVAL = 1.75
KEEPALIVE_COUNT = 2
MAX_JUMPS = 8
#: What a server says that is told to forward nothing; where nobody listens it says another.
_PROHIBITED = asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
#: Errors of the handshake that may be about the host's key.
_PERHAPS_THE_KEY = (
    asyncssh.HostKeyNotVerifiable,
    asyncssh.KeyExchangeFailed,
    asyncssh.ConnectionLost,
    ConnectionResetError,  # the same, when the reset overtakes the server's last words
)


class SshTransport(DiallingTransport):
    """Reach a worker as `ssh` would, with what ``~/.ssh/config`` says of its host.

    Parameters
    ----------
    worker : Worker
        A worker with a host.
    """

    async def connect(self, *, bulk: bool = False) -> SshConnection:
        """Connect and log in; see `Transport.connect`."""
        legs = await self._dial(parse_host(self._host), None, ())
        return SshConnection(legs, self.description, BULK_WINDOW if bulk else WINDOW)

    async def route(self) -> Route:
        """Return the hosts on the way, as ~/.ssh/config has them; see `Transport.route`."""
        address = parse_host(self._host)
        try:
            return await _route(address, ())
        except FAILURES as error:
            raise self._failure(error, address) from error

    async def _dial(
        self, address: HostAddress, tunnel: Leg | None, above: Sequence[HostAddress]
    ) -> list[Leg]:
        """Connect to one host, through its jump hosts; return all connections, the last first."""
        _refuse_circle(above)
        legs: list[Leg] = []
        try:
            settings = await _settings(address)
            if tunnel is None:
                for hop in settings.jumps(address):
                    legs = await self._dial(hop, legs[0] if legs else None, (*above, hop)) + legs
            below = tunnel or (legs[0] if legs else None)
            return [await self._leg(address, settings, below), *legs]
        except BaseException as error:
            await _close(legs)
            if isinstance(error, FAILURES):
                raise self._failure(error, address) from error
            raise

    async def _leg(self, address: HostAddress, settings: HostSettings, below: Leg | None) -> Leg:
        keys = _Keys(settings)
        try:
            return await self._attempt(address, settings, below, keys, ())
        except _PERHAPS_THE_KEY as error:
            self._refuse(keys, error)
            if _is_revoked(error):
                raise
            first = error
        # Which key does the host have beside a certificate that we can't judge, or instead of
        # the kinds on record? (If it has none of those, sshd may just hang up.) Where that
        # fails as well, the first error tells more.
        try:
            return await self._attempt(
                address, settings, below, keys, hostkeys.algorithms(keys.record)
            )
        except _PERHAPS_THE_KEY as error:
            self._refuse(keys, error, first)
            raise self._failure(first, address) from error

    async def _attempt(
        self,
        address: HostAddress,
        settings: HostSettings,
        below: Leg | None,
        keys: _Keys,
        algorithms: Sequence[str],
    ) -> Leg:
        client = Client(keys)
        options = _connect_options(settings, client, keys)
        try:
            connection = await asyncssh.connect(
                address.host,
                address.port or (),
                username=address.user or (),
                tunnel=below.connection if below else None,
                server_host_key_algs=algorithms or (),
                **options,
            )
        except asyncssh.PermissionDenied as error:
            if asked := keyfiles.asked_for(client.asked, settings.key_files()):
                raise failures.login_needed(asked, self._where(address), self.name) from error
            raise
        return Leg(connection, client)

    def _refuse(self, keys: _Keys, error: Exception, first: Exception | None = None) -> None:
        """Raise the error for a key that the host presented, if it came to that.

        `first` is what happened before, when the host could show a certificate.
        """
        if keys.record is None or keys.presented is None:
            return
        certificate = ""
        if isinstance(first, asyncssh.HostKeyNotVerifiable):
            certificate = hostkeys.distrusted(keys.record, keys.authority, first.reason)
        self.refused = (keys.record.name, keys.presented)
        raise hostkeys.refusal(
            keys.record, keys.presented, self.name, self._host, certificate
        ) from error

    def _failure(self, error: Exception, address: HostAddress) -> ConnectFailed:
        return connect_failure(error, self._where(address))

    def _where(self, address: HostAddress) -> str:
        where = self.description
        if address.host != parse_host(self._host).host:
            where += f", at its jump host {address.host}"
        return where


async def _route(address: HostAddress, above: Sequence[HostAddress]) -> Route:
    """Return the way that `SshTransport._dial` takes."""
    _refuse_circle(above)
    settings = await _settings(address)
    hops: list[Hop] = []
    command = settings.proxy_command
    for hop in settings.jumps(address):
        if hops:
            hops.append((await _settings(hop)).hop)
        else:
            first = await _route(hop, (*above, hop))
            hops, command = list(first.hops), first.command
    return Route((*hops, settings.hop), command)


def _refuse_circle(above: Sequence[HostAddress]) -> None:
    if len(above) > MAX_JUMPS:
        hosts = ", ".join(hop.host for hop in above)
        raise ConnectFailed(f"ProxyJump of ~/.ssh/config leads in a circle: {hosts}.")


async def _settings(address: HostAddress) -> HostSettings:
    """Read what ~/.ssh/config says of a host, without touching any key."""
    options = await asyncssh.SSHClientConnectionOptions.construct(
        config=(),  # the person's own; None would be no file at all
        host=address.host,
        port=address.port or (),
        username=address.user or (),
        client_keys=None,
        known_hosts=b"\n",
    )
    tokens = {
        "h": options.host,
        "n": options.orig_host,
        "p": str(options.port),
        "r": options.username,
    }
    return HostSettings(options.config.get, tokens, options.host_key_alias)


def _connect_options(settings: HostSettings, client: Client, keys: _Keys) -> dict[str, Any]:
    options: dict[str, Any] = {
        "known_hosts": keys,
        "client_factory": lambda: client,
        "keepalive_interval": KEEPALIVE_INTERVAL,
        "keepalive_count_max": KEEPALIVE_COUNT,
        "connect_timeout": settings.connect_timeout or CONNECT_TIMEOUT,
        "login_timeout": LOGIN_TIMEOUT,
        # A job needs neither our agent nor our screen. (Nobody is there to type a password
        # either: the client says so, once it is asked.)
        "agent_forwarding": False,
        "x11_forwarding": False,
        "request_pty": False,
        "ignore_encrypted": True,
    }
    if settings.ciphers is None:
        options["encryption_algs"] = CIPHERS
    identities = settings.identities()
    if identities is not None:
        options["client_keys"] = identities
    return options


class _Keys:
    """The known hosts of one connection, read when asyncssh asks for them."""

    def __init__(self, settings: HostSettings) -> None:
        self._settings = settings
        self.record: hostkeys.Record | None = None
        self.presented: hostkeys.HostKey | None = None
        #: Who signed a certificate of the host, where that is nobody on record.
        self.authority: hostkeys.HostKey | None = None

    def __call__(
        self, host: str, _address: str, port: int | None
    ) -> tuple[list[asyncssh.SSHKey], ...]:
        """Return the keys, the authorities and the revoked keys of a host."""
        self.record = self._settings.record(host, port)
        markers = ("", "cert-authority", "revoked")
        return tuple(_import(self.record.entries(marker)) for marker in markers)


def _is_revoked(error: Exception) -> bool:
    """Whether a key on the way is marked as revoked: then no other key makes up for it."""
    return isinstance(error, asyncssh.HostKeyNotVerifiable) and "revoked" in error.reason


def _host_key(key: asyncssh.SSHKey) -> hostkeys.HostKey:
    return hostkeys.HostKey(key.algorithm.decode("ascii"), key.public_data)


def _import(entries: Sequence[hostkeys.Entry]) -> list[asyncssh.SSHKey]:
    keys = []
    for entry in entries:
        try:
            keys.append(asyncssh.import_public_key(entry.key.text))
        except asyncssh.KeyImportError:
            continue  # a kind of key that asyncssh does not speak can't be presented to it either
    return keys


class Client(asyncssh.SSHClient):
    """What asyncssh asks and tells about one connection."""

    def __init__(self, keys: _Keys | None = None) -> None:
        self._keys = keys
        self.lost: str | None = None
        #: What the host would have asked for.
        self.asked: list[str] = []

    def password_auth_requested(self) -> None:
        """Note that the host takes a password, and give none."""
        self.asked.append("password")

    def kbdint_auth_requested(self) -> None:
        """Note that the host would ask questions, and take none."""
        self.asked.append("keyboard-interactive")

    def validate_host_public_key(
        self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Note a key that is not among the trusted ones, and refuse it."""
        if self._keys is not None:
            self._keys.presented = _host_key(key)
        return False

    def validate_host_ca_key(
        self, _host: str, _addr: str, _port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Note the authority of a certificate that is not among the trusted ones."""
        if self._keys is not None:
            self._keys.authority = _host_key(key)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note why the connection ended."""
        self.lost = self.lost or str(exc or "the other end closed it")


@dataclass(frozen=True)
class Leg:
    """One SSH connection, to the worker or to a jump host."""

    connection: asyncssh.SSHClientConnection
    client: Client


def _login(leg: Leg) -> Login:
    """Return how a connection came about."""
    connection = leg.connection
    key = connection.get_server_host_key()
    server = connection.get_extra_info("server_version") or ""
    shown = _host_key(key) if key is not None else None
    return Login(
        user=connection.get_extra_info("username") or "",
        # After the login the first is the one that was used.
        method=next(iter(connection.get_server_auth_methods()), ""),
        server=server.removeprefix("SSH-2.0-").partition(" ")[0],
        key_kind=shown.kind if shown else "",
        fingerprint=shown.fingerprint if shown else "",
    )


async def _close(legs: Sequence[Leg]) -> None:
    for leg in legs:
        leg.connection.close()
        await leg.connection.wait_closed()


# Connections, processes and streams.


class SshConnection(Connection):
    """A connection to a worker, with the jump hosts below it.

    Parameters
    ----------
    legs : sequence of Leg
        The connection to the worker, then those that it runs through.
    description : str
        Names the worker in messages.
    window : int
        Bytes in flight to us in each channel.
    """

    def __init__(self, legs: Sequence[Leg], description: str, window: int) -> None:
        self.description = description
        self._legs = legs
        self._connection = legs[0].connection
        self._client = legs[0].client
        self.logins = tuple(_login(leg) for leg in reversed(legs))
        self._window = window

    async def start(self, command: str) -> Process:
        """Start a command; see `Connection.start`."""
        try:
            return await self._session(command)
        except ConnectFailed:
            # sshd may have read the end of one session and the wish for this one together, and
            # clears up only then: the refusal was about a session that is gone by now.
            return await self._session(command)

    async def _session(self, command: str) -> Process:
        make = functools.partial(_SshProcess, self._buffer())
        opening = self._connection.create_session(
            make, command, encoding=None, window=self._window, request_pty=False
        )
        what = "it takes no further session in one connection (MaxSessions in its sshd_config)"
        return cast("_SshProcess", await self._open(opening, what))

    async def open_tcp(self, host: str, port: int) -> Stream:
        """Open a TCP connection from the worker; see `Connection.open_tcp`."""
        make = functools.partial(_SshStream, self._buffer())
        opening = self._connection.create_connection(make, host, port, window=self._window)
        what = f"no connection to {host}:{port} there"
        try:
            return cast("_SshStream", await self._open(opening, what))
        except ConnectFailed as error:
            cause = error.__cause__
            if isinstance(cause, asyncssh.ChannelOpenError) and cause.code == _PROHIBITED:
                raise failures.forwards_nothing(self.description) from cause
            raise

    def _buffer(self) -> Buffer:
        return Buffer(self._window, self._why_lost)

    async def _open(self, opening: Coroutine[Any, Any, tuple[Any, object]], what: str) -> object:
        task = asyncio.ensure_future(opening)
        try:
            _, session = await asyncio.shield(task)
        except asyncio.CancelledError:
            # The worker may say yes after we have left: nobody else would close that channel.
            task.add_done_callback(_close_unwanted)
            raise
        except (asyncssh.Error, OSError) as error:
            reason = self._why_lost()
            if reason is not None or not isinstance(error, asyncssh.ChannelOpenError):
                raise ConnectionLost(reason or self._lost_text(str(error))) from error
            raise ConnectFailed(f"{self.description}: {what}: {error.reason}.") from error
        return session

    def _why_lost(self) -> str | None:
        if self._client.lost is None and not self._connection.is_closed():
            return None
        return self._lost_text(self._client.lost or "it is closed")

    def _lost_text(self, reason: str) -> str:
        return f"The connection to {self.description} broke: {reason}. Jobs there go on."

    async def aclose(self) -> None:
        """Close the connection and what lies below it; see `Connection.aclose`."""
        self._client.lost = self._client.lost or "it was closed on this side"
        await _close(self._legs)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed or lost."""
        await self._connection.wait_closed()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or lost."""
        return self._client.lost is not None


def _close_unwanted(task: asyncio.Task[tuple[Any, object]]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result()[0].close()


class _SshStream(BufferedStream, asyncssh.SSHTCPSession[bytes]):
    """A TCP connection from the worker."""


class _SshProcess(BufferedProcess, asyncssh.SSHClientSession[bytes]):
    """A command on the worker."""


# Errors.

#: From the particular to the general: the first that fits speaks.
_TRANSLATIONS: Mapping[type[Exception], Callable[[Exception, str], ConnectFailed]] = {
    asyncssh.PermissionDenied: failures.login_refused,
    asyncssh.HostKeyNotVerifiable: failures.unverified,
    asyncssh.ChannelOpenError: failures.by_the_jump_host,
    asyncssh.Error: failures.broken_off,
    asyncssh.KeyImportError: failures.bad_key,
    asyncssh.KeyEncryptionError: failures.bad_key,
    socket.gaierror: failures.no_name,
    TimeoutError: failures.no_answer,
    ConnectionRefusedError: failures.refused,
    ConnectionError: failures.broken_off,
    OSError: failures.no_way,
    ConfigError: failures.bad_settings,
    ValueError: failures.bad_settings,  # asyncssh's own for a wrong line in ~/.ssh/config
}
FAILURES = tuple(_TRANSLATIONS)


def connect_failure(error: Exception, where: str) -> ConnectFailed:
    """Return our own error for one of asyncssh or the system, met while connecting.

    Parameters
    ----------
    error : Exception
        What was raised.
    where : str
        Names the worker.
    """
    if isinstance(error, ConnectFailed):
        return error
    for kind, translate in _TRANSLATIONS.items():
        if isinstance(error, kind):
            return translate(error, where)
    raise error
