"""The client's side of the codec: requests to frames, frames to answers, for the whole table.

For the simulator's clients, `bench`, and the tests: not tuned, all of it made from the schemas.
Does not: run in a broker.
"""

from typing import Any

from trimaran.errors import ProtocolError
from trimaran.protocol import schema_codec
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.wire import INT32, MALFORMED, Reader, Writer


def encode_request(header: RequestHeader, message: Any) -> bytes:  # noqa: ANN401
    """Return the frame of a request, its size in front."""
    api = APIS[header.api_key]
    writer = Writer()
    writer.int16(header.api_key)
    writer.int16(header.api_version)
    writer.int32(header.correlation_id)
    writer.string(header.client_id)
    writer.flexible = header.api_version >= api.flexible_from
    writer.end_struct()
    schema_codec.request_encoder(header.api_key, header.api_version)(writer, message)
    return b"".join(writer.finish())


def decode_response(api_key: int, version: int, frame: bytes | memoryview) -> tuple[int, Any]:
    """Return the correlation id and the message of an answer (its size not included).

    Raises:
        ProtocolError: bytes that are no such answer.
    """
    reader = Reader(memoryview(frame))
    try:
        (correlation_id,) = reader.fixed(INT32)
        reader.flexible = version >= APIS[api_key].flexible_from
        if api_key != ApiKey.API_VERSIONS:
            reader.end_struct()
        return correlation_id, schema_codec.response_decoder(api_key, version)(reader)
    except ProtocolError:
        raise
    except MALFORMED as error:
        raise ProtocolError(f"no answer of api {api_key} version {version}: {error}") from error
