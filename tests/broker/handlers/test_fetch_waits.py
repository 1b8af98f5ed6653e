"""Fetch answers as soon as it has what it may: no wait for bytes that cannot come, or are there."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.ids import NodeId, TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import FetchPartition, FetchRequest, FetchTopic

MEGABYTE = 1 << 20
BATCH_OF_ONE = 61 + 10


@pytest.fixture
def two(broker):
    """Return two partitions of one topic."""
    broker.add_topic("flights", 2)
    return broker.partition("flights", 0), broker.partition("flights", 1)


@pytest.fixture
def fetch(client, two):
    """Return a function that reads both partitions from their start."""

    def send(*, bytes_max=MEGABYTE, **fields):
        asked = [FetchPartition(number, 0, bytes_max) for number in (0, 1)]
        topics = [FetchTopic("flights", TopicId(bytes(16)), asked)]
        limits = {"max_wait_ms": 500, "min_bytes": 1, "max_bytes": 50 * MEGABYTE, **fields}
        return client.send(ApiKey.FETCH, 11, FetchRequest(topics=topics, **limits))

    return send


def answers(client, call):
    (topic,) = client.answer_of(call).responses
    return topic.partitions


def sizes(client, call):
    return [sum(len(batch) for batch in data.records) for data in answers(client, call)]


@pytest.mark.parametrize("min_bytes", [1, 500_000, 1_040_000, MEGABYTE, 20 * MEGABYTE])
def test_a_backlog_above_the_limit_is_enough_whatever_the_least_is(client, fetch, two, min_bytes):
    two[0].fill(*([1] * 200), size=16_384)

    call = fetch(min_bytes=min_bytes)

    assert sizes(client, call) == [MEGABYTE // 16_445 * 16_445, 0]


def test_a_batch_for_which_there_is_no_room_left_is_enough(client, fetch, two):
    two[0].fill(1, size=3_000)
    two[1].fill(1, size=3_000)

    call = fetch(min_bytes=5_000, max_bytes=5_000)

    assert sizes(client, call) == [3_061, 0]


def test_a_partition_that_fills_while_the_reader_waits_is_enough_once_it_has_more(
    client, fetch, two, clock
):
    call = fetch(bytes_max=2 * BATCH_OF_ONE, min_bytes=MEGABYTE)
    two[0].fill(1, 1)
    clock.turn()
    assert not client.has_answered(call), "there is room in the other partition"

    two[0].fill(1)
    clock.turn()

    assert sizes(client, call) == [2 * BATCH_OF_ONE, 0]


@pytest.mark.asyncio
async def test_what_is_committed_during_the_first_segment_read_is_not_missed(
    client, fetch, two, settle, clock
):
    two[1].fill(1)
    two[1].reads_are_futures = True
    call = fetch(min_bytes=1_000)

    two[0].fill(1, size=5_000)
    two[1].finish_read()
    await settle()
    clock.turn()

    assert sizes(client, call) == [5_061, BATCH_OF_ONE]


@pytest.mark.asyncio
async def test_a_leader_that_is_lost_during_the_first_segment_read_is_told_of(
    client, fetch, two, settle, clock
):
    two[1].fill(1)
    two[1].reads_are_futures = True
    call = fetch(min_bytes=1_000)

    two[0].depose(leader=NodeId(2))
    two[1].finish_read()
    await settle()
    clock.turn()

    codes = [data.error_code for data in answers(client, call)]
    assert codes == [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NONE]


@pytest.mark.asyncio
async def test_a_read_that_ends_where_the_segments_end_goes_on_in_memory(
    client, fetch, two, settle
):
    two[0].fill(1, 1, 1)
    two[0].reads_are_futures = True
    call = fetch(min_bytes=3 * BATCH_OF_ONE)

    two[0].reads_are_futures = False
    stored, offset, bytes_max = two[0].read_futures.pop()
    stored.set_result(two[0].found(offset, bytes_max)[:1])
    await settle(lambda: client.has_answered(call))

    assert sizes(client, call) == [3 * BATCH_OF_ONE, 0]


@pytest.mark.asyncio
async def test_segments_are_read_one_after_the_other_until_it_is_enough(client, fetch, two, settle):
    two[0].fill(1, 1, 1)
    two[0].reads_are_futures = True
    call = fetch(min_bytes=2 * BATCH_OF_ONE)

    for _ in range(2):
        stored, offset, bytes_max = two[0].read_futures.pop()
        stored.set_result(two[0].found(offset, bytes_max)[:1])
        await settle(lambda: two[0].read_futures or client.has_answered(call))

    assert sizes(client, call) == [2 * BATCH_OF_ONE, 0]
    assert two[0].read_count == 2


@pytest.mark.asyncio
async def test_a_read_that_outlasts_the_wait_is_the_last_one(client, fetch, two, settle, clock):
    two[0].fill(1, 1, 1)
    two[0].reads_are_futures = True
    call = fetch(min_bytes=MEGABYTE, max_wait_ms=10)
    clock.advance(1)

    stored, offset, bytes_max = two[0].read_futures.pop()
    stored.set_result(two[0].found(offset, bytes_max)[:1])
    await settle(lambda: client.has_answered(call))

    assert sizes(client, call) == [BATCH_OF_ONE, 0]
