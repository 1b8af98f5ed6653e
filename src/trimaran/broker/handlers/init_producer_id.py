"""InitProducerId (key 22): an identity for an idempotent producer.

Behavior:
  A new producer id, unique in the cluster, with epoch 0. A producer that names the id and epoch it
  has gets the same id with the next epoch, so that it can start its sequences anew (KIP-360); after
  the last epoch, or with an id that nobody was given, it gets a new id.
  While the cluster cannot give out ids it is COORDINATOR_LOAD_IN_PROGRESS, as with Kafka: a
  time-out ends the producers of older clients for good.
  A transactional id is refused at once, with the error that makes every client give up instead of
  trying again: transactions are not there yet.
Version notes:
  0 to 4. 3: the producer's current id and epoch (KIP-360).
"""

from trimaran.broker.calls import Call
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import InitProducerIdRequest, InitProducerIdResponse

_EPOCH_MAX = 32_766
"""Kafka never gives out 32767."""


async def handle(call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse:
    """Return a producer id and its epoch."""
    if request.transactional_id == "":
        raise RequestError(ErrorCode.INVALID_REQUEST, "an empty transactional id")
    if request.transactional_id is not None:
        raise RequestError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            f"transactional id {request.transactional_id!r}: transactions are not there yet",
        )
    if (request.producer_id < 0) != (request.producer_epoch < 0):
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"expected producer id and epoch or neither, found {request.producer_id} and "
            f"{request.producer_epoch}",
        )
    known = 0 <= request.producer_id < call.broker.image.next_producer_id
    if known and request.producer_epoch < _EPOCH_MAX:
        return InitProducerIdResponse(
            producer_id=request.producer_id, producer_epoch=request.producer_epoch + 1
        )
    return InitProducerIdResponse(producer_id=await _new_id(call), producer_epoch=0)


def refuse(request: InitProducerIdRequest, version: int, code: ErrorCode) -> InitProducerIdResponse:
    """Return `code` for the request."""
    del request, version
    return InitProducerIdResponse(error_code=code)


async def _new_id(call: Call) -> int:
    try:
        return await call.broker.next_producer_id()
    except RequestError as error:
        if error.code != ErrorCode.REQUEST_TIMED_OUT:
            raise
        raise RequestError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, str(error)) from error
