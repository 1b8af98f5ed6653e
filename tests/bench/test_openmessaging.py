"""Workload files of the OpenMessaging Benchmark, as they are published and damaged."""

from pathlib import Path

import pytest

from trimaran.bench.errors import BenchError
from trimaran.bench.openmessaging import read_workload

HUNDRED_PARTITIONS = """\
# As in workloads/1-topic-100-partitions-1kb-4p-4c-200k.yaml, licence header and all.
name: 1 topic / 100 partition / 1Kb / 4p / 4c / 200k
topics: 1
partitionsPerTopic: 100
messageSize: 1024
useRandomizedPayloads: true
randomBytesRatio: 0.5
randomizedPayloadPoolSize: 1000
subscriptionsPerTopic: 1
consumerPerSubscription: 4
producersPerTopic: 4
producerRate: 200000
consumerBacklogSizeGB: 0
testDurationMinutes: 5
"""
MANY_TOPICS = """\
name: 1m-10-topics-3-partitions-100b
topics: 10
partitionsPerTopic: 3
messageSize: 100
payloadFile: "payload/payload-100b.data"
subscriptionsPerTopic: 1
consumerPerSubscription: 1
producersPerTopic: 1
keyDistributor: "KEY_ROUND_ROBIN"
producerRate: 1000000
consumerBacklogSizeGB: 0
testDurationMinutes: 15
warmupDurationMinutes: 2
"""


def read(tmp_path, text, *, seconds=None, warm_up_s=None):
    path = tmp_path / "workloads" / "one.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return read_workload(path, seconds=seconds, warm_up_s=warm_up_s)


def test_published_file_gives_its_load(tmp_path: Path) -> None:
    plan = read(tmp_path, HUNDRED_PARTITIONS)

    assert plan.scenario == "1 topic / 100 partition / 1Kb / 4p / 4c / 200k"
    assert (plan.topics, plan.partitions, plan.producers, plan.consumers) == (1, 100, 4, 4)
    assert (plan.load, plan.rate, plan.event_bytes, plan.keys) == ("paced", 200_000, 1_024, "none")
    assert (plan.seconds, plan.warm_up_s) == (300, 60)


def test_producers_and_consumers_are_counted_for_each_topic(tmp_path: Path) -> None:
    plan = read(tmp_path, MANY_TOPICS)

    assert (plan.topics, plan.partitions, plan.producers, plan.consumers) == (10, 3, 10, 10)
    assert plan.keys == "round_robin"
    assert plan.warm_up_s == 120


def test_payload_file_that_is_there_says_the_size(tmp_path: Path) -> None:
    (tmp_path / "payload").mkdir()
    (tmp_path / "payload" / "payload-100b.data").write_bytes(bytes(77))

    assert read(tmp_path, MANY_TOPICS).event_bytes == 77


@pytest.mark.parametrize("rate", ["0", "10000000"])
def test_no_rate_or_the_highest_means_as_fast_as_it_goes(tmp_path: Path, rate: str) -> None:
    plan = read(tmp_path, HUNDRED_PARTITIONS.replace("200000", rate))

    assert (plan.load, plan.rate) == ("at_most", None)


def test_command_line_shortens_the_run(tmp_path: Path) -> None:
    plan = read(tmp_path, HUNDRED_PARTITIONS, seconds=3, warm_up_s=1)

    assert (plan.seconds, plan.warm_up_s) == (3, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("topics: [", "not a workload file"),
        ("just words", "expected the fields"),
        (HUNDRED_PARTITIONS + "tpoics: 2\n", "unknown field 'tpoics'"),
        (HUNDRED_PARTITIONS.replace("Topic: 100", "Topic: 0"), "partitionsPerTopic"),
        (HUNDRED_PARTITIONS.replace("messageSize: 1024", ""), "messageSize"),
        (HUNDRED_PARTITIONS.replace("200000", "fast"), "producerRate: expected a number"),
        (HUNDRED_PARTITIONS.replace("SizeGB: 0", "SizeGB: 100"), "W6"),
        (MANY_TOPICS.replace("KEY_ROUND_ROBIN", "BY_MOON"), "keyDistributor"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_its_field(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(BenchError, match=said) as caught:
        read(tmp_path, text)

    assert "\n" not in str(caught.value)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not a workload file"):
        read_workload(tmp_path / "none.yaml", seconds=None, warm_up_s=None)
