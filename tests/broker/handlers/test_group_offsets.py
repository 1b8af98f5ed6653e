"""Offsets of consumer groups: committed, fetched, deleted."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.commands import CommitOffsets
from trimaran.groups.location import location
from trimaran.groups.stored import CommittedOffset
from trimaran.metadata.commands import DeleteTopic
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(2, 10))
async def test_what_is_committed_is_fetched(
    ask, coordinator, flights, version, commit_request, codes_of, positions
):
    answer = await ask(ApiKey.OFFSET_COMMIT, commit_request((3, 7, "why"), (1, 0, None)), version)

    assert codes_of(answer) == [ErrorCode.NONE] * 2
    found = await positions(version, "g", 3, 1, 0)
    assert found == (ErrorCode.NONE, [(3, 7, "why"), (1, 0, ""), (0, -1, "")])
    assert coordinator.confirmed_count == 1
    assert await positions(version) == (ErrorCode.NONE, [(3, 7, "why"), (1, 0, "")])
    assert await positions(version, "unknown", 3) == (ErrorCode.NONE, [(3, -1, "")])


@pytest.mark.asyncio
async def test_a_commit_is_answered_when_it_is_in_the_log(
    client, ask, coordinator, flights, settle, commit_request, codes_of
):
    coordinator.holds = True
    call = client.send(ApiKey.OFFSET_COMMIT, 9, commit_request((0, 5, None)))
    await settle()
    assert not client.has_answered(call)
    coordinator.held.pop()()
    await settle(lambda: client.has_answered(call))
    assert codes_of(client.answer_of(call)) == [ErrorCode.NONE]

    call = client.send(ApiKey.OFFSET_COMMIT, 9, commit_request((0, 6, None)))
    await settle(lambda: bool(coordinator.held))
    coordinator.held.pop()(committed=False)
    await settle(lambda: client.has_answered(call))
    assert codes_of(client.answer_of(call)) == [ErrorCode.NOT_COORDINATOR]


@pytest.mark.asyncio
async def test_each_partition_is_judged_for_itself(
    ask, coordinator, flights, commit_request, codes_of
):
    rows = ((0, 1, "x" * 4_096), (1, 1, "x" * 4_097), (4, 1, None), (-1, 1, None))

    answer = await ask(ApiKey.OFFSET_COMMIT, commit_request(*rows))

    assert codes_of(answer) == [
        ErrorCode.NONE,
        ErrorCode.OFFSET_METADATA_TOO_LARGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]


@pytest.mark.asyncio
async def test_a_topic_may_be_news_to_the_coordinator(
    client, broker, clock, coordinator, settle, commit_request, codes_of
):
    call = client.send(ApiKey.OFFSET_COMMIT, 9, commit_request((0, 1, None)))
    never = client.send(ApiKey.OFFSET_COMMIT, 9, commit_request((0, 1, None), topic="nowhere"))
    await settle()
    broker.add_topic("flights", 4)
    await settle(lambda: client.has_answered(call))
    clock.advance(1.1)
    await settle(lambda: client.has_answered(never))

    assert codes_of(client.answer_of(call)) == [ErrorCode.NONE]
    assert codes_of(client.answer_of(never)) == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.asyncio
async def test_a_commit_does_not_wait_for_a_topic_longer_than_that_topic_is_news(
    client, broker, clock, coordinator, settle, commit_request, codes_of, positions
):
    """Or a later commit would be answered, and then moved back by the earlier one."""
    first = commit_request((0, 100, None))
    first.topics.extend(commit_request((0, 1, None), topic="nowhere").topics)
    waiting = client.send(ApiKey.OFFSET_COMMIT, 9, first)
    await settle()
    broker.add_topic("flights", 4)
    await settle()
    later = client.send(ApiKey.OFFSET_COMMIT, 9, commit_request((0, 200, None)))
    await settle(lambda: client.has_answered(later))
    assert not client.has_answered(waiting)
    clock.advance(1.1)
    await settle(lambda: client.has_answered(waiting))

    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes_of(client.answer_of(waiting)) == [ErrorCode.NONE, unknown]
    assert codes_of(client.answer_of(later)) == [ErrorCode.NONE]
    assert await positions(9, "g", 0) == (ErrorCode.NONE, [(0, 200, "")])


@pytest.mark.asyncio
async def test_a_topic_that_is_made_again_starts_without_offsets(
    ask, broker, coordinator, flights, commit_request, positions
):
    await ask(ApiKey.OFFSET_COMMIT, commit_request((0, 5, None)))
    broker.apply(DeleteTopic(topic_id=flights.topic_id))
    assert await positions(9) == (ErrorCode.NONE, [])
    broker.add_topic("flights", 4)

    assert await positions(9, "g", 0) == (ErrorCode.NONE, [(0, -1, "")])


@pytest.mark.asyncio
async def test_commits_of_strangers_and_older_generations_are_refused(
    ask, stable, flights, commit_request, codes_of
):
    member_id = await stable()
    requests = [
        commit_request((0, 1, None), member_id=member_id, generation=1),
        commit_request((0, 1, None), member_id=member_id, generation=0),
        commit_request((0, 1, None), member_id="stranger", generation=1),
        commit_request((0, 1, None)),
        commit_request((0, 1, None), member_id=member_id, generation=1, instance_id="i"),
    ]

    codes = [codes_of(await ask(ApiKey.OFFSET_COMMIT, request)) for request in requests]

    assert codes == [
        [ErrorCode.NONE],
        [ErrorCode.ILLEGAL_GENERATION],
        [ErrorCode.UNKNOWN_MEMBER_ID],
        [ErrorCode.UNKNOWN_MEMBER_ID],
        [ErrorCode.UNKNOWN_MEMBER_ID],
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("version", "code"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)]
)
async def test_nobody_is_of_a_generation_of_a_group_that_is_not_there(
    ask, coordinator, flights, commit_request, codes_of, version, code
):
    request = commit_request((0, 1, None), member_id="m", generation=3)

    assert codes_of(await ask(ApiKey.OFFSET_COMMIT, request, version)) == [code]


@pytest.mark.asyncio
async def test_groups_asked_for_together_fail_each_for_itself(
    ask, broker, coordinator, flights, commit_request
):
    other = next(row for row in broker.coordinators() if row is not coordinator)
    other.depose()
    elsewhere = next(n for n in ("a", "b", "c", "d") if location(n, 2) != location("g", 2))
    await ask(ApiKey.OFFSET_COMMIT, commit_request((0, 5, None)))
    groups = [m.OffsetFetchRequestGroup(group_id=name, topics=None) for name in ("g", elsewhere)]

    answer = await ask(ApiKey.OFFSET_FETCH, m.OffsetFetchRequest(groups=groups))

    assert [group.error_code for group in answer.groups] == [
        ErrorCode.NONE,
        ErrorCode.NOT_COORDINATOR,
    ]


def offset_delete(*numbers, topic="flights", group_id="g"):
    partitions = [m.OffsetDeleteRequestPartition(partition_index=number) for number in numbers]
    return m.OffsetDeleteRequest(
        group_id=group_id,
        topics=[m.OffsetDeleteRequestTopic(name=topic, partitions=partitions)],
    )


@pytest.mark.asyncio
async def test_offsets_are_deleted_one_by_one(
    ask, coordinator, flights, commit_request, codes_of, positions
):
    await ask(ApiKey.OFFSET_COMMIT, commit_request((0, 5, None), (1, 6, None)))

    answer = await ask(ApiKey.OFFSET_DELETE, offset_delete(0, 9, -1))

    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert (answer.error_code, codes_of(answer)) == (
        ErrorCode.NONE,
        [ErrorCode.NONE, unknown, unknown],
    )
    assert await positions(9) == (ErrorCode.NONE, [(1, 6, "")])
    unknown = await ask(ApiKey.OFFSET_DELETE, offset_delete(0, group_id="g2"))
    assert unknown.error_code in {ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.NOT_COORDINATOR}
    nowhere = await ask(ApiKey.OFFSET_DELETE, offset_delete(0, topic="nowhere"))
    assert codes_of(nowhere) == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.asyncio
async def test_offsets_that_members_read_by_are_not_deleted(
    ask, broker, stable, flights, commit_request, codes_of
):
    member_id = await stable()
    broker.add_topic("other", 1)
    mine = commit_request((0, 5, None), member_id=member_id, generation=1)
    other = commit_request((0, 5, None), member_id=member_id, generation=1, topic="other")
    await ask(ApiKey.OFFSET_COMMIT, mine)
    await ask(ApiKey.OFFSET_COMMIT, other)

    kept = await ask(ApiKey.OFFSET_DELETE, offset_delete(0))
    gone = await ask(ApiKey.OFFSET_DELETE, offset_delete(0, topic="other"))

    assert codes_of(kept) == [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC]
    assert codes_of(gone) == [ErrorCode.NONE]


@pytest.mark.asyncio
async def test_what_is_known_of_a_commit_does_not_wait_for_what_is_not(
    client, broker, clock, coordinator, flights, settle, commit_request, positions, codes_of
):
    """Later commits of the same client would overtake it, and be taken back by it."""
    first = commit_request((0, 100, None))
    first.topics.extend(commit_request((0, 1, None), topic="nowhere").topics)
    waiting = client.send(ApiKey.OFFSET_COMMIT, 9, first)
    await settle()
    later = client.send(ApiKey.OFFSET_COMMIT, 9, commit_request((0, 200, None)))
    await settle()
    clock.advance(1.1)
    await settle(lambda: client.has_answered(waiting) and client.has_answered(later))

    assert codes_of(client.answer_of(waiting)) == [
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert await positions(9, "g", 0) == (ErrorCode.NONE, [(0, 200, "")])


@pytest.mark.asyncio
async def test_a_topic_named_twice_in_a_commit_is_answered_twice(
    ask, coordinator, flights, commit_request, codes_of
):
    request = commit_request((0, 1, None))
    request.topics.extend(commit_request((9, 1, None)).topics)

    answer = await ask(ApiKey.OFFSET_COMMIT, request)

    assert codes_of(answer) == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.asyncio
async def test_who_asks_for_a_topic_that_is_news_is_not_told_that_nothing_was_committed(
    client, broker, coordinator, settle
):
    """Consumers would begin anew where the group has a position."""
    topics = [m.OffsetFetchRequestTopics(name="flights", partition_indexes=[0])]
    request = m.OffsetFetchRequest(groups=[m.OffsetFetchRequestGroup(group_id="g", topics=topics)])
    call = client.send(ApiKey.OFFSET_FETCH, 9, request)
    await settle()
    assert not client.has_answered(call)

    topic = broker.add_topic("flights", 4)
    offsets = (CommittedOffset(topic.topic_id, 0, 7, -1, ""),)
    coordinator.table.apply(CommitOffsets("g", offsets), log_time_ms=1)
    broker.notify()
    await settle(lambda: client.has_answered(call))

    ((row,),) = [one.partitions for one in client.answer_of(call).groups[0].topics]
    assert row.committed_offset == 7
