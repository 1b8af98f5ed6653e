"""InitProducerId, versions 0 to 4.

Version notes: 2 flexible; 3 the id and epoch to go on from (KIP-360); 4 differs in errors only.

Does not: hand out ids.
"""

from trimaran.protocol.messages.produce import InitProducerIdRequest, InitProducerIdResponse
from trimaran.protocol.wire import Reader, Writer


def decode_request(reader: Reader, version: int) -> InitProducerIdRequest:
    """Read the body of a request."""
    transactional_id = reader.nullable_string()
    timeout_ms = reader.int32()
    producer_id = reader.int64() if version >= 3 else -1
    producer_epoch = reader.int16() if version >= 3 else -1
    reader.end_struct()
    return InitProducerIdRequest(
        transactional_id=transactional_id,
        transaction_timeout_ms=timeout_ms,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
    )


def encode_response(writer: Writer, _version: int, response: InitProducerIdResponse) -> None:
    """Append the body of an answer."""
    writer.int32(response.throttle_time_ms)
    writer.int16(response.error_code)
    writer.int64(response.producer_id)
    writer.int16(response.producer_epoch)
    writer.end_struct()
