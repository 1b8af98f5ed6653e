"""ApiVersions (key 18): what this broker can do.

Behavior:
  The rows of `protocol.api`, the same for everybody, built once. Nothing is said to clients about
  features: none is versioned here.
Version notes:
  0 to 4. 3: flexible body, while the header of the answer never is (KIP-511). A version above 4 is
  answered in version 0 with UNSUPPORTED_VERSION and all rows, so that the client tries again
  (the connection does that, such a request cannot be decoded).
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode
from trimaran.protocol.api import APIS
from trimaran.protocol.messages import ApiVersion, ApiVersionsRequest, ApiVersionsResponse

_ROWS = tuple(
    ApiVersion(api_key=row.key, min_version=row.min_version, max_version=row.max_version)
    for row in APIS.values()
)
_ANSWER = ApiVersionsResponse(api_keys=_ROWS)


def handle(call: Call, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """Return the table."""
    del call, request
    return _ANSWER


def refuse(request: ApiVersionsRequest, version: int, code: ErrorCode) -> ApiVersionsResponse:
    """Return `code` beside the table."""
    del request, version
    return ApiVersionsResponse(error_code=code, api_keys=_ROWS)
