"""`forward`: a port of a job, at an address of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.errors import UsageError
from chutes_jupyter.places import Place

if TYPE_CHECKING:
    import argparse

    from chutes_jupyter.client.views import PortView
    from chutes_jupyter.commands.surroundings import Surroundings
    from chutes_jupyter.job import Job


def forward(arguments: argparse.Namespace, here: Surroundings) -> None:
    """Open a port of a job; in a terminal keep it until Ctrl-C or the job's end."""
    from chutes_jupyter.job import attach

    job = attach(arguments.job, mirror=False)
    port = _port(job, arguments.port)
    if here.in_notebook and arguments.close:
        count = port.close_forwards()
        here.say(f"Closed {count} forward{'' if count == 1 else 's'} of {port.name}.")
        return
    if here.in_notebook:
        _open(arguments, job, port, here)
        return
    try:
        _open(arguments, job, port, here)
        job.wait(outputs=False)
        here.say(f"{job.label} {job.state.replace('_', ' ')}.")
    except KeyboardInterrupt:
        here.say(f"\nClosed. {job.label} goes on.")
        raise
    finally:
        port.close_forwards()
        dropped = port.dropped
        if any(dropped):
            here.say(f"Datagrams dropped: {dropped.up} on the way up, {dropped.down} down.")


def _open(arguments: argparse.Namespace, job: Job, port: PortView, here: Surroundings) -> None:
    opened = port.open_at(Place(arguments.bind, arguments.local or 0))
    close = f"{here.prog} forward {job.label} {port.name} --close"
    end = f"Close it with: {close}" if here.in_notebook else "Ctrl-C closes it."
    here.say(f"{opened.url} leads to {port.name} of {job.label}. {end}")
    if opened.warning:
        here.say(f"note: {opened.warning}")


def _port(job: Job, name: str) -> PortView:
    if name not in job.ports and name.isdecimal():
        return job.show_port(int(name))
    if name not in job.ports:
        known = ", ".join(job.ports) or "none"
        raise UsageError(f"{name}: {job.label} has no port of that name; it has: {known}")
    return job.ports[name]
