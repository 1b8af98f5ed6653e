import pytest

from trimaran.broker.calls import NODE_CLIENT_ID
from trimaran.errors import CorruptionError, ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    FetchableTopicResponse,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    LeaderIdAndEpoch,
    NodeEndpoint,
)

MEGABYTE = 1 << 20
BATCH_OF_ONE = 61 + 10


@pytest.fixture
def fetch(client):
    """Return a function that sends a Fetch of (topic, partition, offset) places."""

    def send(*places, version=11, bytes_max=MEGABYTE, epoch=-1, sent_by="tester", **fields):
        topics = [
            FetchTopic(
                topic if isinstance(topic, str) else "",
                topic if isinstance(topic, bytes) else TopicId(bytes(16)),
                [FetchPartition(number, offset, bytes_max, current_leader_epoch=epoch)],
            )
            for topic, number, offset in places
        ]
        limits = {"max_wait_ms": 500, "min_bytes": 1, "max_bytes": 50 * MEGABYTE, **fields}
        return client.send(
            ApiKey.FETCH, version, FetchRequest(topics=topics, **limits), client_id=sent_by
        )

    return send


@pytest.fixture
def flights(broker):
    """Return a partition with batches of 1, 2 and 3 events."""
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.fill(1, 2, 3)
    return partition


def partitions(client, call):
    return [data for topic in client.answer_of(call).responses for data in topic.partitions]


def only(client, call):
    (data,) = partitions(client, call)
    return data


def sizes(client, call):
    return [sum(len(batch) for batch in data.records) for data in partitions(client, call)]


def test_committed_batches_come_with_the_marks_of_the_partition(client, fetch, flights):
    data = only(client, fetch(("flights", 0, 0)))

    assert b"".join(data.records) == b"".join(stored for _, _, stored in flights.batches)
    assert (data.error_code, data.high_watermark, data.last_stable_offset) == (0, 6, 6)
    assert data.log_start_offset == 0


def test_what_a_node_reads_for_its_pages_is_not_counted_as_read_by_clients(client, fetch, flights):
    only(client, fetch(("flights", 0, 0), sent_by=NODE_CLIENT_ID))
    assert flights.counts.read_events == 0
    only(client, fetch(("flights", 0, 0)))
    assert flights.counts.read_events == 6


def test_a_fetch_inside_a_batch_gets_the_whole_batch(client, fetch, flights):
    data = only(client, fetch(("flights", 0, 2)))

    assert b"".join(data.records) == flights.batches[1][2] + flights.batches[2][2]


def test_nothing_above_the_high_watermark_is_returned(client, fetch, flights, batch):
    flights.auto_commit = False
    flights.append(memoryview(batch(5)), acks=-1)

    data = only(client, fetch(("flights", 0, 3)))

    assert data.high_watermark == 6
    assert b"".join(data.records) == flights.batches[2][2]


def test_a_fetch_at_the_end_waits_for_the_next_batch(client, fetch, flights, clock):
    call = fetch(("flights", 0, 6))
    assert not client.has_answered(call)

    flights.fill(1)
    clock.turn()

    assert b"".join(only(client, call).records) == flights.batches[3][2]
    assert flights.watchers == {}
    assert len(client.deadlines) == 0


def test_a_fetch_answers_with_nothing_when_its_time_is_over(client, fetch, flights, clock):
    call = fetch(("flights", 0, 6), max_wait_ms=500)
    clock.advance(0.499)
    assert not client.has_answered(call)

    clock.advance(0.002)

    assert only(client, call).records == []
    assert only(client, call).error_code == ErrorCode.NONE
    assert flights.watchers == {}


def test_max_wait_0_answers_at_once(client, fetch, flights):
    call = fetch(("flights", 0, 6), max_wait_ms=0)

    assert only(client, call).records == []


def test_min_bytes_0_answers_at_once(client, fetch, flights):
    call = fetch(("flights", 0, 6), min_bytes=0)

    assert only(client, call).records == []


def test_min_bytes_are_gathered_over_several_commits_without_reading_twice(
    client, fetch, flights, clock
):
    call = fetch(("flights", 0, 6), min_bytes=3 * BATCH_OF_ONE)
    reads = flights.read_count
    for _ in range(2):
        flights.fill(1)
        clock.turn()
        assert not client.has_answered(call)

    flights.fill(1)
    clock.turn()

    assert sizes(client, call) == [3 * BATCH_OF_ONE]
    assert flights.read_count == reads + 3


def test_min_bytes_above_max_bytes_does_not_wait_for_what_cannot_come(client, fetch, flights):
    call = fetch(("flights", 0, 0), min_bytes=50 * MEGABYTE, max_bytes=BATCH_OF_ONE)

    assert sizes(client, call) == [BATCH_OF_ONE]


def test_what_was_gathered_is_returned_when_the_time_is_over(client, fetch, flights, clock):
    call = fetch(("flights", 0, 0), min_bytes=MEGABYTE)

    clock.advance(0.6)

    assert sizes(client, call) == [sum(len(stored) for _, _, stored in flights.batches)]


def test_many_commits_in_one_turn_are_one_look(broker, client, fetch, clock):
    for name in ("a", "b", "c"):
        broker.add_topic(name)
    call = fetch(("a", 0, 0), ("b", 0, 0), ("c", 0, 0))

    for name in ("a", "b", "c"):
        broker.partition(name, 0).fill(1)
    assert not client.has_answered(call)
    clock.turn()

    assert sizes(client, call) == [BATCH_OF_ONE] * 3


def test_partitions_are_served_in_the_order_of_the_request(broker, client, fetch):
    for name in ("a", "b"):
        broker.add_topic(name)
        broker.partition(name, 0).fill(1, 1)

    call = fetch(("b", 0, 0), ("a", 0, 0), max_bytes=3 * BATCH_OF_ONE)

    assert [topic.topic for topic in client.answer_of(call).responses] == ["b", "a"]
    assert sizes(client, call) == [2 * BATCH_OF_ONE, BATCH_OF_ONE]


def test_the_first_batch_is_whole_above_every_limit(broker, client, fetch):
    broker.add_topic("big")
    broker.partition("big", 0).fill(1, size=5000)

    call = fetch(("big", 0, 0), bytes_max=1, max_bytes=1)

    assert sizes(client, call) == [5061]


def test_only_the_first_batch_of_all_may_exceed_limits(broker, client, fetch):
    for name in ("a", "b"):
        broker.add_topic(name)
        broker.partition(name, 0).fill(1, size=5000)

    call = fetch(("a", 0, 0), ("b", 0, 0), bytes_max=100)

    assert sizes(client, call) == [5061, 0]
    assert partitions(client, call)[1].high_watermark == 1


def test_an_empty_first_partition_passes_the_exception_on(broker, client, fetch):
    for name in ("a", "b"):
        broker.add_topic(name)
    broker.partition("b", 0).fill(1, size=5000)

    call = fetch(("a", 0, 0), ("b", 0, 0), bytes_max=100)

    assert sizes(client, call) == [0, 5061]


def test_the_nodes_own_limit_bounds_an_answer(broker, client, fetch):
    broker.set(fetch_bytes_max=2 * BATCH_OF_ONE)
    broker.add_topic("a")
    broker.partition("a", 0).fill(1, 1, 1)

    call = fetch(("a", 0, 0), max_bytes=2**31 - 1)

    assert sizes(client, call) == [2 * BATCH_OF_ONE]


@pytest.mark.parametrize("offset", [0, 6])
def test_a_new_leaders_readers_wait_for_the_first_commit_of_its_term(
    client, fetch, flights, clock, offset
):
    flights.leader_ready = False

    call = fetch(("flights", 0, offset), min_bytes=0 if offset else 1)
    waited = not client.has_answered(call)
    flights.leader_ready = True
    flights.fill(1)
    clock.turn()

    data = only(client, call)
    assert waited == (offset == 0)
    assert data.error_code == (ErrorCode.NONE if waited else ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert data.high_watermark == (7 if waited else -1)


@pytest.mark.parametrize("offset", [6, 8, 11])
def test_an_offset_that_is_not_known_committed_waits(client, fetch, flights, batch, clock, offset):
    flights.auto_commit = False
    flights.append(memoryview(batch(5)), acks=-1)

    call = fetch(("flights", 0, offset))
    assert not client.has_answered(call)
    clock.advance(0.6)

    assert only(client, call).error_code == ErrorCode.NONE


def test_errors_of_one_partition_answer_at_once(client, fetch, flights):
    call = fetch(("flights", 0, 6), ("unknown", 0, 0))

    codes = [data.error_code for data in partitions(client, call)]
    assert codes == [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


@pytest.mark.parametrize("version", [11, 12, 16])
def test_a_follower_names_the_leader(client, fetch, flights, version):
    flights.depose(leader=NodeId(2))

    call = fetch(("flights", 0, 0), version=version if version < 13 else 12)
    data = only(client, call)

    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert data.current_leader == (LeaderIdAndEpoch(2, 2) if version >= 12 else None)


def test_the_leaders_address_comes_along(client, fetch, flights):
    flights.depose(leader=NodeId(2))

    call = fetch((flights.topic_id, 0, 0), version=16)

    assert client.answer_of(call).node_endpoints == [
        NodeEndpoint(node_id=2, host="host2", port=9093)
    ]


def test_a_waiting_fetch_learns_of_a_planned_move_at_once(client, fetch, flights, clock):
    call = fetch(("flights", 0, 6), version=12)

    flights.depose(leader=NodeId(3))
    clock.turn()

    data = only(client, call)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert data.current_leader == LeaderIdAndEpoch(3, 2)


def test_a_fetch_waits_for_the_successor_of_a_leader_just_lost(client, fetch, flights, clock):
    flights.depose(leader=None, lost_at=clock.now_s)
    call = fetch(("flights", 0, 6), version=12)
    clock.advance(0.2)
    assert not client.has_answered(call)

    flights.depose(leader=NodeId(2))
    clock.turn()

    assert only(client, call).current_leader == LeaderIdAndEpoch(2, 3)


def test_a_replica_that_is_elected_serves_the_fetch_that_waited(client, fetch, flights, clock):
    flights.depose(leader=None, lost_at=clock.now_s)
    call = fetch(("flights", 0, 0))

    flights.is_leader = True
    flights.notify()
    clock.turn()

    assert len(only(client, call).records) == 3


def test_a_successor_that_does_not_come_is_an_error(client, fetch, flights, clock):
    flights.depose(leader=None, lost_at=clock.now_s)
    call = fetch(("flights", 0, 6), max_wait_ms=5000)

    clock.advance(0.41)

    data = only(client, call)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert data.current_leader is None


def test_a_fetch_whose_time_is_over_before_the_election_hears_of_no_watermark(
    client, fetch, flights, clock
):
    flights.depose(leader=None, lost_at=clock.now_s)
    call = fetch(("flights", 0, 6), max_wait_ms=100)

    clock.advance(0.11)

    data = only(client, call)
    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert data.high_watermark == -1


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (-1, ErrorCode.NONE),
        (0, ErrorCode.NONE),
        (4, ErrorCode.FENCED_LEADER_EPOCH),
        (5, ErrorCode.NONE),
        (6, ErrorCode.UNKNOWN_LEADER_EPOCH),
    ],
)
def test_the_leader_checks_the_clients_epoch(client, fetch, flights, asked, code):
    flights.leader_epoch = 5

    assert only(client, fetch(("flights", 0, 0), epoch=asked)).error_code == code


@pytest.mark.parametrize(
    ("asked", "code"),
    [(5, ErrorCode.NOT_LEADER_OR_FOLLOWER), (7, ErrorCode.UNKNOWN_LEADER_EPOCH)],
)
def test_a_former_leader_says_it_is_none_unless_the_client_knows_more(
    client, fetch, flights, asked, code
):
    flights.leader_epoch = 5
    flights.depose(leader=NodeId(2))

    assert only(client, fetch(("flights", 0, 0), epoch=asked)).error_code == code


def test_topics_are_named_by_id_from_version_13_on(broker, client, fetch, flights):
    call = fetch((flights.topic_id, 0, 0), version=13)

    assert client.answer_of(call).responses[0].topic_id == flights.topic_id
    assert len(only(client, call).records) == 3


@pytest.mark.parametrize("topic_id", [bytes(16), b"x" * 16])
def test_an_unknown_topic_id_is_named_as_such(client, fetch, flights, topic_id):
    data = only(client, fetch((topic_id, 0, 0), version=13))

    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_an_unknown_partition_of_a_known_id_is_unknown(client, fetch, flights):
    data = only(client, fetch((flights.topic_id, 9, 0), version=13))

    assert data.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_partition_that_others_hold_names_its_leader(broker, client, fetch):
    broker.add_topic("elsewhere", replicas=(2, 3))

    data = only(client, fetch(("elsewhere", 0, 0), version=12))

    assert data.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert data.current_leader == LeaderIdAndEpoch(2, 1)


@pytest.mark.parametrize("session", [(7, 1), (0, 1), (7, 12)])
def test_a_session_that_nobody_opened_is_unknown(client, fetch, flights, session):
    call = fetch(("flights", 0, 0), session_id=session[0], session_epoch=session[1])

    assert client.answer_of(call) == FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)


def test_a_full_request_without_epoch_opens_no_session(broker, client, fetch, flights):
    call = fetch(("flights", 0, 0), session_epoch=-1)

    assert client.answer_of(call).session_id == 0
    assert len(only(client, call).records) == 3
    assert len(broker.fetch_sessions) == 0


def test_a_fetch_of_nothing_answers_at_once(client, fetch):
    assert client.answer_of(fetch()) == FetchResponse([], node_endpoints=[])


def test_exactly_the_asked_partitions_are_answered(broker, client):
    broker.add_topic("a", 3)
    asked = [FetchPartition(number, 0, MEGABYTE) for number in (2, 0)]
    request = FetchRequest(0, 1, [FetchTopic("a", TopicId(bytes(16)), asked)])

    response = client.ask(ApiKey.FETCH, 11, request)

    assert isinstance(response.responses[0], FetchableTopicResponse)
    assert [data.partition_index for data in response.responses[0].partitions] == [2, 0]


def test_an_answer_ready_behind_a_waiting_fetch_ends_its_wait(client, fetch, flights):
    call = fetch(("flights", 0, 6))

    call.block()

    assert only(client, call).records == []
    assert flights.watchers == {}


def test_a_fetch_whose_connection_is_gone_lets_go_of_everything(client, fetch, flights, clock):
    call = fetch(("flights", 0, 6))

    call.drop()
    flights.fill(1)
    clock.advance(1)

    assert client.finished == []
    assert flights.watchers == {}
    assert len(client.deadlines) == 0


@pytest.mark.asyncio
async def test_batches_read_from_segments_are_waited_for(client, fetch, flights, settle):
    flights.reads_are_futures = True
    call = fetch(("flights", 0, 0))
    assert not client.has_answered(call)

    flights.finish_read()
    await settle(lambda: client.has_answered(call))

    assert len(only(client, call).records) == 3


@pytest.mark.asyncio
async def test_segment_reads_of_one_request_go_one_after_the_other(broker, client, fetch, settle):
    for name in ("a", "b"):
        broker.add_topic(name)
        broker.partition(name, 0).fill(1)
        broker.partition(name, 0).reads_are_futures = True
    call = fetch(("a", 0, 0), ("b", 0, 0))
    assert broker.partition("b", 0).read_futures == []

    broker.partition("a", 0).finish_read()
    await settle(lambda: broker.partition("b", 0).read_futures)
    broker.partition("b", 0).finish_read()
    await settle(lambda: client.has_answered(call))

    assert sizes(client, call) == [BATCH_OF_ONE, BATCH_OF_ONE]


@pytest.mark.asyncio
async def test_time_over_during_a_segment_read_answers_with_what_it_finds(
    client, fetch, flights, settle, clock
):
    flights.reads_are_futures = True
    call = fetch(("flights", 0, 0), max_wait_ms=10)
    clock.advance(1)
    assert not client.has_answered(call)

    flights.finish_read()
    await settle(lambda: client.has_answered(call))

    assert len(only(client, call).records) == 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, "gone"), ErrorCode.OFFSET_OUT_OF_RANGE),
        (CorruptionError("segment", 7, "bad row"), ErrorCode.KAFKA_STORAGE_ERROR),
    ],
)
async def test_a_failed_segment_read_is_the_partitions_error(
    client, fetch, flights, settle, error, code
):
    flights.reads_are_futures = True
    call = fetch(("flights", 0, 0))

    flights.finish_read(error)
    await settle(lambda: client.has_answered(call))

    assert only(client, call).error_code == code


@pytest.mark.asyncio
async def test_an_unexpected_error_of_a_segment_read_closes_the_connection(
    client, fetch, flights, settle, caplog
):
    flights.reads_are_futures = True
    call = fetch(("flights", 0, 0))

    flights.finish_read(ZeroDivisionError("of all things"))
    await settle(lambda: client.closed)

    assert client.closed == ["internal error"]
    assert "of all things" in caplog.text
    assert not client.has_answered(call)


@pytest.mark.asyncio
async def test_a_segment_read_that_ends_after_the_client_left_is_forgotten(
    client, fetch, flights, settle
):
    flights.reads_are_futures = True
    call = fetch(("flights", 0, 0))
    call.drop()

    flights.finish_read()
    await settle()

    assert client.finished == []


@pytest.mark.asyncio
async def test_a_wake_during_a_segment_read_is_not_lost(broker, client, fetch, settle, clock):
    for name in ("a", "b"):
        broker.add_topic(name)
    first, second = broker.partition("a", 0), broker.partition("b", 0)
    call = fetch(("a", 0, 0), ("b", 0, 0), min_bytes=2 * BATCH_OF_ONE)
    second.reads_are_futures = True
    second.fill(1)
    clock.turn()

    first.fill(1)
    second.finish_read()
    await settle()
    clock.turn()

    assert sizes(client, call) == [BATCH_OF_ONE, BATCH_OF_ONE]


@pytest.mark.parametrize("version", [4, 6])
def test_an_error_of_the_whole_request_is_in_every_partition_before_version_7(
    client, fetch, flights, version
):
    call = fetch(("flights", 0, 0), version=version, session_epoch=3)

    assert only(client, call).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
