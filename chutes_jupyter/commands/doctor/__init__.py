"""`worker test`: go through everything that a job needs, step by step, as a doctor would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.commands.doctor import place, speed, way
from chutes_jupyter.transports import transport_for

if TYPE_CHECKING:
    from chutes_jupyter.commands.doctor.report import Report
    from chutes_jupyter.config import Worker

__all__ = ["examine"]


async def examine(worker: Worker, report: Report) -> list[str]:
    """Connect anew and show each step as it is taken; go on wherever that makes sense.

    Returns
    -------
    list of str
        The steps that failed.
    """
    transport = transport_for(worker)
    connection = await way.arrive(transport, worker, report)
    if connection is None:
        return report.failed
    try:
        await way.try_shell(connection, report)
        awake = await place.wake(connection, worker, report)
        if awake is None:
            return report.failed
        link, hello = awake
        try:
            await place.look_around(link, hello, worker, report)
            await speed.measure_distance(link, report)
        finally:
            await link.aclose()
    finally:
        await connection.aclose()
    await speed.measure_width(transport, worker, report)
    return report.failed
