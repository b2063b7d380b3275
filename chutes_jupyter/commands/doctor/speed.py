"""How long the way to a worker is, how wide, and by how much its clock differs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.commands.doctor.report import Report, milliseconds
from chutes_jupyter.commands.tables import size
from chutes_jupyter.errors import WorkerError
from chutes_jupyter.link import AgentLink
from chutes_jupyter.replies import Pong, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports import Transport

_PINGS, _PINGING = 21, 3.0
#: Clocks that differ by more make the times of jobs misleading, in seconds.
_FAR_APART = 5.0
#: A way that takes longer is felt with every click, in seconds.
_LONG_WAY = 0.5
#: So long pieces are sent each way, and so long their arrival is waited for, in seconds.
_SENDING, _ARRIVING = 0.8, 5.0
#: What comes before counts for less, in seconds: the first pieces go alone.
_WARM = 0.2
_PIECE, _ENOUGH = 64 * 1024, 32 * 1024 * 1024
#: Pieces under way at once, at the most.
_UNDER_WAY = 32
_FIRST = asyncio.FIRST_COMPLETED


@dataclass(frozen=True)
class _Ping:
    took: float
    #: The worker's clock against ours, in seconds.
    ahead: float


async def measure_distance(link: AgentLink, report: Report) -> None:
    """Show the clock's difference and the round trip, from some short exchanges."""
    pings: list[_Ping] = []
    until = time.monotonic() + _PINGING
    try:
        while len(pings) < _PINGS and time.monotonic() < until:
            pings.append(await _ping(link))
    except WorkerError as error:
        report.bad("round trip", "the agent does not answer", str(error))
        return
    _say_clock(min(pings, key=lambda ping: ping.took), report)
    # The first one wakes everything up.
    spans = [ping.took for ping in pings[1:] or pings]
    figure = f"{milliseconds(statistics.median(spans))}, the median of {len(spans)}"
    if statistics.median(spans) < _LONG_WAY:
        report.good("round trip", figure)
    else:
        report.odd("round trip", figure, "Everything will feel slow, but nothing is lost by it.")


async def _ping(link: AgentLink) -> _Ping:
    ours, began = time.time(), time.perf_counter()
    theirs = parse(Pong, (await link.request("ping")).header).time
    took = time.perf_counter() - began
    return _Ping(took, theirs - (ours + took / 2))


def _say_clock(ping: _Ping, report: Report) -> None:
    side = "ahead of" if ping.ahead > 0 else "behind"
    figure = f"{milliseconds(abs(ping.ahead))} {side} ours (±{milliseconds(ping.took / 2)})"
    if abs(ping.ahead) < _FAR_APART:
        report.good("clock", figure)
        return
    report.odd(
        "clock",
        figure,
        "The times of its jobs and files are by its own clock. Let both be set by the network "
        "(there: timedatectl set-ntp true).",
    )


async def measure_width(transport: Transport, worker: Worker, report: Report) -> None:
    """Send some megabytes each way, on a connection as outputs have it."""
    try:
        connection = await transport.connect(bulk=True)
        try:
            link = AgentLink(await start_agent(connection, worker), connection.description)
            try:
                there = await _rate(functools.partial(_there, link))
                back = await _rate(functools.partial(_back, link))
            finally:
                await link.aclose()
        finally:
            await connection.aclose()
    except WorkerError as error:
        report.bad(
            "throughput",
            "a second connection, which outputs need, can't be made or breaks",
            str(error),
        )
        return
    figure = f"{size(there)}/s there, {size(back)}/s back"
    if there and back:
        report.good("throughput", figure)
    else:
        report.odd("throughput", figure, f"{size(_PIECE)} took more than {_ARRIVING:.0f} s.")


async def _there(link: AgentLink) -> int:
    await link.request("ping", os.urandom(_PIECE))
    return _PIECE


async def _back(link: AgentLink) -> int:
    return len((await link.request("noise", size=_PIECE)).body)


async def _rate(exchange: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Return how many bytes a second an exchange moves, with ever more of them at a time.

    A narrow way never has many under way, and so is empty again soon.
    """
    began = time.monotonic()
    arrived: list[tuple[float, int]] = []
    running = {asyncio.ensure_future(exchange())}
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ARRIVING):
                while running:
                    done, running = await asyncio.wait(running, return_when=_FIRST)
                    now = time.monotonic() - began
                    arrived += [(now, task.result()) for task in done]
                    if now < _SENDING and sum(size for _, size in arrived) < _ENOUGH:
                        wanted = min(_UNDER_WAY, len(running) + 2 * len(done))
                        more = range(wanted - len(running))
                        running |= {asyncio.ensure_future(exchange()) for _ in more}
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return _speed(arrived)


def _speed(arrived: list[tuple[float, int]]) -> int:
    """Return bytes a second from when each piece had come; the beginning counts for less."""
    late = [(at, size) for at, size in arrived if at > _WARM]
    if len(late) > 1:
        # From an arrival on, not from the moment itself: the next piece was on its way by then.
        began = max((at for at, _ in arrived if at <= _WARM), default=0.0)
        return int(sum(size for _, size in late) / (late[-1][0] - began))
    return int(sum(size for _, size in arrived) / arrived[-1][0]) if arrived else 0
