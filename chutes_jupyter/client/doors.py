"""The doors of one job: its ports, opened on this machine while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from chutes_jupyter.doorway import DoorFolder
from chutes_jupyter.errors import ConnectFailed, ConnectionLost, WorkerError
from chutes_jupyter.models import SSH_PORT
from chutes_jupyter.ports import REMOTE, Forward
from chutes_jupyter.transports.base import Connection, Process, Stream

if TYPE_CHECKING:
    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.session import Session
    from chutes_jupyter.models import Port

_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.05, 1.5, 2.0


class _Patient(Connection):
    """A connection that waits for a job's server to listen, where it never did so far."""

    def __init__(self, inner: Connection, door: Door) -> None:
        self._inner, self._door = inner, door
        self.description = inner.description

    async def open_tcp(self, host: str, port: int) -> Stream:
        pause = _FIRST_PAUSE
        while True:
            try:
                stream = await self._inner.open_tcp(host, port)
            except ConnectFailed:
                if self._door.ready or self._door.over:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * _GROWTH, _LONGEST_PAUSE)
            else:
                self._door.answered()
                return stream

    async def start(self, command: str) -> Process:
        return await self._inner.start(command)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def wait_closed(self) -> None:
        await self._inner.wait_closed()

    @property
    def closed(self) -> bool:
        return self._inner.closed


class Door:
    """One port of a job.

    Parameters
    ----------
    port : Port
        As it is declared.
    live : Live
        The job.
    session : Session
        The way to its worker.
    """

    def __init__(self, port: Port, live: Live, session: Session) -> None:
        self.port = port
        self.forward = Forward(port, self._connection)
        self._live, self._session = live, session

    @property
    def ready(self) -> bool:
        """Whether the job's server answered once."""
        return self.port.name in self._live.ready_ports

    @property
    def over(self) -> bool:
        """Whether nothing will answer any more."""
        return self._live.terminal or self._live.broken is not None

    def answered(self) -> None:
        """Note that the server listens."""
        self._live.set(ready_ports=self._live.ready_ports | {self.port.name})

    async def _connection(self) -> Connection:
        return _Patient(await self._session.connection(), self)

    async def probe(self) -> None:
        """Wait until a web server listens; others may take just one connection, not ours."""
        if self.forward.notice or self.port.proto != "http":
            return
        while not self.ready and not self.over:
            try:
                connection = await self._connection()
                stream = await connection.open_tcp(REMOTE, self.port.port)
                await stream.aclose()
            except ConnectionLost:
                await self._session.patient_link(lambda reason: self._live.set(trouble=reason))
            except WorkerError:
                await asyncio.sleep(_LONGEST_PAUSE)


class Doors:
    """All doors of one job, opened when somebody needs them, closed when it ends.

    Parameters
    ----------
    live : Live
        The job.
    session : Session
        The way to its worker.
    """

    def __init__(self, live: Live, session: Session) -> None:
        self._live = live
        self.doors = {port.name: Door(port, live, session) for port in live.ports}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Listen on this machine for every port that has a door here."""
        async with self._opening:
            for door in self.doors.values():
                if not door.over:
                    await door.forward.open()

    async def run(self) -> None:
        """Open the doors when the job runs, and close them when it has ended."""
        live = self._live
        if not self.doors:
            return
        try:
            await live.until(lambda: live.started is not None or live.terminal)
            if not live.terminal:
                await self.open()
                live.tell()
                await self._probe()
            await live.until(lambda: live.terminal)
        finally:
            await self.aclose()
            if live.terminal and any(port.port == SSH_PORT for port in live.ports):
                await asyncio.to_thread(DoorFolder.of(live.id, live.label).forget_key)

    async def _probe(self) -> None:
        """Probe every door until all have answered, or the job has ended."""
        probing = asyncio.ensure_future(self._probe_all())
        ended = asyncio.ensure_future(self._live.until(lambda: self._live.terminal))
        try:
            await asyncio.wait([probing, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (probing, ended):
                task.cancel()
            await asyncio.gather(probing, ended, return_exceptions=True)

    async def _probe_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for door in self.doors.values():
                group.create_task(door.probe())

    async def aclose(self) -> None:
        """Close every door."""
        for door in self.doors.values():
            with contextlib.suppress(OSError):
                await door.forward.aclose()
