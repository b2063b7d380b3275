"""Bytes in the codec's layout, sound and spoiled, and what may come of them."""

from __future__ import annotations

import contextlib
import json
import struct
import time
from typing import Any

from hypothesis import strategies as st

from chutes_jupyter.agent import codec

#: What reading a few kilobytes may take, in seconds of the processor.
QUICK = 2.0


def message(header: Any, *blobs: bytes) -> bytes:
    """Return bytes in the codec's layout, whatever the header says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    table = struct.pack(f"!{len(blobs)}Q", *map(len, blobs))
    found = codec.MAGIC + struct.pack("!QI", len(text), len(blobs)) + table + text
    for blob in blobs:
        found += bytes(codec._begin(len(found), len(blob)) - len(found)) + blob
    return found


def opened(data: bytes) -> tuple[Any, list[bytes]]:
    """Return the header and the blobs of bytes that the codec wrote."""
    header, blobs = codec._split(memoryview(data))
    return json.loads(header), [bytes(blob) for blob in blobs]


@st.composite
def mutations(draw: st.DrawFn, sample: bytes) -> bytes:
    """Draw bytes that were sound, with some set, cut off, put in or left out."""
    mutated = bytearray(sample)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(mutated) - 1))
        how = draw(st.sampled_from(["set", "cut", "insert", "drop"]))
        if how == "set":
            mutated[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del mutated[max(at, 1) :]
        elif how == "insert":
            mutated[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif len(mutated) > 1:
            del mutated[at]
    return bytes(mutated)


def nodes_of(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything in a header."""
    found = [path]
    inner = enumerate(tree) if isinstance(tree, list) else []
    inner = tree.items() if isinstance(tree, dict) else inner
    for key, item in inner:
        found += nodes_of(item, (*path, key))
    return found


@st.composite
def lies(draw: st.DrawFn, sample: bytes) -> bytes:
    """Draw a sound message of which one thing in the header, or a blob, says something else."""
    header, blobs = opened(sample)
    holder = [header]
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(nodes_of(holder)[1:]))
        around: Any = holder
        for key in path[:-1]:
            around = around[key]
        others = [at for at in nodes_of(holder)[1:] if len(at) < 9]
        other: Any = holder
        for key in draw(st.sampled_from(others)):
            other = other[key]
        strange = st.sampled_from([None, True, -1, 0, 1, 7, 2**31, 2**62, "", "x", [], {}, 1e308])
        around[path[-1]] = draw(st.one_of(strange, st.just(json.loads(json.dumps(other)))))
    if blobs and draw(st.booleans()):
        at = draw(st.integers(0, len(blobs) - 1))
        size = draw(st.integers(0, 2 * len(blobs[at])))
        blobs[at] = draw(st.sampled_from([b"", blobs[at][:size], blobs[at] * 2, b"\xff" * size]))
    return message(holder[0], *blobs)


def sound_or_refused(data: bytes, **options: Any) -> Any:
    """Return the value of bytes, or the error; anything else, and slowness, raises."""
    begin = time.process_time()
    value: Any = None
    with contextlib.suppress(codec.CodecError):
        value = codec.loads(data, **options)
    assert time.process_time() - begin < QUICK
    return value
