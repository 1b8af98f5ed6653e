"""Codecs made from kio's schemas, for the APIs that are not worth code of their own.

kio generates its classes from Kafka's own message definitions: they say which field a version has,
in which order, of which type, with which tag. From them closures are put together, once per API and
version, that read with `wire.Reader` straight into our messages and write with `wire.Writer` from
them. kio's own parser is not used on requests because it refuses unknown tagged fields, which the
protocol says to skip (KIP-482); it is the oracle of the tests.

kio calls a time `timeout` where Kafka and we say `timeout_ms`; all else is matched by name. A field
that our message lacks is read and dropped, or written as its default.

`request_encoder` and `response_decoder` are the client's side, for every API in the table: the
simulator's clients and the tests speak through them.

Importing this module imports kio, which takes a good part of a second (`codec.preload`).
Does not: know headers or which versions are accepted (`codec`).
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, get_args, get_origin, get_type_hints

from kio.index import load_request_schema, load_response_schema

from trimaran.errors import ProtocolError
from trimaran.protocol import messages
from trimaran.protocol.api import APIS
from trimaran.protocol.wire import Reader, Writer

Message: TypeAlias = Any
Read: TypeAlias = Callable[[Reader], Any]
Write: TypeAlias = Callable[[Writer, Any], None]

_TIMES: Final = ("timedelta_i32", "timedelta_i64", "datetime_i64")


def _read_bytes(reader: Reader) -> bytes:
    """Return bytes that must not be null, copied: who gets them keeps them."""
    value = reader.nullable_bytes()
    if value is None:
        raise ProtocolError(f"null bytes at byte {reader.position}")
    return bytes(value)


def _write_bytes(writer: Writer, value: bytes) -> None:
    writer.count(len(value))
    writer.buffer += value


_READ: Final[dict[str, Read]] = {
    "int8": Reader.int8,
    "int16": Reader.int16,
    "uint16": Reader.uint16,
    "int32": Reader.int32,
    "int64": Reader.int64,
    "bool": Reader.boolean,
    "uuid": Reader.uuid,
    "error_code": Reader.int16,
    "timedelta_i32": Reader.int32,
    "timedelta_i64": Reader.int64,
    "datetime_i64": Reader.int64,
    "string": Reader.string,
    "bytes": _read_bytes,
}

_WRITE: Final[dict[str, Write]] = {
    "int8": Writer.int8,
    "int16": Writer.int16,
    "uint16": Writer.uint16,
    "int32": Writer.int32,
    "int64": Writer.int64,
    "bool": Writer.boolean,
    "uuid": Writer.uuid,
    "error_code": Writer.int16,
    "timedelta_i32": Writer.int32,
    "timedelta_i64": Writer.int64,
    "datetime_i64": Writer.int64,
    "string": Writer.string,
    "bytes": _write_bytes,
}


def codec_of(
    api_key: int,
) -> tuple[Callable[[Reader, int], Message], Callable[[Writer, int, Message], None]]:
    """Return what decodes an API's request bodies and encodes its response bodies."""

    def decode(reader: Reader, version: int) -> Message:
        return request_decoder(api_key, version)(reader)

    def encode(writer: Writer, version: int, message: Message) -> None:
        response_encoder(api_key, version)(writer, message)

    return decode, encode


@cache
def request_decoder(api_key: int, version: int) -> Read:
    """Return what reads a request's body."""
    return _struct_reader(load_request_schema(api_key, version), _message(api_key, "Request"))


@cache
def request_encoder(api_key: int, version: int) -> Write:
    """Return what writes a request's body."""
    return _struct_writer(load_request_schema(api_key, version), _message(api_key, "Request"))


@cache
def response_decoder(api_key: int, version: int) -> Read:
    """Return what reads a response's body."""
    return _struct_reader(load_response_schema(api_key, version), _message(api_key, "Response"))


@cache
def response_encoder(api_key: int, version: int) -> Write:
    """Return what writes a response's body."""
    return _struct_writer(load_response_schema(api_key, version), _message(api_key, "Response"))


def _message(api_key: int, kind: str) -> type:
    message: type = getattr(messages, APIS[api_key].name + kind)
    return message


def _struct_reader(schema: Any, message: type | None) -> Read:  # noqa: ANN401
    """Return what reads one struct into a `message`; into nothing if that is None."""
    hints = {} if message is None else get_type_hints(message)
    plain: list[tuple[str | None, Read]] = []
    tagged: dict[int, tuple[str | None, Read]] = {}
    for field in fields(schema):
        name = our_name(field, hints)
        named = (name, _field_reader(field, hints.get(name or "")))
        tag = field.metadata.get("tag")
        if tag is None:
            plain.append(named)
        else:
            tagged[tag] = named

    def read(reader: Reader) -> Message:
        values: dict[str, Any] = {}
        for name, read_field in plain:
            value = read_field(reader)
            if name is not None:
                values[name] = value
        if tagged:
            _read_tagged(reader, tagged, values)
        else:
            reader.end_struct()
        return None if message is None else message(**values)

    return read


def _read_tagged(
    reader: Reader, tagged: dict[int, tuple[str | None, Read]], values: dict[str, Any]
) -> None:
    """Read the tagged fields at a struct's end; skip those that the schema or we do not know."""
    for _ in range(reader.uvarint()):
        tag = reader.uvarint()
        content = reader.take(reader.uvarint())
        name, read_field = tagged.get(tag, (None, Reader.end_struct))
        if name is not None:
            inner = Reader(content, flexible=True)
            inner.items_left = reader.items_left
            values[name] = read_field(inner)
            reader.items_left = inner.items_left


def _field_reader(field: Field[Any], hint: Any) -> Read:  # noqa: ANN401
    """Return what reads one field that is not null on the wire unless its type says so."""
    kind, nullable, is_array = field_kind(field)
    if not is_array:
        return _item_reader(kind, nullable=nullable, hint=hint)
    read_item = _item_reader(kind, nullable=False, hint=hint)
    count = Reader.nullable_count if nullable else Reader.count

    def read(reader: Reader) -> tuple[Any, ...] | None:
        announced = count(reader)
        if announced is None:
            return None
        return tuple([read_item(reader) for _ in range(announced)])

    return read


def _item_reader(kind: Any, *, nullable: bool, hint: Any) -> Read:  # noqa: ANN401
    if is_dataclass(kind):
        read_struct = _struct_reader(kind, message_in(hint))
        return _nullable_struct_reader(read_struct) if nullable else read_struct
    if kind == "records":
        in_buffers = NoneType not in get_args(hint)
        return _read_buffers if in_buffers else Reader.nullable_bytes
    if nullable and kind == "string":
        return Reader.nullable_string
    return _READ[kind]


def _nullable_struct_reader(read_struct: Read) -> Read:
    """Return what reads a struct that may be null: a byte before it says so (KIP-893)."""

    def read(reader: Reader) -> Message:
        return None if reader.int8() < 0 else read_struct(reader)

    return read


def _read_buffers(reader: Reader) -> tuple[memoryview, ...]:
    """Return a bytes field as our fetched records are: a sequence of buffers."""
    records = reader.nullable_bytes()
    return (records,) if records else ()


def _struct_writer(schema: Any, message: type | None) -> Write:  # noqa: ANN401
    """Return what writes one struct from a `message`; its defaults if that is None."""
    hints = {} if message is None else get_type_hints(message)
    plain: list[tuple[str | None, Any, Write]] = []
    tagged: list[tuple[int, str, Any, Write]] = []
    for field in fields(schema):
        name = our_name(field, hints)
        tag = field.metadata.get("tag")
        if tag is None:
            default = field.default
            assert name is not None or default is not MISSING, f"{schema}: {field.name} is missing"
            plain.append((name, default, _field_writer(field, hints.get(name or ""))))
        elif name is not None:
            tagged.append((tag, name, field.default, _field_writer(field, hints[name])))
    tagged.sort(key=lambda row: row[0])

    def write(writer: Writer, value: Message) -> None:
        for name, default, write_field in plain:
            write_field(writer, default if name is None else getattr(value, name))
        if tagged:
            _write_tagged(writer, tagged, value)
        else:
            writer.end_struct()

    return write


def _write_tagged(
    writer: Writer, tagged: list[tuple[int, str, Any, Write]], message: Message
) -> None:
    """Write the tagged fields of `message` that are not at their default."""
    contents = []
    for tag, name, default, write_field in tagged:
        value = getattr(message, name)
        if value is None or value == default or (default == () and len(value) == 0):
            continue
        inner = Writer(flexible=True)
        inner.buffer.clear()
        write_field(inner, value)
        contents.append((tag, inner.buffer))
    writer.uvarint(len(contents))
    for tag, content in contents:
        writer.uvarint(tag)
        writer.uvarint(len(content))
        writer.buffer += content


def _field_writer(field: Field[Any], hint: Any) -> Write:  # noqa: ANN401
    kind, nullable, is_array = field_kind(field)
    write_item = _item_writer(kind, hint)
    if not is_array:
        is_tagged = field.metadata.get("tag") is not None
        is_nullable = nullable and is_dataclass(kind) and not is_tagged
        return _nullable_struct_writer(write_item) if is_nullable else write_item

    def write(writer: Writer, values: Any) -> None:  # noqa: ANN401
        assert nullable or values is not None, f"{field.name} must not be null"
        writer.array(values, write_item)

    return write


def _nullable_struct_writer(write_struct: Write) -> Write:
    def write(writer: Writer, value: Message) -> None:
        writer.int8(-1 if value is None else 1)
        if value is not None:
            write_struct(writer, value)

    return write


def _item_writer(kind: Any, hint: Any) -> Write:  # noqa: ANN401
    if is_dataclass(kind):
        return _struct_writer(kind, message_in(hint))
    if kind == "records":
        in_buffers = NoneType not in get_args(hint)
        return Writer.payloads if in_buffers else _write_records
    return _WRITE[kind]


def _write_records(writer: Writer, records: bytes | memoryview | None) -> None:
    if records is None:
        writer.count(None)
    else:
        writer.payloads([records])


def our_name(field: Field[Any], hints: dict[str, Any]) -> str | None:
    """Return what our message calls a field, None if it lacks it."""
    name = field.name
    if field.metadata.get("kafka_type") in _TIMES:
        name += "_ms"
    return name if name in hints else None


def field_kind(field: Field[Any]) -> tuple[Any, bool, bool]:
    """Return a field's Kafka type or schema class, whether it may be null, whether an array."""
    annotation: Any = field.type
    nullable = False
    if isinstance(annotation, UnionType):
        (annotation,) = (arm for arm in get_args(annotation) if arm is not NoneType)
        nullable = True
    is_array = get_origin(annotation) is tuple
    if is_array:
        annotation = get_args(annotation)[0]
    kind = annotation if is_dataclass(annotation) else field.metadata["kafka_type"]
    return kind, nullable, is_array


def message_in(hint: Any) -> type | None:  # noqa: ANN401
    """Return the message class inside `LeaderIdAndEpoch | None` or `Sequence[X | bytes]`."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    for argument in get_args(hint):
        found = message_in(argument)
        if found is not None:
            return found
    return None
