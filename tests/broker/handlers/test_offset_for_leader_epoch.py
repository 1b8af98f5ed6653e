import pytest

from trimaran.errors import ErrorCode
from trimaran.ids import NodeId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture
def flights(broker):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.leader_epoch = 5
    partition.epoch_ends = {3: (3, 17)}
    return partition


async def ask(client, leader_epoch, *, current=-1, number=0, version=4):
    asked = OffsetForLeaderPartition(
        partition=number, current_leader_epoch=current, leader_epoch=leader_epoch
    )
    request = OffsetForLeaderEpochRequest(
        topics=[OffsetForLeaderTopic(topic="flights", partitions=[asked])]
    )
    answer = await client.ask_slowly(ApiKey.OFFSET_FOR_LEADER_EPOCH, version, request)
    return answer.topics[0].partitions[0]


async def test_the_end_of_an_epoch_is_told(client, flights):
    assert await ask(client, 3) == EpochEndOffset(partition=0, leader_epoch=3, end_offset=17)


async def test_an_unknown_epoch_has_no_end(client, flights):
    assert await ask(client, 1) == EpochEndOffset(partition=0, leader_epoch=-1, end_offset=-1)


async def test_a_leader_that_has_not_committed_anything_answers_at_once(client, flights):
    flights.leader_ready = False

    assert (await ask(client, 3)).end_offset == 17


@pytest.mark.parametrize(
    ("current", "code"),
    [(4, ErrorCode.FENCED_LEADER_EPOCH), (6, ErrorCode.UNKNOWN_LEADER_EPOCH), (5, 0), (0, 0)],
)
async def test_the_clients_own_epoch_is_checked(client, flights, current, code):
    assert (await ask(client, 3, current=current)).error_code == code


async def test_a_follower_does_not_answer(client, flights):
    flights.depose(leader=NodeId(2))

    assert (await ask(client, 3)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_an_unknown_partition_is_told(client, flights):
    assert (await ask(client, 3, number=1)).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
