"""One port of a job, opened for tabs: the way to it, and what is known of who answers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp

from chutes_jupyter import portal, prefixes
from chutes_jupyter.current import current_client
from chutes_jupyter.errors import ForwardFailed
from chutes_jupyter.places import LOOPBACK, Place
from chutes_jupyter.server.tabs import hints
from chutes_jupyter.server.tabs.headers import within
from chutes_jupyter.server.tabs.proxy import Upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from chutes_jupyter.client import JobClient, Live
    from chutes_jupyter.client.doors import AnyForward
    from chutes_jupyter.models import Port

T = TypeVar("T")

#: How long the app may take to say what it is, in seconds, and how much of that is read.
_LOOK, _PAGE = 10.0, 128 * 1024


class Bridge(Protocol):
    """Runs a function of the client where the client lives."""

    async def __call__(self, function: Callable[[JobClient], Awaitable[T]]) -> T:
        """Return what the function returns for the client."""


async def in_portal(function: Callable[[JobClient], Awaitable[T]]) -> T:
    """Run a function of this process's client in the background thread; see `Bridge`."""
    client = await asyncio.to_thread(current_client)
    return await asyncio.wrap_future(portal.spawn(function, client))


@dataclass(frozen=True)
class Look:
    """What was seen of an app.

    Parameters
    ----------
    prefixed : bool
        Whether it knows the path that it has in Jupyter, and is found there.
    app : App or None
        Which one it is, where it is a known one.
    """

    prefixed: bool = False
    app: hints.App | None = None


@dataclass
class _Entrance:
    live: Live
    port: Port
    forward: AnyForward
    unsubscribe: Callable[[], None]


class Backend:
    """One port of a job; made by `enter`.

    Parameters
    ----------
    bridge : Bridge
        The way to the client.
    entrance : _Entrance
        What the client opened.
    base_url : str
        Of the Jupyter server.
    """

    def __init__(self, bridge: Bridge, entrance: _Entrance, base_url: str) -> None:
        self._bridge, self._entrance = bridge, entrance
        self._live, self.port = entrance.live, entrance.port
        self.job, self.label = entrance.live.id, entrance.live.label
        #: The path in Jupyter that the job knows of, without a slash at its end.
        self.prefix = prefixes.prefix(self.job, self.port.name, base_url)
        place = entrance.forward.place
        address = str(place.path) if place.path else entrance.forward.address
        if address is None:
            raise ForwardFailed(f"{self.label} has ended: its ports are closed.")
        self.upstream = Upstream(address, self.port.port)
        self._look: asyncio.Task[Look | None] | None = None

    @property
    def over(self) -> bool:
        """Whether nothing will answer any more."""
        return self._live.over

    @property
    def ready(self) -> bool:
        """Whether the app answered once."""
        return self.port.name in self._live.ready_ports

    @property
    def state(self) -> str:
        """The job's state, as the worker told it last."""
        return self._live.state

    @property
    def trouble(self) -> str:
        """Why the worker can't be reached at present, or ""."""
        return self._live.trouble or ""

    async def look(self) -> Look:
        """Return which app this is, and whether it knows its path; asked once it answers."""
        if self._look is None or (self._look.done() and self._look.result() is None):
            self._look = asyncio.ensure_future(self._look_once())
        return await asyncio.shield(self._look) or Look()

    def look_again(self) -> None:
        """Forget what the app was: it does not answer, and another may come."""
        self._look = None

    async def _look_once(self) -> Look | None:
        try:
            async with asyncio.timeout(_LOOK):
                status, _, page = await self._ask(f"{self.prefix}/")
                root_status, location, root_page = await self._ask("/")
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        # Some answer everything with the same page: those do not know it.
        elsewhere = root_status >= 400 or within(urlsplit(location).path, self.prefix)
        prefixed = status < 400 and elsewhere
        return Look(prefixed, hints.recognize(page if prefixed else root_page))

    async def _ask(self, target: str) -> tuple[int, str, str]:
        headers = {"Accept": "text/html", "Accept-Encoding": "identity"}
        async with self.upstream.session().get(
            self.upstream.url(target), headers=headers, allow_redirects=False
        ) as answer:
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) >= _PAGE:
                    break
            location = answer.headers.get("Location", "")
            return answer.status, location, body.decode("utf-8", "replace")

    async def aclose(self) -> None:
        """Close the way to the port, and everything that goes through it."""
        self._entrance.unsubscribe()
        if self._look is not None:
            self._look.cancel()
        await self.upstream.aclose()
        with contextlib.suppress(OSError):
            await self._bridge(self._leave)

    async def _leave(self, client: JobClient) -> None:
        if client.has(self._live):
            door = client.port_door(self._live, self.port.name)
            await door.close_at(self._entrance.forward)


async def enter(
    bridge: Bridge, job: str, port: str, folder: Path, base_url: str, on_end: Callable[[], object]
) -> Backend:
    """Open a port of a job for tabs: one that it declared, or that was shown.

    Parameters
    ----------
    bridge : Bridge
        The way to the client.
    job, port : str
        The job's id, and the port's name.
    folder : Path
        Where the socket is made.
    base_url : str
        Of the Jupyter server.
    on_end : callable
        Called in the client's thread when the job has ended; maybe more than once.

    Raises
    ------
    ForwardFailed
        If the job declares no such web server, or has ended.
    JobNotFound
        If there is no such job.
    """

    async def opening(client: JobClient) -> _Entrance:
        live = await client.attach(job, mirror=False)
        reachable = _reachable(live, port)
        forward = await client.open_at(live, port, _place(folder))
        unsubscribe = live.subscribe(lambda: on_end() if live.over else None)
        if live.over:  # between the two
            on_end()
        return _Entrance(live, reachable, forward, unsubscribe)

    return Backend(bridge, await bridge(opening), base_url)


def _place(folder: Path) -> Place:
    if sys.platform == "win32":
        return Place(LOOPBACK)
    return Place(path=folder / secrets.token_hex(4))


def _reachable(live: Live, name: str) -> Port:
    web = [port for port in live.reachable if port.proto == "http"]
    for port in web:
        if port.name == name:
            return port
    names = ", ".join(port.name for port in web) or "none"
    raise ForwardFailed(
        f"{live.label} declares no web server {name!r}; its ports of the kind http: {names}. "
        "A port is declared when the job is submitted, with --port NAME:PORT/http."
    )
