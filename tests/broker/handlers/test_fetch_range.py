"""Fetch of offsets that the log does not have, or that this node does not know."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.ids import Offset, TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import FetchPartition, FetchRequest, FetchTopic


@pytest.fixture
def flights(broker):
    """Return a partition with batches of 1, 2 and 3 events."""
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.fill(1, 2, 3)
    return partition


def fetch(client, offset, *, max_wait_ms=500):
    topic = FetchTopic("flights", TopicId(bytes(16)), [FetchPartition(0, offset, 1 << 20)])
    return client.send(ApiKey.FETCH, 11, FetchRequest(max_wait_ms, 1, [topic]))


def only(client, call):
    (topic,) = client.answer_of(call).responses
    (data,) = topic.partitions
    return data


@pytest.mark.asyncio
@pytest.mark.parametrize("offset", [-1, 7, 2**62])
async def test_an_offset_outside_the_log_is_out_of_range(client, flights, settle, offset):
    call = fetch(client, offset)
    await settle(lambda: client.has_answered(call))

    data = only(client, call)
    assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert (data.high_watermark, data.log_start_offset) == (-1, 0)


@pytest.mark.asyncio
async def test_a_leader_that_may_be_deposed_calls_no_offset_out_of_range(
    client, flights, settle, clock
):
    """Its successor may have that offset; the reader would start over from somewhere else."""
    flights.is_cut_off = True
    call = fetch(client, 7, max_wait_ms=10)
    clock.advance(1)
    assert not client.has_answered(call)

    flights.lose_reads()
    await settle(lambda: client.has_answered(call))

    assert only(client, call).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


@pytest.mark.asyncio
async def test_an_offset_that_exists_once_leadership_is_confirmed_is_read(
    client, flights, settle, clock
):
    flights.is_cut_off = True
    call = fetch(client, 7)
    flights.fill(2, 1)

    flights.index_futures[0].set_result(flights.high_watermark)
    await settle(lambda: (clock.turn(), client.has_answered(call))[1])

    assert len(only(client, call).records) == 2


def test_an_offset_below_the_log_start_is_out_of_range(client, flights):
    flights.log_start = Offset(3)

    data = only(client, fetch(client, 2))

    assert (data.error_code, data.log_start_offset) == (ErrorCode.OFFSET_OUT_OF_RANGE, 3)


@pytest.mark.asyncio
async def test_a_confirmation_that_is_given_up_calls_nothing_out_of_range(client, flights, settle):
    flights.is_cut_off = True
    call = fetch(client, 7)

    flights.index_futures[0].cancel()
    await settle(lambda: client.has_answered(call))

    assert only(client, call).error_code == ErrorCode.NONE
