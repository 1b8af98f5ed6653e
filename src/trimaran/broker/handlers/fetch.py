"""Fetch (key 1): whole batches from several partitions, waiting for new ones.

Behavior:
  Returns committed batches, those below the high watermark, from the one that contains the asked
  offset; partitions in the order of the request within max.bytes and their own limits, the first
  batch found always whole (KIP-74). With fewer than min.bytes it waits up to max.wait.ms, or until
  another answer of the same connection is ready behind it.
  OFFSET_OUT_OF_RANGE only below the log start or above the log end: between high watermark and log
  end, and while a lost leader has no successor yet, the reader waits.
  No fetch sessions: session id 0 in every answer; a request inside one gets
  FETCH_SESSION_ID_NOT_FOUND and its client falls back to full requests (KIP-227).
  Readers of committed transactions see the same: there are no transactions.
Version notes:
  4 to 17. 9: the client's leader epoch (KIP-320). 12: leader hints in partitions (KIP-951), 16:
  with the nodes' addresses. 13: topic ids instead of names (KIP-516).
"""

from trimaran.broker.calls import Call
from trimaran.broker.fetching import FetchSlot, FetchWait
from trimaran.broker.leadership import (
    LeaderHints,
    find_partition,
    find_partition_by_id,
    group_of,
)
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId, group_id
from trimaran.protocol.messages import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    PartitionData,
)

_TOPIC_IDS_FROM = 13
_HINTS_FROM = 12
_FULL_REQUEST_EPOCHS = (0, -1)
"""Session epochs of a request that names all its partitions."""
_MOVED = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)


def handle(call: Call, request: FetchRequest) -> None:
    """Look at all partitions; the answer comes when there is enough."""
    if request.session_epoch not in _FULL_REQUEST_EPOCHS:
        raise RequestError(
            ErrorCode.FETCH_SESSION_ID_NOT_FOUND, f"no fetch session {request.session_id}"
        )
    slots = [_slot(call, topic, asked) for topic in request.topics for asked in topic.partitions]
    bytes_max = max(min(request.max_bytes, call.broker.kafka.fetch_bytes_max), 1)
    wait = FetchWait(
        call,
        slots,
        min_bytes=min(request.min_bytes, bytes_max),
        bytes_max=bytes_max,
        done=lambda: call.answer(_response(call, request, slots)),
    )
    wait.start(max_wait_s=call.timeout_s(request.max_wait_ms))


def refuse(request: FetchRequest, version: int, code: ErrorCode) -> FetchResponse:
    """Return `code` for the request (7 and up), else for every partition."""
    if version >= 7:
        return FetchResponse(error_code=code)
    return FetchResponse(
        responses=[
            FetchableTopicResponse(
                topic.topic,
                topic.topic_id,
                [PartitionData(asked.partition, error_code=code) for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


def _slot(call: Call, topic: FetchTopic, asked: FetchPartition) -> FetchSlot:
    partition, error = None, None
    try:
        if call.version >= _TOPIC_IDS_FROM:
            partition = find_partition_by_id(call.broker, topic.topic_id, asked.partition)
        else:
            partition = find_partition(call.broker, topic.topic, asked.partition)
    except RequestError as found:
        error = found
    slot = FetchSlot(
        partition,
        offset=asked.fetch_offset,
        client_epoch=asked.current_leader_epoch,
        bytes_max=asked.partition_max_bytes,
    )
    slot.error = error
    return slot


def _response(call: Call, request: FetchRequest, slots: list[FetchSlot]) -> FetchResponse:
    hints = LeaderHints(call.broker)
    place = 0
    topics = []
    for topic in request.topics:
        partitions = []
        for asked in topic.partitions:
            answer = _partition_data(call, asked.partition, slots[place])
            if call.version >= _HINTS_FROM and answer.error_code in _MOVED:
                answer.current_leader = hints.leader_of(_group(call, topic, asked.partition))
            partitions.append(answer)
            place += 1
        topics.append(FetchableTopicResponse(topic.topic, topic.topic_id, partitions))
    return FetchResponse(topics, node_endpoints=hints.endpoints())


def _partition_data(call: Call, number: int, slot: FetchSlot) -> PartitionData:
    partition = slot.partition
    if slot.error is not None or partition is None:
        assert slot.error is not None
        call.note(slot.error)
        known_end = partition is not None and slot.error.code == ErrorCode.OFFSET_OUT_OF_RANGE
        return PartitionData(
            number,
            slot.error.code,
            log_start_offset=partition.log_start if known_end and partition else -1,
        )
    return PartitionData(
        number,
        high_watermark=partition.high_watermark,
        last_stable_offset=partition.high_watermark,
        log_start_offset=partition.log_start,
        records=slot.batches,
    )


def _group(call: Call, topic: FetchTopic, number: int) -> GroupId | None:
    if call.version >= _TOPIC_IDS_FROM:
        return group_id(topic.topic_id, number)
    return group_of(call.broker, topic.topic, number)
