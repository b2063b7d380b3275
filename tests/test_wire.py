"""Frames, cut out of a stream that arrives in any pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chutes_jupyter.agent import wire

HEADERS = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3)
FRAMES = st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 100), max_size=50))
def test_frames_come_back_however_the_stream_is_cut(
    frames: list[wire.Frame], sizes: list[int]
) -> None:
    stream = b"".join(wire.encode(header, body) for header, body in frames)
    decoder = wire.Decoder()
    found: list[wire.Frame] = []
    for size in sizes:
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    found += decoder.feed(stream)
    assert found == frames


@given(FRAMES.filter(bool))
def test_half_a_frame_brings_none(frames: list[wire.Frame]) -> None:
    stream = b"".join(wire.encode(header, body) for header, body in frames)
    assert wire.Decoder().feed(stream[:-1]) == frames[:-1]
