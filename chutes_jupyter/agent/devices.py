"""What lies in the memory of a GPU, brought to the machine's own: results outlive the GPU.

A worker's GPU is not there where the result is read, and a copy on a GPU of that machine would
take memory that nobody asked for. So a result comes back to the plain memory, as `.cpu()` gives it.
"""

from __future__ import annotations

import sys
from typing import Any

#: Torch's devices whose memory is the machine's own, or none at all.
_NOT_ELSEWHERE = ("cpu", "meta")


def brought(value: Any) -> Any:
    """Return a value in the machine's own memory: itself, if that is where it lies.

    A tensor stays a tensor, a parameter a parameter. Arrays of CuPy and JAX become NumPy's, also
    those of JAX that lie on a processor: the one who reads it need not have these libraries.

    Parameters
    ----------
    value : object
        Anything.
    """
    kind = type(value)
    library = str(kind.__module__).partition(".")[0]
    if library == "torch":
        return _tensor(sys.modules["torch"], value)
    if library == "cupy" and kind.__name__ == "ndarray":
        return value.get()
    if library == "jaxlib" and kind.__name__ == "ArrayImpl" and "numpy" in sys.modules:
        return sys.modules["numpy"].asarray(value)
    return value


def _tensor(torch: Any, value: Any) -> Any:
    kind = type(value)
    if kind is not torch.Tensor and kind is not torch.nn.Parameter:
        return value
    if value.device.type in _NOT_ELSEWHERE or not value.is_leaf or value.layout != torch.strided:
        return value
    plain = value.detach().cpu()
    if kind is torch.nn.Parameter:
        return torch.nn.Parameter(plain, requires_grad=value.requires_grad)
    return plain.requires_grad_(value.requires_grad)
