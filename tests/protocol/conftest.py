"""Foreign codecs as oracles: kio's own parser, and kafka-python's, made from Kafka's JSON."""

import importlib
import warnings
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from hypothesis import strategies as st
from kio.index import load_request_schema, load_response_schema

from trimaran.errors import ErrorCode
from trimaran.protocol import messages
from trimaran.protocol.api import APIS
from trimaran.protocol.schema_codec import field_kind, message_in, our_name
from trimaran.protocol.wire import Writer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    FOREIGN = [
        importlib.import_module(f"kafka.protocol.{name}")
        for name in ("producer", "consumer", "metadata", "admin")
    ]

EVERY_VERSION = [
    pytest.param(api.key, version, id=f"{api.name}-{version}")
    for api in APIS.values()
    for version in range(api.lowest, api.max_version + 1)
]

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int8": st.integers(-128, 127),
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "uuid": st.binary(min_size=16, max_size=16),
    "error_code": st.sampled_from([int(code) for code in ErrorCode]),
    "timedelta_i32": st.integers(-(2**31), 2**31 - 1),
    "timedelta_i64": st.integers(-(2**40), 2**40),
    "datetime_i64": st.just(-1) | st.integers(0, 2**31).map(lambda seconds: seconds * 1000),
    "string": st.text(max_size=5),
    "bytes": st.binary(max_size=9),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `api_key` and `version` once per row and version of the table."""
    if {"api_key", "version"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("api_key", "version"), EVERY_VERSION)


class Oracle:
    """Messages of one API, version and direction: made up, and as foreigners see them."""

    def __init__(self, api_key: int, version: int, kind: str) -> None:
        name = APIS[api_key].name + kind
        load = load_request_schema if kind == "Request" else load_response_schema
        self.version = version
        self.schema: Any = load(api_key, version)
        self.message: type = getattr(messages, name)
        self.foreign: Any = next((getattr(m, name) for m in FOREIGN if hasattr(m, name)), None)
        """None: kafka-python does not know the API; kio alone is the oracle."""

    def made_up(self) -> st.SearchStrategy[Any]:
        """Return messages with every field of this version set."""
        return _made_up(self.schema, self.message)

    def same(self, message: Any, body: bytes) -> None:
        """Assert that the foreigners read from `body` what `message` says."""
        from kio.serial import entity_reader

        entity, size = entity_reader(self.schema)(body, 0)
        assert size == len(body)
        _assert_same(self.schema, message, entity, _of_kio)
        if self.foreign is None:
            return
        if self.message is messages.ApiVersionsResponse and message.error_code != 0:
            return  # kafka-python reads such an answer as version 0, whatever was asked
        foreign = self.foreign.decode(body, version=self.version)
        _assert_same(self.schema, message, foreign, _of_kafka_python)

    def foreign_bytes(self, message: Any) -> bytes:
        """Return what kafka-python encodes `message` to; kio, if that does not know the API."""
        if self.foreign is None:
            return _kio_bytes(self.schema, message)
        values = _foreign_values(self.schema, self.foreign, message)
        return bytes(self.foreign(**values, version=self.version).encode(version=self.version))


@pytest.fixture
def oracle() -> type[Oracle]:
    return Oracle


@pytest.fixture
def as_plain() -> Callable[[Any], Any]:
    """Lists and views as tuples and bytes, so that messages compare by value."""
    return plain


class TaggingWriter(Writer):
    """Ends every struct with tagged fields that nobody knows."""

    __slots__ = ()

    def end_struct(self) -> None:
        if self.flexible:
            self.buffer += b"\x02\x05\x00\xe3\x8a\x12\x03abc"


@pytest.fixture
def tagging_writer() -> type[Writer]:
    return TaggingWriter


def _made_up(schema: Any, message: type) -> st.SearchStrategy[Any]:
    hints = get_type_hints(message)
    values = {}
    for field in fields(schema):
        name = our_name(field, hints)
        if name is not None:
            values[name] = _value(field, hints[name])
    return st.builds(message, **values)


def _value(field: Any, hint: Any) -> st.SearchStrategy[Any]:
    kind, nullable, is_array = field_kind(field)
    if kind == "records":
        chunks = st.lists(st.binary(min_size=1, max_size=9), max_size=3)
        is_request = hint == memoryview | None
        return st.none() | st.binary(max_size=9).map(memoryview) if is_request else chunks
    inner = message_in(hint)
    if is_dataclass(kind):
        assert inner is not None
        one = _made_up(kind, inner)
    else:
        one = VALUES[kind]
    many = st.lists(one, max_size=3) if is_array else one
    if field.metadata.get("tag") is not None and not is_array and is_dataclass(kind):
        return st.none() | many
    is_nullable = nullable and kind not in {"uuid", "datetime_i64"}
    return st.none() | many if is_nullable else many


def plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], bytes | bytearray | memoryview):
            return (b"".join(value),)
        return tuple(plain(item) for item in value)
    return value


def _of_kio(field: Any, value: Any) -> Any:
    kafka_type = field.metadata.get("kafka_type")
    if kafka_type == "uuid":
        return bytes(16) if value is None else value.bytes
    if kafka_type in {"timedelta_i32", "timedelta_i64"}:
        return round(value.total_seconds() * 1000)
    if kafka_type == "datetime_i64":
        return -1 if value is None else round(value.timestamp() * 1000)
    return value


def _of_kafka_python(field: Any, value: Any) -> Any:
    if field.metadata.get("kafka_type") == "uuid":
        return bytes(16) if value is None else value.bytes
    return bytes(value) if isinstance(value, memoryview | bytearray) else value


def _kio_bytes(schema: Any, message: Any) -> bytes:
    from kio.serial import entity_writer

    buffer = BytesIO()
    entity_writer(schema)(buffer, _kio_entity(schema, message))
    return buffer.getvalue()


def _kio_entity(schema: Any, message: Any) -> Any:
    hints = get_type_hints(type(message))
    values = {}
    for field in fields(schema):
        name = our_name(field, hints)
        assert name is not None
        value = getattr(message, name)
        kind, _, is_array = field_kind(field)
        if is_dataclass(kind) and value is not None:
            built = [_kio_entity(kind, one) for one in (value if is_array else [value])]
            value = tuple(built) if is_array else built[0]
        elif is_array and value is not None:
            value = tuple(value)
        elif kind == "uuid":
            value = None if value == bytes(16) else UUID(bytes=value)
        elif kind == "timedelta_i32":
            value = timedelta(milliseconds=value)
        values[field.name] = value
    return schema(**values)


def _is_bit_set(theirs: Any, name: str) -> bool:
    """Whether kafka-python shows a field, under another name or not, as a set; kio has the int."""
    return name.endswith("authorized_operations") and not isinstance(
        getattr(theirs, name, None), int
    )


def _assert_same(schema: Any, ours: Any, theirs: Any, convert: Callable[[Any, Any], Any]) -> None:
    hints = get_type_hints(type(ours))
    for field in fields(schema):
        name = our_name(field, hints)
        if name is None or _is_bit_set(theirs, name):
            continue
        our_value = getattr(ours, name)
        value = getattr(theirs, field.name if hasattr(theirs, field.name) else name)
        kind, _, is_array = field_kind(field)
        if kind == "records":
            joined = b"".join(our_value) if isinstance(our_value, list) else our_value
            assert convert(field, value) == joined
        elif not is_dataclass(kind):
            assert plain(convert(field, value)) == plain(our_value), name
        elif our_value is None:
            assert value is None or not is_array, name
        elif is_array:
            assert len(value) == len(our_value)
            for one, other in zip(our_value, value, strict=True):
                _assert_same(kind, one, other, convert)
        else:
            _assert_same(kind, our_value, value, convert)


def _foreign_values(schema: Any, foreign: Any, message: Any) -> dict[str, Any]:
    hints = get_type_hints(type(message))
    values = {}
    for field in fields(schema):
        name = our_name(field, hints)
        if name is None:
            assert field.default is not MISSING
            continue
        value = getattr(message, name)
        kind, _, _ = field_kind(field)
        if is_dataclass(kind) and value is not None:
            inner = getattr(foreign, kind.__name__)
            many = isinstance(value, list)
            built = [
                inner(**_foreign_values(kind, inner, item), version=None)
                for item in (value if many else [value])
            ]
            value = built if many else built[0]
        elif kind == "uuid":
            value = UUID(bytes=value)
        elif kind == "records" and value is not None:
            value = b"".join(value) if isinstance(value, list) else bytes(value)
        values[name] = value
    return values
