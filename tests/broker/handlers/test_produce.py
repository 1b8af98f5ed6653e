import pytest

from trimaran.dedup.id_scan import RecordError
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from trimaran.records.batch import Codec, renew_crc


@pytest.fixture
def produce(client, batch):
    """Return a function that sends a Produce of one batch for each (topic, partition)."""

    def send(*places, acks=-1, version=9, timeout_ms=30_000, data=None, transactional_id=None):
        topics = [
            TopicProduceData(
                topic,
                [PartitionProduceData(number, memoryview(data if data is not None else batch()))],
            )
            for topic, number in places
        ]
        request = ProduceRequest(transactional_id, acks, timeout_ms, topics)
        return client.send(ApiKey.PRODUCE, version, request)

    return send


def only_answer(client, call) -> PartitionProduceResponse:
    response = client.answer_of(call)
    (topic,) = response.responses
    (partition,) = topic.partition_responses
    return partition


def test_a_committed_batch_is_answered_with_its_base_offset(broker, client, produce):
    broker.add_topic("flights")
    broker.partition("flights", 0).fill(3)

    call = produce(("flights", 0))

    assert client.answer_of(call) == ProduceResponse(
        [
            TopicProduceResponse(
                "flights", [PartitionProduceResponse(0, base_offset=3, log_start_offset=0)]
            )
        ],
        node_endpoints=[],
    )


def test_acks_all_waits_for_the_commit(broker, client, produce):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.auto_commit = False

    call = produce(("flights", 0))
    assert not client.has_answered(call)
    partition.commit()

    assert only_answer(client, call).error_code == ErrorCode.NONE
    assert partition.appended_acks == [-1]


def test_an_answer_waits_for_the_last_of_several_partitions(broker, client, produce):
    broker.add_topic("a")
    broker.add_topic("b")
    first, second = broker.partition("a", 0), broker.partition("b", 0)
    first.auto_commit = second.auto_commit = False

    call = produce(("a", 0), ("b", 0))
    second.commit()
    assert not client.has_answered(call)
    first.commit()

    codes = [topic.partition_responses[0].error_code for topic in client.answer_of(call).responses]
    assert codes == [0, 0]


def test_partitions_fail_one_by_one(broker, client, produce):
    broker.add_topic("known")

    call = produce(("unknown", 0), ("known", 0), ("known", 7))

    response = client.answer_of(call)
    assert [topic.name for topic in response.responses] == ["unknown", "known", "known"]
    assert [topic.partition_responses[0].error_code for topic in response.responses] == [
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.INVALID_RECORD,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.KAFKA_STORAGE_ERROR,
    ],
)
def test_what_the_partition_refuses_is_answered_with_its_code(broker, client, produce, code):
    broker.add_topic("flights")
    broker.partition("flights", 0).append_error = RequestError(code, "expected x, found y")

    call = produce(("flights", 0))

    answer = only_answer(client, call)
    assert (answer.error_code, answer.base_offset) == (code, -1)
    assert answer.error_message == "expected x, found y"
    assert client.noted == [code]


def test_the_record_that_made_its_batch_fail_is_named(broker, client, produce):
    broker.add_topic("flights")
    broker.partition("flights", 0).append_error = RecordError(3, "event id: found null")

    answer = only_answer(client, produce(("flights", 0)))

    assert answer.error_code == ErrorCode.INVALID_RECORD
    expected = BatchIndexAndErrorMessage(3, "record 3: event id: found null")
    assert list(answer.record_errors) == [expected]


def test_a_batch_with_a_wrong_crc_appends_nothing(broker, client, produce, batch):
    broker.add_topic("flights")
    damaged = batch()
    damaged[-1] ^= 1

    call = produce(("flights", 0), data=damaged)

    assert only_answer(client, call).error_code == ErrorCode.CORRUPT_MESSAGE
    assert broker.partition("flights", 0).log_end == 0


def test_a_partition_without_records_is_an_invalid_record(broker, client):
    broker.add_topic("flights")
    request = ProduceRequest(
        None, -1, 1000, [TopicProduceData("flights", [PartitionProduceData(0, None)])]
    )

    call = client.send(ApiKey.PRODUCE, 9, request)

    assert only_answer(client, call).error_code == ErrorCode.INVALID_RECORD


def test_what_is_not_done_in_time_is_answered_as_timed_out(broker, client, produce, clock):
    broker.add_topic("fast")
    broker.add_topic("slow")
    broker.partition("slow", 0).auto_commit = False

    call = produce(("fast", 0), ("slow", 0), timeout_ms=500)
    clock.advance(0.499)
    assert not client.has_answered(call)
    clock.advance(0.002)

    codes = [topic.partition_responses[0].error_code for topic in client.answer_of(call).responses]
    assert codes == [ErrorCode.NONE, ErrorCode.REQUEST_TIMED_OUT]


def test_a_commit_after_the_timeout_changes_nothing(broker, client, produce, clock):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.auto_commit = False
    produce(("flights", 0), timeout_ms=10)
    clock.advance(1)

    partition.commit()

    assert len(client.finished) == 1


def test_an_answered_request_leaves_no_deadline(broker, client, produce, clock):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.auto_commit = False
    produce(("flights", 0))

    partition.commit()

    assert len(client.deadlines) == 0


def test_a_dropped_call_is_never_answered(broker, client, produce):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.auto_commit = False
    call = produce(("flights", 0))

    call.drop()
    partition.commit()

    assert client.finished == []
    assert len(client.deadlines) == 0


def test_acks_0_is_not_answered(broker, client, produce):
    broker.add_topic("flights")
    broker.partition("flights", 0).auto_commit = False

    call = produce(("flights", 0), acks=0)

    assert client.finished == [(call, None)]
    assert broker.partition("flights", 0).log_end == 1


def test_an_error_with_acks_0_closes_the_connection(client, produce):
    produce(("unknown", 0), acks=0)

    assert client.finished == []
    assert client.closed == ["acks=0 and UNKNOWN_TOPIC_OR_PARTITION"]


@pytest.fixture
def opening(broker):
    """Return a partition that opens batches in a thread before they are appended."""
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.auto_commit, partition.opens_batches = False, True
    return partition


def test_a_batch_that_is_refused_late_is_answered_as_one_refused_at_once(opening, client, produce):
    call = produce(("flights", 0))
    opening.pendings[0].refuse(RecordError(3, "event id: found null"))

    answer = only_answer(client, call)
    found = "record 3: event id: found null"
    assert (answer.error_code, answer.error_message) == (ErrorCode.INVALID_RECORD, found)
    assert list(answer.record_errors) == [BatchIndexAndErrorMessage(3, found)]
    assert client.noted == [ErrorCode.INVALID_RECORD]


def test_a_batch_that_is_refused_late_with_acks_0_closes_the_connection(opening, client, produce):
    produce(("flights", 0), acks=0)
    assert (client.finished, client.closed) == ([], [])
    opening.pendings[0].refuse(RequestError(ErrorCode.INVALID_TIMESTAMP, "too old"))

    assert client.finished == []
    assert client.closed == ["acks=0 and INVALID_TIMESTAMP: too old"]


def test_a_batch_with_acks_0_whose_end_is_unknown_closes_the_connection(opening, client, produce):
    produce(("flights", 0), acks=0)
    opening.pendings[0].finish(ErrorCode.UNKNOWN_SERVER_ERROR)

    assert client.closed == ["acks=0 and UNKNOWN_SERVER_ERROR: outcome unknown"]


def test_a_batch_with_acks_0_that_is_appended_late_is_not_answered(opening, client, produce):
    call = produce(("flights", 0), acks=0)
    opening.commit()

    assert (client.finished, client.closed) == ([(call, None)], [])


def test_a_transactional_id_with_acks_0_closes_the_connection(broker, client, produce):
    broker.add_topic("flights")

    produce(("flights", 0), acks=0, transactional_id="t")

    assert client.closed == ["acks=0 and TRANSACTIONAL_ID_AUTHORIZATION_FAILED"]


@pytest.mark.parametrize("acks", [2, -2, 32767])
def test_other_acks_are_refused_for_every_partition(broker, client, produce, acks):
    broker.add_topic("flights")

    call = produce(("flights", 0), ("flights", 0), acks=acks)

    codes = [topic.partition_responses[0].error_code for topic in client.answer_of(call).responses]
    assert codes == [ErrorCode.INVALID_REQUIRED_ACKS] * 2
    assert broker.partition("flights", 0).log_end == 0


def test_a_transactional_id_is_refused(broker, client, produce):
    broker.add_topic("flights")

    call = produce(("flights", 0), transactional_id="t")

    assert only_answer(client, call).error_code == ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("version", "code"),
    [(6, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE), (7, ErrorCode.NONE)],
)
def test_zstd_needs_version_7(broker, client, produce, batch, version, code):
    broker.add_topic("flights")
    packed = batch()
    packed[22] |= Codec.ZSTD
    renew_crc(packed)

    call = produce(("flights", 0), version=version, data=packed)

    assert only_answer(client, call).error_code == code


@pytest.mark.parametrize(("version", "hinted"), [(9, False), (10, True), (11, True)])
def test_a_moved_leader_is_named_from_version_10_on(broker, client, produce, version, hinted):
    broker.add_topic("flights")
    broker.partition("flights", 0).depose(leader=NodeId(2))

    call = produce(("flights", 0), version=version)

    answer = only_answer(client, call)
    assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert answer.current_leader == (LeaderIdAndEpoch(2, 2) if hinted else None)
    endpoints = [NodeEndpoint(node_id=2, host="host2", port=9093)] if hinted else []
    assert client.answer_of(call).node_endpoints == endpoints


def test_a_leader_deposed_while_the_request_waits_is_named_too(broker, client, produce):
    broker.add_topic("flights")
    partition = broker.partition("flights", 0)
    partition.auto_commit = False
    call = produce(("flights", 0), version=10)

    partition.depose(leader=NodeId(3))
    partition.pendings[0].finish(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    answer = only_answer(client, call)
    assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert answer.current_leader == LeaderIdAndEpoch(3, 2)


def test_a_partition_that_others_hold_is_not_unknown(broker, client, produce):
    broker.add_topic("elsewhere", replicas=(2, 3))

    call = produce(("elsewhere", 0), version=10)

    answer = only_answer(client, call)
    assert answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert answer.current_leader == LeaderIdAndEpoch(2, 1)


def test_no_leader_is_named_while_there_is_none(broker, client, produce):
    broker.add_topic("flights")
    broker.partition("flights", 0).depose(leader=None, lost_at=1000.0)

    call = produce(("flights", 0), version=10)

    assert only_answer(client, call).current_leader is None
    assert client.answer_of(call).node_endpoints == []


def test_a_producers_timeout_is_bounded_by_the_nodes(broker, client, produce, clock):
    broker.set(request_timeout_s_max=2.0)
    broker.add_topic("flights")
    broker.partition("flights", 0).auto_commit = False

    call = produce(("flights", 0), timeout_ms=2**31 - 1)
    clock.advance(2.01)

    assert only_answer(client, call).error_code == ErrorCode.REQUEST_TIMED_OUT


def test_a_long_name_in_an_error_does_not_break_the_answer(client, produce):
    call = produce(("n" * 32_000, 0), version=8)

    assert len(only_answer(client, call).error_message) <= 1000
