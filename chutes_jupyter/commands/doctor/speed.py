"""How long the way to a worker is, how wide, and by how much its clock differs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chutes_jupyter.bootstrap import start_agent
from chutes_jupyter.commands.doctor.report import Report, milliseconds
from chutes_jupyter.commands.tables import size
from chutes_jupyter.errors import WorkerError
from chutes_jupyter.link import AgentLink
from chutes_jupyter.replies import Pong, parse

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker
    from chutes_jupyter.transports import Transport

_PINGS, _PINGING = 21, 3.0
#: Clocks that differ by more make the times of jobs misleading, in seconds.
_FAR_APART = 5.0
#: A way that takes longer is felt with every click, in seconds.
_LONG_WAY = 0.5
#: So long bytes are sent each way, and so long their arrival is waited for, in seconds.
_SENDING, _ARRIVING = 1.0, 4.0
_UP_TO = 32 * 1024 * 1024
_PIECE = 64 * 1024
#: Pieces under way at once: enough for a long way, little enough for a narrow one.
_UNDER_WAY = 16


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
                up, down = await _upwards(link), await _downwards(link)
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
    report.good("throughput", f"{size(up)}/s there, {size(down)}/s back")


async def _upwards(link: AgentLink) -> int:
    """Return how many bytes a second arrive at the worker."""
    data = os.urandom(_PIECE)
    began = time.monotonic()
    arrived = [0]

    async def send() -> None:
        while time.monotonic() - began < _SENDING and arrived[0] < _UP_TO:
            await link.request("ping", data)
            arrived[0] += len(data)

    senders = [asyncio.ensure_future(send()) for _ in range(_UNDER_WAY)]
    try:
        with contextlib.suppress(TimeoutError):  # a narrow way: what has arrived counts
            async with asyncio.timeout(_ARRIVING):
                await asyncio.gather(*senders)
    finally:
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
    return int(arrived[0] / (time.monotonic() - began))


async def _downwards(link: AgentLink) -> int:
    """Return how many bytes a second arrive from the worker."""
    began = time.monotonic()
    arrived = 0
    frames = link.stream("stream", size=_UP_TO, seconds=_SENDING)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ARRIVING), contextlib.aclosing(frames):
            async for frame in frames:
                arrived += len(frame.body)
    return int(arrived / (time.monotonic() - began))
