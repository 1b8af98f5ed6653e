"""Produce (key 0): append one batch to each of several partitions.

Behavior:
  acks=-1 is answered when every batch is committed and synced by a majority, acks=1 when this
  leader has synced them, acks=0 never: on an error its connection is closed, as Kafka does.
  Partitions fail one by one. What is not done when timeout.ms is over is answered with
  REQUEST_TIMED_OUT: outcome unknown, the batch may still be committed.
  Transactional ids are refused at once.
Version notes:
  3 to 11. 0 to 2 are only advertised (KAFKA-18659). zstd from 7 on (KIP-110).
  8: a message beside the error code (KIP-467). 10: leader hints with NOT_LEADER_OR_FOLLOWER
  (KIP-951).
"""

from trimaran.broker.api import Partition, Pending
from trimaran.broker.appending import AppendWait
from trimaran.broker.calls import Call, told
from trimaran.broker.leadership import LeaderHints, group_of
from trimaran.broker.rows import ROWS_AT_ONCE, check_rows
from trimaran.dedup.id_scan import RecordError
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceResponse,
)
from trimaran.records.batch import CODEC_MASK, Codec

_ZSTD_FROM = 7
_HINTS_FROM = 10
_CODEC_POSITION = 22
"""The byte of a batch whose low bits name the codec."""
_TIMEOUT_S_MIN = 0.001


def handle(call: Call, request: ProduceRequest) -> ProduceResponse | None:
    """Append the batches; answer now if nothing is to be waited for."""
    if request.acks not in (-1, 0, 1):
        raise RequestError(
            ErrorCode.INVALID_REQUIRED_ACKS, f"acks: expected -1, 0 or 1, found {request.acks}"
        )
    if request.transactional_id is not None:
        raise RequestError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not there yet"
        )
    count = 0
    for topic in request.topic_data:
        count += len(topic.partition_data)
    if count > ROWS_AT_ONCE:
        check_rows(count)
    wait = AppendWait(call)
    _append_all(call, request, wait)
    if request.acks == 0:
        _end_unanswered(call, wait)
        return None
    if wait.undone_count == 0:
        return _response(call, request, wait)
    timeout_s = call.timeout_s(request.timeout_ms)
    wait.wait(max(timeout_s, _TIMEOUT_S_MIN), lambda: call.answer(_response(call, request, wait)))
    return None


def refuse(request: ProduceRequest, version: int, code: ErrorCode) -> ProduceResponse | None:
    """Return `code` for every partition; None (close) if the client waits for no answer."""
    del version
    if request.acks == 0:
        return None
    return ProduceResponse(
        responses=[
            TopicProduceResponse(
                topic.name,
                [PartitionProduceResponse(data.index, code) for data in topic.partition_data],
            )
            for topic in request.topic_data
        ]
    )


def _append_all(call: Call, request: ProduceRequest, wait: AppendWait) -> None:
    """Append in one turn of the loop: the connection's next batches come behind these."""
    for topic in request.topic_data:
        for data in topic.partition_data:
            if call.version < _ZSTD_FROM and _is_zstd(data.records):
                error = RequestError(
                    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce 7 or later"
                )
                wait.refuse(error, None, place=f"{topic.name}-{data.index}")
            else:
                wait.append(topic.name, data.index, data.records, acks=request.acks)


def _is_zstd(batch: memoryview | None) -> bool:
    if batch is None or len(batch) <= _CODEC_POSITION:
        return False
    return batch[_CODEC_POSITION] & CODEC_MASK == Codec.ZSTD


def _end_unanswered(call: Call, wait: AppendWait) -> None:
    """Say nothing; that something failed is said by closing, once it is known."""
    error = wait.first_error()
    if error is not None:
        call.close(f"acks=0 and {error.code.name}")
    elif wait.undone_count == 0:
        call.skip()
    else:
        timeout_s = call.broker.kafka.request_timeout_s_max
        wait.wait(timeout_s, lambda: _end_late(call, wait))


def _end_late(call: Call, wait: AppendWait) -> None:
    """End what was opened in a thread before it was appended; what takes too long is let be."""
    error = wait.first_error()
    if error is None:
        call.skip()
    else:
        call.close(f"acks=0 and {error.code.name}: {told(error)}")


def _response(call: Call, request: ProduceRequest, wait: AppendWait) -> ProduceResponse:
    hints = LeaderHints(call.broker)
    place = 0
    responses = []
    for topic in request.topic_data:
        answers = []
        for data in topic.partition_data:
            outcome = wait.outcome(place)
            answer = _partition_response(data.index, outcome, wait.partitions[place])
            moved = answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
            if moved and call.version >= _HINTS_FROM:
                group = group_of(call.broker, topic.name, data.index)
                answer.current_leader = hints.leader_of(group)
            if answer.error_code and not isinstance(wait.outcomes[place], RequestError):
                found = f"{topic.name}-{data.index}: {answer.error_message}"
                call.note(RequestError(ErrorCode(answer.error_code), found))
            answers.append(answer)
            place += 1
        responses.append(TopicProduceResponse(topic.name, answers))
    return ProduceResponse(responses, node_endpoints=hints.endpoints())


def _partition_response(
    number: int, outcome: Pending | RequestError, partition: Partition | None
) -> PartitionProduceResponse:
    if isinstance(outcome, RequestError):
        refused = PartitionProduceResponse(number, outcome.code, error_message=told(outcome))
        if isinstance(outcome, RecordError):
            refused.record_errors = [BatchIndexAndErrorMessage(outcome.number, told(outcome))]
        return refused
    error = outcome.error if outcome.done else ErrorCode.REQUEST_TIMED_OUT
    if error is not None:
        return PartitionProduceResponse(number, error, error_message="outcome unknown")
    return PartitionProduceResponse(
        number,
        base_offset=outcome.base_offset,
        log_append_time_ms=outcome.log_append_time_ms,
        log_start_offset=-1 if partition is None else partition.log_start,
    )
