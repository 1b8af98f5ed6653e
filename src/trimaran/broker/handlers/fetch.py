"""Fetch (key 1): whole batches from several partitions, waiting for new ones.

Behavior:
  Returns committed batches, those below the high watermark, from the one that contains the asked
  offset; partitions in the order of the request within max.bytes and their own limits, the first
  batch found always whole (KIP-74). With fewer than min.bytes, and none kept out by a limit, it
  waits up to max.wait.ms, or until another answer of the same connection is ready behind it.
  OFFSET_OUT_OF_RANGE only below the log start or above the log end: between high watermark and log
  end, and while a lost leader has no successor yet, the reader waits.
  In a fetch session (KIP-227) a request names what changed, its answer what has news; those that
  had data come last next time. Who finds no room for a session gets id 0, and full answers.
  A reader that names its rack (11 and up) is sent to a follower there, which serves it (KIP-392).
  Readers of committed transactions see the same: there are no transactions.
Version notes:
  4 to 17. 9: the client's leader epoch (KIP-320). 11: the reader's rack (KIP-392). 12: leader
  hints in partitions (KIP-951), 16: with the nodes' addresses. 13: topic ids instead of names
  (KIP-516).
"""

from collections.abc import Callable, Coroutine

from trimaran.broker.calls import Call
from trimaran.broker.fetch_sessions import (
    FINAL_EPOCH,
    FULL_EPOCH,
    NO_SESSION,
    NOWHERE,
    FetchSession,
    SessionPartition,
)
from trimaran.broker.fetching import FetchSlot, FetchWait
from trimaran.broker.leadership import (
    LeaderHints,
    find_partition,
    find_partition_by_id,
    group_of,
)
from trimaran.broker.rows import ROWS_AT_ONCE, check_rows, in_turns
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GroupId, group_id
from trimaran.protocol.messages import (
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    PartitionData,
)

_TOPIC_IDS_FROM = 13
_SESSIONS_FROM = 7
_RACKS_FROM = 11
_HINTS_FROM = 12
_MOVED = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)


def handle(call: Call, request: FetchRequest) -> Coroutine[None, None, None] | None:
    """Look at all partitions; the answer comes when there is enough."""
    rows, session, is_full = _wanted(call, request)
    rack = request.rack_id if call.version >= _RACKS_FROM else ""

    def begin(slots: list[FetchSlot]) -> None:
        bytes_max = max(min(request.max_bytes, call.broker.kafka.fetch_bytes_max), 1)
        wait = FetchWait(
            call,
            slots,
            min_bytes=min(request.min_bytes, bytes_max),
            bytes_max=bytes_max,
            done=lambda: call.answer(_response(call, rows, slots, session, is_full=is_full)),
        )
        wait.start(max_wait_s=call.timeout_s(request.max_wait_ms))

    if len(rows) > ROWS_AT_ONCE:
        check_rows(len(rows))
        return _find_in_turns(call, rows, rack, begin)
    begin([_slot(call, row, rack) for row in rows])
    return None


async def _find_in_turns(
    call: Call,
    rows: list[SessionPartition],
    rack: str,
    begin: Callable[[list[FetchSlot]], None],
) -> None:
    slots = [_slot(call, row, rack) async for row in in_turns(rows)]
    if not call.ended:
        begin(slots)


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


def _wanted(
    call: Call, request: FetchRequest
) -> tuple[list[SessionPartition], FetchSession | None, bool]:
    """Return what to look at, the session if there is one, and whether to answer in full."""
    sessions, now_s = call.broker.fetch_sessions, call.deadlines.now_s()
    uses_ids = call.version >= _TOPIC_IDS_FROM
    if request.session_epoch not in (FULL_EPOCH, FINAL_EPOCH):
        session = sessions.go_on(request, uses_ids=uses_ids, now_s=now_s)
        return list(session.wanted.values()), session, False
    opened = None
    if call.version >= _SESSIONS_FROM:
        opened = sessions.open(request, uses_ids=uses_ids, now_s=now_s)
    if opened is not None:
        return list(opened.wanted.values()), opened, True
    rows = [
        SessionPartition(topic.topic, topic.topic_id, asked)
        for topic in request.topics
        for asked in topic.partitions
    ]
    return rows, None, True


def _slot(call: Call, row: SessionPartition, rack: str) -> FetchSlot:
    asked = row.asked
    partition, error = None, None
    try:
        if call.version >= _TOPIC_IDS_FROM:
            partition = find_partition_by_id(call.broker, row.topic_id, asked.partition)
        else:
            partition = find_partition(call.broker, row.topic, asked.partition)
    except RequestError as found:
        error = found.with_traceback(None)
    slot = FetchSlot(
        partition,
        offset=asked.fetch_offset,
        client_epoch=asked.current_leader_epoch,
        bytes_max=asked.partition_max_bytes,
        rack=rack,
    )
    slot.error = error
    return slot


def _response(
    call: Call,
    rows: list[SessionPartition],
    slots: list[FetchSlot],
    session: FetchSession | None,
    *,
    is_full: bool,
) -> FetchResponse:
    hints = LeaderHints(call.broker)
    topics: list[FetchableTopicResponse] = []
    answers: list[PartitionData] = []
    for row, slot in zip(rows, slots, strict=True):
        answer = _partition_data(call, row.asked.partition, slot)
        if not row.has_news(answer) and not is_full:
            continue
        if call.version >= _HINTS_FROM and answer.error_code in _MOVED:
            answer.current_leader = hints.leader_of(_group(call, row))
        if not topics or (topics[-1].topic, topics[-1].topic_id) != (row.topic, row.topic_id):
            answers = []
            topics.append(FetchableTopicResponse(row.topic, row.topic_id, answers))
        answers.append(answer)
    if session is not None:
        session.answered([row for row, slot in zip(rows, slots, strict=True) if slot.size > 0])
    session_id = NO_SESSION if session is None else session.session_id
    return FetchResponse(topics, session_id=session_id, node_endpoints=hints.endpoints())


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
        preferred_read_replica=NOWHERE if slot.nearer is None else slot.nearer,
    )


def _group(call: Call, row: SessionPartition) -> GroupId | None:
    if call.version >= _TOPIC_IDS_FROM:
        return group_id(row.topic_id, row.asked.partition)
    return group_of(call.broker, row.topic, row.asked.partition)
