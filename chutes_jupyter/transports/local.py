"""The worker `local`: our own SSH server, in this process and its event loop, without a listener.

It is a real SSH worker, so that what works here works there: host key checked, commands run
through a shell, ports reached through the connection. Client and server speak over a
socketpair that nobody else holds an end of, with keys made for that one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from chutes_jupyter.errors import ConnectFailed
from chutes_jupyter.transports.base import Transport
from chutes_jupyter.transports.dialling import BULK_WINDOW, CIPHERS, WINDOW
from chutes_jupyter.transports.ssh import FAILURES, Client, Leg, SshConnection, connect_failure

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker

SUPPORTED: bool = sys.platform != "win32"
KEY_KIND = "ssh-ed25519"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
#: Seconds that a command has to end by itself once its connection is closed.
PATIENCE = 10.0


class LocalTransport(Transport):
    """Reach this machine as an SSH worker.

    Parameters
    ----------
    worker : Worker
        The worker `local`.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.name)

    async def connect(self, *, bulk: bool = False) -> LocalConnection:
        """Start a server and connect to it; see `Transport.connect`."""
        if not SUPPORTED:
            raise ConnectFailed(
                f"The worker {self.name!r} needs Linux or macOS. On Windows, add a worker that "
                "SSH reaches: jupyter chute worker add NAME HOST"
            )
        try:
            return await _connect(self.name, BULK_WINDOW if bulk else WINDOW)
        except FAILURES as error:
            raise connect_failure(error, f"worker {self.name!r}") from error


async def _connect(name: str, window: int) -> LocalConnection:
    key = asyncssh.generate_private_key(KEY_KIND)
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as stack:
        stack.callback(ours.close)
        stack.callback(theirs.close)
        server = _Server()
        serving = asyncio.ensure_future(server.serve(theirs, key))
        try:
            client = Client()
            connection = await asyncssh.connect(
                "local",
                sock=ours,
                config=None,
                username="local",
                # The one key that is right, and no other: this host, too, is checked.
                known_hosts=([key.convert_to_public()], [], []),
                client_factory=lambda: client,
                client_keys=None,
                agent_path=None,
                encryption_algs=CIPHERS,
            )
            await serving
        except BaseException:
            serving.cancel()
            # The loop must be done with the sockets before they are closed.
            await asyncio.gather(serving, return_exceptions=True)
            raise
        stack.pop_all()  # the sockets belong to the two ends now
    return LocalConnection(Leg(connection, client), f"worker {name!r}", window, server)


class LocalConnection(SshConnection):
    """A connection to our own server.

    Parameters
    ----------
    leg : Leg
        The client's end.
    description : str
        Names the worker in messages.
    window : int
        Bytes in flight to us in each channel.
    server : _Server
        The other end.
    """

    def __init__(self, leg: Leg, description: str, window: int, server: _Server) -> None:
        super().__init__([leg], description, window)
        self._server = server

    async def aclose(self) -> None:
        """Close the connection and wait for the commands that ran in it to end."""
        await super().aclose()
        await self._server.aclose()


class _Server(asyncssh.SSHServer):
    """The other end: runs commands, and connects to ports of this machine."""

    def __init__(self) -> None:
        self._connection: asyncssh.SSHServerConnection | None = None
        self._commands: set[asyncio.Task[None]] = set()

    async def serve(self, sock: socket.socket, key: asyncssh.SSHKey) -> None:
        """Log the client in."""
        self._connection = await asyncssh.run_server(
            sock,
            server_factory=lambda: self,
            server_host_keys=[key],
            process_factory=self._start,
            encoding=None,
            allow_pty=False,
            encryption_algs=CIPHERS,
            gss_host=None,
        )

    def begin_auth(self, _username: str) -> bool:
        """Ask for no login: whoever holds the other end of the socketpair is this process."""
        return False

    def connection_requested(
        self, dest_host: str, _dest_port: int, _orig_host: str, _orig_port: int
    ) -> bool:
        """Allow connections to this machine's own ports."""
        return dest_host in LOOPBACK

    def _start(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        # A task of our own: the connection cancels its tasks when it ends, and the command
        # must still be waited for then.
        task = asyncio.ensure_future(_run(process))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def aclose(self) -> None:
        """Close this end too, and wait until no command is left."""
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()
        if self._commands:
            await asyncio.wait(self._commands)


async def _run(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run one command as sshd would, and report its end."""
    if process.command is None:
        process.exit(1)  # a shell without a command is of no use here
        return
    child = subprocess.Popen(  # noqa: ASYNC220  # its pipes are what asyncssh can take
        ["/bin/sh", "-c", process.command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=_home(),
        start_new_session=True,
    )
    ended = _watch(child)
    _drop_what_comes_late(process)
    try:
        with contextlib.suppress(OSError):  # the connection may be gone already
            await process.redirect(child.stdin, child.stdout, child.stderr, send_eof=False)
            await _drained(process)
    finally:
        _report(process, await _end(child, ended, process))
        await process.wait_closed()


def _drop_what_comes_late(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Let a command write on after its channel was closed: nobody waits for that any more."""
    feed = process.feed_data

    def feed_if_open(data: bytes, datatype: int | None) -> None:
        with contextlib.suppress(BrokenPipeError):
            feed(data, datatype)

    process.feed_data = feed_if_open  # type: ignore[method-assign]  # called for each piece


async def _drained(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Wait until all output is sent, or until there is nobody to send it to."""
    sent = asyncio.ensure_future(_drain(process))
    # A drain that waits when the connection goes is never woken.
    closed = asyncio.ensure_future(process.channel.wait_closed())
    try:
        await asyncio.wait({sent, closed}, return_when=asyncio.FIRST_COMPLETED)
        if sent.done():
            sent.result()
    finally:
        sent.cancel()
        closed.cancel()


async def _drain(process: asyncssh.SSHServerProcess[bytes]) -> None:
    await process.stdout.drain()
    await process.stderr.drain()


def _home() -> str | None:
    home = Path.home()
    return str(home) if home.is_dir() else None


def _watch(child: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Reap a child when it ends, whatever becomes of the loop."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def tell(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    def wait() -> None:
        status = child.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(tell, status)

    threading.Thread(target=wait, name=f"chutes-local-{child.pid}", daemon=True).start()
    return ended


async def _end(
    child: subprocess.Popen[bytes],
    ended: asyncio.Future[int],
    process: asyncssh.SSHServerProcess[bytes],
) -> int:
    """Wait for the child's end; it gets no more than `PATIENCE` once the connection is gone."""
    closed = asyncio.ensure_future(process.channel.wait_closed())
    try:
        either: set[asyncio.Future[Any]] = {ended, closed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            _, waiting = await asyncio.wait({ended}, timeout=PATIENCE)
            if waiting and sys.platform != "win32":
                os.killpg(child.pid, signal.SIGKILL)
        return await ended
    finally:
        closed.cancel()


def _report(process: asyncssh.SSHServerProcess[bytes], status: int) -> None:
    with contextlib.suppress(OSError):  # nobody is there to hear it
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)
