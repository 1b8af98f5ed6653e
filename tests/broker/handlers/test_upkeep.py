"""DeleteRecords, DescribeLogDirs, DescribeProducers, DescribeTopicPartitions, ElectLeaders."""

import pytest

from trimaran.dedup.producers import KnownProducer
from trimaran.errors import ErrorCode
from trimaran.ids import NodeId
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey


@pytest.fixture
def flights(broker):
    """Return a partition with six events."""
    broker.add_topic("flights", 2)
    partition = broker.partition("flights", 0)
    partition.fill(1, 2, 3)
    return partition


def deletion(*places, timeout_ms=1000):
    return m.DeleteRecordsRequest(
        topics=[
            m.DeleteRecordsTopic(
                name=topic,
                partitions=[m.DeleteRecordsPartition(partition_index=number, offset=offset)],
            )
            for topic, number, offset in places
        ],
        timeout_ms=timeout_ms,
    )


def outcomes(answer):
    return [
        (row.low_watermark, row.error_code) for topic in answer.topics for row in topic.partitions
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("offset", "outcome"),
    [
        (2, (2, 0)),
        (-1, (6, 0)),
        (0, (0, 0)),
        (6, (6, 0)),
        (7, (-1, ErrorCode.OFFSET_OUT_OF_RANGE)),
        (-2, (-1, ErrorCode.OFFSET_OUT_OF_RANGE)),
    ],
)
async def test_a_partition_begins_where_it_is_told_to(client, flights, offset, outcome):
    answer = await client.ask_slowly(ApiKey.DELETE_RECORDS, 2, deletion(("flights", 0, offset)))

    assert outcomes(answer) == [outcome]


@pytest.mark.asyncio
async def test_deletions_fail_one_by_one(broker, client, flights):
    broker.partition("flights", 1).depose(leader=NodeId(2))
    request = deletion(("flights", 0, 1), ("flights", 1, 0), ("nowhere", 0, 0))

    answer = await client.ask_slowly(ApiKey.DELETE_RECORDS, 0, request)

    assert outcomes(answer) == [
        (1, 0),
        (-1, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (-1, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("compact", (-1, ErrorCode.POLICY_VIOLATION)),
        ("compact,delete", (1, 0)),
        ("", (1, 0)),
    ],
)
async def test_a_topic_that_only_compacts_begins_where_it_did(broker, client, policy, outcome):
    broker.add_topic("ledger", cleanup_policy=policy)
    broker.partition("ledger", 0).fill(3)

    answer = await client.ask_slowly(ApiKey.DELETE_RECORDS, 0, deletion(("ledger", 0, 1)))

    assert outcomes(answer) == [outcome]


@pytest.mark.asyncio
async def test_a_deletion_is_answered_when_it_is_committed(client, clock, flights, settle):
    flights.auto_commit = False
    call = client.send(ApiKey.DELETE_RECORDS, 2, deletion(("flights", 0, 2)))
    late = client.send(ApiKey.DELETE_RECORDS, 2, deletion(("flights", 0, 3), timeout_ms=10))
    await settle()
    assert not client.has_answered(call)

    clock.advance(0.02)
    await settle(lambda: client.has_answered(late))
    flights.finish_deletions()
    await settle(lambda: client.has_answered(call))

    assert outcomes(client.answer_of(late)) == [(-1, ErrorCode.REQUEST_TIMED_OUT)]
    assert outcomes(client.answer_of(call)) == [(3, 0)]


def test_a_node_tells_what_its_replicas_take(broker, client, flights):
    flights.size_bytes = 77
    broker.add_topic("elsewhere", replicas=(2, 3))

    answer = client.ask(ApiKey.DESCRIBE_LOG_DIRS, 4, m.DescribeLogDirsRequest())

    (result,) = answer.results
    assert result.usable_bytes == 123
    assert [
        (topic.name, [(row.partition_index, row.partition_size) for row in topic.partitions])
        for topic in result.topics
    ] == [("flights", [(0, 77), (1, 0)])]


def test_only_the_replicas_asked_for_are_told(client, flights):
    named = [
        m.DescribableLogDirTopic(topic="flights", partitions=[1, 1, 8]),
        m.DescribableLogDirTopic(topic="nowhere", partitions=[0]),
    ]

    answer = client.ask(ApiKey.DESCRIBE_LOG_DIRS, 1, m.DescribeLogDirsRequest(topics=named))

    (topic,) = answer.results[0].topics
    assert [row.partition_index for row in topic.partitions] == [1]


def test_producers_are_told_by_the_leader(broker, client, flights):
    flights.producers = [KnownProducer(1000, 3, 41, 5_000)]
    broker.partition("flights", 1).depose(leader=NodeId(2))
    named = [m.DescribeProducersTopic(name="flights", partition_indexes=[0, 1])]

    answer = client.ask(ApiKey.DESCRIBE_PRODUCERS, 0, m.DescribeProducersRequest(topics=named))

    known, unknown = answer.topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch) == (1000, 3)
    assert (producer.last_sequence, producer.last_timestamp) == (41, 5_000)
    assert unknown.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_producers_of_a_topic_that_cannot_be_are_refused_by_its_name(client):
    named = [m.DescribeProducersTopic(name=name, partition_indexes=[0]) for name in ("a b", "none")]

    answer = client.ask(ApiKey.DESCRIBE_PRODUCERS, 0, m.DescribeProducersRequest(topics=named))

    assert [topic.partitions[0].error_code for topic in answer.topics] == [
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]


def page(client, limit=2_000, cursor=None, names=()):
    request = m.DescribeTopicPartitionsRequest(
        topics=[m.DescribedTopicName(name=name) for name in names],
        response_partition_limit=limit,
        cursor=cursor and m.TopicPartitionsCursor(topic_name=cursor[0], partition_index=cursor[1]),
    )
    answer = client.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, request)
    rows = [(t.name, [p.partition_index for p in t.partitions]) for t in answer.topics]
    following = answer.next_cursor
    return rows, following and (following.topic_name, following.partition_index)


def test_topics_come_page_by_page(broker, client):
    for name, count in [("a", 2), ("b", 3), ("c", 1)]:
        broker.add_topic(name, count)

    assert page(client) == ([("a", [0, 1]), ("b", [0, 1, 2]), ("c", [0])], None)
    assert page(client, 3) == ([("a", [0, 1]), ("b", [0])], ("b", 1))
    assert page(client, 3, ("b", 1)) == ([("b", [1, 2]), ("c", [0])], None)
    assert page(client, 2) == ([("a", [0, 1])], ("b", 0))
    assert page(client, 2, ("aa", 5)) == ([("b", [0, 1])], ("b", 2))


def test_a_page_begins_with_a_topic_of_the_request(broker, client):
    for name in ("a", "b", "c"):
        broker.add_topic(name)

    def answer(cursor, *names):
        request = m.DescribeTopicPartitionsRequest(
            topics=[m.DescribedTopicName(name=name) for name in names],
            cursor=m.TopicPartitionsCursor(topic_name=cursor, partition_index=0),
        )
        return client.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, request)

    refused = answer("b", "a", "c")
    assert [topic.error_code for topic in refused.topics] == [ErrorCode.INVALID_REQUEST] * 2
    assert [topic.name for topic in answer("b", "a", "b", "c").topics] == ["b", "c"]


def test_an_unknown_topic_is_named(broker, client):
    broker.add_topic("a")
    request = m.DescribeTopicPartitionsRequest(
        topics=[m.DescribedTopicName(name=name) for name in ("z", "a", "a b")]
    )

    answer = client.ask(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, request)

    assert [(topic.name, topic.error_code) for topic in answer.topics] == [
        ("a", 0),
        ("a b", ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("z", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]


def election(*places, election_type=0, timeout_ms=1000):
    topics = [m.ElectLeadersTopic(topic=topic, partitions=[number]) for topic, number in places]
    return m.ElectLeadersRequest(
        election_type=election_type,
        topic_partitions=topics if places else None,
        timeout_ms=timeout_ms,
    )


def codes(answer):
    return [
        row.error_code
        for topic in answer.replica_election_results
        for row in topic.partition_result
    ]


@pytest.mark.asyncio
async def test_a_partition_goes_back_to_its_preferred_leader(broker, client, flights, settle):
    group = flights.group
    broker.set_leader(group, NodeId(2), 2)
    call = client.send(ApiKey.ELECT_LEADERS, 2, election(("flights", 0)))
    await settle()
    assert broker.handed_over == [(group, 1)]

    broker.set_leader(group, NodeId(1), 3)
    await settle(lambda: client.has_answered(call))

    assert codes(client.answer_of(call)) == [0]


@pytest.mark.asyncio
async def test_an_election_that_does_not_end_is_told_in_time(
    broker, client, clock, flights, settle
):
    broker.set_leader(flights.group, NodeId(2), 2)
    call = client.send(ApiKey.ELECT_LEADERS, 1, election(("flights", 0), timeout_ms=1500))
    await settle()
    for _ in range(3):
        clock.advance(1.0)
        await settle()

    assert codes(client.answer_of(call)) == [ErrorCode.REQUEST_TIMED_OUT]
    assert broker.handed_over == [(flights.group, 1)] * 2, "asked again while there is time"


@pytest.mark.asyncio
async def test_elections_that_cannot_be_are_told_at_once(broker, client, flights):
    broker.add_topic("theirs", replicas=(3, 1, 2))
    broker.set_leader(broker.partition("theirs", 0).group, NodeId(1), 2)
    broker.dead[3] = None
    places = [("flights", 0), ("theirs", 0), ("nowhere", 0)]

    answer = await client.ask_slowly(ApiKey.ELECT_LEADERS, 2, election(*places))

    assert codes(answer) == [
        ErrorCode.ELECTION_NOT_NEEDED,
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]


@pytest.mark.asyncio
async def test_all_partitions_leave_out_those_that_need_nothing(client, flights):
    answer = await client.ask_slowly(ApiKey.ELECT_LEADERS, 2, election())

    assert codes(answer) == []


@pytest.mark.asyncio
async def test_a_replica_that_lacks_events_is_never_elected(broker, client, flights):
    broker.set_leader(flights.group, None, 2)
    request = election(("flights", 0), ("flights", 1), election_type=1)

    answer = await client.ask_slowly(ApiKey.ELECT_LEADERS, 1, request)

    assert codes(answer) == [
        ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ErrorCode.ELECTION_NOT_NEEDED,
    ]


@pytest.mark.asyncio
async def test_an_election_of_another_type_is_refused(client, flights):
    answer = await client.ask_slowly(
        ApiKey.ELECT_LEADERS, 2, election(("flights", 0), election_type=2)
    )

    assert answer.error_code == ErrorCode.INVALID_REQUEST
    assert codes(answer) == [ErrorCode.INVALID_REQUEST]
