"""Readers in a follower's rack (KIP-392): sent there by the leader, served there."""

import msgspec
import pytest

from trimaran.broker.near_reads import SETTLE_S
from trimaran.errors import ErrorCode
from trimaran.ids import NodeId, Offset
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import FetchPartition, FetchRequest, FetchTopic

NOWHERE = -1
NOBODY = bytes(16)


@pytest.fixture
def racks(broker, registration):
    """Node 1, which is asked, stands in "west"; node 2 in "middle", node 3 in "east"."""
    for number, rack in ((1, "west"), (2, "middle"), (3, "east")):
        broker.apply(msgspec.structs.replace(registration(number), rack=rack))


@pytest.fixture
def flights(broker, racks):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.fill(1, 2, 3)
    return partition


@pytest.fixture
def fetch(client):
    """Return a function that reads from an offset, in a rack."""

    def send(offset, rack, *, version=11, epoch=-1, max_wait_ms=500, **fields):
        asked = FetchPartition(0, offset, 1 << 20, current_leader_epoch=epoch)
        request = FetchRequest(
            topics=[FetchTopic("flights", NOBODY, [asked])],
            rack_id=rack,
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            **fields,
        )
        return client.send(ApiKey.FETCH, version, request)

    return send


@pytest.fixture
def settled(client, clock):
    """A reader that has been reading here for as long as it stays."""
    assert not client.stay.is_over(client.deadlines.now_s())
    clock.advance(SETTLE_S)


def only(client, call):
    ((data,),) = [topic.partitions for topic in client.answer_of(call).responses]
    return data


@pytest.mark.parametrize(("rack", "node"), [("middle", 2), ("east", 3)])
def test_a_leader_sends_a_reader_to_the_follower_in_its_rack(
    client, fetch, flights, settled, rack, node
):
    data = only(client, fetch(0, rack))

    assert (data.error_code, data.preferred_read_replica) == (ErrorCode.NONE, node)
    assert (list(data.records), data.high_watermark) == ([], 6)


def test_a_reader_that_comes_is_served_for_a_while_before_it_is_sent_on(
    client, fetch, flights, clock
):
    answers = []
    for _ in range(4):
        answers.append(only(client, fetch(0, "east")).preferred_read_replica)
        clock.advance(SETTLE_S / 2)

    assert answers == [NOWHERE, NOWHERE, 3, NOWHERE]


def test_a_reader_that_comes_back_from_a_dead_follower_is_not_sent_there_again(
    client, fetch, flights, settled, clock, broker
):
    assert only(client, fetch(0, "east")).preferred_read_replica == 3

    back = only(client, fetch(0, "east"))  # it met a dead node, of which nobody here knows yet
    clock.advance(SETTLE_S)
    broker.dead[NodeId(3)] = None
    later = only(client, fetch(0, "east"))

    assert [len(data.records) for data in (back, later)] == [3, 3]
    assert back.preferred_read_replica == later.preferred_read_replica == NOWHERE


@pytest.mark.parametrize("rack", ["west", "nowhere", ""])
def test_a_leader_serves_a_reader_whom_nobody_else_is_nearer_to(
    client, fetch, flights, settled, rack
):
    data = only(client, fetch(0, rack))

    assert (data.preferred_read_replica, len(data.records)) == (NOWHERE, 3)


def test_a_follower_that_is_behind_is_not_named(client, fetch, flights, settled, broker):
    broker.behind_rows[flights.group] = (NodeId(3),)

    data = only(client, fetch(0, "east"))

    assert (data.preferred_read_replica, len(data.records)) == (NOWHERE, 3)


def test_a_follower_that_does_not_answer_is_not_named(client, fetch, flights, settled, broker):
    broker.dead[NodeId(3)] = None

    data = only(client, fetch(0, "east"))

    assert (data.preferred_read_replica, len(data.records)) == (NOWHERE, 3)


@pytest.mark.asyncio
async def test_an_offset_past_the_end_is_judged_before_anybody_is_sent_away(
    client, fetch, flights, settled, settle
):
    call = fetch(7, "east")
    await settle(lambda: client.has_answered(call))

    data = only(client, call)
    assert (data.error_code, data.preferred_read_replica) == (
        ErrorCode.OFFSET_OUT_OF_RANGE,
        NOWHERE,
    )


def test_a_session_tells_where_to_read_even_without_other_news(client, fetch, flights, settled):
    opened = client.answer_of(fetch(6, "west", max_wait_ms=0, session_epoch=0))

    moved = fetch(6, "east", session_id=opened.session_id, session_epoch=1)

    assert only(client, moved).preferred_read_replica == 3


@pytest.fixture
def follower(flights):
    """This node's replica, led by node 2."""
    flights.depose(leader=NodeId(2))
    return flights


def test_a_follower_serves_readers_of_its_rack(client, fetch, follower):
    data = only(client, fetch(0, "west"))

    assert (data.error_code, len(data.records)) == (ErrorCode.NONE, 3)
    assert (data.high_watermark, data.preferred_read_replica) == (6, NOWHERE)


@pytest.mark.parametrize(("rack", "version"), [("east", 11), ("", 11), ("west", 10)])
def test_a_follower_serves_nobody_else(client, fetch, follower, rack, version):
    data = only(client, fetch(0, rack, version=version))

    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_follower_returns_only_what_it_knows_to_be_committed(client, fetch, follower):
    follower.high_watermark = Offset(3)

    data = only(client, fetch(0, "west"))

    assert (len(data.records), data.high_watermark) == (2, 3)


def test_a_reader_waits_at_a_follower_for_what_is_committed_next(
    client, fetch, follower, clock, batch
):
    call = fetch(6, "west")
    assert not client.has_answered(call)

    follower.is_leader = True  # the double appends as leaders do
    follower.append(memoryview(batch(2)), acks=0)
    follower.is_leader = False
    follower.notify()
    clock.turn()

    assert len(only(client, call).records) == 1


def test_a_reader_that_is_further_than_a_follower_waits_and_is_sent_back(
    client, fetch, follower, clock
):
    call = fetch(9, "west")
    assert not client.has_answered(call)

    clock.advance(0.6)

    assert only(client, call).error_code == ErrorCode.OFFSET_NOT_AVAILABLE


def test_a_follower_that_loses_its_leader_serves_nobody(client, fetch, follower, clock):
    call = fetch(6, "west")

    follower.depose(leader=None)
    clock.turn()

    assert only(client, call).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_follower_says_that_events_are_gone(client, fetch, follower):
    follower.log_start = Offset(3)

    assert only(client, fetch(2, "west")).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("epoch", "code"),
    [
        (1, ErrorCode.FENCED_LEADER_EPOCH),
        (2, ErrorCode.NONE),
        (3, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ],
)
def test_a_follower_checks_the_readers_epoch(client, fetch, follower, epoch, code):
    assert only(client, fetch(0, "west", epoch=epoch)).error_code == code
