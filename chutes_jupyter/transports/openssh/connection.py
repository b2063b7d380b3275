"""A connection to a worker that a master carries: commands and streams over its control socket."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from chutes_jupyter.errors import ConnectFailed, ConnectionLost
from chutes_jupyter.transports.base import Connection, Process, Stream
from chutes_jupyter.transports.channel import Buffer, BufferedProcess, BufferedStream
from chutes_jupyter.transports.openssh import control
from chutes_jupyter.transports.openssh.mux import MuxError, MuxRefused, MuxSocket
from chutes_jupyter.transports.openssh.pipes import Pipes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Seconds between two questions whether the master answers.
_TICK = 1.0


class OpenSshConnection(Connection):
    """A connection through a master; closing it leaves the master to the others.

    Parameters
    ----------
    at : Place
        Where the master is.
    master : MuxSocket
        A conversation with it. While that lasts, the master knows that it is used.
    description : str
        Names the worker in messages.
    limit : int
        Bytes that may lie unread here, in each channel.
    """

    def __init__(self, at: control.Place, master: MuxSocket, description: str, limit: int) -> None:
        self.description = description
        self._at, self._master, self._limit = at, master, limit
        self._lost: str | None = None
        self._over = asyncio.Event()
        self._questions: deque[asyncio.Future[bool]] = deque()
        self._pipes: set[Pipes] = set()
        self._openings: set[asyncio.Task[None]] = set()
        self._tasks = [
            asyncio.create_task(self._listen(), name=f"chutes ssh {description}"),
            asyncio.create_task(self._tick(), name=f"chutes ssh tick {description}"),
        ]

    async def start(self, command: str) -> Process:
        """Start a command; see `Connection.start`."""
        process = BufferedProcess(Buffer(self._limit, self._why_lost))

        async def ask(mux: MuxSocket, pipes: Pipes) -> None:
            await mux.session(command, pipes.theirs)

        refused = "it takes no further session (MaxSessions in its sshd_config)"
        await self._open(process, ask, refused, stderr=True)
        return process

    async def open_tcp(self, host: str, port: int) -> Stream:
        """Open a TCP connection from the worker; see `Connection.open_tcp`."""
        stream = BufferedStream(Buffer(self._limit, self._why_lost))

        async def ask(mux: MuxSocket, pipes: Pipes) -> None:
            await mux.stdio(host, port, pipes.theirs)

        refused = (
            f"no connection to {host}:{port} there: nothing listens on it, or its sshd_config "
            "forbids forwarding (AllowTcpForwarding)"
        )
        await self._open(stream, ask, refused, stderr=False)
        return stream

    async def _open(
        self,
        stream: BufferedStream,
        ask: Callable[[MuxSocket, Pipes], Awaitable[None]],
        refused: str,
        *,
        stderr: bool,
    ) -> None:
        self._check()
        pipes = Pipes(stream, self.stands, stderr=stderr)
        opening = asyncio.create_task(self._open_pipes(pipes, ask, refused))
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
        self, pipes: Pipes, ask: Callable[[MuxSocket, Pipes], Awaitable[None]], refused: str
    ) -> None:
        opened = False
        try:
            mux = pipes.mux = await self._converse()
            await ask(mux, pipes)
            await pipes.connect()
            self._check()
            opened = True
        except MuxRefused as error:
            raise ConnectFailed(f"{self.description}: {refused}.") from error
        except MuxError as error:
            self._lose(f"ssh ended ({error})")
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

    async def _converse(self) -> MuxSocket:
        try:
            async with asyncio.timeout(control.HANGS):
                return await MuxSocket.open(self._at.socket)
        except TimeoutError as error:
            raise MuxError("it hangs") from error

    # -- whether it stands --------------------------------------------------------------

    async def stands(self) -> bool:
        """Ask the master whether it lives; None of what it said before can be an accident then."""
        if self._lost is not None:
            return False
        answer = asyncio.get_running_loop().create_future()
        self._questions.append(answer)
        try:
            self._master.ask_alive()
            async with asyncio.timeout(control.HANGS):
                return await asyncio.shield(answer)
        except MuxError as error:
            self._lose(f"ssh ended ({error})")
        except TimeoutError:
            self._lose(f"ssh has not answered for {control.HANGS:g} s")
            await control.end_hung(self._at)
            self._abort()
        return False

    async def _listen(self) -> None:
        """Take the master's answers, and notice its end at once."""
        try:
            while True:
                await self._master.next_alive()
                if self._questions:
                    answer = self._questions.popleft()
                    if not answer.done():
                        answer.set_result(True)
        except MuxError:
            self._lose("ssh lost it")

    async def _tick(self) -> None:
        while await self.stands():  # noqa: ASYNC110 - it is asked; nothing here could tell
            await asyncio.sleep(_TICK)

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            for answer in self._questions:
                if not answer.done():
                    answer.set_result(False)
            self._questions.clear()
            self._over.set()

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
        """Close what was opened here; the master stays for the next one, for a while."""
        self._lose("it was closed on this side")
        self._abort()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._master.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed or lost."""
        await self._over.wait()

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or lost."""
        return self._lost is not None
