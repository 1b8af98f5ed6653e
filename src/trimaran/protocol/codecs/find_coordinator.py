"""FindCoordinator, versions 0 to 6.

Version notes: 1 key type, throttle time, error message; 3 flexible; 4 many keys (KIP-699); 5 and 6
have the form of 4.

Does not: know coordinators.
"""

from trimaran.protocol.messages.groups import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)
from trimaran.protocol.wire import Reader, Writer


def decode_request(reader: Reader, version: int) -> FindCoordinatorRequest:
    """Read the body of a request."""
    key = reader.string() if version <= 3 else ""
    key_type = reader.int8() if version >= 1 else 0
    keys = reader.string_array() if version >= 4 else ()
    reader.end_struct()
    return FindCoordinatorRequest(key=key, key_type=key_type, coordinator_keys=keys)


def encode_response(writer: Writer, version: int, response: FindCoordinatorResponse) -> None:
    """Append the body of an answer."""
    if version >= 1:
        writer.int32(response.throttle_time_ms)
    if version >= 4:
        writer.array(response.coordinators, _write_coordinator)
    else:
        writer.int16(response.error_code)
        if version >= 1:
            writer.string(response.error_message)
        writer.int32(response.node_id)
        writer.string(response.host)
        writer.int32(response.port)
    writer.end_struct()


def _write_coordinator(writer: Writer, coordinator: Coordinator) -> None:
    writer.string(coordinator.key)
    writer.int32(coordinator.node_id)
    writer.string(coordinator.host)
    writer.int32(coordinator.port)
    writer.int16(coordinator.error_code)
    writer.string(coordinator.error_message)
    writer.end_struct()
