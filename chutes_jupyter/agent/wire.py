"""Frames between client and `serve`: the one definition, imported by both sides.

A frame is two big-endian unsigned 32-bit lengths, then a JSON object of the first length,
then raw bytes of the second. Requests carry ``id`` and ``op``; a reply carries the same
``id`` with ``ok``, and ``more`` while further frames of that reply follow.

Before the first frame `serve` writes `MARKER`: whatever a login script printed comes before
it and is dropped.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Dict, List, Tuple

PROTOCOL = 1
MARKER = b"\0chutes-agent:1\0"
#: How much noise of login scripts may come before the marker, in bytes.
MAX_NOISE = 256 * 1024
MAX_HEADER = 1024 * 1024
MAX_BODY = 1024 * 1024
#: The size of a body when bulk data is cut into frames, in bytes.
CHUNK = 256 * 1024

Header = Dict[str, Any]
Frame = Tuple[Header, bytes]

_LENGTHS = struct.Struct("!II")


class WireError(Exception):
    """What arrived is not a frame."""


def encode(header: Header, body: bytes = b"") -> bytes:
    """Return the bytes of one frame.

    Parameters
    ----------
    header : dict
        JSON values only.
    body : bytes
        At most `MAX_BODY` bytes.

    Raises
    ------
    WireError
        If header or body is over its limit.
    """
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    if len(text) > MAX_HEADER or len(body) > MAX_BODY:
        raise WireError("frame of %d + %d bytes is over the limit" % (len(text), len(body)))
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


class Decoder:
    """Cut a stream of bytes, fed in any pieces, into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> List[Frame]:
        """Take bytes and return the frames that they complete.

        Raises
        ------
        WireError
            If a length is over its limit or a header is not a JSON object.
        """
        self._buffer += data
        frames: List[Frame] = []
        start = 0
        size = len(self._buffer)
        while size - start >= _LENGTHS.size:
            head, tail = _LENGTHS.unpack_from(self._buffer, start)
            if head > MAX_HEADER or tail > MAX_BODY:
                raise WireError("frame of %d + %d bytes is over the limit" % (head, tail))
            begin = start + _LENGTHS.size
            if size - begin < head + tail:
                break
            middle = begin + head
            body = bytes(memoryview(self._buffer)[middle : middle + tail])
            frames.append((_header(self._buffer[begin:middle]), body))
            start = middle + tail
        if start:
            del self._buffer[:start]
        return frames


def _header(data: bytearray) -> Header:
    try:
        header = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError("frame header is not JSON: %s" % error) from error
    if not isinstance(header, dict):
        raise WireError("frame header is not an object")
    return header
