"""The doors of one job: its ports, opened on this machine while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chutes_jupyter.datagrams import UdpForward
from chutes_jupyter.doorway import DoorFolder
from chutes_jupyter.errors import ConnectFailed, ForwardFailed, WorkerError
from chutes_jupyter.models import SSH_PORT
from chutes_jupyter.ports import Forward, url
from chutes_jupyter.relay import Dropped, Lane
from chutes_jupyter.undeclared import UndeclaredPort

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chutes_jupyter.client.live import Live
    from chutes_jupyter.client.tunnels import Tunnels
    from chutes_jupyter.models import Port
    from chutes_jupyter.places import Place
    from chutes_jupyter.transports.base import Stream

_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 0.05, 1.5, 2.0
#: How long one question to a web server may take: models are loaded meanwhile, in seconds.
_ANSWER = 30.0
#: What was dropped is told so often at the most, in seconds.
_TELL = 0.5

AnyForward = Forward | UdpForward


class Door:
    """One port of a job.

    Parameters
    ----------
    port : Port
        As it is declared.
    live : Live
        The job.
    tunnels : Tunnels
        The ways to its worker's ports.
    """

    def __init__(self, port: Port, live: Live, tunnels: Tunnels) -> None:
        self.port = port
        self._live, self._tunnels = live, tunnels
        self._telling: asyncio.TimerHandle | None = None
        self._lane = None
        if port.proto == "udp":
            self._lane = Lane(tunnels.relay, port.port, self._lane_changed)
        #: The one that opens by itself, and those that somebody asked for.
        self.forward = self._new(None)
        self.others: list[AnyForward] = []
        #: Unix sockets, each of a program of ours: not among those that a person closes.
        self._sockets: list[AnyForward] = []

    def _new(self, place: Place | None) -> AnyForward:
        if self._lane is not None:
            return UdpForward(self.port, self._lane, place)
        return Forward(self.port, self._dial, place)

    @property
    def notice(self) -> str:
        """Why the port can't be reached from here, or ""."""
        if isinstance(self.forward, Forward):
            return self.forward.notice
        return "" if self.over or self.forward.address is None else self._tunnels.relay.trouble

    @property
    def url(self) -> str | None:
        """Where the port is on this machine."""
        return url(self.port.proto, self.forward.address)

    @property
    def ready(self) -> bool:
        """Whether the job's server answered once."""
        return self.port.name in self._live.ready_ports

    @property
    def over(self) -> bool:
        """Whether nothing will answer any more."""
        return self._live.terminal or self._live.broken is not None

    @property
    def dropped(self) -> Dropped:
        """How many datagrams were dropped on their way; from any thread."""
        if self._lane is None:
            return Dropped(0, 0)
        forwards = [self.forward, *self.others]
        unread = sum(each.unread for each in forwards if isinstance(each, UdpForward))
        return Dropped(self._lane.up + unread, self._lane.down)

    # -- opening and closing ----------------------------------------------------------

    async def open(self) -> None:
        """Listen where this port is found by default."""
        self._tunnels.enter(self)
        await self.forward.open()

    async def reach(self) -> None:
        """Wait until the web server answers, or datagrams can pass; not for other ports."""
        if self.port.proto == "http" and not self.notice:
            await self._live.until(lambda: self.ready or self.over)
        elif self._lane is not None and self.forward.address is not None:
            with contextlib.suppress(WorkerError):  # the notice says what is wrong
                await self._lane.ready()
                self._answered()

    async def open_at(self, place: Place) -> AnyForward:
        """Listen at one more place.

        Raises
        ------
        ForwardFailed
            If the place can't be had, the port has no door here, or the job has ended.
        """
        if self.over:
            raise ForwardFailed(f"{self._live.label} has ended: its ports are closed.")
        if isinstance(self.forward, Forward) and self.forward.notice:
            raise ForwardFailed(self.forward.notice)
        forward = self._new(place)
        self._tunnels.enter(self)
        await forward.open()
        (self.others if place.path is None else self._sockets).append(forward)
        return forward

    async def close_at(self, forward: AnyForward) -> None:
        """Close what `open_at` gave."""
        for opened in (self.others, self._sockets):
            if forward in opened:
                opened.remove(forward)
        await forward.aclose()

    async def close_others(self) -> int:
        """Close all that `open_at` gave, and return how many they were."""
        closing, self.others = self.others, []
        for forward in closing:
            await forward.aclose()
        return len(closing)

    async def aclose(self) -> None:
        """Close everything of this port."""
        for forward in (self.forward, *self.others, *self._sockets):
            with contextlib.suppress(OSError):
                await forward.aclose()
        self.others, self._sockets = [], []
        await self._tunnels.leave(self)
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    # -- the way there ----------------------------------------------------------------

    async def _dial(self) -> Stream:
        """Connect to the job's server, waiting for it to listen where it never did so far."""
        pause = _FIRST_PAUSE
        while True:
            try:
                stream = await self._connect()
            except ConnectFailed:
                if self.ready or self.over:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * _GROWTH, _LONGEST_PAUSE)
            else:
                if self.port.proto != "http":
                    self._answered()  # a web server is ready when it answers
                return stream

    async def _connect(self) -> Stream:
        if isinstance(self.port, UndeclaredPort):
            return await self._tunnels.open_own(self._live.id, self.port.port)
        return await self._tunnels.open_tcp(self.port.port)

    def _answered(self) -> None:
        self._live.set(ready_ports=self._live.ready_ports | {self.port.name})

    def _lane_changed(self) -> None:
        """Tell of drops and of trouble, once in a while: a flood must not wake everybody."""
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TELL, self._tell)

    def _tell(self) -> None:
        self._telling = None
        if any(self.dropped):
            self._live.notice(
                f"Port {self.port.name}: datagrams were dropped on their way; "
                f'job.ports["{self.port.name}"].dropped tells how many.'
            )
        self._live.tell()

    # -- whether somebody answers -----------------------------------------------------

    async def probe(self) -> None:
        """Ask a web server until it answers; other kinds are asked only by `wait_ready`."""
        if self.port.proto == "http" and not self.notice:
            await self._ask_web_server()

    async def wait_ready(self) -> None:
        """Wait until the job's server answers, or the job has ended.

        A tcp port is asked by a connection that is closed at once. Of a udp port only the way
        there can be asked for.
        """
        if self.port.proto == "http":
            await self._live.until(lambda: self.ready or self.over)
        elif self._lane is not None:
            await self._until_it_works(self._lane.ready)
        else:
            await self._until_it_works(self._touch)

    async def _touch(self) -> None:
        stream = await self._dial()
        await stream.aclose()

    async def _until_it_works(self, attempt: Callable[[], Any]) -> None:
        await self._live.until(lambda: self._live.started is not None or self.over)
        while not self.ready and not self.over:
            try:
                await attempt()
            except WorkerError:
                await self._tunnels.reachable()
                await asyncio.sleep(_LONGEST_PAUSE)
            else:
                self._answered()

    async def _ask_web_server(self) -> None:
        """Ask for the first page through the forward; any answer is one, also an error's."""
        # Not in this loop, and not before a job has a web server: it takes a while to load.
        await asyncio.to_thread(import_module, "httpx")
        import httpx

        pause = _FIRST_PAUSE
        # No trust: this is http, on this machine, and loading authorities takes long.
        no_trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx.AsyncClient(
            trust_env=False, verify=no_trust, timeout=httpx.Timeout(_ANSWER)
        ) as client:
            while not self.ready and not self.over:
                try:
                    async with client.stream("GET", self.url or ""):
                        self._answered()
                except httpx.HTTPError:
                    await self._tunnels.reachable()
                    await asyncio.sleep(pause)
                    pause = min(pause * _GROWTH, _LONGEST_PAUSE)


class Doors:
    """All doors of one job, opened when somebody needs them, closed when it ends.

    Parameters
    ----------
    live : Live
        The job.
    tunnels : Tunnels
        The ways to its worker's ports.
    """

    def __init__(self, live: Live, tunnels: Tunnels) -> None:
        self._live, self._tunnels = live, tunnels
        #: By name, those that were shown last.
        self.doors = {port.name: Door(port, live, tunnels) for port in live.ports}
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Listen on this machine for every port that has a door here."""
        async with self._opening:
            for door in self.doors.values():
                if not door.over:
                    await door.open()

    async def run(self) -> None:
        """Open the doors when the job runs, and close them when it has ended."""
        live, declared = self._live, tuple(self.doors.values())
        if not declared:
            return
        try:
            await live.until(lambda: live.started is not None or live.terminal)
            if not live.terminal:
                await self.open()
                live.tell()
                await self._probe(declared)
            await live.until(lambda: live.terminal)
        finally:
            await self.aclose()
            if live.terminal and any(port.port == SSH_PORT for port in live.ports):
                await asyncio.to_thread(DoorFolder.of(live.id, live.label).forget_key)

    async def show(self, number: int) -> Door:
        """Return the door of a port that the job listens on and did not declare; `keep` opens it.

        A declared one is given as it is.

        Raises
        ------
        ForwardFailed
            If no process of the job listens there, or the job has ended.
        """
        live = self._live
        for door in self.doors.values():
            if door.port.port == number and door.port.proto != "udp":
                return door
        port = UndeclaredPort.of(number)
        if live.over:
            raise ForwardFailed(f"{live.label} has ended: its ports are closed.")
        if not live.acknowledged:
            raise ForwardFailed(f"{live.label} is {live.state}: nothing listens there yet.")
        fresh = Door(port, live, self._tunnels)
        self._tunnels.enter(fresh)
        try:
            await self._tunnels.check_own(live.id, number)
        except BaseException as error:
            await self._tunnels.leave(fresh)
            if not isinstance(error, ConnectFailed):
                raise
            raise ForwardFailed(f"{number} of {live.label} can't be shown: {error}") from error
        found = self.doors.setdefault(port.name, fresh)
        live.set(shown=tuple(door.port for door in self.doors.values() if _is_shown(door)))
        return found

    async def keep(self, door: Door) -> None:
        """Open a door that is shown, and close it when the job has ended."""
        live = self._live
        try:
            async with self._opening:
                await door.open()
            live.tell()
            await self._probe((door,))
            await live.until(lambda: live.terminal)
        finally:
            await door.aclose()

    async def _probe(self, doors: Iterable[Door]) -> None:
        """Probe doors until all have answered, or the job has ended."""
        probing = asyncio.ensure_future(self._probe_all(doors))
        ended = asyncio.ensure_future(self._live.until(lambda: self._live.terminal))
        try:
            await asyncio.wait([probing, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (probing, ended):
                task.cancel()
            await asyncio.gather(probing, ended, return_exceptions=True)

    async def _probe_all(self, doors: Iterable[Door]) -> None:
        async with asyncio.TaskGroup() as group:
            for door in doors:
                group.create_task(door.probe())

    async def aclose(self) -> None:
        """Close every door."""
        for door in self.doors.values():
            await door.aclose()


def _is_shown(door: Door) -> bool:
    return isinstance(door.port, UndeclaredPort)
