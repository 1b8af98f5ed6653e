"""What producers write, consumers of the same library read back: client by client."""

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
A_TIME_MS = 1_700_000_000_000
WANTED = ("key", "value", "headers")


def contents(records):
    return [tuple(one[name] for name in WANTED) for one in records]


@pytest.mark.feature("compression: {codec}")
@pytest.mark.parametrize("codec", CODECS)
def test_records_of_each_codec_are_read_back(client, topic, codec):
    name = topic()
    sent = [{"key": f"k{n}", "value": f"value {n} " * 20, "partition": 0} for n in range(100)]

    placed = client.ask("produce", topic=name, records=sent, codec=codec)

    assert placed in (None, [[0, n] for n in range(100)])
    read = client.ask("consume", topic=name, partition=0, count=100)
    assert [one["offset"] for one in read] == list(range(100))
    assert contents(read) == [(one["key"], one["value"], []) for one in sent]


def in_order_by_name(headers):
    """Headers of one name in their order; kafkajs does not tell the order of the names."""
    return sorted(headers, key=lambda pair: pair[0])


@pytest.mark.feature("headers, an empty one and the same name twice")
def test_headers_are_read_back(client, topic):
    name = topic()
    headers = [["a", "1"], ["empty", ""], ["a", "2"]]
    client.ask("produce", topic=name, records=[{"key": "k", "value": "v", "headers": headers}])

    (read,) = client.ask("consume", topic=name, partition=0, count=1)

    assert in_order_by_name(read["headers"]) == in_order_by_name(headers)


@pytest.mark.feature("null keys and null values")
def test_null_is_not_empty(client, topic):
    name = topic()
    sent = [{"value": "no key"}, {"key": "no value", "value": None}]
    for one in sent:
        client.ask("produce", topic=name, records=[one])

    read = client.ask("consume", topic=name, partition=0, count=2)

    assert [(one["key"] or None, one["value"]) for one in read] == [
        (None, "no key"),
        ("no value", None),
    ]


@pytest.mark.feature("timestamps of the producer")
def test_timestamps_of_the_producer_are_kept(client, topic):
    name = topic()
    sent = [{"key": "k", "value": "v", "timestamp": A_TIME_MS + n} for n in range(3)]
    client.ask("produce", topic=name, records=sent)

    read = client.ask("consume", topic=name, partition=0, count=3)

    assert [one["timestamp"] for one in read] == [A_TIME_MS + n for n in range(3)]
    assert {one["timestamp_type"] for one in read} <= {"CreateTime", None}


@pytest.mark.feature("timestamps of the log")
def test_log_append_time_replaces_timestamps(client, topic):
    name = topic(message_timestamp_type="LogAppendTime")
    client.ask("produce", topic=name, records=[{"key": "k", "value": "v"}])

    (read,) = client.ask("consume", topic=name, partition=0, count=1)

    assert read["timestamp"] > A_TIME_MS
    assert read["timestamp_type"] in ("LogAppendTime", None)


@pytest.mark.feature("seek")
def test_reading_starts_where_it_is_asked_to(client, topic):
    name = topic()
    sent = [{"key": "k", "value": str(n), "partition": 0} for n in range(20)]
    client.ask("produce", topic=name, records=sent)

    read = client.ask("consume", topic=name, partition=0, count=5, offset=12)

    assert [one["value"] for one in read] == ["12", "13", "14", "15", "16"]


@pytest.mark.feature("first, next and timed offsets")
def test_offsets_are_found(client, admin, topic):
    name = topic()
    for n in range(4):
        record = {"key": "k", "value": "v", "timestamp": A_TIME_MS + 1_000 * n}
        admin.ask("produce", topic=name, records=[record])

    def offset(at):
        return client.ask("offset", topic=name, partition=0, at=at)

    assert (offset("earliest"), offset("latest")) == (0, 4)
    assert offset(A_TIME_MS + 1_500) == 2
    assert offset(A_TIME_MS + 1_000) == 1
    assert offset(A_TIME_MS + 60_000) in (None, 4)  # librdkafka turns "none" into the end


@pytest.mark.feature("idempotent producer")
def test_an_idempotent_producer_writes_in_order(client, topic):
    name = topic()
    for start in range(0, 300, 100):
        sent = [{"key": "k", "value": str(start + n), "partition": 0} for n in range(100)]
        client.ask("produce", topic=name, records=sent, idempotent=True)

    read = client.ask("consume", topic=name, partition=0, count=300)

    assert [one["value"] for one in read] == [str(n) for n in range(300)]


@pytest.mark.feature("events of 5 MB, where the topic allows them")
def test_large_events_pass(client, topic):
    name = topic(max_message_bytes="8000000")
    value = "0123456789" * 500_000
    client.ask("produce", topic=name, records=[{"key": "large", "value": value, "partition": 0}])

    (read,) = client.ask("consume", topic=name, partition=0, count=1)

    assert read["value"] == value


@pytest.mark.feature("MESSAGE_TOO_LARGE is understood")
def test_an_event_above_the_limit_is_refused_by_name(client, topic, refused):
    name = topic(max_message_bytes="100000")

    with pytest.raises(refused) as answer:
        client.ask("produce", topic=name, records=[{"key": "k", "value": "x" * 200_000}])

    assert answer.value.name == "MESSAGE_TOO_LARGE"
    assert client.ask("offset", topic=name, partition=0, at="latest") == 0


@pytest.mark.feature("OFFSET_OUT_OF_RANGE is understood")
def test_an_offset_past_the_end_is_refused_by_name(client, topic, refused):
    name = topic()
    client.ask("produce", topic=name, records=[{"key": "k", "value": "v", "partition": 0}])

    with pytest.raises(refused) as answer:
        client.ask("consume", topic=name, partition=0, count=1, offset=50)

    assert answer.value.name == "OFFSET_OUT_OF_RANGE"


@pytest.mark.feature("a leader killed while producing")
def test_nothing_is_lost_or_doubled_when_a_leader_dies(client, cluster, topic):
    name = topic()

    def produce(first):
        sent = [{"key": "k", "value": str(first + n), "partition": 0} for n in range(20)]
        client.ask("produce", topic=name, records=sent, idempotent=True)

    for first in range(0, 100, 20):
        produce(first)
    cluster.kill(cluster.leader(name, 0))
    for first in range(100, 300, 20):
        produce(first)

    read = client.ask("consume", topic=name, partition=0, count=300)
    assert [one["value"] for one in read] == [str(n) for n in range(300)]
