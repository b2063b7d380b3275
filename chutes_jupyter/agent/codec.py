"""Values to bytes and back, without pickle: job data outward, results homeward.

What comes back is what went in, to the type; what can't is refused by its place in the value.
Reading runs no code that the bytes name, and whatever the bytes are, it fails with `CodecError`
alone: a worker may belong to a stranger.

Layout, integers big-endian: `MAGIC`, the length of the header (u64), the number of blobs (u32),
the length of each blob (u64), the header, the blobs. Large blobs begin at multiples of `ALIGNED`
bytes, so that arrays may lie in a file that is mapped. The header is JSON. There ``null``,
booleans, numbers and strings are themselves, an object is a dict whose keys are all strings,
and an array is ``[tag, …]``: everything else. Raw bytes lie in the blobs, each used once and in
the order of the header, so that no short message can unfold into a huge value.

What a type is made of stands in modules of their own: `arrays`, `records`, `classes` for a
person's own, and `families` for what libraries bring.
"""

from __future__ import annotations

import json
import re
import struct
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple, Union

from . import arrays, containers, devices, wire
from .refusals import ELEMENT, KEY, Buffer, CodecError, Place, Words, malformed, name_of, refusal

if TYPE_CHECKING:
    from .classes import Resolver
    from .families import Packed

__all__ = ["MAX_DEPTH", "CodecError", "dumps", "encode", "loads"]

#: The last byte is the version of the format.
MAGIC = b"\x93chutes\x02"
#: Where blobs of at least `_LARGE` bytes begin: at a multiple of this.
ALIGNED, _LARGE = 64, 4096
#: How large a header may be: its values take many times as much memory.
_LARGEST_HEADER = 1 << 32
#: How deep lists, dicts and the like may lie within each other.
MAX_DEPTH = 200

_SIZES = struct.Struct("!QI")
_DOUBLE = struct.Struct("!d")
_SMALL = 1 << 63
#: Numbers in the header have 19 digits at the most; reading a huge one takes quadratic time.
_HUGE_NUMBER = re.compile(rb"[0-9]{400}")


def dumps(
    value: object,
    name: str = "value",
    *,
    figures: bool = False,
    classes: Optional[List[type]] = None,
) -> bytes:
    """Return the bytes of a value.

    Parameters
    ----------
    value : object
        None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set,
        frozenset, range, deque, Counter, OrderedDict, defaultdict, dates and times, paths,
        Decimal, Fraction, UUID; NumPy arrays and scalars; frames, series and tables of pandas,
        polars and Arrow; PIL images; torch tensors; members of enums, dataclasses, named tuples
        and pydantic models; and these within each other. Of exactly these types: a subclass
        would come back as something else.
    name : str
        What errors call the value. With ``""`` they begin at the keys of the outermost dict
        (``job_data["cfg"]`` for ``{"job_data": {"cfg": …}}``).
    figures : bool
        Whether a matplotlib figure may become a picture of itself, and what lies on a GPU a copy
        in the machine's memory: at the end of its way.
    classes : list of types, optional
        Gets the classes of a person's own whose instances are in the value, which the other
        side must have. Without it such an instance is refused.

    Raises
    ------
    CodecError
        If something in the value can't travel; the message says where it is, what it is and
        what to do.
    """
    try:
        return b"".join(encode(value, name, figures=figures, classes=classes))
    except MemoryError as error:
        raise _no_memory(name) from error


def encode(
    value: object,
    name: str = "value",
    *,
    figures: bool = False,
    classes: Optional[List[type]] = None,
) -> List[Buffer]:
    """Return the bytes of a value in pieces, which are parts of the value where they can be.

    The parameters and errors are those of `dumps`.
    """
    writer = _Writer(figures, classes)
    place = (None, Words(name))
    try:
        node = writer.node(value, place)
        header = json.dumps(
            node, ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
        ).encode("utf-8")
    except RecursionError as error:
        raise CodecError("%s is nested too deeply: flatten it." % (name or "value")) from error
    except MemoryError as error:
        raise _no_memory(name) from error
    sizes = [memoryview(blob).nbytes for blob in writer.blobs]
    table = struct.pack("!%dQ" % len(sizes), *sizes)
    pieces: List[Buffer] = [MAGIC + _SIZES.pack(len(header), len(sizes)) + table, header]
    end = len(pieces[0]) + len(header)
    for blob, size in zip(writer.blobs, sizes):
        begin = _begin(end, size)
        if begin > end:
            pieces.append(bytes(begin - end))
        pieces.append(blob)
        end = begin + size
    return pieces


def _begin(end: int, size: int) -> int:
    """Return where a blob of that size begins when what is before it ends at `end`."""
    return end if size < _LARGE else -(-end // ALIGNED) * ALIGNED


def _no_memory(name: str) -> CodecError:
    return CodecError(
        "%s is too large for this machine's memory: write it to a file." % (name or "value")
    )


def loads(data: Buffer, *, classes: Optional[Resolver] = None, keep: bool = False) -> Any:
    """Return the value whose bytes these are.

    Parameters
    ----------
    data : bytes-like
        What `dumps` wrote, or a stranger.
    classes : callable, optional
        Given a module and a qualified name, returns the class of that name that the value may
        have instances of, or None. Without it there are none.
    keep : bool
        Whether large arrays of the value may lie in `data` rather than in memory of their own:
        for what can be written to, and nobody else has.

    Raises
    ------
    CodecError
        If the bytes are not such a value, or hold one that can't be built here (a NumPy array
        where NumPy is missing, an instance of a class that isn't here).
    """
    try:
        view = memoryview(data).cast("B")
        header, blobs = _split(view if keep else view.toreadonly())
        reader = _Reader(blobs, classes)
        value = reader.value(_parse(header), 0)
        reader.finish()
        return value
    except CodecError:
        raise
    except Exception as error:  # whatever a stranger's bytes make NumPy raise
        raise malformed("%s: %.200s" % (type(error).__name__, error)) from error


def _split(data: memoryview) -> Tuple[bytes, List[memoryview]]:
    start = len(MAGIC)
    if data.nbytes < start + _SIZES.size or data[: start - 1] != MAGIC[:-1]:
        raise malformed("they don't begin like one")
    if data[start - 1] != MAGIC[-1]:
        raise CodecError(
            "this value is of format %d, and %d is what this version reads: "
            "use the same chutes_jupyter on both sides." % (data[start - 1], MAGIC[-1])
        )
    head, count = _SIZES.unpack_from(data, start)
    start += _SIZES.size
    if count * 8 + head > data.nbytes - start or head > _LARGEST_HEADER:
        raise malformed("they are cut short")
    sizes = struct.unpack_from("!%dQ" % count, data, start)
    start += count * 8
    header = bytes(data[start : start + head])
    start += head
    blobs = []
    for size in sizes:
        start = _begin(start, size)
        if size > data.nbytes - start:
            raise malformed("their lengths don't add up")
        blobs.append(data[start : start + size])
        start += size
    if start != data.nbytes:
        raise malformed("their lengths don't add up")
    return header, blobs


def _parse(header: bytes) -> Any:
    # Where someone raised the limit, the parser would overflow the C stack instead of raising.
    if sys.getrecursionlimit() > 2000 and wire.depth(header) > MAX_DEPTH + 10:
        raise malformed("nested too deeply")
    if _HUGE_NUMBER.search(header):
        return json.loads(header.decode("utf-8"), parse_int=_short_int, parse_constant=_no_number)
    return json.loads(header.decode("utf-8"), parse_constant=_no_number)


def _short_int(digits: str) -> int:
    if len(digits) > 20:
        raise malformed("a number is too long")
    return int(digits)


def _no_number(text: str) -> float:
    raise malformed("%s is no JSON" % text)


_PLAIN = (*containers.MAPPINGS, *containers.SEQUENCES, int, float, str, bytes, bytearray)
#: All that can be wrong inside of a date, path or number: a time zone of someone's own.
_PART = Words(" (its time zone)")
_METADATA = Words("._metadata")


# -- Writing -----------------------------------------------------------------------------------


class _Writer:
    def __init__(self, figures: bool, classes: Optional[List[type]]) -> None:
        self.blobs: List[Buffer] = []
        self._around: List[int] = []
        self._figures = figures
        self._classes = classes

    def node(self, value: Any, place: Place) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if -_SMALL <= value < _SMALL else self._big(value)
        if kind is float:
            # Not so for nan and the infinities, which JSON lacks.
            return value if value - value == 0 else ["float", _DOUBLE.pack(value).hex()]
        if kind is str:
            return value if _plain(value) else self._blob("str", _utf8(value))
        if kind is bytes or kind is bytearray:
            return self._blob(kind.__name__, value)
        if kind in containers.MAPPINGS or kind in containers.SEQUENCES:
            self._enter(value, place)
            node = (self._items if kind in containers.SEQUENCES else self._mapping)(value, place)
            self._around.pop()
            return node
        return self._other(value, place)

    def _other(self, value: Any, place: Place) -> Any:
        if self._figures:
            value = devices.brought(value)
        packed = arrays.pack(value, place)
        if packed is not None:
            tag, description, blob = packed
            node = [tag, self.node(description, place)]
            self.blobs.append(blob)
            return node
        # Late: dates, paths and exact numbers together would be half of this program's start.
        from . import classes, families, records

        kind = type(value)
        record = records.record_for(kind)
        if record is not None:
            parts = records.pack(record, value, place)
            return [record.tag] + [self.node(part, (place, _PART)) for part in parts]
        if self._classes is not None:
            own = classes.pack(value, place)
            if own is not None:
                if kind not in self._classes:
                    self._classes.append(kind)
                return self._packed(own, value, place)
        theirs = families.pack(value, place, self._figures)
        if theirs is not None:
            return self._packed(theirs, value, place)
        raise refusal(value, place, (*_PLAIN, *records.RECORDS))

    def _packed(self, packed: Packed, value: Any, place: Place) -> List[Any]:
        self._enter(value, place)
        node: List[Any] = [packed.tag, len(packed.blobs)]
        for step, part in packed.parts:
            node.append(self.node(part, place if step is None else (place, step)))
        self.blobs += packed.blobs
        self._around.pop()
        return node

    def _blob(self, tag: str, blob: Buffer) -> List[str]:
        self.blobs.append(blob)
        return [tag]

    def _big(self, value: int) -> List[str]:
        size = value.bit_length() // 8 + 1
        return self._blob("int", value.to_bytes(size, "big", signed=True))

    def _enter(self, value: Any, place: Place) -> None:
        if id(value) in self._around:
            raise CodecError(
                "%s is a %s that contains itself: it can't travel. Take the cycle out."
                % (name_of(place), type(value).__name__)
            )
        if len(self._around) >= MAX_DEPTH:
            raise CodecError(
                "%s is nested deeper than %d levels: flatten it." % (name_of(place), MAX_DEPTH)
            )
        self._around.append(id(value))

    def _items(self, value: Any, place: Place) -> List[Any]:
        tag = containers.SEQUENCES[type(value)]
        node = self.node
        items: List[Any] = [tag]
        if tag == "deque":
            items.append(value.maxlen)
        if tag in ("set", "frozenset"):
            items += [node(item, (place, ELEMENT)) for item in value]
        else:
            items += [node(item, (place, index)) for index, item in enumerate(value)]
        return items

    def _mapping(self, value: Any, place: Place) -> Any:
        tag = containers.MAPPINGS[type(value)]
        items = list(value.items())
        if tag == "dict" and all(type(key) is str and _plain(key) for key, _ in items):
            return {key: self.node(item, (place, key)) for key, item in items}
        node: List[Any] = [tag]
        if tag == "default":
            node.append(containers.factory(value, place))
        if tag == "ordered":
            # Where torch keeps the versions of a state dict's modules.
            node.append(self.node(getattr(value, "_metadata", None), (place, _METADATA)))
        for key, item in items:
            node.append(self.node(key, (place, KEY)))
            node.append(self.node(item, (place, key)))
        return node


def _plain(text: str) -> bool:
    """Whether JSON as UTF-8 keeps the string: it does unless there are lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# -- Reading -----------------------------------------------------------------------------------


class _Reader:
    def __init__(self, blobs: List[memoryview], classes: Optional[Resolver]) -> None:
        self._blobs = iter(blobs)
        self._classes = classes

    def finish(self) -> None:
        if next(self._blobs, None) is not None:
            raise malformed("a blob is left over")

    def value(self, node: Any, depth: int) -> Any:
        kind = type(node)
        if kind is not dict:
            return self._tagged(node, depth) if kind is list else node
        self._limit(depth)
        return {key: self.value(item, depth + 1) for key, item in node.items()}

    def _limit(self, depth: int) -> None:
        # Records add a level or two inside the innermost container.
        if depth > MAX_DEPTH + 8:
            raise malformed("nested too deeply")

    def _tagged(self, node: List[Any], depth: int) -> Any:
        self._limit(depth)
        tag = node[0]
        if type(tag) is not str:
            raise malformed("a tag is missing")
        if tag in _RAW and len(node) == 1:
            return _RAW[tag](self._next())
        if tag == "float" and len(node) == 2:
            return _DOUBLE.unpack(bytes.fromhex(node[1]))[0]
        value = self.value
        items = [value(item, depth + 1) for item in node[1:]]
        if tag in containers.MAKERS:
            return containers.MAKERS[tag](items)
        if tag in arrays.TAGS and len(items) == 1:
            return arrays.unpack(tag, items[0], self._next())
        if "." in tag:
            return self._packed(tag, items)
        from . import records

        if tag in records.BY_TAG:
            return records.unpack(records.BY_TAG[tag], items)
        raise malformed("unknown tag %.40r" % tag)

    def _packed(self, tag: str, items: List[Any]) -> Any:
        if not items or type(items[0]) is not int or items[0] < 0:
            raise malformed("a value of no parts")
        blobs = [self._next() for _ in range(items[0])]
        from . import classes, families

        if tag.startswith("class."):
            return classes.unpack(tag, items[1:], self._classes)
        return families.unpack(tag, items[1:], blobs)

    def _next(self) -> memoryview:
        blob = next(self._blobs, None)
        if blob is None:
            raise malformed("a blob is missing")
        return blob


_RAW: Dict[str, Callable[[memoryview], Union[str, int, bytes, bytearray]]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "str": lambda blob: str(blob, "utf-8", "surrogatepass"),
    "int": lambda blob: int.from_bytes(blob, "big", signed=True),
}
