"""The way to one worker: a connection with one `serve` in it, made again after every loss."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chutes_jupyter.agent import wire
from chutes_jupyter.bootstrap import other_protocol, start_agent
from chutes_jupyter.config import Workers
from chutes_jupyter.errors import (
    AgentFailed,
    ChuteError,
    ConnectionLost,
    HostKeyError,
    LoginFailed,
    LoginNeeded,
    RequestRefused,
)
from chutes_jupyter.link import PATIENCE, AgentLink, Reply
from chutes_jupyter.replies import Hello, parse
from chutes_jupyter.transports import logged_in, transport_for

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports.base import Connection

#: Pauses between tries to reach a worker, in seconds: from, growing by, to.
_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.2, 1.7, 30.0
#: The same where somebody must log in first, and how often to look whether that was done. Each try
#: is a failed login to the host, and some lock out who has five of them in ten minutes.
_LOGIN_PAUSE, _LOOK = 600.0, 1.0
#: A peer that says nothing for so long while we connect is called silent, in seconds; hosts
#: that are only slow get longer, before the try is given up.
_SILENCE = 5.0

#: A connection that stands for so long is good, also where nothing was asked in it, in seconds.
_PROVEN = 10.0

#: Told why the worker can't be reached, and None when it can again.
Trouble = Callable[[str | None], None]


@dataclass
class _Way:
    """One connection and what runs in it."""

    connection: Connection
    link: AgentLink
    hello: Hello

    @property
    def open(self) -> bool:
        return not self.link.closed and not self.connection.closed

    async def aclose(self) -> None:
        await self.link.aclose()
        await self.connection.aclose()


class Session:
    """Requests to one worker, over a connection that is there when it is needed.

    Parameters
    ----------
    worker : Worker
        Which one.
    bulk : bool
        Whether it is for files.
    idle : float, optional
        Close the connection after so many seconds without use.
    """

    def __init__(self, worker: Worker, *, bulk: bool = False, idle: float | None = None) -> None:
        self.worker = worker
        self._bulk, self._idle = bulk, idle
        #: Other ways to the same worker: where one gets through, the next try of these is worth it.
        self.others: tuple[Session, ...] = ()
        self._way: _Way | None = None
        self._connecting: asyncio.Task[_Way] | None = None
        self._up = asyncio.Event()
        #: Whether the worker was ever reached by this way.
        self.reached = False
        self._failures = 0
        self._next_try = 0.0
        self._needs_login = False
        self._proving: asyncio.TimerHandle | None = None
        self._users = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def hello(self) -> Hello | None:
        """What the agent of the present connection says of itself."""
        return self._way.hello if self._way else None

    # -- connecting -------------------------------------------------------------------

    async def link(self, trouble: Trouble | None = None) -> AgentLink:
        """Return the open link, connecting if there is none.

        Parameters
        ----------
        trouble : callable, optional
            Told when connecting takes longer than a peer that lives should need.

        Raises
        ------
        WorkerError
            If the worker can't be reached.
        """
        if self._way is not None and self._way.open:
            return self._way.link
        way = asyncio.ensure_future(self._open_way())
        try:
            done, _ = await asyncio.wait([way], timeout=_SILENCE)
            if not done and trouble is not None:
                trouble(f"worker {self.worker.name!r} has not answered for {_SILENCE:g} s")
            return (await way).link
        finally:
            way.cancel()

    async def _open_way(self) -> _Way:
        self._check_open()
        if self._way is not None and self._way.open:
            return self._way
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            # Those who wait may all be cancelled before it fails; then nobody asks why.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Shielded: many wait for one try, and one of them may be cancelled.
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Way:
        await self._drop()
        pause = min(_FIRST_PAUSE * _GROWTH**self._failures, _LONGEST_PAUSE)
        # Also where it can be made: it is worth nothing if it breaks before the first answer.
        self._failures = min(self._failures + 1, 50)
        try:
            self._way = await self._make_way()
        except LoginNeeded:
            pause, self._needs_login = _LOGIN_PAUSE, True
            raise
        except (LoginFailed, HostKeyError):
            pause = _LONGEST_PAUSE  # hosts lock out who knocks too often
            raise
        finally:
            # Jitter: the clients of a worker that comes back must not come all at once.
            self._next_try = _now() + pause * random.uniform(0.6, 1.4)  # noqa: S311
        self.reached, self._needs_login = True, False
        self._up.set()
        self._proving = asyncio.get_running_loop().call_later(_PROVEN, self._answered)
        return self._way

    def _answered(self) -> None:
        """Note that the connection is good: after a loss it is made again at once."""
        if self._failures:
            self._failures = 0
            self._next_try = _now() + _FIRST_PAUSE * random.uniform(0.6, 1.4)  # noqa: S311
            for other in self.others:
                other._encourage()

    def _encourage(self) -> None:
        """Let the next try be made now: the worker was reached by another way."""
        if not self._needs_login and not (self._way is not None and self._way.open):
            self._next_try = _now()
            self._up.set()

    async def _make_way(self) -> _Way:
        connection = await transport_for(self.worker).connect(bulk=self._bulk)
        try:
            process = await start_agent(connection, self.worker)
            link = AgentLink(process, connection.description)
            try:
                hello = parse(Hello, (await link.request("hello", **self._warm_up())).header)
                if hello.protocol != wire.PROTOCOL:
                    raise other_protocol(connection.description, hello.protocol)
            except BaseException:
                await link.aclose()
                raise
        except BaseException:
            await connection.aclose()
            raise
        return _Way(connection, link, hello)

    def _warm_up(self) -> dict[str, Any]:
        """Let the worker start the interpreter of its jobs while nobody waits for it."""
        if self._bulk:
            return {}
        return {"warm": {"python": self.worker.python, "env": dict(self.worker.env)}}

    async def _drop(self) -> None:
        self._up.clear()
        if self._proving is not None:
            self._proving.cancel()
        way, self._way = self._way, None
        if way is not None:
            # Shielded: whoever drops it may be cancelled, and nobody else knows of it any more.
            await asyncio.shield(self._in_background(way.aclose()))

    def _in_background(self, closing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    # -- asking -----------------------------------------------------------------------

    async def request(
        self, op: str, body: bytes = b"", *, patience: float = PATIENCE, **fields: Any
    ) -> Reply:
        """Ask once; connect first if need be. See `AgentLink.request`."""
        with self.in_use():
            link = await self.link()
            reply = await link.request(op, body, patience=patience, **fields)
            self._answered()
            return reply

    async def persist(self, op: str, *, trouble: Trouble, **fields: Any) -> Reply:
        """Ask until there is an answer, through any number of losses.

        Raises
        ------
        RequestRefused
            If the answer is no.
        AgentFailed
            If the agent breaks the protocol again and again.
        """
        broken = 0
        with self.in_use():
            while True:
                link = await self.patient_link(trouble)
                try:
                    reply = await link.request(op, **fields)
                except ConnectionLost as error:
                    trouble(str(error))
                except AgentFailed as error:
                    broken += 1
                    trouble(str(error))
                    if broken >= 3:
                        raise
                else:
                    self._answered()
                    return reply

    async def patient_link(self, trouble: Trouble) -> AgentLink:
        """Return an open link, trying with growing pauses until there is one."""
        while True:
            self._check_open()
            if self._way is None or not self._way.open:
                await self.pause()
            try:
                link = await self.link(trouble)
            except RequestRefused:
                raise
            except ChuteError as error:
                # Also a wrong configuration: the person may be mending it.
                trouble(str(error))
            else:
                trouble(None)
                return link

    async def pause(self) -> None:
        """Wait for the time of the next try, or until somebody else's try succeeded."""
        delay = self._next_try - _now()
        if self._way is not None and not self._way.open:
            self._up.clear()  # it was up, and broke
        if delay > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._worth_a_try()

    async def _worth_a_try(self) -> None:
        """Wait until somebody else's try succeeded, or somebody has logged in where that lacked."""
        while self._needs_login and not self._up.is_set():
            if await logged_in(self.worker):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._up.wait()
        await self._up.wait()

    @contextlib.asynccontextmanager
    async def stream(
        self, op: str, **fields: Any
    ) -> AsyncGenerator[AsyncGenerator[Reply, None], None]:
        """Ask for a long answer; leaving before its end closes the connection."""
        with self.in_use():
            link = await self.link()
            frames = link.stream(op, **fields)
            whole = False

            async def watched() -> AsyncGenerator[Reply, None]:
                nonlocal whole
                async with contextlib.aclosing(frames):
                    async for reply in frames:
                        self._answered()
                        whole = not reply.more
                        yield reply

            try:
                async with contextlib.aclosing(watched()) as answer:
                    yield answer
            except RequestRefused:
                whole = True  # a refusal is the last frame
                raise
            finally:
                if not whole:
                    # The worker would go on sending what nobody wants.
                    await link.aclose()

    async def connection(self) -> Connection:
        """Return the open connection, connecting if there is none."""
        return (await self._open_way()).connection

    # -- the end ----------------------------------------------------------------------

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the connection from being closed as idle."""
        self._users += 1
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0 and self._idle is not None:
                loop = asyncio.get_running_loop()
                self._idle_timer = loop.call_later(self._idle, self._close_idle)

    def _close_idle(self) -> None:
        if self._users == 0:
            self._in_background(self._drop())

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionLost(f"The way to worker {self.worker.name!r} was closed here.")

    async def aclose(self) -> None:
        """Close the connection for good; requests under way fail, and so do later ones."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError, ChuteError):
                await self._connecting
        await self._drop()
        while self._closing:
            await asyncio.wait(self._closing)


class AbsentSession(Session):
    """The way to a worker that the workers file does not name any more.

    What is known of its jobs can still be shown, and if it comes back, so do they.
    """

    async def _make_way(self) -> _Way:
        self.worker = Workers.load().get(self.worker.name)
        return await super()._make_way()


def _now() -> float:
    return asyncio.get_running_loop().time()
