"""How many datagrams the system dropped because nobody read them in time."""

from __future__ import annotations

import socket
import struct
import sys

#: Linux: nine numbers about a socket's memory; the last is of datagrams that found no room.
_SO_MEMINFO = 55
_NUMBERS = struct.Struct("9I")


def kernel_drops(sock: socket.socket) -> int:
    """Return how many datagrams found no room at a socket; 0 where the system does not say."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _NUMBERS.size)
        return int(_NUMBERS.unpack(found)[8])
    except (OSError, struct.error):  # closed, or before Linux 4.12
        return 0
