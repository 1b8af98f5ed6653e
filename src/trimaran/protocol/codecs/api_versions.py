"""ApiVersions, versions 0 to 4: the first request of every connection.

Version notes: 1 throttle time; 3 flexible body, the client's name and version (KIP-511); 4 differs
in meaning only. The answer's header is never flexible, because the client cannot know yet what the
broker speaks.

Does not: judge versions (`codec` does).
"""

from struct import Struct

from trimaran.errors import ErrorCode
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.messages.cluster import (
    ApiVersion,
    ApiVersionsRequest,
    ApiVersionsResponse,
)
from trimaran.protocol.wire import Reader, Writer

_ROW = Struct(">hhh")


def answer() -> ApiVersionsResponse:
    """Return the answer to every ApiVersions request that was understood: the table."""
    rows = [
        ApiVersion(api_key=api.key, min_version=api.min_version, max_version=api.max_version)
        for api in APIS.values()
    ]
    return ApiVersionsResponse(api_keys=rows)


def unsupported_version_answer() -> ApiVersionsResponse:
    """Return the answer, to be encoded as version 0, to an ApiVersions version we do not know.

    It names our ApiVersions versions only, from which the client picks one and asks again.
    """
    api = APIS[ApiKey.API_VERSIONS]
    row = ApiVersion(api_key=api.key, min_version=api.min_version, max_version=api.max_version)
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[row])


def decode_request(reader: Reader, version: int) -> ApiVersionsRequest:
    """Read the body of a request."""
    if version < 3:
        return ApiVersionsRequest()
    name = reader.string()
    software_version = reader.string()
    reader.end_struct()
    return ApiVersionsRequest(client_software_name=name, client_software_version=software_version)


def encode_response(writer: Writer, version: int, response: ApiVersionsResponse) -> None:
    """Append the body of an answer."""
    writer.int16(response.error_code)
    writer.count(len(response.api_keys))
    for row in response.api_keys:
        writer.buffer += _ROW.pack(row.api_key, row.min_version, row.max_version)
        writer.end_struct()
    if version >= 1:
        writer.int32(response.throttle_time_ms)
    writer.end_struct()
