"""Frames between client and `relay`: the one definition, imported by both sides.

A frame is four big-endian unsigned numbers, then raw bytes: what it is (8 bits), the flow it
belongs to (32 bits), the port of the job (16 bits), and how many bytes follow (16 bits, at
most `MAX_BODY`). The client numbers the flows: one for each local address that sends
datagrams to a port, one for each stream.
"""

from __future__ import annotations

import struct
from typing import List, Tuple

#: The most that a datagram of IPv4 holds: 65,535 less the heads of IP and UDP.
MAX_BODY = 65507

#: Both ways: one datagram, whole. The first of a flow opens it.
DATAGRAM = 1
#: Both ways: the flow is over; a stream was reset.
CLOSE = 2
#: From the agent: how many bytes it has taken from its input so far (`COUNT`).
TAKEN = 3
#: From the agent: how many datagrams of a port it dropped since it last said so (`DROPS`).
DROPPED = 4
#: From the client: connect a stream to a port; with the id of a job only if its own processes
#: listen there, whatever it declares, and with `ONLY_ASK` behind that without connecting. Then
#: from the agent how that went.
OPEN = 5
OPENED = 6
REFUSED = 7
ONLY_ASK = "?"
#: Both ways: bytes of a stream, their end, and how many the reader has taken (`ROOM_MADE`).
DATA = 8
END = 9
ROOM = 10
KINDS = frozenset(range(DATAGRAM, ROOM + 1))

COUNT = struct.Struct("!Q")
DROPS = struct.Struct("!II")
ROOM_MADE = struct.Struct("!I")
MOST_DROPS = 2**32 - 1

#: So many flows of datagrams may be open at once; one more closes the one unused for longest.
MAX_FLOWS = 512
MAX_STREAMS = 128
#: So many bytes of a stream may be under way, or wait at their reader, in each direction.
STREAM_WINDOW = 128 * 1024
#: The most bytes of a stream in one frame: others get their turn.
PIECE = 16 * 1024

_HEAD = struct.Struct("!BIHH")
HEAD_SIZE = _HEAD.size

#: Kind, flow, port and bytes.
Frame = Tuple[int, int, int, bytes]


class LaneError(Exception):
    """What arrived is not a frame."""


def head(kind: int, flow: int, port: int, size: int) -> bytes:
    """Return what comes before the bytes of a frame."""
    if size > MAX_BODY:
        raise LaneError("frame of %d bytes is over the limit" % size)
    return _HEAD.pack(kind, flow, port, size)


def encode(kind: int, flow: int, port: int = 0, body: bytes = b"") -> bytes:
    """Return the bytes of one frame."""
    return head(kind, flow, port, len(body)) + body


class Decoder:
    """Cut a stream of bytes, fed in any pieces, into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """Take bytes and return the frames that they complete.

        Raises
        ------
        LaneError
            If a kind is unknown or a length over its limit.
        """
        rest = self._rest
        rest += data
        frames: List[Frame] = []
        at = 0
        while len(rest) - at >= HEAD_SIZE:
            kind, flow, port, size = _HEAD.unpack_from(rest, at)
            if kind not in KINDS or size > MAX_BODY:
                raise LaneError("frame of kind %d with %d bytes" % (kind, size))
            end = at + HEAD_SIZE + size
            if end > len(rest):
                break
            frames.append((kind, flow, port, bytes(rest[at + HEAD_SIZE : end])))
            at = end
        del rest[:at]
        return frames


def number(form: struct.Struct, body: bytes) -> Tuple[int, ...]:
    """Return the numbers that a body holds.

    Raises
    ------
    LaneError
        If it is not as long as they are.
    """
    if len(body) != form.size:
        raise LaneError("%d bytes where %d were due" % (len(body), form.size))
    found: Tuple[int, ...] = form.unpack(body)
    return found
