"""Appending through idempotent producers: sent again with the same bytes, or told what is known."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.errors import ErrorCode, ProtocolError, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.topology import Topic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    BatchIndexAndErrorMessage,
    PartitionProduceResponse,
    ProduceResponse,
    TopicProduceResponse,
)
from trimaran.records.batch import parse_header
from trimaran.records.iteration import Record
from trimaran.server.http.kafka.client import KafkaClient, NotSentError
from trimaran.server.http.kafka.publishing import (
    NothingStoredError,
    OutcomeUnknownError,
    Publisher,
)

TOPIC = Topic(name="t", topic_id=TopicId(bytes(16)), partitions=((NodeId(1),),), settings={})


class Leaders:
    """A cluster whose leader answers as the test says; a log that stores each sequence once."""

    def __init__(self, *script):
        self.script = list(script)
        self.sent = []
        self.log = {}
        self.leader = NodeId(1)

    def leader_hint(self, group):
        return self.leader, 1

    def wait_metadata(self, predicate, timeout_s):
        async def wait():
            await asyncio.sleep(0)
            return False

        return asyncio.ensure_future(wait())

    async def ask(self, node, key, message, *, lane, timeout_s):
        assert key is ApiKey.PRODUCE
        batch = bytes(message.topic_data[0].partition_data[0].records)
        header = parse_header(batch)
        name = (header.producer_id, header.base_sequence)
        self.sent.append(batch)
        step = self.script.pop(0) if self.script else "store"
        if step in ("store", "store, then break", "store, then garbage"):
            self.log.setdefault(name, len(self.log))
        if isinstance(step, ErrorCode):
            return answer(step)
        if step == "not sent":
            raise NotSentError("refused")
        if step in ("break", "store, then break"):
            raise ConnectionResetError("broken")
        if step == "store, then garbage":
            raise ProtocolError("no answer")
        return answer(ErrorCode.NONE, self.log[name])


def answer(code, base_offset=-1, records=()):
    rows = [
        PartitionProduceResponse(
            index=0, error_code=code, base_offset=base_offset, record_errors=records
        )
    ]
    return ProduceResponse(responses=[TopicProduceResponse(name="t", partition_responses=rows)])


class Client(KafkaClient):
    def __init__(self, cluster):
        super().__init__(leaders=cluster, address=lambda node: None)
        self.cluster = cluster

    async def ask(self, node, key, message, *, lane, timeout_s):
        return await self.cluster.ask(node, key, message, lane=lane, timeout_s=timeout_s)


def publisher(cluster):
    ids = SimpleNamespace(next=100)

    async def next_producer_id():
        ids.next += 1
        return ids.next

    return Publisher(Client(cluster), next_producer_id=next_producer_id, leader=cluster.leader_hint)


async def append(cluster, found=None, timeout_s=0.2):
    return await (found or publisher(cluster)).append(
        TOPIC, 0, [Record(b"v", timestamp_ms=1)], timeout_s=timeout_s
    )


@pytest.mark.asyncio
async def test_what_may_be_stored_is_sent_again_with_the_same_bytes():
    cluster = Leaders("store, then break", ErrorCode.NOT_LEADER_OR_FOLLOWER, "store")
    (stored,) = await append(cluster)
    assert stored.offset == 0
    assert len(cluster.sent) == 3
    assert len(set(cluster.sent)) == 1
    assert len(cluster.log) == 1


@pytest.mark.asyncio
async def test_an_outcome_that_stays_unknown_is_told_so_and_its_producer_never_used_again():
    cluster = Leaders(*["break"] * 10_000)
    found = publisher(cluster)
    with pytest.raises(OutcomeUnknownError, match="did not answer"):
        await append(cluster, found, timeout_s=0.05)
    cluster.script.clear()
    first = parse_header(cluster.sent[0]).producer_id
    await append(cluster, found)
    assert parse_header(cluster.sent[-1]).producer_id != first


@pytest.mark.parametrize("before", ["store, then break", "store, then garbage"])
@pytest.mark.parametrize("refusal", [ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_RECORD])
@pytest.mark.asyncio
async def test_a_refusal_of_what_may_be_stored_leaves_the_outcome_unknown(before, refusal):
    cluster = Leaders(before, refusal)
    found = publisher(cluster)
    with pytest.raises(OutcomeUnknownError, match=refusal.name):
        await append(cluster, found)
    (stored,) = await append(cluster, found)
    assert stored.offset == 1, "the next event is stored, and no duplicate of the one before"
    assert len(cluster.log) == 2


@pytest.mark.asyncio
async def test_a_refusal_of_what_was_never_stored_is_told_and_its_producer_goes_on():
    cluster = Leaders("not sent", ErrorCode.LEADER_NOT_AVAILABLE, ErrorCode.MESSAGE_TOO_LARGE)
    found = publisher(cluster)
    with pytest.raises(RequestError) as refused:
        await append(cluster, found)
    assert refused.value.code is ErrorCode.MESSAGE_TOO_LARGE
    await append(cluster, found)
    assert len(set(cluster.sent)) == 1


@pytest.mark.asyncio
async def test_a_producer_that_is_refused_at_once_is_not_used_again():
    cluster = Leaders(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    found = publisher(cluster)
    with pytest.raises(RequestError):
        await append(cluster, found)
    await append(cluster, found)
    assert len({parse_header(batch).producer_id for batch in cluster.sent}) == 2


@pytest.mark.parametrize(
    "step", ["not sent", ErrorCode.LEADER_NOT_AVAILABLE, ErrorCode.NOT_ENOUGH_REPLICAS]
)
@pytest.mark.asyncio
async def test_what_surely_was_not_stored_is_told_so_and_its_producer_goes_on(step):
    cluster = Leaders(*[step] * 10_000)
    found = publisher(cluster)
    with pytest.raises(NothingStoredError):
        await append(cluster, found, timeout_s=0.05)
    cluster.script.clear()
    await append(cluster, found)
    assert parse_header(cluster.sent[-1]).base_sequence == 0
    assert len({parse_header(batch).producer_id for batch in cluster.sent}) == 1


@pytest.mark.asyncio
async def test_without_a_leader_surely_nothing_is_stored():
    cluster = Leaders()
    cluster.leader = None
    with pytest.raises(NothingStoredError, match="no leader"):
        await append(cluster, timeout_s=0.05)
    assert cluster.sent == []


@pytest.mark.asyncio
async def test_sequences_of_a_producer_follow_each_other():
    cluster = Leaders()
    found = publisher(cluster)
    for _ in range(3):
        await append(cluster, found)
    headers = [parse_header(batch) for batch in cluster.sent]
    assert [header.base_sequence for header in headers] == [0, 1, 2]
    assert len({header.producer_id for header in headers}) == 1


@pytest.mark.asyncio
async def test_publishers_at_the_same_time_use_different_producers():
    cluster = Leaders()
    found = publisher(cluster)
    await asyncio.gather(*(append(cluster, found) for _ in range(5)))
    names = {(row.producer_id, row.base_sequence) for row in map(parse_header, cluster.sent)}
    assert len(names) == 5


@pytest.mark.asyncio
async def test_a_producer_that_the_partition_forgot_is_replaced():
    cluster = Leaders("store", ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, "store")
    found = publisher(cluster)
    await append(cluster, found)
    await append(cluster, found)
    headers = [parse_header(batch) for batch in cluster.sent]
    assert [header.base_sequence for header in headers] == [0, 1, 0]
    assert headers[2].producer_id != headers[0].producer_id


@pytest.mark.asyncio
async def test_a_refused_record_is_named():
    class Refusing(Leaders):
        async def ask(self, node, key, message, *, lane, timeout_s):
            return answer(
                ErrorCode.INVALID_RECORD, records=[BatchIndexAndErrorMessage(0, "an empty id")]
            )

    with pytest.raises(RequestError, match="event 0: an empty id"):
        await append(Refusing())


DEDUP = Topic(
    name="t",
    topic_id=TopicId(bytes(16)),
    partitions=((NodeId(1),),),
    settings={"event.dedup.enable": "true"},
)


@pytest.mark.asyncio
async def test_what_is_stored_is_never_told_as_not_stored_though_it_cannot_be_read_back():
    class Dying(Leaders):
        async def ask(self, node, key, message, *, lane, timeout_s):
            if key is ApiKey.PRODUCE:
                return await super().ask(node, key, message, lane=lane, timeout_s=timeout_s)
            raise RequestError(ErrorCode.KAFKA_STORAGE_ERROR, "full")

    cluster = Dying()
    with pytest.raises(OutcomeUnknownError, match="all are stored"):
        await publisher(cluster).append(DEDUP, 0, [Record(b"v", timestamp_ms=1)], timeout_s=0.2)
    assert len(cluster.log) == 1


@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.asyncio
async def test_without_a_producer_id_in_time_surely_nothing_is_stored(refused):
    async def next_producer_id():
        if refused:
            raise RequestError(ErrorCode.REQUEST_TIMED_OUT, "no controller")
        await asyncio.Event().wait()

    cluster = Leaders()
    found = Publisher(
        Client(cluster), next_producer_id=next_producer_id, leader=cluster.leader_hint
    )
    with pytest.raises(NothingStoredError, match="no producer id"):
        await append(cluster, found, timeout_s=0.05)
    assert cluster.sent == []
