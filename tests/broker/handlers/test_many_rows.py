"""Requests of many rows: the loop turns between them, and there is an end to how many."""

import asyncio
from itertools import pairwise

import pytest

from trimaran.broker.rows import ROWS_AT_ONCE, ROWS_MAX, in_turns
from trimaran.errors import ErrorCode
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey

pytestmark = pytest.mark.asyncio

MANY = 3 * ROWS_AT_ONCE + 7


def epochs(count):
    rows = [m.OffsetForLeaderPartition(partition=one, leader_epoch=1) for one in range(count)]
    return m.OffsetForLeaderEpochRequest(
        topics=[m.OffsetForLeaderTopic(topic="flights", partitions=rows)]
    )


def offsets(count):
    rows = [m.ListOffsetsPartition(partition_index=one, timestamp=-1) for one in range(count)]
    return m.ListOffsetsRequest(topics=[m.ListOffsetsTopic(name="flights", partitions=rows)])


def deletions(count):
    rows = [m.DeleteRecordsPartition(partition_index=one, offset=0) for one in range(count)]
    return m.DeleteRecordsRequest(topics=[m.DeleteRecordsTopic(name="flights", partitions=rows)])


def reads(count):
    rows = [m.FetchPartition(one, 0, 100) for one in range(count)]
    topic = m.FetchTopic(topic="flights", partitions=rows)
    return m.FetchRequest(max_wait_ms=500, min_bytes=1, session_epoch=-1, topics=[topic])


def writes(count):
    rows = [m.PartitionProduceData(one, None) for one in range(count)]
    return m.ProduceRequest(None, -1, 1000, [m.TopicProduceData("flights", rows)])


def topics_named(count):
    names = [m.MetadataRequestTopic(name=f"t{one}") for one in range(count)]
    return m.MetadataRequest(topics=names, allow_auto_topic_creation=False)


def pages(count):
    return m.DescribeTopicPartitionsRequest(
        topics=[m.DescribedTopicName(name=f"t{one}") for one in range(count)]
    )


def settings(count):
    return m.DescribeConfigsRequest(
        resources=[
            m.DescribeConfigsResource(resource_type=2, resource_name=f"t{one}")
            for one in range(count)
        ]
    )


@pytest.mark.parametrize(
    ("key", "version", "request_of", "rows_of"),
    [
        (ApiKey.OFFSET_FOR_LEADER_EPOCH, 4, epochs, lambda row: row.partition),
        (ApiKey.LIST_OFFSETS, 7, offsets, lambda row: row.partition_index),
        (ApiKey.DELETE_RECORDS, 2, deletions, lambda row: row.partition_index),
        (ApiKey.FETCH, 12, reads, lambda row: row.partition_index),
    ],
)
async def test_the_loop_turns_between_the_rows_of_a_big_request(
    broker, client, settle, key, version, request_of, rows_of
):
    broker.add_topic("flights", 2)
    looked_for, find = [], broker.partition
    broker.partition = lambda topic, number: looked_for.append(number) or find(topic, number)
    call = client.send(key, version, request_of(MANY))

    steps = [len(looked_for)]
    for _ in range(MANY):
        await asyncio.sleep(0)
        steps.append(len(looked_for))

    assert max(b - a for a, b in pairwise(steps)) <= ROWS_AT_ONCE
    assert looked_for == list(range(MANY))
    answer = client.answer_of(call)
    (topic,) = answer.responses if key == ApiKey.FETCH else answer.topics
    assert [rows_of(row) for row in topic.partitions] == list(range(MANY))
    codes = [row.error_code for row in topic.partitions]
    assert codes == [0, 0] + [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION] * (MANY - 2)


@pytest.mark.parametrize(
    ("key", "version", "request_of", "codes_of"),
    [
        (
            ApiKey.PRODUCE,
            9,
            writes,
            lambda answer: [row.error_code for row in answer.responses[0].partition_responses],
        ),
        (ApiKey.FETCH, 12, reads, lambda answer: [answer.error_code]),
        (
            ApiKey.METADATA,
            12,
            topics_named,
            lambda answer: [row.error_code for row in answer.topics],
        ),
        (
            ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            0,
            pages,
            lambda answer: [row.error_code for row in answer.topics],
        ),
        (
            ApiKey.DESCRIBE_CONFIGS,
            4,
            settings,
            lambda answer: [row.error_code for row in answer.results],
        ),
    ],
)
async def test_more_rows_than_a_cluster_has_partitions_are_refused(
    broker, client, key, version, request_of, codes_of
):
    broker.partition = None

    answer = await client.ask_slowly(key, version, request_of(ROWS_MAX + 1))

    assert dict.fromkeys(codes_of(answer)) == {ErrorCode.INVALID_REQUEST: None}


async def test_a_reader_that_went_away_meanwhile_is_not_waited_for(broker, client, settle):
    broker.add_topic("flights", MANY)
    call = client.send(ApiKey.FETCH, 12, reads(MANY))
    await settle(turns=1)

    call.drop()
    await settle()

    assert not client.has_answered(call)
    assert broker.partition("flights", 0).watchers == {}


async def test_few_rows_need_no_turn():
    turns = []
    asyncio.get_running_loop().call_soon(turns.append, 1)

    rows = [row async for row in in_turns(range(ROWS_AT_ONCE - 1))]

    assert (rows, turns) == (list(range(ROWS_AT_ONCE - 1)), [])
