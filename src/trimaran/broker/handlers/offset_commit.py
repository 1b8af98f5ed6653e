"""OffsetCommit (key 8): remember where a group stands.

Behavior:
  Answered when a majority has it on disk: what was acknowledged is not lost or moved back when the
  coordinator dies. Members must name their generation; whoever assigns partitions itself commits
  with generation -1, into a group without members; members of the new protocol name their epoch,
  from version 9 on (STALE_MEMBER_EPOCH). Offsets belong to the topic as it is now: one
  made again under the same name starts without. The client's retention time is not looked at.
Version notes:
  2 to 9. 7: static members. The topic id of 10 (KIP-848) is not advertised.
"""

from collections.abc import Collection, Mapping

from trimaran.broker.calls import Call
from trimaran.broker.coordinators import NEWS_S, coordinator_of
from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.commands import CommitOffsets
from trimaran.groups.limits import OFFSETS_MAX
from trimaran.groups.messages import MemberClaim
from trimaran.groups.stored import CommittedOffset
from trimaran.metadata.topology import Topic
from trimaran.protocol.messages import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)


async def handle(call: Call, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Answer when the offsets are committed."""
    answers: dict[int, OffsetCommitResponseTopic] = {}
    waiting = dict(enumerate(request.topics))
    end_s = call.deadlines.now_s() + NEWS_S
    in_time = True
    while True:
        # What is known does not wait for the rest: later commits of the same client would overtake
        # it, and be moved back.
        ready = {
            place: topic
            for place, topic in waiting.items()
            if not in_time or _find(call, topic) is not None
        }
        try:
            answers |= await _commit(call, request, ready)
        except RequestError as error:
            if not answers:
                raise
            call.note(error)
            answers |= {place: _refused(topic, error.code) for place, topic in waiting.items()}
        waiting = {place: topic for place, topic in waiting.items() if place not in answers}
        if not waiting:
            return OffsetCommitResponse(topics=[answers[place] for place in sorted(answers)])
        left_s = max(0.0, end_s - call.deadlines.now_s())
        in_time = await _wait_for_news(call, waiting.values(), left_s)


async def _wait_for_news(
    call: Call, topics: Collection[OffsetCommitRequestTopic], timeout_s: float
) -> bool:
    """Return whether one of `topics` is known here, as soon as one is."""

    def is_news() -> bool:
        return any(_find(call, topic) is not None for topic in topics)

    return await call.broker.wait_metadata(is_news, timeout_s)


def _find(call: Call, asked: OffsetCommitRequestTopic) -> Topic | None:
    return call.broker.image.topic(asked.name)


async def _commit(
    call: Call, request: OffsetCommitRequest, topics: Mapping[int, OffsetCommitRequestTopic]
) -> dict[int, OffsetCommitResponseTopic]:
    """Commit what may be of `topics`; return the answers by place. Raises RequestError."""
    coordinator, live = await coordinator_of(call.broker, request.group_id)
    claim = MemberClaim(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        generation=request.generation_id_or_member_epoch,
    )
    code = live.judge_commit(request.group_id, claim, version=call.version)
    if code is not ErrorCode.NONE:
        raise RequestError(code, f"commit of {claim}")
    offsets: dict[tuple[bytes, int], CommittedOffset] = {}
    answers = {}
    for place, asked in topics.items():
        topic = _find(call, asked)
        rows = []
        for partition in asked.partitions:
            code = _judge(call, topic, partition)
            if code is ErrorCode.NONE and topic is not None:
                offset = _committed(topic, partition)
                offsets[offset.topic_id, offset.partition] = offset
            rows.append(
                OffsetCommitResponsePartition(
                    partition_index=partition.partition_index, error_code=code
                )
            )
        answers[place] = OffsetCommitResponseTopic(name=asked.name, partitions=rows)
    if offsets:
        if coordinator.table.position_count(request.group_id) + len(offsets) > 2 * OFFSETS_MAX:
            raise RequestError(ErrorCode.INVALID_REQUEST, "too many partitions in one group")
        await live.commit(CommitOffsets(request.group_id, tuple(offsets.values())))
    return answers


def _judge(call: Call, topic: Topic | None, partition: OffsetCommitRequestPartition) -> ErrorCode:
    number = partition.partition_index
    if topic is None or topic.is_internal or not 0 <= number < len(topic.partitions):
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    text = partition.committed_metadata or ""
    if len(text.encode()) > call.broker.kafka.offset_metadata_bytes_max:
        return ErrorCode.OFFSET_METADATA_TOO_LARGE
    return ErrorCode.NONE


def _committed(topic: Topic, partition: OffsetCommitRequestPartition) -> CommittedOffset:
    return CommittedOffset(
        topic_id=topic.topic_id,
        partition=partition.partition_index,
        offset=partition.committed_offset,
        leader_epoch=max(partition.committed_leader_epoch, -1),
        metadata=partition.committed_metadata or "",
    )


def refuse(request: OffsetCommitRequest, version: int, code: ErrorCode) -> OffsetCommitResponse:
    """Return `code` for every partition."""
    del version
    return OffsetCommitResponse(topics=[_refused(topic, code) for topic in request.topics])


def _refused(topic: OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic:
    return OffsetCommitResponseTopic(
        name=topic.name,
        partitions=[
            OffsetCommitResponsePartition(partition_index=row.partition_index, error_code=code)
            for row in topic.partitions
        ],
    )
