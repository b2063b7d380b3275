"""Frames between client and `serve`: the one definition, imported by both sides.

A frame is two big-endian unsigned 32-bit lengths, then a JSON object of the first length,
then raw bytes of the second. Requests carry ``id`` and ``op``; a reply carries the same
``id`` with ``ok``, and ``more`` while further frames of that reply follow.

Before the first frame `serve` writes `MARKER`: whatever a login script printed comes before
it and is dropped.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

PROTOCOL = 1
MARKER = b"\0chutes-agent:1\0"
#: How much noise of login scripts may come before the marker, in bytes.
MAX_NOISE = 256 * 1024
MAX_HEADER = 1024 * 1024
MAX_BODY = 1024 * 1024
#: How much of a header a page of a list may take, in bytes; the rest is for what else it says.
PAGE = MAX_HEADER // 2
#: How deep a header may be nested, where the interpreter would allow more than is safe.
MAX_DEPTH = 500
_USUAL = 2000
# A string that never ends is one up to the end: looking for each quote's partner again would
# take quadratic time.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)

Header = Dict[str, Any]
Frame = Tuple[Header, bytes]

_LENGTHS = struct.Struct("!II")
#: What a frame begins with, in bytes: its two lengths.
LEAD = _LENGTHS.size


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
    return lead(header, len(body)) + body


def lead(header: Header, size: int = 0) -> bytes:
    """Return what comes before the body of a frame, whose size is given; see `encode`."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    if len(text) > MAX_HEADER or size > MAX_BODY:
        raise WireError("frame of %d + %d bytes is over the limit" % (len(text), size))
    return _LENGTHS.pack(len(text), size) + text


def length(beginning: bytes) -> int:
    """Return how many bytes of a frame follow its first `LEAD`: for who may read no more.

    Raises
    ------
    WireError
        If a length is over its limit.
    """
    head, tail = _LENGTHS.unpack(beginning)
    if head > MAX_HEADER or tail > MAX_BODY:
        raise WireError("frame of %d + %d bytes is over the limit" % (head, tail))
    return int(head + tail)


def fitting(items: Sequence[Any], room: int = PAGE) -> int:
    """Return how many of the first items, as JSON, have room in a header.

    A page must be bounded in bytes, too: a letter beyond ASCII takes six of them, or twelve.
    """
    if json_size(items) <= room:
        return len(items)
    for count, item in enumerate(items):
        room -= json_size(item) + 1
        if room < 0:
            return count
    return len(items)


def json_size(value: Any) -> int:
    """Return how many bytes a value takes in a header."""
    return len(json.dumps(value, separators=(",", ":")))


class Decoder:
    """Cut a stream of bytes, fed in any pieces, into frames."""

    def __init__(self) -> None:
        # What comes before the body, and how much of that is known to be needed.
        self._lead = bytearray()
        self._needed = _LENGTHS.size
        self._header: Optional[Header] = None
        # The body so far: bulk data is copied once, when it is whole.
        self._pieces: List[memoryview] = []
        self._missing = 0

    def feed(self, data: bytes) -> List[Frame]:
        """Take bytes and return the frames that they complete.

        Raises
        ------
        WireError
            If a length is over its limit or a header is not a JSON object.
        """
        frames: List[Frame] = []
        rest = memoryview(data)
        while True:
            while self._header is None:
                missing = self._needed - len(self._lead)
                self._lead += rest[:missing]
                rest = rest[missing:]
                if len(self._lead) < self._needed:
                    return frames
                self._take_lead()
            self._pieces.append(rest[: self._missing])
            taken = len(self._pieces[-1])
            self._missing -= taken
            rest = rest[taken:]
            if self._missing:
                return frames
            frames.append((self._header, b"".join(self._pieces)))
            self._header, self._pieces = None, []

    def _take_lead(self) -> None:
        """Read the lengths, and once it is there the header."""
        head, tail = _LENGTHS.unpack_from(self._lead)
        if head > MAX_HEADER or tail > MAX_BODY:
            raise WireError("frame of %d + %d bytes is over the limit" % (head, tail))
        self._needed = _LENGTHS.size + head
        if len(self._lead) == self._needed:
            self._header = _header(bytes(self._lead[_LENGTHS.size :]))
            self._missing = tail
            self._lead = bytearray()
            self._needed = _LENGTHS.size


def _header(data: bytes) -> Header:
    if sys.getrecursionlimit() > _USUAL and depth(data) > MAX_DEPTH:
        # Someone raised the limit: the parser would overflow the C stack instead of raising.
        raise WireError("frame header is nested too deeply")
    try:
        header = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError("frame header is not JSON: %s" % error) from error
    if not isinstance(header, dict):
        raise WireError("frame header is not an object")
    return header


def depth(data: bytes) -> int:
    """Return how deep brackets lie within each other in what may be a JSON text."""
    present = deepest = 0
    for token in _BRACKETS.finditer(data):
        mark = token.group()
        if mark in (b"[", b"{"):
            present += 1
            deepest = max(deepest, present)
        elif mark in (b"]", b"}"):
            present -= 1
    return deepest
