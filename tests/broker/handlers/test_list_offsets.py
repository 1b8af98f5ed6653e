import asyncio

import pytest

from trimaran.broker.handlers.list_offsets import WAIT_S_MAX
from trimaran.errors import ErrorCode
from trimaran.ids import NodeId, Offset
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsTopic,
)

pytestmark = pytest.mark.asyncio

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5
EARLIEST_PENDING_UPLOAD = -6


@pytest.fixture
def flights(broker):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.fill(1, 2, 3)
    partition.log_start = Offset(1)
    partition.times = [(1, 100), (3, 300), (4, 250)]
    return partition


def request(timestamp, *, topic="flights", number=0, epoch=-1):
    asked = ListOffsetsPartition(
        partition_index=number, timestamp=timestamp, current_leader_epoch=epoch
    )
    return ListOffsetsRequest(topics=[ListOffsetsTopic(name=topic, partitions=[asked])])


async def ask(client, timestamp, *, version=7, **where):
    response = await client.ask_slowly(ApiKey.LIST_OFFSETS, version, request(timestamp, **where))
    return response.topics[0].partitions[0]


async def test_latest_is_the_high_watermark(client, flights):
    assert await ask(client, LATEST) == ListOffsetsPartitionResponse(
        partition_index=0, offset=6, leader_epoch=1
    )


async def test_earliest_is_the_log_start(client, flights):
    assert (await ask(client, EARLIEST)).offset == 1


async def test_a_timestamp_finds_the_first_event_at_or_after_it(client, flights):
    found = await ask(client, 200)

    assert (found.offset, found.timestamp) == (3, 300)


async def test_a_timestamp_after_the_last_event_finds_nothing(client, flights):
    found = await ask(client, 301)

    assert (found.offset, found.timestamp, found.error_code) == (-1, -1, 0)


async def test_the_largest_timestamp_can_be_asked_for(client, flights):
    found = await ask(client, MAX_TIMESTAMP)

    assert (found.offset, found.timestamp) == (3, 300)


@pytest.mark.parametrize(
    ("timestamp", "version", "code"),
    [
        (MAX_TIMESTAMP, 6, ErrorCode.UNSUPPORTED_VERSION),
        (EARLIEST_LOCAL, 7, ErrorCode.UNSUPPORTED_VERSION),
        (EARLIEST_LOCAL, 8, ErrorCode.NONE),
        (LATEST_TIERED, 8, ErrorCode.UNSUPPORTED_VERSION),
        (LATEST_TIERED, 9, ErrorCode.NONE),
        (EARLIEST_PENDING_UPLOAD, 10, ErrorCode.UNSUPPORTED_VERSION),
        (EARLIEST_PENDING_UPLOAD, 11, ErrorCode.NONE),
    ],
)
async def test_special_timestamps_need_their_versions(client, flights, timestamp, version, code):
    assert (await ask(client, timestamp, version=version)).error_code == code


@pytest.mark.parametrize(
    ("epoch", "code"),
    [
        (-1, ErrorCode.NONE),
        (4, ErrorCode.FENCED_LEADER_EPOCH),
        (6, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ],
)
async def test_the_clients_epoch_is_checked(client, flights, epoch, code):
    flights.leader_epoch = 5

    assert (await ask(client, EARLIEST, epoch=epoch)).error_code == code


async def test_a_follower_does_not_answer(client, flights):
    flights.depose(leader=NodeId(2))

    assert (await ask(client, LATEST)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (await ask(client, EARLIEST)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_an_unknown_partition_is_told(client, flights):
    assert (await ask(client, LATEST, number=4)).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_a_new_leader_answers_latest_when_it_has_committed(client, flights, settle):
    flights.leader_ready = False
    call = client.send(ApiKey.LIST_OFFSETS, 7, request(LATEST))
    await settle()
    assert not client.has_answered(call)

    flights.index_futures[0].set_result(Offset(9))
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).topics[0].partitions[0].offset == 9


@pytest.mark.parametrize(
    ("version", "code"),
    [(4, ErrorCode.LEADER_NOT_AVAILABLE), (5, ErrorCode.OFFSET_NOT_AVAILABLE)],
)
async def test_a_confirmation_that_takes_too_long_is_tried_again_by_the_client(
    client, flights, settle, clock, version, code
):
    flights.leader_ready = False
    call = client.send(ApiKey.LIST_OFFSETS, version, request(LATEST))
    await settle()

    clock.advance(5.1)
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).topics[0].partitions[0].error_code == code
    assert not flights.index_futures[0].done(), "it belongs to the partition"


async def test_leadership_lost_while_waiting_is_told(client, flights, settle):
    flights.leader_ready = False
    call = client.send(ApiKey.LIST_OFFSETS, 7, request(LATEST))
    await settle()

    flights.lose_reads()
    await settle(lambda: client.has_answered(call))

    answer = client.answer_of(call).topics[0].partitions[0]
    assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_confirmations_of_several_partitions_are_under_way_together(broker, client, settle):
    broker.add_topic("flights", 3)
    for number in range(3):
        broker.partition("flights", number).leader_ready = False
    asked = [ListOffsetsPartition(partition_index=number, timestamp=LATEST) for number in range(3)]
    topics = [ListOffsetsTopic(name="flights", partitions=asked)]
    client.send(ApiKey.LIST_OFFSETS, 7, ListOffsetsRequest(topics=topics))
    await settle()

    assert [len(broker.partition("flights", number).index_futures) for number in range(3)] == [
        1,
        1,
        1,
    ]


async def test_a_partition_asked_for_twice_is_refused_and_searched_once(client, flights):
    searches = []
    search = flights.offset_of_max_time
    flights.offset_of_max_time = lambda: searches.append(1) or search()
    asked = [ListOffsetsPartition(partition_index=0, timestamp=MAX_TIMESTAMP)] * 3
    topic = ListOffsetsTopic(name="flights", partitions=asked)

    response = await client.ask_slowly(
        ApiKey.LIST_OFFSETS, 7, ListOffsetsRequest(topics=[topic, topic])
    )

    codes = [row.error_code for found in response.topics for row in found.partitions]
    assert codes == [ErrorCode.NONE] + [ErrorCode.INVALID_REQUEST] * 5
    assert searches == [1]


async def test_a_search_that_takes_too_long_is_given_up_and_no_other_is_begun(
    broker, client, clock, settle
):
    broker.add_topic("flights", 2)
    futures = []

    def search():
        futures.append(asyncio.get_running_loop().create_future())
        return futures[-1]

    for number in (0, 1):
        broker.partition("flights", number).is_leader = True
        broker.partition("flights", number).offset_of_max_time = search
    asked = [
        ListOffsetsPartition(partition_index=number, timestamp=MAX_TIMESTAMP) for number in (0, 1)
    ]
    topic = ListOffsetsTopic(name="flights", partitions=asked)
    call = client.send(ApiKey.LIST_OFFSETS, 7, ListOffsetsRequest(topics=[topic]))
    await settle(lambda: futures)

    clock.advance(WAIT_S_MAX + 0.1)
    await settle(lambda: client.has_answered(call))

    codes = [row.error_code for row in client.answer_of(call).topics[0].partitions]
    assert codes == [ErrorCode.OFFSET_NOT_AVAILABLE] * 2
    assert [future.cancelled() for future in futures] == [True]
