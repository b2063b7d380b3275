"""Arrow arrays and tables for the codec: a description of the type, and the buffers as they lie.

Arrow's own files are not used: reading one runs what its extension types name, and unfolds
what is compressed in it. Here a buffer is as large as what came, the types are a list of ours,
and Arrow's full validation has passed before anybody sees an array.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Optional, Tuple

from .arrays import may_lie_in
from .families import Packed, library
from .refusals import Buffer, CodecError, Place, malformed, name_of

#: Types that are told by their names, and how pyarrow calls them.
_SIMPLE: Dict[str, str] = {
    **{name: name for name in ("null", "int8", "int16", "int32", "int64", "date32", "date64")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64", "string", "binary")},
    **{name: name for name in ("large_string", "large_binary", "float32", "float64", "float16")},
    "bool": "bool_",
    "month_day_nano_interval": "month_day_nano_interval",
}
#: Types with arguments, by their class: the tag, and what they are made from.
_MADE: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "TimestampType": ("timestamp", ("unit", "tz")),
    "Time32Type": ("time32", ("unit",)),
    "Time64Type": ("time64", ("unit",)),
    "DurationType": ("duration", ("unit",)),
    "FixedSizeBinaryType": ("fixed_size_binary", ("byte_width",)),
    "Decimal32Type": ("decimal32", ("precision", "scale")),
    "Decimal64Type": ("decimal64", ("precision", "scale")),
    "Decimal128Type": ("decimal128", ("precision", "scale")),
    "Decimal256Type": ("decimal256", ("precision", "scale")),
}
_ARGUMENTS = (int, str, type(None))
#: How wide the offsets of a type are, in bytes.
_OFFSETS = {"string": 4, "binary": 4, "large_string": 8, "large_binary": 8}
_OFFSETS_OF_LISTS = {"list": 4, "map": 4, "large_list": 8}
_NESTED = ("list", "large_list", "fixed_size_list", "map", "struct")
_LONGEST = 1 << 62


class _Unknown(Exception):
    """An Arrow type that can't travel."""


def pack(value: Any, place: Place) -> Optional[Packed]:
    """Return a table, record batch, array or chunked array taken apart; None for another value.

    Raises
    ------
    CodecError
        If it is of a type that can't travel; it names the column.
    """
    pa = sys.modules["pyarrow"]
    kind = type(value)
    writer = _Writer(pa)
    if kind is pa.Table or kind is pa.RecordBatch:
        if value.num_rows and not value.num_columns:
            return None
        columns = []
        for name, column in zip(value.schema.names, value.columns):
            columns.append(writer.column(column, (place, name)))
        fields = [_describe_field(field) for field in value.schema]
        tag = "arrow.table" if kind is pa.Table else "arrow.batch"
        metadata = _metadata(value.schema)
        return Packed(tag, [(None, fields), (None, metadata), (None, columns)], writer.blobs)
    if kind is pa.ChunkedArray or isinstance(value, pa.Array):
        tag = "arrow.chunks" if kind is pa.ChunkedArray else "arrow.array"
        chunks = writer.column(value, place)
        return Packed(tag, [(None, _describe(value.type)), (None, chunks)], writer.blobs)
    if isinstance(value, pa.Scalar):
        raise CodecError(
            "%s is an Arrow scalar, which can't travel: pass scalar.as_py()." % name_of(place)
        )
    return None


def unpack(tag: str, parts: List[Any], blobs: List[memoryview]) -> Any:
    """Return what `pack` took apart.

    Raises
    ------
    CodecError
        If pyarrow is missing, or parts and buffers don't fit.
    """
    pa = library("pyarrow", "an Arrow table or a polars frame")
    reader = _Reader(pa, blobs)
    if tag in ("arrow.table", "arrow.batch"):
        fields, metadata, columns = parts
        schema = pa.schema([_field(pa, field) for field in fields], metadata)
        if len(columns) != len(schema):
            raise malformed("a table of other columns")
        made = [reader.column(field.type, chunks) for field, chunks in zip(schema, columns)]
        if tag == "arrow.batch":
            if any(column.num_chunks != 1 for column in made):
                raise malformed("a batch in pieces")
            value = pa.RecordBatch.from_arrays([column.chunk(0) for column in made], schema=schema)
        else:
            value = pa.Table.from_arrays(made, schema=schema)
        value.validate(full=True)
    elif tag in ("arrow.array", "arrow.chunks"):
        value = reader.column(_type(pa, parts[0]), parts[1])
        if tag == "arrow.array":
            if value.num_chunks != 1:
                raise malformed("an array in pieces")
            value = value.chunk(0)
    else:
        raise malformed("unknown tag %.40r" % tag)
    reader.finish()
    return value


# -- Types -------------------------------------------------------------------------------------


def _describe(kind: Any) -> Any:
    """Return a type in plain values."""
    title = type(kind).__name__
    if title in _MADE:
        tag, names = _MADE[title]
        return (tag, *(getattr(kind, name) for name in names))
    if title in ("ListType", "LargeListType"):
        tag = "list" if title == "ListType" else "large_list"
        return (tag, _describe_field(kind.value_field))
    if title == "FixedSizeListType":
        return ("fixed_size_list", _describe_field(kind.value_field), kind.list_size)
    if title == "MapType":
        parts = (_describe_field(kind.key_field), _describe_field(kind.item_field))
        return ("map", *parts, kind.keys_sorted)
    if title == "StructType":
        return ("struct", [_describe_field(kind.field(i)) for i in range(kind.num_fields)])
    if title == "DictionaryType":
        parts = (_describe(kind.index_type), _describe(kind.value_type))
        return ("dictionary", *parts, kind.ordered)
    if title == "DataType":
        pa = sys.modules["pyarrow"]
        for tag, name in _SIMPLE.items():
            if kind == getattr(pa, name)():
                return (tag,)
    raise _Unknown(str(kind))


def _describe_field(field: Any) -> Any:
    return (field.name, _describe(field.type), field.nullable, _metadata(field))


def _metadata(thing: Any) -> Optional[Dict[bytes, bytes]]:
    return None if thing.metadata is None else dict(thing.metadata)


def _field(pa: Any, description: Any) -> Any:
    name, kind, nullable, metadata = description
    return pa.field(name, _type(pa, kind), bool(nullable), metadata)


def _type(pa: Any, description: Any) -> Any:
    tag, *rest = description
    if tag in _SIMPLE and not rest:
        return getattr(pa, _SIMPLE[tag])()
    if tag in ("list", "large_list"):
        return (pa.list_ if tag == "list" else pa.large_list)(_field(pa, *rest))
    if tag == "fixed_size_list":
        field, size = rest
        if type(size) is not int or not 0 <= size < 1 << 31:
            raise malformed("a list of no size")
        return pa.list_(_field(pa, field), size)
    if tag == "map":
        key, item, keys_sorted = rest
        return pa.map_(_field(pa, key), _field(pa, item), bool(keys_sorted))
    if tag == "struct":
        return pa.struct([_field(pa, field) for field in rest[0]])
    if tag == "dictionary":
        index, value, ordered = rest
        return pa.dictionary(_type(pa, index), _type(pa, value), bool(ordered))
    return _made(pa, tag, rest)


def _made(pa: Any, tag: Any, rest: List[Any]) -> Any:
    for name, arguments in _MADE.values():
        if name == tag and len(arguments) == len(rest):
            if not all(type(argument) in _ARGUMENTS for argument in rest):
                break
            return getattr(pa, "binary" if name == "fixed_size_binary" else name)(*rest)
    raise malformed("no Arrow type")


# -- Buffers -----------------------------------------------------------------------------------


class _Writer:
    def __init__(self, pa: Any) -> None:
        self._pa = pa
        self.blobs: List[Buffer] = []

    def column(self, column: Any, place: Place) -> List[Any]:
        """Return the chunks of a column, or an array as one chunk."""
        try:
            description = _describe(column.type)
            if _type(self._pa, description) != column.type:
                raise _Unknown(str(column.type))
        except (_Unknown, CodecError, TypeError, ValueError) as error:
            raise CodecError(
                "%s is of the Arrow type %s, which can't travel: cast it to a plain one."
                % (name_of(place), column.type)
            ) from error
        chunks = column.chunks if isinstance(column, self._pa.ChunkedArray) else [column]
        return [self._array(self._plain(chunk), description) for chunk in chunks]

    def _plain(self, array: Any) -> Any:
        """Return an array that begins where its buffers do, and holds only what is its own."""
        if array.offset == 0 and array.type.num_fields == 0:
            room = sum(buffer.size for buffer in array.buffers() if buffer is not None)
            if not self._pa.types.is_dictionary(array.type) and room <= array.nbytes + 256:
                return array
        # Arrow's own writer knows best what belongs to a slice.
        sink = self._pa.BufferOutputStream()
        batch = self._pa.record_batch([array], names=["a"])
        with self._pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        with self._pa.ipc.open_stream(sink.getvalue()) as stream:
            return stream.read_next_batch().column(0)

    def _array(self, array: Any, description: Any) -> Any:
        """Return an array's length, which of its buffers there are, and what is inside of it."""
        tag = description[0]
        if tag == "dictionary":
            indices = self._array(array.indices, description[1])
            return (len(array), indices, self._array(self._plain(array.dictionary), description[2]))
        present = []
        for buffer in array.buffers()[: array.type.num_buffers]:
            present.append(buffer is not None)
            if buffer is not None:
                self.blobs.append(memoryview(buffer))
        children = _children(array, description)
        return (len(array), present, [self._array(*child) for child in children])


def _children(array: Any, description: Any) -> List[Tuple[Any, Any]]:
    tag = description[0]
    if tag == "struct":
        return [(array.field(i), field[1]) for i, field in enumerate(description[1])]
    if tag == "map":
        entries = ("struct", [description[1], description[2]])
        return [(_entries(array), entries)]
    return [(array.values, description[1][1])] if tag in _NESTED else []


def _entries(array: Any) -> Any:
    """Return the pairs of a map array, as the struct array that they are."""
    pa = sys.modules["pyarrow"]
    fields = [array.type.key_field, array.type.item_field]
    return pa.StructArray.from_arrays([array.keys, array.items], fields=fields)


class _Reader:
    def __init__(self, pa: Any, blobs: List[memoryview]) -> None:
        self._pa = pa
        self._blobs = iter(blobs)

    def finish(self) -> None:
        if next(self._blobs, None) is not None:
            raise malformed("a buffer is left over")

    def column(self, kind: Any, chunks: List[Any]) -> Any:
        """Return a chunked array, of which every part has been validated."""
        description = _describe(kind)
        made = [self._array(kind, description, chunk) for chunk in chunks]
        for array in made:
            array.validate(full=True)
        return self._pa.chunked_array(made, type=kind)

    def _array(self, kind: Any, description: Any, node: Any) -> Any:
        length, present, children = node
        if type(length) is not int or not 0 <= length < _LONGEST:
            raise malformed("an array of no length")
        if description[0] == "dictionary":
            return self._dictionary(kind, description, present, children)
        if type(present) is not list or len(present) != kind.num_buffers:
            raise malformed("an array of other buffers")
        buffers = [self._buffer() if there else None for there in present]
        self._check_sizes(kind, description[0], length, buffers)
        inner = _inner_types(self._pa, kind, description)
        if len(inner) != len(children):
            raise malformed("an array of other parts")
        made = [self._array(*pair, child) for pair, child in zip(inner, children)]
        if description[0] == "map":
            # The struct inside has no type of its own in a map.
            made[0].validate(full=True)
        if not made:
            return self._pa.Array.from_buffers(kind, length, buffers)
        return self._pa.Array.from_buffers(kind, length, buffers, children=made)

    def _dictionary(self, kind: Any, description: Any, indices: Any, words: Any) -> Any:
        made = self._array(kind.index_type, description[1], indices)
        values = self._array(kind.value_type, description[2], words)
        made.validate(full=True)
        values.validate(full=True)
        array = self._pa.DictionaryArray
        return array.from_arrays(made, values, ordered=kind.ordered, safe=True)

    def _buffer(self) -> Any:
        blob = next(self._blobs, None)
        if blob is None:
            raise malformed("a buffer is missing")
        if may_lie_in(blob):
            return self._pa.py_buffer(blob)
        # A copy, since Arrow wants its buffers aligned; and the message may go then.
        buffer = self._pa.allocate_buffer(blob.nbytes)
        memoryview(buffer).cast("B")[:] = blob
        return buffer

    def _check_sizes(self, kind: Any, tag: str, length: int, buffers: List[Any]) -> None:
        """Refuse buffers that end before the array does, ahead of anyone who looks into them."""
        sizes = [0 if buffer is None else buffer.size for buffer in buffers]
        fits = not buffers or buffers[0] is None or sizes[0] * 8 >= length
        width = _OFFSETS.get(tag) or _OFFSETS_OF_LISTS.get(tag)
        if width is not None:
            fits = fits and (not length or sizes[1] >= (length + 1) * width)
        elif tag not in _NESTED and tag != "null":
            fits = fits and sizes[1] * 8 >= length * kind.bit_width
        if not fits:
            raise malformed("an array past its buffers")


def _inner_types(pa: Any, kind: Any, description: Any) -> List[Tuple[Any, Any]]:
    tag = description[0]
    if tag == "struct":
        fields = [kind.field(i).type for i in range(kind.num_fields)]
        return [(inner, field[1]) for inner, field in zip(fields, description[1])]
    if tag == "map":
        entries = pa.struct([kind.key_field, kind.item_field])
        return [(entries, ("struct", [description[1], description[2]]))]
    return [(kind.value_type, description[1][1])] if tag in _NESTED else []
