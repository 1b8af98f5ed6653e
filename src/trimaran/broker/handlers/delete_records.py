"""DeleteRecords (key 21): partitions begin later from now on.

Behavior:
  Partitions fail one by one. A success is answered when the new log start is committed, so that
  every later leader has it, with the offset where the partition begins. -1 is the high watermark;
  above it, or below -1, is OFFSET_OUT_OF_RANGE; at or below the log start nothing changes. A topic
  whose cleanup.policy only compacts is POLICY_VIOLATION. What is not committed when timeout.ms
  is over is REQUEST_TIMED_OUT: it may still be.
Version notes:
  0 to 2. 2: flexible.
"""

import asyncio

from trimaran.broker.api import Partition, Pending
from trimaran.broker.calls import Call
from trimaran.broker.leadership import check_leadership, find_partition
from trimaran.broker.rows import in_turns
from trimaran.errors import ErrorCode, RequestError
from trimaran.protocol.messages import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)


class _Begun:
    """A partition whose log start is being moved."""

    __slots__ = ("partition", "pending")

    def __init__(self, partition: Partition, pending: Pending) -> None:
        self.partition = partition
        self.pending = pending


async def handle(call: Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    """Move the log starts, all at the same time."""
    deadline_s = call.deadlines.now_s() + call.timeout_s(request.timeout_ms)
    begun = [
        [(asked, _begin(call, topic.name, asked)) async for asked in in_turns(topic.partitions, 20)]
        async for topic in in_turns(request.topics, 20)
    ]
    await _all_done(call, [row for rows in begun for _, row in rows], deadline_s)
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=topic.name, partitions=[_result(asked, row) for asked, row in rows]
            )
            for topic, rows in zip(request.topics, begun, strict=True)
        ]
    )


def refuse(request: DeleteRecordsRequest, version: int, code: ErrorCode) -> DeleteRecordsResponse:
    """Return `code` for every partition."""
    del version
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResult(
                name=topic.name,
                partitions=[_result(asked, code) for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


def _begin(call: Call, topic: str, asked: DeleteRecordsPartition) -> _Begun | ErrorCode:
    try:
        partition = find_partition(call.broker, topic, asked.partition_index)
        check_leadership(partition, 0)
        policy = partition.settings.cleanup_policy
        if policy and "delete" not in policy:
            raise RequestError(ErrorCode.POLICY_VIOLATION, f"cleanup.policy of {topic!r}: {policy}")
        return _Begun(partition, partition.delete_records(asked.offset))
    except RequestError as error:
        call.note(error)
        return error.code


async def _all_done(call: Call, rows: "list[_Begun | ErrorCode]", deadline_s: float) -> None:
    """Wait until all that was begun is settled or the time is over."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waited = [row.pending for row in rows if isinstance(row, _Begun) and not row.pending.done]
    left = len(waited)
    if left == 0:
        return

    def look() -> None:
        nonlocal left
        left -= 1
        if left == 0 and not over.done():
            over.set_result(None)

    def end() -> None:
        if not over.done():
            over.set_result(None)

    for pending in waited:
        pending.on_done(look)
    deadline = call.deadlines.at(deadline_s, end)
    await over
    call.deadlines.withdraw(deadline)


def _result(asked: DeleteRecordsPartition, row: _Begun | ErrorCode) -> DeleteRecordsPartitionResult:
    if isinstance(row, ErrorCode):
        return DeleteRecordsPartitionResult(partition_index=asked.partition_index, error_code=row)
    error = row.pending.error if row.pending.done else ErrorCode.REQUEST_TIMED_OUT
    if error is not None:
        return DeleteRecordsPartitionResult(partition_index=asked.partition_index, error_code=error)
    return DeleteRecordsPartitionResult(
        partition_index=asked.partition_index, low_watermark=row.partition.log_start
    )
