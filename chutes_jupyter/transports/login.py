"""Logging in to a worker by hand, once for all processes of a person."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from chutes_jupyter.transports.openssh import program
from chutes_jupyter.transports.questions import Question

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chutes_jupyter.config import Worker

__all__ = ["Question", "login"]


async def login(worker: Worker, ask: Callable[[Question], Awaitable[str | None]]) -> bool:
    """Log in to a worker, asking what has to be asked.

    Parameters
    ----------
    worker : Worker
        A worker with a host.
    ask : callable
        Asks a person, and returns the answer, or None for none.

    Returns
    -------
    bool
        False if somebody is logged in already.

    Raises
    ------
    ConnectFailed
        If it does not come to a connection.
    """
    program.need()
    if sys.platform == "win32":
        raise AssertionError("there is no ssh that shares a connection")
    from chutes_jupyter.transports.openssh import login as by_ssh

    return await by_ssh.login(worker, ask)
