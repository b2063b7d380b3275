"""What a result holds on a GPU comes back in plain memory; tests/real_gpu.py has the real card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chutes_jupyter.agent.codec import CodecError, dumps, loads
from chutes_jupyter.agent.devices import brought


class _Card:
    """Stands in for an array of CuPy: no machine without a GPU can make one."""

    def get(self) -> np.ndarray:
        return np.arange(6.0).reshape(2, 3)


ARRAY = type("ndarray", (_Card,), {"__module__": "cupy"})()
#: The same for JAX, whose arrays NumPy asks for their numbers.
JAX: Any = type(
    "ArrayImpl",
    (),
    {"__module__": "jaxlib._jax", "__array__": lambda self, dtype=None, copy=None: np.arange(3)},
)()


@pytest.mark.parametrize(("value", "want"), [(ARRAY, ARRAY.get()), (JAX, np.arange(3))])
def test_arrays_of_a_gpu_come_back_as_numpy_s(value: Any, want: np.ndarray) -> None:
    back = loads(dumps({"a": [value, value]}, "result", figures=True))
    for each in back["a"]:
        assert type(each) is np.ndarray
        assert each.dtype == want.dtype
        assert (each == want).all()


def test_job_data_on_a_gpu_is_not_moved_silently() -> None:
    with pytest.raises(CodecError, match=r"x is of type cupy.ndarray, which can't travel"):
        dumps(ARRAY, "x")


def test_what_is_in_memory_is_left_as_it_is() -> None:
    parameter = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    for value in (1, "a", np.ones(2), torch.ones(2), parameter, torch.ones(2).to_sparse()):
        assert brought(value) is value


def test_what_has_no_numbers_at_all_is_refused_still() -> None:
    with pytest.raises(CodecError, match=r"result is a tensor on meta, which can't travel"):
        dumps(torch.ones(2, device="meta"), "result", figures=True)
