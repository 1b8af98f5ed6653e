"""ListOffsets (key 2): the offset of a time, the first or the next one of partitions.

Behavior:
  Latest (-1) is linearizable: the high watermark after the leader has heard from a majority that it
  still leads. A new leader waits until it has committed an entry of its own term. Earliest (-2, and
  -4, there being one tier) is the log start, at once; -5 and -6, in a second tier, are nowhere
  (-1). A timestamp finds the first event at or after it, -3 the event with the highest timestamp
  (KIP-734), both among what is committed; (-1, -1) if there is none.
  After 5 s, or once a search took all it may: OFFSET_NOT_AVAILABLE, and every client tries again. A
  partition that comes twice is INVALID_REQUEST the second time, as Kafka has it.
Version notes:
  1 to 11. 4: leader epochs (KIP-320). 5: OFFSET_NOT_AVAILABLE, LEADER_NOT_AVAILABLE before. 7: -3.
  8: -4 (KIP-405). 9: -5 (KIP-1005). 10: a time-out, not needed. 11: -6 (KIP-1023). Isolation levels
  (2) make no difference: there are no transactions.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from itertools import islice
from typing import NamedTuple, TypeVar

from trimaran.broker.api import Partition
from trimaran.broker.calls import Call
from trimaran.broker.leadership import check_leadership, find_partition
from trimaran.broker.rows import in_turns
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import Offset
from trimaran.protocol.messages import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

T = TypeVar("T")

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6
_LOWEST_FROM_7 = (
    *(MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED),
    *(LATEST_TIERED, EARLIEST_PENDING_UPLOAD),
)

WAIT_S_MAX = 5.0
"""Longer than any election; shorter than any client's request time-out."""


async def handle(call: Call, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """Return an offset for each partition; the reads of all are under way together."""
    deadline_s = call.deadlines.now_s() + WAIT_S_MAX
    places: dict[tuple[str, int], None] = {}
    rows = [(topic.name, asked) for topic in request.topics for asked in topic.partitions]
    begun = [(asked, _start(call, name, asked, places)) async for name, asked in in_turns(rows)]
    left = iter([await _finish(call, row, one, deadline_s) async for row, one in in_turns(begun)])
    topics = [
        ListOffsetsTopicResponse(name=one.name, partitions=list(islice(left, len(one.partitions))))
        for one in request.topics
    ]
    return ListOffsetsResponse(topics=topics)


def refuse(request: ListOffsetsRequest, version: int, code: ErrorCode) -> ListOffsetsResponse:
    """Return `code` for every partition."""
    del version
    return ListOffsetsResponse(
        topics=[
            ListOffsetsTopicResponse(
                name=topic.name,
                partitions=[_refused(asked, code) for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


class _Begun(NamedTuple):
    """A partition whose high watermark is being confirmed."""

    partition: Partition
    confirmed: "asyncio.Future[Offset]"


def _start(
    call: Call,
    topic: str,
    asked: ListOffsetsPartition,
    places: dict[tuple[str, int], None],
) -> ListOffsetsPartitionResponse | _Begun:
    """Return the answer, or what has to be waited for; `places` were asked for before."""
    place = (topic, asked.partition_index)
    if place in places:
        error = RequestError(ErrorCode.INVALID_REQUEST, f"{topic}-{place[1]} comes twice")
        call.note(error)
        return _refused(asked, error.code)
    places[place] = None
    try:
        partition = find_partition(call.broker, topic, asked.partition_index)
        check_leadership(partition, asked.current_leader_epoch)
        _check_timestamp(asked.timestamp, call.version)
        if asked.timestamp in (EARLIEST, EARLIEST_LOCAL):
            return ListOffsetsPartitionResponse(
                partition_index=asked.partition_index, offset=partition.log_start
            )
        if asked.timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
            return ListOffsetsPartitionResponse(partition_index=asked.partition_index)
        return _Begun(partition, partition.read_index())
    except RequestError as error:
        call.note(error)
        return _refused(asked, error.code)


def _check_timestamp(timestamp: int, version: int) -> None:
    lowest = EARLIEST if version < 7 else _LOWEST_FROM_7[version - 7]
    if timestamp < lowest:
        raise RequestError(
            ErrorCode.UNSUPPORTED_VERSION,
            f"timestamp: expected {lowest} or above in version {version}, found {timestamp}",
        )


async def _finish(
    call: Call,
    asked: ListOffsetsPartition,
    begun: ListOffsetsPartitionResponse | _Begun,
    deadline_s: float,
) -> ListOffsetsPartitionResponse:
    if isinstance(begun, ListOffsetsPartitionResponse):
        return begun
    try:
        return await _find(call, asked, begun, deadline_s)
    except RequestError as error:
        call.note(error)
        return _refused(asked, _known_code(error.code, call.version))


async def _find(
    call: Call, asked: ListOffsetsPartition, begun: _Begun, deadline_s: float
) -> ListOffsetsPartitionResponse:
    partition = begun.partition
    high_watermark = await _within(call, begun.confirmed, deadline_s)
    answer = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
    if asked.timestamp == LATEST:
        return replace(answer, offset=high_watermark, leader_epoch=partition.leader_epoch)
    if call.deadlines.now_s() >= deadline_s:
        raise _too_late()
    is_latest = asked.timestamp == MAX_TIMESTAMP
    search = asyncio.ensure_future(
        partition.offset_of_max_time() if is_latest else partition.offset_for_time(asked.timestamp)
    )
    try:
        found = await _within(call, search, deadline_s)
    finally:
        search.cancel()  # what nobody waits for any more is not to read a whole log
    if found is None:
        return answer
    offset, timestamp_ms = found
    return replace(
        answer, offset=offset, timestamp=timestamp_ms, leader_epoch=partition.leader_epoch
    )


async def _within(call: Call, search: Awaitable[T], deadline_s: float) -> T:
    """Wait for `search`; OFFSET_NOT_AVAILABLE when the time is over, while it goes on."""
    work = asyncio.ensure_future(search)
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not over.done():
            over.set_result(None)
        if work.done() and not work.cancelled():
            work.exception()  # somebody looked, also if nobody waits any more

    deadline = call.deadlines.at(deadline_s, wake)
    work.add_done_callback(wake)
    await over
    call.deadlines.withdraw(deadline)
    if not work.done():
        raise _too_late()
    return work.result()


def _too_late() -> RequestError:
    return RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, f"not known within {WAIT_S_MAX} s")


def _known_code(code: ErrorCode, version: int) -> ErrorCode:
    """Return the code that says the same to a client of this version."""
    if code == ErrorCode.OFFSET_NOT_AVAILABLE and version < 5:
        return ErrorCode.LEADER_NOT_AVAILABLE
    return code


def _refused(asked: ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse:
    return ListOffsetsPartitionResponse(partition_index=asked.partition_index, error_code=code)
