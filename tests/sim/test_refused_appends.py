"""Appends that a leader cannot take: none overtakes one that was refused, none waits for ever."""

import asyncio

import pytest
from tests.sim.test_retention import GROUP, TOPIC, Bench

from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.commands import DeleteTopic
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

pytestmark = pytest.mark.sim

NEW_PRODUCER = 7


def batch_of(values, sequence=None):
    fields = {}
    if sequence is not None:
        fields = {"producer_id": NEW_PRODUCER, "producer_epoch": 0, "base_sequence": sequence}
    return memoryview(build_batch([Record(value=value) for value in values], **fields))


def outcome_of(partition, batch):
    """Return the batch's offset, or the code that it is refused with."""
    try:
        return partition.append(batch, acks=-1).base_offset
    except RequestError as error:
        return error.code


def fill(partition, size):
    """Append batches of `size` bytes until no other is taken."""
    while outcome_of(partition, batch_of([bytes(size)])) is not ErrorCode.NOT_ENOUGH_REPLICAS:
        pass


def test_a_new_producers_second_batch_never_overtakes_its_refused_first():
    """Both are under way at once; the first does not fit into the uncommitted tail, which is
    bounded, and the second, smaller, would."""
    first, second = batch_of([bytes(100_000)] * 5, 0), batch_of([b"small"], 5)

    async def scenario(bench):
        await bench.start()
        await bench.produce(1)
        leader = bench.leader()
        partition = bench.partition(leader)

        def in_one_turn():
            fill(partition, 1_000_000)
            fill(partition, 50_000)
            return outcome_of(partition, first), outcome_of(partition, second)

        assert leader.process.run(in_one_turn) == (
            ErrorCode.NOT_ENOUGH_REPLICAS,
            ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        )
        await bench.until(lambda: partition.high_watermark == partition.log_end)
        end = partition.log_end

        def again():
            return outcome_of(partition, first), outcome_of(partition, second)

        assert leader.process.run(again) == (end, end + 5)
        assert not bench.cluster.failures

    Bench(1).run(scenario)


def test_a_batch_that_is_refused_when_it_comes_a_second_time_holds_nothing_up(monkeypatch):
    """It was stored the first time, its answer was lost, and the disk is full when it comes again:
    the answer to its third time settles it, and what follows is next."""
    first, second = batch_of([b"first"], 0), batch_of([b"second"], 1)

    async def scenario(bench):
        await bench.start()
        await bench.produce(1)
        leader = bench.leader()
        partition = bench.partition(leader)
        stored = leader.process.run(outcome_of, partition, first)
        with monkeypatch.context() as patch:
            patch.setattr(partition._owner, "can_store", lambda: False)
            full = [leader.process.run(outcome_of, partition, one) for one in (first, second)]

        assert full == [ErrorCode.KAFKA_STORAGE_ERROR] * 2
        assert leader.process.run(outcome_of, partition, first) == stored
        assert leader.process.run(outcome_of, partition, second) == stored + 1
        assert not bench.cluster.failures

    Bench(3).run(scenario)


class HeldWorkers:
    """Whoever compresses takes until `finish`."""

    def __init__(self):
        self.held = []

    def submit(self, _lane, work):
        future = asyncio.get_running_loop().create_future()
        self.held.append((work, future))
        return future

    def finish(self):
        for work, future in self.held:
            future.set_result(work.run())


def test_what_is_under_way_to_a_deleted_partition_ends_at_once():
    """A batch is being compressed when its topic is deleted, another waits behind it."""

    async def scenario(bench):
        await bench.start(compression_type="zstd")
        await bench.produce(1)
        leader = bench.leader()
        partition = bench.partition(leader)
        workers = partition._openings._workers = HeldWorkers()

        def append():
            return partition.append(batch_of([bytes(1_000)]), acks=-1)

        under_way = [leader.process.run(append), leader.process.run(append)]
        await bench.command(DeleteTopic(topic_id=TOPIC))
        await bench.until(lambda: leader.broker._membership.partition(GROUP) is None)
        assert not partition.is_leader
        leader.process.run(workers.finish)
        reading = leader.process.run(partition.read_index)
        await asyncio.sleep(0)

        assert [pending.error for pending in under_way] == [ErrorCode.NOT_LEADER_OR_FOLLOWER] * 2
        assert reading.exception().code is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert not bench.cluster.failures

    Bench(2).run(scenario)
