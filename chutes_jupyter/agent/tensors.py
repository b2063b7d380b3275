"""Tensors of torch for the codec: their numbers as they lie in memory, without pickle.

Where torch is not installed, a tensor comes as a NumPy array.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, List, Optional

from . import arrays
from .families import Packed, library
from .refusals import CodecError, Place, malformed, name_of

#: The element types, and NumPy's for those who have no torch; None where NumPy lacks one.
_DTYPES = {
    **{name: name for name in ("float64", "float32", "float16", "complex128", "complex64")},
    **{name: name for name in ("int64", "int32", "int16", "int8", "uint8", "bool")},
    **{name: name for name in ("uint64", "uint32", "uint16")},
    **dict.fromkeys(("bfloat16", "float8_e4m3fn", "float8_e5m2"), None),
    **dict.fromkeys(("float8_e4m3fnuz", "float8_e5m2fnuz"), None),
}
_KINDS = ("tensor.tensor", "tensor.parameter")


def pack(value: Any, place: Place) -> Optional[Packed]:
    """Return a tensor taken apart; None for another value.

    Raises
    ------
    CodecError
        If it is not an ordinary one in this machine's memory; it says what to do.
    """
    torch = sys.modules["torch"]
    if type(value) is torch.dtype or type(value) is torch.device or type(value) is torch.Size:
        raise CodecError(
            "%s is a torch.%s, which can't travel: pass str(…) or tuple(…) of it."
            % (name_of(place), type(value).__name__)
        )
    if type(value) is not torch.Tensor and type(value) is not torch.nn.Parameter:
        return None
    name = str(value.dtype).rpartition(".")[2]
    instead = _instead(torch, value, name)
    if instead:
        raise CodecError("%s is %s: pass %s." % (name_of(place), *instead))
    kind = _KINDS[type(value) is torch.nn.Parameter]
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    raw = memoryview(plain.reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b""
    parts = [(None, name), (None, tuple(value.shape)), (None, bool(value.requires_grad))]
    return Packed(kind, parts, [raw])


def _instead(torch: Any, value: Any, name: str) -> Any:
    """Return what is in a tensor's way, and what to pass; None for one that can travel."""
    if value.layout is not torch.strided:
        return "a sparse tensor, which can't travel", "tensor.to_dense()"
    if value.device.type != "cpu":
        return "a tensor on %s, which can't travel" % value.device, "tensor.cpu()"
    if value.requires_grad and not value.is_leaf:
        return "a tensor with the graph that it was computed by", "tensor.detach()"
    if name not in _DTYPES or sys.byteorder != "little":
        return "a tensor of the dtype %s, which can't travel" % name, "tensor.float()"
    return None


def unpack(tag: str, parts: List[Any], blobs: List[memoryview]) -> Any:
    """Return the tensor that `pack` took apart, or an array of its numbers where torch is missing.

    Raises
    ------
    CodecError
        If the numbers are not as many as they must be, or only torch has such.
    """
    name, shape, grad = parts
    if tag not in _KINDS or name not in _DTYPES or len(blobs) != 1 or type(grad) is not bool:
        raise malformed("a tensor of no dtype")
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise malformed("a tensor of no shape")
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return _array(name, shape, blobs[0])
    dtype = getattr(torch, name)
    count = 1
    for size in shape:
        count *= size
    # Not dtype.itemsize, which came with torch 2.1.
    if count * torch.empty(0, dtype=dtype).element_size() != blobs[0].nbytes:
        raise malformed("a tensor of the wrong size")
    if not count:
        tensor = torch.empty(shape, dtype=dtype)
    else:
        numbers = blobs[0] if arrays.may_lie_in(blobs[0]) else bytearray(blobs[0])
        raw = torch.frombuffer(numbers, dtype=torch.uint8)
        if name == "bool" and raw.max() > 1:
            raise malformed("a tensor of neither true nor false")
        tensor = raw.view(dtype).reshape(shape)
    if tag == "tensor.parameter":
        return torch.nn.Parameter(tensor, requires_grad=grad)
    return tensor.requires_grad_(grad)


def _array(name: str, shape: Any, blob: memoryview) -> Any:
    numpy = library("numpy", "a torch tensor")
    if _DTYPES[name] is None:
        raise CodecError(
            "the value holds a torch tensor of the dtype %s, which only torch has: install it in "
            "%s (pip install torch), or let the function return tensor.float()."
            % (name, sys.executable)
        )
    dtype = numpy.dtype(_DTYPES[name]).newbyteorder("<").str
    return arrays.unpack("array", (dtype, shape, "C"), blob)
