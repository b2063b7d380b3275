"""NumPy arrays and scalars for the codec: a description in plain values, and raw bytes.

NumPy is looked for only when it matters: a value can be an array only if NumPy was imported
already, and it is imported here only to build one.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any, List, Optional, Tuple

from .refusals import Buffer, CodecError, Place, malformed, name_of

#: The tags of `pack`.
TAGS = ("array", "scalar", "text", "raw")

#: From so many bytes on.
_KEPT = 1 << 20

_UNIT = r"\[[0-9]{0,10}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\]"
_LEAF = re.compile(r"[<>|][biufcSUV][0-9]{1,10}|[<>][mM]8(%s)?" % _UNIT)


def pack(value: Any, place: Place) -> Optional[Tuple[str, Any, Buffer]]:
    """Return the tag, description and bytes of an array or scalar; None for anything else.

    Parameters
    ----------
    value : object
        Anything.
    place : tuple
        Where it is, for errors.

    Raises
    ------
    CodecError
        If it is an array that has no bytes of its own, such as one of objects.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value).__module__ != "numpy":
        return None
    if type(value) is numpy.ndarray:
        description = (_describe(numpy, value.dtype, place), value.shape, _order(value))
        return "array", description, _raw(numpy, value)
    # Texts keep trailing zeros as scalars but not as elements, so they go by themselves.
    if type(value) is numpy.str_:
        return "text", None, value.encode("utf-8", "surrogatepass")
    if type(value) is numpy.bytes_:
        return "raw", None, bytes(value)
    if isinstance(value, numpy.generic) and type(value).__name__ != "record":
        return "scalar", _describe(numpy, value.dtype, place), value.tobytes()
    return None


def unpack(tag: str, description: Any, blob: memoryview) -> Any:
    """Return the array or scalar that `pack` took apart.

    Raises
    ------
    CodecError
        If NumPy is missing, or bytes and description don't fit. Other errors than this one
        may come from NumPy too: the caller translates them.
    """
    numpy = _import_numpy()
    if tag == "text":
        return numpy.str_(str(blob, "utf-8", "surrogatepass"))
    if tag == "raw":
        return numpy.bytes_(bytes(blob))
    if tag == "scalar":
        return _build(numpy, _dtype(numpy, description), (), "C", blob)[()]
    kind, shape, order = description
    return _build(numpy, _dtype(numpy, kind), shape, order, blob)


def may_lie_in(blob: memoryview) -> bool:
    """Whether an array may keep its numbers in the message that it came in.

    Only where that is the value's own; and small ones would keep all of it from being let go.
    """
    return not blob.readonly and blob.nbytes >= _KEPT


def _import_numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise CodecError(
            "the value holds a NumPy array, and NumPy is not installed in %s: install it there "
            "(pip install numpy)." % sys.executable
        ) from error


def _order(value: Any) -> str:
    return "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"


def _raw(numpy: Any, value: Any) -> Buffer:
    if not value.nbytes:
        return b""
    if not value.flags.forc:
        value = value.copy(order="C")
    # A view, so that a large array is copied only once, into the message.
    flat = value.reshape(-1, order="A").view(numpy.uint8)
    return memoryview(flat)


def _build(numpy: Any, dtype: Any, shape: Any, order: Any, blob: memoryview) -> Any:
    if type(shape) is not tuple or order not in ("C", "F"):
        raise malformed("an array of no shape")
    count = 1
    for size in shape:
        if type(size) is not int or size < 0:
            raise malformed("an array of no shape")
        count *= size
    # Before anything is allocated: an array is as large as what came, and no larger.
    if count * dtype.itemsize != blob.nbytes:
        raise malformed("an array of the wrong size")
    if not blob.nbytes:
        return numpy.ndarray(shape, dtype, order=order)
    if may_lie_in(blob):
        array = numpy.ndarray(shape, dtype, blob, order=order)
        if array.flags.aligned:
            return array
    array = numpy.empty(shape, dtype, order)
    flat = array.reshape(-1, order="A").view(numpy.uint8)
    flat[:] = numpy.frombuffer(blob, numpy.uint8)
    return array


# -- Element types -----------------------------------------------------------------------------


def _describe(numpy: Any, dtype: Any, place: Place) -> Any:
    if dtype.hasobject:
        raise CodecError(
            "%s is a NumPy array of objects, which can't travel: pass array.tolist(), or give it "
            "a dtype of numbers or text." % name_of(place)
        )
    try:
        description = _describe_any(numpy, dtype)
        if _dtype(numpy, description) == dtype:
            return description
    except (CodecError, TypeError, ValueError):
        pass  # said below, by name
    raise CodecError(
        "%s is a NumPy value of the dtype %s, which can't travel: pass array.astype(…) of a "
        "plain dtype." % (name_of(place), dtype)
    )


def _describe_any(numpy: Any, dtype: Any) -> Any:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return ("sub", _describe_any(numpy, base), shape)
    if dtype.names is None:
        if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
            return ("long", dtype.str, _long_bits(numpy))
        return dtype.str
    if dtype.type is not numpy.void:
        raise CodecError("a record array")
    fields: List[Any] = []
    for field in dtype.names:
        kind, offset = dtype.fields[field][:2]
        title = dtype.fields[field][2] if len(dtype.fields[field]) > 2 else None
        fields.append((field, _describe_any(numpy, kind), offset, title))
    return ("struct", fields, dtype.itemsize, bool(dtype.isalignedstruct))


def _long_bits(numpy: Any) -> int:
    # The same sixteen bytes mean different numbers on different processors.
    return int(numpy.finfo(numpy.longdouble).nmant)


def _dtype(numpy: Any, description: Any) -> Any:
    if type(description) is str:
        if not _LEAF.fullmatch(description):
            raise malformed("no dtype %.60r" % description)
        return numpy.dtype(description)
    if type(description) is not tuple or not description:
        raise malformed("no dtype")
    if description[0] == "long":
        _, text, bits = description
        if bits != _long_bits(numpy):
            raise CodecError(
                "the value holds a NumPy longdouble of another kind of processor: pass "
                "array.astype('f8')."
            )
        return _dtype(numpy, text)
    if description[0] == "sub":
        _, base, shape = description
        return numpy.dtype((_dtype(numpy, base), shape))
    return _struct_dtype(numpy, description)


def _struct_dtype(numpy: Any, description: Any) -> Any:
    tag, fields, itemsize, aligned = description
    if tag != "struct":
        raise malformed("no dtype")
    names, formats, offsets, titles = [], [], [], []
    for name, kind, offset, title in fields:
        names.append(name)
        formats.append(_dtype(numpy, kind))
        offsets.append(offset)
        titles.append(title)
    layout = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    if any(title is not None for title in titles):
        layout["titles"] = titles
    return numpy.dtype(layout, align=aligned)
