"""How bytes reach a worker: one interface, and a module for each way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chutes_jupyter.transports.base import Connection, Process, Stream, Transport

if TYPE_CHECKING:
    from chutes_jupyter.config import Worker

__all__ = [
    "Connection",
    "Process",
    "Stream",
    "Transport",
    "accept_host_key",
    "logged_in",
    "transport_for",
]


def transport_for(worker: Worker) -> Transport:
    """Return the transport that reaches a worker: our own server for `local`, SSH for others."""
    # Here and not above: the library behind them takes longer to import than %load_ext may.
    if worker.host is None:
        from chutes_jupyter.transports.local import LocalTransport

        return LocalTransport(worker)
    from chutes_jupyter.transports.choice import ChosenTransport

    return ChosenTransport(worker)


async def logged_in(worker: Worker) -> bool:
    """Whether somebody has logged in to a worker by hand, and that still holds; quick."""
    from chutes_jupyter.transports import choice

    return await choice.logged_in(worker)


async def accept_host_key(worker: Worker, fingerprint: str) -> None:
    """Fetch a worker's host key again and keep it, if its fingerprint is the one given.

    Parameters
    ----------
    worker : Worker
        Whose host to ask.
    fingerprint : str
        ``SHA256:…``, as `UnknownHostKey` showed it and the person compared it.

    Raises
    ------
    HostKeyError
        If the host presents another key; nothing is kept then.
    ConnectFailed
        If the host can't be reached.
    """
    if worker.host is None:
        return  # `local` makes its keys on the fly and knows them
    from chutes_jupyter.transports import accept

    await accept.accept_host_key(worker, fingerprint)
