"""Large arrays may lie in the message that they came in, where that is the value's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chutes_jupyter.agent import codec
from chutes_jupyter.agent.arrays import _KEPT
from tests.agent.coded import opened

COUNT = _KEPT // 8
LARGE: dict[str, Any] = {
    "array": np.arange(COUNT),
    "columns first": np.asfortranarray(np.arange(2.0 * COUNT).reshape(2, -1)),
    "dates": np.arange(COUNT).astype("M8[s]"),
    "table": pa.table({"x": np.arange(COUNT)}),
    "frame": pd.DataFrame({"x": np.arange(COUNT), "y": np.arange(COUNT) / 7}),
    "tensor": torch.arange(COUNT),
    "low precision": torch.ones(_KEPT, dtype=torch.bfloat16),
}


def numbers(value: Any) -> Any:
    """Return where the numbers of a value lie, as an array."""
    if isinstance(value, pa.Table):
        return value["x"].chunk(0).to_numpy()
    if isinstance(value, pd.DataFrame):
        return value["x"].to_numpy()
    if isinstance(value, torch.Tensor):
        return value.view(torch.uint8).numpy()
    return value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, pa.Table | pd.DataFrame):
        return bool(one.equals(other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return np.array_equal(one, other) and one.dtype == other.dtype


@pytest.mark.parametrize("name", LARGE)
def test_it_lies_there_and_is_what_it_was(name: str) -> None:
    # Whatever is before it, it begins where an array may lie.
    data = bytearray(codec.dumps(["x" * len(name), b"yy", LARGE[name]]))
    around = np.frombuffer(data, np.uint8)
    copied = codec.loads(data)[2]
    kept = codec.loads(data, keep=True)[2]
    assert same(LARGE[name], kept)
    assert same(LARGE[name], copied)
    assert np.shares_memory(numbers(kept), around)
    assert not np.shares_memory(numbers(copied), around)
    assert numbers(kept).ctypes.data % 8 == 0


def test_small_ones_and_those_of_others_do_not() -> None:
    data = bytearray(codec.dumps(np.arange(100)))
    assert codec.loads(data, keep=True).flags.owndata
    assert codec.loads(codec.dumps(np.arange(COUNT)), keep=True).flags.owndata  # bytes


@given(st.lists(st.integers(0, 9000), max_size=6))
def test_large_blobs_are_aligned_and_small_ones_not_padded(sizes: list[int]) -> None:
    value = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    data = codec.dumps(value)
    assert b"".join(codec.encode(value)) == data
    assert codec.loads(data) == value
    assert [len(blob) for blob in opened(data)[1]] == sizes
    large = [blob for blob in value if len(blob) >= 4096]
    assert all(data.index(blob) % codec.ALIGNED == 0 for blob in large)
    header = len(data) - sum(sizes)
    assert header < 200 + 10 * len(sizes) + codec.ALIGNED * len(large)


def test_what_is_between_blobs_does_not_hide_that_they_end_early() -> None:
    data = codec.dumps([b"x" * 5000, b"y" * 5000])
    for cut in (data[:-1], data + b"\0", data[:-5001]):
        with pytest.raises(codec.CodecError, match="lengths don't add up"):
            codec.loads(cut)
