"""Flushing beside what else happens to a group: it is truncated, or deleted."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.flusher import Flusher
from trimaran.broker.partition import Partition
from trimaran.broker.replica import Replica
from trimaran.dedup.producers import ProducerTable
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import (
    ClusterId,
    DiskId,
    Index,
    NodeId,
    Offset,
    Term,
    TopicId,
    group_id,
)
from trimaran.metadata.topic_settings import effective_settings
from trimaran.raft.log import RaftLog
from trimaran.raft.messages import AppendEntries, PreVoteAnswer, VoteAnswer
from trimaran.raft.node import RaftNode
from trimaran.records.batch import stamp
from trimaran.records.building import build_batch
from trimaran.records.entry import Entry, EntryKind, HardState
from trimaran.records.iteration import Record
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import open_store

NODE = NodeId(1)
OTHER = NodeId(2)
THIRD = NodeId(3)
TOPIC = TopicId(bytes(15) + b"\x09")


class HeldWorkers:
    """Works wait until the test lets one run; `submitted` is set while one waits."""

    def __init__(self):
        self.waiting = []
        self.submitted = asyncio.Event()

    def submit(self, lane, work):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((work, future))
        self.submitted.set()
        return future

    async def run_one(self):
        async with asyncio.timeout(5):
            await self.submitted.wait()
        work, future = self.waiting.pop(0)
        if not self.waiting:
            self.submitted.clear()
        future.set_result(work.run())
        for _ in range(3):
            await asyncio.sleep(0)


class FakeRounds:
    """Keeps boundaries until the test says that their round is synced."""

    def __init__(self):
        self.boundaries = []

    def store_boundary(self, boundary, replica):
        done = asyncio.get_running_loop().create_future()
        self.boundaries.append((boundary, replica, done))
        return done


class FakeOwner:
    def log_time_ms(self):
        return 1

    def can_store(self):
        return True

    def proposed(self, replica, events):
        pass


@dataclass
class Bench:
    workers: HeldWorkers
    rounds: FakeRounds
    flusher: Flusher
    replica: Replica
    partition: Partition

    def hear(self, sender, message):
        """Take an append in, and sync it."""
        self.replica.round_finished(self.take(sender, message))

    def take(self, sender, message):
        """Take an append in; the journal is slower."""
        raft = self.replica.raft
        raft.step(sender, message)
        ready = raft.ready()
        self.replica.handle(ready)
        if ready.committed_to is not None:
            log = raft.log
            end = Index(ready.committed_to + 1)
            self.flusher.committed(self.replica, log.bytes_between(ready.committed_from, end))
        return ready

    async def cycle(self):
        """Flush what is due, with a journal and a disk that are at once done."""
        cycle = asyncio.create_task(self.flusher.cycle())
        async with asyncio.timeout(5):
            while not cycle.done():
                for boundary, replica, done in self.rounds.boundaries:
                    if not done.done():
                        replica.boundary = boundary
                        done.set_result(None)
                await (self.workers.run_one() if self.workers.waiting else asyncio.sleep(0))
        await cycle


def bench_of(tmp_path):
    """Return a follower of one partition and its node's flusher, nothing under way."""
    tmp_path.mkdir(exist_ok=True)
    files = RealFiles(str(tmp_path))
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity)
    voters = (NODE, OTHER, THIRD)
    add = store.plan_add_group(Boundary(group=group_id(TOPIC, 0), voters=voters))
    add.run()
    (found,) = add.finish()
    state = HardState(term=Term(0), vote=None)
    raft = RaftNode(
        node_id=NODE, voters=voters, log=RaftLog(), hard_state=state, commit_index=Index(0)
    )
    workers, rounds = HeldWorkers(), FakeRounds()
    partition = Partition(
        topic="t",
        topic_id=TOPIC,
        number=0,
        settings=effective_settings({}),
        producers=ProducerTable(),
        epochs=LeaderEpochs(),
        log_start=Offset(0),
        high_watermark=Offset(0),
        raft=raft,
        storage=found.log,
        owner=FakeOwner(),
        workers=workers,
    )
    replica = Replica(
        raft=raft,
        storage=found.log,
        boundary=found.boundary,
        hard_state=state,
        machine=partition,
    )
    partition.bind(replica)
    flusher = Flusher(
        rounds=rounds,
        journal=store.journal,
        workers=workers,
        tail_bytes_max=1 << 20,
        flush_bytes=1 << 20,
        flush_interval_s=1.0,
        flushed=lambda: None,
    )
    return Bench(workers, rounds, flusher, replica, partition)


def entry(index, term):
    """One event of producer 7, whose sequences follow the index."""
    batch = build_batch(
        [Record(b"v", timestamp_ms=1)], producer_id=7, producer_epoch=0, base_sequence=index - 1
    )
    stamp(batch, base_offset=index - 1, leader_epoch=term)
    payload = memoryview(batch).toreadonly()
    return Entry(Index(index), Term(term), EntryKind.RECORDS, Offset(index - 1), 1, 1, payload, b"")


def appends(term, prev_index, prev_term, indexes, commit):
    return AppendEntries(
        Term(term),
        Index(prev_index),
        Term(prev_term),
        Index(commit),
        [entry(index, term) for index in indexes],
    )


@pytest.mark.asyncio
async def test_a_log_truncated_while_it_is_flushed_folds_its_producers_once(tmp_path):
    bench = bench_of(tmp_path)
    bench.hear(OTHER, appends(1, 0, 0, range(1, 5), commit=2))
    cycle = asyncio.create_task(bench.flusher.cycle())
    async with asyncio.timeout(5):
        await bench.workers.submitted.wait()

    bench.hear(THIRD, appends(2, 3, 1, (4, 5), commit=2))

    assert bench.partition._producers.last_index == 5
    assert bench.partition._flushed_producers.last_index == 2
    cycle.cancel()


@pytest.mark.asyncio
async def test_a_deleted_group_leaves_no_flushed_entry_in_memory(tmp_path):
    bench = bench_of(tmp_path)
    bench.hear(OTHER, appends(1, 0, 0, range(1, 5), commit=4))
    await bench.cycle()
    log = bench.replica.raft.log
    assert log.first_index <= 4, "the tail is kept for readers"

    bench.replica.removed = True
    bench.flusher.group_removed(bench.replica)

    assert log.first_index == 5


@pytest.mark.asyncio
async def test_nothing_that_the_boundary_on_disk_names_goes_before_the_next_one_is_synced(tmp_path):
    """Until then a power cut brings back the boundary of before, and it needs its files."""
    bench = bench_of(tmp_path)
    bench.replica.boundary = replace(bench.replica.boundary, state_files=(("producers-0", 1, 0),))
    bench.hear(OTHER, appends(1, 0, 0, range(1, 5), commit=4))
    cycle = asyncio.create_task(bench.flusher.cycle())
    await asyncio.sleep(0)
    await bench.workers.run_one()  # segments and state files
    (_, _, is_synced) = bench.rounds.boundaries[0]

    assert bench.workers.waiting == []
    assert bench.replica.raft.log.first_index == 1
    assert bench.flusher.unflushed_bytes > 0

    is_synced.set_result(None)
    async with asyncio.timeout(5):
        await bench.workers.submitted.wait()
    assert [type(work).__name__ for work, _ in bench.workers.waiting] == ["StateDrop"]
    assert bench.flusher.unflushed_bytes == 0
    cycle.cancel()


@pytest.mark.asyncio
@pytest.mark.parametrize("works_before", range(2))
async def test_a_group_can_be_deleted_at_any_point_of_its_flush(tmp_path, works_before):
    bench = bench_of(tmp_path)
    bench.hear(OTHER, appends(1, 0, 0, range(1, 5), commit=4))
    cycle = asyncio.create_task(bench.flusher.cycle())
    await asyncio.sleep(0)
    for _ in range(works_before):  # segments and state files; then the boundary
        await bench.workers.run_one()
    assert len(bench.rounds.boundaries) == (works_before == 1)

    bench.replica.removed = True
    bench.flusher.group_removed(bench.replica)
    for _, _, done in bench.rounds.boundaries:
        done.set_result(None)
    works = []
    async with asyncio.timeout(5):
        while not cycle.done():
            works += [type(work).__name__ for work, _ in bench.workers.waiting]
            await (bench.workers.run_one() if bench.workers.waiting else asyncio.sleep(0))

    await cycle
    assert works[-1] == "Release"
    assert len(works) <= 2, "what was under way, and no work on the group's files after it"
    assert bench.flusher.unflushed_bytes == 0


@pytest.mark.asyncio
async def test_no_event_is_taken_before_the_machine_knows_that_it_leads(tmp_path):
    """A vote and a client's batch may come in one turn: the core leads, the machine lags behind."""
    bench = bench_of(tmp_path)
    raft = bench.replica.raft
    raft.campaign()
    for answer in (PreVoteAnswer, VoteAnswer):
        ready = raft.ready()
        bench.replica.handle(ready)
        bench.replica.round_finished(ready)
        term = Term(raft.term + (answer is PreVoteAnswer))
        raft.step(OTHER, answer(term=term, granted=True))
    assert raft.is_leader
    batch = memoryview(build_batch([Record(b"v", timestamp_ms=1)]))

    with pytest.raises(RequestError) as refused:
        bench.partition.append(batch, acks=-1)
    bench.replica.handle(raft.ready())

    assert refused.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert bench.partition.append(batch, acks=-1).base_offset == 0


@pytest.mark.asyncio
async def test_a_state_is_flushed_although_the_journal_is_always_behind(tmp_path, monkeypatch):
    """Others commit faster than this disk syncs: never is all that is applied also synced."""
    monkeypatch.setattr(Partition, "flush_bytes_max", None)
    bench = bench_of(tmp_path)
    bench.flusher._flush_interval_s = 0.0
    late = bench.take(OTHER, appends(1, 0, 0, (1, 2), commit=2))
    await bench.cycle()
    assert bench.rounds.boundaries == []

    for index in range(3, 13):
        ready = bench.take(OTHER, appends(1, index - 1, 1, (index,), commit=index))
        bench.replica.round_finished(late)
        late = ready
        await bench.cycle()

    assert bench.replica.raft.synced_index == 11 < bench.replica.applied
    assert bench.replica.boundary.position.index >= 10
    bench.replica.round_finished(late)
    await bench.cycle()
    assert bench.replica.boundary.position.index == 12
    assert bench.flusher.unflushed_bytes == 0


@pytest.mark.asyncio
async def test_a_group_that_starts_over_while_another_is_flushed_is_flushed_again(
    tmp_path, monkeypatch
):
    """The replica of before is not filed again: its successor would be taken for it."""
    bench = bench_of(tmp_path)
    bench.take(OTHER, appends(1, 0, 0, (1, 2), commit=2))

    async def start_over(replica):
        replica.removed = True
        bench.flusher.group_removed(replica)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(bench.flusher, "_flush", start_over)
        await bench.cycle()
    again = bench_of(tmp_path / "again")
    again.flusher, again.workers, again.rounds = bench.flusher, bench.workers, bench.rounds
    again.hear(OTHER, appends(1, 0, 0, (1, 2), commit=2))
    await again.cycle()

    assert again.replica.boundary.position.index == 2
    assert bench.flusher.unflushed_bytes == 0
