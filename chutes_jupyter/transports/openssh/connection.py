"""A connection to a worker that masters carry: commands and streams over their control sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConnectFailed, ConnectionLost, LoginFailed
from chutes_jupyter.transports.base import Connection, Process, Stream
from chutes_jupyter.transports.channel import Buffer, BufferedProcess, BufferedStream
from chutes_jupyter.transports.openssh.mux import MuxError, MuxRefused, MuxSocket
from chutes_jupyter.transports.openssh.pipes import Pipes
from chutes_jupyter.transports.openssh.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chutes_jupyter.transports.openssh.control import Place

    Master = tuple[Place, MuxSocket]

#: How many masters one connection uses at the most: sshd allows ten sessions in each, or fewer,
#: and other processes of the person take theirs.
_MOST_MASTERS = 8
#: Seconds that the pipes of a lost master have to end.
_MERCY = 2.0


class OpenSshConnection(Connection):
    """A connection through a master; closing it leaves the master to the others.

    Parameters
    ----------
    master : tuple of Place and MuxSocket
        Where the master is, and a conversation with it.
    another : callable
        Returns the like for the n-th further master, made where it is not there.
    description : str
        Names the worker in messages.
    limit : int
        Bytes that may lie unread here, in each channel.
    """

    def __init__(
        self,
        master: Master,
        another: Callable[[int], Awaitable[Master]],
        description: str,
        limit: int,
    ) -> None:
        self.description = description
        self._another, self._limit = another, limit
        self._lost: str | None = None
        self._over = asyncio.Event()
        self._mercy: asyncio.TimerHandle | None = None
        self._watches = [Watch(*master, self._lose)]
        self._growing = asyncio.Lock()
        self._pipes: set[Pipes] = set()
        self._openings: set[asyncio.Task[None]] = set()

    async def start(self, command: str) -> Process:
        """Start a command; see `Connection.start`."""

        async def ask(mux: MuxSocket, pipes: Pipes) -> None:
            await mux.session(command, pipes.theirs)

        for number in range(_MOST_MASTERS):
            process = BufferedProcess(Buffer(self._limit, self._why_lost))
            try:
                await self._open(await self._watch(number), process, ask, stderr=True)
            except MuxRefused:
                continue  # it is full
            return process
        raise self._takes_no_more()

    async def _watch(self, number: int) -> Watch:
        """Return the watch over a master, beginning with the first; a further one may be made."""
        async with self._growing:
            self._check()
            if number == len(self._watches):
                try:
                    master = await self._another(number)
                except LoginFailed as error:
                    raise self._takes_no_more() from error
                self._watches.append(Watch(*master, self._lose))
            return self._watches[number]

    def _takes_no_more(self) -> ConnectFailed:
        return ConnectFailed(
            f"{self.description}: it takes no further session (MaxSessions in its sshd_config)."
        )

    async def open_tcp(self, host: str, port: int) -> Stream:
        """Open a TCP connection from the worker; see `Connection.open_tcp`."""
        stream = BufferedStream(Buffer(self._limit, self._why_lost))

        async def ask(mux: MuxSocket, pipes: Pipes) -> None:
            await mux.stdio(host, port, pipes.theirs)

        try:
            await self._open(await self._watch(0), stream, ask, stderr=False)
        except MuxRefused as error:
            raise ConnectFailed(
                f"{self.description}: no connection to {host}:{port} there: nothing listens on it, "
                "or its sshd_config says AllowTcpForwarding no, DisableForwarding yes or a "
                "PermitOpen that leaves it out."
            ) from error
        return stream

    async def _open(
        self,
        watch: Watch,
        stream: BufferedStream,
        ask: Callable[[MuxSocket, Pipes], Awaitable[None]],
        *,
        stderr: bool,
    ) -> None:
        self._check()
        pipes = Pipes(stream, watch.stands, stderr=stderr)
        opening = asyncio.create_task(self._open_pipes(watch, pipes, ask))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            # Whoever asked has left. To be left itself in the middle is nothing for the master,
            # which waits for what we send, and for nobody else meanwhile.
            opening.add_done_callback(lambda task: task.cancelled() or task.exception())
            opening.add_done_callback(lambda _task: pipes.close())
            raise

    async def _open_pipes(
        self, watch: Watch, pipes: Pipes, ask: Callable[[MuxSocket, Pipes], Awaitable[None]]
    ) -> None:
        opened = False
        try:
            mux = pipes.mux = await watch.converse()
            await ask(mux, pipes)
            await pipes.connect()
            self._check()
            opened = True
        except MuxRefused:
            raise
        except MuxError as error:
            watch.lose(f"ssh ended ({error})")
            raise ConnectionLost(self._why_lost() or "") from error
        except asyncio.CancelledError:
            self._check()  # closed meanwhile
            raise
        finally:
            pipes.close_theirs()
            if not opened:
                pipes.close()
        self._pipes.add(pipes)
        pipes.follow(self._pipes.discard)

    # -- the end ------------------------------------------------------------------------

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._over.set()
            # Pipes end by themselves with their master, after what lies in them; one that hangs
            # and could not be ended would keep them for ever.
            self._mercy = asyncio.get_running_loop().call_later(_MERCY, self._abort)

    def _why_lost(self) -> str | None:
        if self._lost is None:
            return None
        return f"The connection to {self.description} broke: {self._lost}. Jobs there go on."

    def _check(self) -> None:
        if (reason := self._why_lost()) is not None:
            raise ConnectionLost(reason)

    def _abort(self) -> None:
        for opening in self._openings:
            opening.cancel()
        for pipes in list(self._pipes):
            pipes.close()

    async def aclose(self) -> None:
        """Close what was opened here; the masters stay for the next one, for a while."""
        self._lose("it was closed on this side")
        if self._mercy is not None:
            self._mercy.cancel()
        self._abort()
        for watch in self._watches:
            await watch.aclose()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed or lost."""
        await self._over.wait()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or lost."""
        return self._lost is not None
