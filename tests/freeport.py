"""Ports of this machine for tests that must name one before it is used."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing has, and that nothing is given by chance.

    The kernel gives out the ports of its range at any moment, to whoever connects somewhere or
    listens on port 0: one from there can be another test's before it is used.
    """
    below = int(_RANGE.read_text().split()[0])
    while True:
        number = 20_000 + secrets.randbelow(below - 20_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number
