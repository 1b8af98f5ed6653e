"""Frames to requests, answers to buffers: headers, versions, and who decodes which body.

    request    api key i16, api version i16, correlation id i32, client id (i16 length, -1 null),
               tagged fields if the version is flexible; then the body
    answer     size i32, correlation id i32, tagged fields if flexible (never in ApiVersions);
               then the body

`decode_request` is total: any bytes give a `Request`, an `UnsupportedVersionError` or a
ProtocolError. Bodies of frequent APIs go through `codecs`, those of rare ones through
`schema_codec`, which is imported with the first of them, or by `preload`: importing the schemas
takes a good part of a second, and nobody may wait for that on the event loop. So a node imports the
newest versions before it starts, and the older ones bit by bit while it runs.

Does not: frame (`connection`), nor judge what a request asks for.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final, TypeAlias

from trimaran.errors import ProtocolError
from trimaran.protocol.api import APIS, Api, ApiKey
from trimaran.protocol.codecs import (
    api_versions,
    fetch,
    find_coordinator,
    init_producer_id,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
)
from trimaran.protocol.wire import INT32, MALFORMED, Reader, Writer
from trimaran.records.entry import Payload

Message: TypeAlias = Any
"""One of the classes in `trimaran.protocol.messages`."""
Decode: TypeAlias = Callable[[Reader, int], Message]
Encode: TypeAlias = Callable[[Writer, int, Message], None]

_HEADER = Struct(">hhi")

STRAIGHT: Final[dict[int, tuple[Decode, Encode]]] = {
    ApiKey.PRODUCE: (produce.decode_request, produce.encode_response),
    ApiKey.FETCH: (fetch.decode_request, fetch.encode_response),
    ApiKey.LIST_OFFSETS: (list_offsets.decode_request, list_offsets.encode_response),
    ApiKey.METADATA: (metadata.decode_request, metadata.encode_response),
    ApiKey.FIND_COORDINATOR: (find_coordinator.decode_request, find_coordinator.encode_response),
    ApiKey.API_VERSIONS: (api_versions.decode_request, api_versions.encode_response),
    ApiKey.INIT_PRODUCER_ID: (init_producer_id.decode_request, init_producer_id.encode_response),
    ApiKey.OFFSET_FOR_LEADER_EPOCH: (
        offset_for_leader_epoch.decode_request,
        offset_for_leader_epoch.encode_response,
    ),
}
"""The APIs with a codec of their own."""


@dataclass(slots=True)
class RequestHeader:
    """What stands before a request's body."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None = None


@dataclass(slots=True)
class Request:
    """One request, decoded."""

    header: RequestHeader
    body: Message


class UnsupportedVersionError(ProtocolError):
    """An API or version that is not in the table.

    `answer` is to be sent if it is not None (ApiVersions: the client asks again on the same
    connection); otherwise the connection is closed, as Kafka does.
    """

    def __init__(
        self, header: RequestHeader, answer: list[Payload | bytearray] | None = None
    ) -> None:
        """Name the API and version that were asked for."""
        super().__init__(f"api {header.api_key} version {header.api_version} is not supported")
        self.header = header
        self.answer = answer


def decode_request(frame: memoryview) -> Request:
    """Return the request in a frame (its size not included).

    Records in it are views on `frame`.

    Raises:
        UnsupportedVersionError: not in the table; see there what to do.
        ProtocolError: bytes that are no request; the connection is to be closed.
    """
    try:
        header, reader = _read_header(frame)
        decode = codec_of(header.api_key)[0]
        return Request(header, decode(reader, header.api_version))
    except ProtocolError:
        raise
    except MALFORMED as error:
        raise ProtocolError(f"a frame of {len(frame)} bytes is no request: {error}") from error


def encode_response(header: RequestHeader, message: Message) -> list[Payload | bytearray]:
    """Return the answer to the request with `header`, size in front, as buffers to send in order.

    `message` is that API's response class. Payloads in it (fetched batches) are not copied.

    Raises:
        ProtocolError: a string in it is too long for this version; close the connection.
    """
    api = APIS[header.api_key]
    version = header.api_version
    assert api.accepts(version)
    writer = Writer(flexible=version >= api.flexible_from)
    writer.buffer += INT32.pack(header.correlation_id)
    if header.api_key != ApiKey.API_VERSIONS:
        writer.end_struct()
    codec_of(header.api_key)[1](writer, version, message)
    return writer.finish()


def codec_of(api_key: int) -> tuple[Decode, Encode]:
    """Return what decodes an API's request bodies and encodes its response bodies."""
    straight = STRAIGHT.get(api_key)
    if straight is not None:
        return straight
    from trimaran.protocol import schema_codec

    return schema_codec.codec_of(api_key)


def preload() -> None:
    """Import and prepare the newest version of every rare API; holds the interpreter meanwhile."""
    from trimaran.protocol import schema_codec

    for api in _rare_apis():
        schema_codec.request_decoder(api.key, api.max_version)
        schema_codec.response_encoder(api.key, api.max_version)


def preload_older() -> Iterator[None]:
    """Import and prepare the older versions too, one at a step of some milliseconds."""
    from trimaran.protocol import schema_codec

    for api in _rare_apis():
        for version in range(api.max_version - 1, api.lowest - 1, -1):
            for prepare in (schema_codec.request_decoder, schema_codec.response_encoder):
                prepare(api.key, version)
                yield


def _rare_apis() -> list[Api]:
    return [api for api in APIS.values() if api.key not in STRAIGHT]


def _read_header(frame: memoryview) -> tuple[RequestHeader, Reader]:
    """Return the header and a reader that stands at the body."""
    header = RequestHeader(*_HEADER.unpack_from(frame))
    api = APIS.get(header.api_key)
    if api is None or not api.accepts(header.api_version):
        raise UnsupportedVersionError(header, _unsupported_answer(header))
    reader = Reader(frame, _HEADER.size)
    header.client_id = reader.nullable_string()
    reader.flexible = header.api_version >= api.flexible_from
    reader.end_struct()
    return header, reader


def _unsupported_answer(header: RequestHeader) -> list[Payload | bytearray] | None:
    """Return the answer to an ApiVersions version we do not know; for other APIs there is none."""
    if header.api_key != ApiKey.API_VERSIONS:
        return None
    asked_again = RequestHeader(ApiKey.API_VERSIONS, 0, header.correlation_id)
    return encode_response(asked_again, api_versions.unsupported_version_answer())
