"""Ports of this machine for tests that must name one before it is used."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from jupyter_client.connect import LocalPortCache

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST = 20_000


def share_of(worker: int, workers: int) -> range:
    """Return the ports of one of the processes that run tests side by side.

    The kernel gives out the ports of its range at any moment, to whoever connects somewhere or
    listens on port 0: one from there can be another's before it is used. So all are below.
    """
    length = (int(_RANGE.read_text().split()[0]) - _FIRST) // workers
    return range(_FIRST + worker * length, _FIRST + (worker + 1) * length)


def _in_turn() -> Iterator[int]:
    """Go through this process's share again and again, from anywhere in it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = share_of(worker, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    start = secrets.randbelow(len(ports))
    return itertools.cycle([*ports[start:], *ports[:start]])


_ports = _in_turn()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing has, and that nobody else is given soon."""
    while True:
        number = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number


class KernelPorts(LocalPortCache):
    """Where jupyter_client finds the five ports of a kernel, once this has an instance.

    It names them before the kernel runs. A Jupyter server tries others when a kernel didn't
    start; what runs a kernel by itself, as tests and nbclient do, doesn't.
    """

    def find_available_port(self, ip: str) -> int:
        return free_port()
