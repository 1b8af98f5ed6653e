"""Rounds share syncs, and keep nobody waiting who is alone."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds, _Round
from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.messages import AppendAnswer, AppendEntries, PreVoteAnswer, VoteAnswer
from trimaran.raft.node import RaftNode
from trimaran.records.entry import Entry, EntryKind, HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.journal import Journal, JournalSettings
from trimaran.storage.recovery import StoreSettings, open_store

NODE = NodeId(1)
OTHER = NodeId(2)
THIRD = NodeId(3)
USUAL = JournalSettings()
LIMITED = JournalSettings(file_bytes=64 << 10, round_bytes=16 << 10, total_bytes_max=192 << 10)
"""Three files."""
SMALL = JournalSettings(file_bytes=64 << 10, round_bytes=16 << 10)
"""A rollover is due once less than 16 KiB are left of 64."""
GROUP = GroupId(bytes(19) + b"\x07")


class HeldWorkers:
    """Works wait until the test lets one run."""

    def __init__(self):
        self.waiting = []
        self.submitted = asyncio.Event()

    def submit_write(self, work):
        self.submitted.set()
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((work, future))
        return future

    def run_one(self, error=None):
        self.submitted.clear()
        work, future = self.waiting.pop(0)
        if error is not None:
            work.write.state = "full"
            future.set_exception(error)
            return
        future.set_result(work.run())


class NoPeers:
    def __init__(self):
        self.peers = {}

    def flush(self):
        pass


class Machine:
    flush_bytes_max = None

    def __init__(self):
        self.committed_indexes = []
        self.synced_count = 0

    def appended(self, entries):
        pass

    def truncated(self, start):
        raise AssertionError("nothing is truncated here")

    def committed(self, entries):
        self.committed_indexes += [entry.index for entry in entries]

    def synced(self):
        self.synced_count += 1

    def role_changed(self, change):
        pass

    def majority_lost(self):
        pass

    def deleted(self):
        pass

    def read_confirmed(self, context, index):
        pass

    def flushed(self, entries):
        return {}


@dataclass
class Owner:
    replicas: list = field(default_factory=list)
    full: list = field(default_factory=list)
    journal_full_said: list = field(default_factory=list)
    failures: list = field(default_factory=list)

    def ready_handled(self, replica, ready):
        pass

    def live_replicas(self):
        return self.replicas

    def dormant_groups(self):
        return []

    def disk_full(self, full):
        self.full.append(full)

    def journal_full(self, full):
        self.journal_full_said.append(full)

    def fail(self, error):
        self.failures.append(error)


@dataclass
class Bench:
    rounds: Rounds
    workers: HeldWorkers
    owner: Owner
    replica: Replica
    machine: Machine
    journal: Journal

    def propose(self, events=1, size=100):
        entry = self.replica.raft.propose(
            EntryKind.RECORDS, b"x" * size, offset_count=events, log_time_ms=1
        )
        self.replica.proposed(entry)
        self.rounds.proposed(self.replica, events)

    async def turn(self):
        for _ in range(3):
            await asyncio.sleep(0)

    async def sync(self):
        self.workers.run_one()
        await self.turn()

    async def idle(self):
        while self.workers.waiting:
            await self.sync()

    async def hear(self, sender, message):
        self.replica.raft.step(sender, message)
        self.rounds.touched(self.replica)
        await self.turn()

    async def again(self):
        """Wait until a round that found the disk full is tried again; return it."""
        async with asyncio.timeout(5):
            await self.workers.submitted.wait()
        return self.workers.waiting[0][0].write


def bench_of(tmp_path, voters=(NODE,), journal=USUAL):
    """Return one group of `voters`, nothing under way."""
    files = RealFiles(str(tmp_path))
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity, settings=StoreSettings(journal=journal))
    add = store.plan_add_group(Boundary(group=GROUP, voters=voters))
    add.run()
    (found,) = add.finish()
    owner, workers, machine = Owner(), HeldWorkers(), Machine()
    rounds = Rounds(
        owner=owner,
        journal=store.journal,
        workers=workers,
        peers=NoPeers(),
        batch_max_events=64,
        batch_linger_s=0.001,
        round_bytes_max=4 << 20,
        journal_full=owner.journal_full,
    )
    state = HardState(term=Term(0), vote=None)
    raft = RaftNode(
        node_id=NODE, voters=voters, log=RaftLog(), hard_state=state, commit_index=Index(0)
    )
    replica = Replica(
        raft=raft,
        storage=found.log,
        boundary=found.boundary,
        hard_state=state,
        machine=machine,
    )
    owner.replicas.append(replica)
    return Bench(rounds, workers, owner, replica, machine, store.journal)


async def leading(tmp_path, journal=USUAL):
    """Return one group that leads itself, nothing under way."""
    bench = bench_of(tmp_path, journal=journal)
    raft = bench.replica.raft
    raft.campaign()
    bench.rounds.touched(bench.replica)
    await bench.turn()
    await bench.idle()
    assert raft.is_leader
    assert raft.commit_index == 1
    return bench


def entries(term, indexes, size=100):
    return [
        Entry(
            Index(index),
            Term(term),
            EntryKind.RECORDS,
            Offset(index - 1),
            1,
            0,
            b"%d" % term + bytes(size),
        )
        for index in indexes
    ]


@pytest.mark.asyncio
async def test_ten_thousand_events_offered_while_a_sync_runs_share_one_more(tmp_path):
    bench = await leading(tmp_path)
    before = bench.rounds.statistics().rounds
    bench.propose()
    await bench.turn()

    for _ in range(10_000):
        bench.propose()
    await bench.turn()
    while bench.workers.waiting:
        await bench.sync()

    assert bench.rounds.statistics().rounds - before <= 2
    assert bench.machine.committed_indexes[-1] == 10_002


@pytest.mark.asyncio
async def test_an_event_alone_is_written_in_the_same_turn_without_a_timer(tmp_path):
    bench = await leading(tmp_path)
    loop = asyncio.get_running_loop()
    timers = []
    call_later, loop.call_later = loop.call_later, lambda *args: timers.append(args)

    bench.propose()
    await asyncio.sleep(0)
    loop.call_later = call_later

    assert len(bench.workers.waiting) == 1
    assert timers == []


@pytest.mark.asyncio
async def test_nothing_is_committed_before_its_sync_has_ended(tmp_path):
    bench = await leading(tmp_path)

    bench.propose()
    await bench.turn()

    assert bench.machine.committed_indexes == [1]
    await bench.sync()
    assert bench.machine.committed_indexes == [1, 2]


@pytest.mark.asyncio
async def test_a_full_disk_is_said_and_the_same_round_is_tried_again(tmp_path):
    bench = await leading(tmp_path)
    bench.propose()
    await bench.turn()

    bench.workers.run_one(DiskFullError("no space"))
    await bench.turn()
    assert bench.owner.full[-1] is True
    assert bench.machine.committed_indexes == [1]

    async with asyncio.timeout(5):
        await bench.workers.submitted.wait()
    await bench.sync()
    assert bench.owner.full[-1] is False
    assert bench.machine.committed_indexes == [1, 2]
    assert bench.owner.failures == []


@pytest.mark.asyncio
async def test_a_failed_sync_ends_the_node_and_acknowledges_nothing(tmp_path):
    bench = await leading(tmp_path)
    bench.propose()
    await bench.turn()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    _, future = bench.workers.waiting.pop(0)
    future.set_exception(StorageError("fdatasync failed"))
    await bench.turn()

    assert [str(error) for error in bench.owner.failures] == ["fdatasync failed"]
    assert bench.machine.committed_indexes == [1]


@pytest.mark.asyncio
async def test_a_new_file_begins_with_the_boundary_that_was_synced_just_before(tmp_path):
    bench = await leading(tmp_path, SMALL)
    bench.propose(size=50 << 10)
    position = bench.replica.raft.log.position_at(Index(1))
    boundary = replace(bench.replica.boundary, position=position)
    bench.rounds.store_boundary(boundary, bench.replica)
    await bench.turn()
    bench.propose()
    await bench.turn()

    await bench.sync()

    rollover = bench.workers.waiting[0][0].write
    assert rollover.frame.first
    assert rollover.content.boundaries == [boundary]


@pytest.mark.asyncio
async def test_a_journal_at_its_limit_says_so_and_goes_on_once_all_is_in_segments(tmp_path):
    bench = await leading(tmp_path, LIMITED)
    said = bench.owner.journal_full_said
    for _ in range(12):
        bench.propose(size=40 << 10)
        await bench.turn()
        await bench.idle()
    full_at = bench.journal.generation
    assert said == [True]
    assert bench.journal.file_count > 1

    bench.propose(size=40 << 10)
    await bench.turn()
    await bench.idle()
    assert bench.journal.generation == full_at
    log = bench.replica.raft.log
    boundary = replace(bench.replica.boundary, position=log.position_at(log.last_index))
    bench.rounds.store_boundary(boundary, bench.replica)
    await bench.turn()
    await bench.idle()

    assert said == [True, False]
    assert bench.journal.generation == full_at + 1
    bench.journal.release().run()
    assert bench.journal.file_count == 1


@pytest.mark.asyncio
async def test_two_leaders_in_one_round_leave_the_log_of_the_second(tmp_path):
    bench = bench_of(tmp_path, (NODE, OTHER, THIRD), SMALL)
    bench.machine.truncated = lambda start: None
    await bench.hear(OTHER, AppendEntries(1, 0, 0, 0, entries(1, range(1, 5))))
    await bench.hear(OTHER, AppendEntries(1, 4, 1, 0, entries(1, range(5, 10))))
    await bench.hear(THIRD, AppendEntries(2, 5, 1, 0, entries(2, (6,), size=50 << 10)))
    await bench.sync()
    await bench.sync()

    bench.rounds.store_boundary(bench.replica.boundary)
    await bench.turn()

    assert bench.owner.failures == []
    rollover = bench.workers.waiting[0][0].write
    assert rollover.frame.first
    ((_, _, copied),) = rollover.content.entries
    assert [(entry.index, entry.term) for entry in copied][-2:] == [(5, 1), (6, 2)]


@pytest.mark.asyncio
async def test_a_round_tried_again_does_not_write_to_a_group_deleted_meanwhile(tmp_path):
    bench = await leading(tmp_path)
    bench.propose()
    await bench.turn()
    bench.replica.removed = True
    bench.rounds.forget_group(GROUP)

    bench.workers.run_one(DiskFullError("no space"))
    again = await bench.again()

    assert again.content.removed == [GROUP]
    assert again.content.entries == []


@pytest.mark.asyncio
async def test_without_space_for_a_new_file_the_current_one_goes_on(tmp_path):
    bench = await leading(tmp_path, SMALL)
    bench.propose(size=50 << 10)
    await bench.turn()
    await bench.sync()
    bench.propose()
    await bench.turn()

    bench.workers.run_one(DiskFullError("no space"))
    again = await bench.again()
    assert not again.frame.first
    await bench.sync()

    assert bench.machine.committed_indexes == [1, 2, 3]
    assert bench.owner.full[-1] is True
    bench.propose()
    await bench.turn()
    rollover = bench.workers.waiting[0][0].write
    assert rollover.frame.first
    await bench.idle()
    assert bench.owner.full[-1] is False


@pytest.mark.asyncio
async def test_what_others_have_committed_is_flushed_only_once_the_own_journal_holds_it(tmp_path):
    bench = bench_of(tmp_path, (NODE, OTHER, THIRD))
    bench.replica.raft.campaign()
    await bench.hear(OTHER, PreVoteAnswer(term=Term(1), granted=True))
    await bench.idle()
    await bench.hear(OTHER, VoteAnswer(term=Term(1), granted=True))
    assert bench.replica.raft.is_leader

    await bench.hear(OTHER, AppendAnswer(Term(1), True, Index(1)))
    await bench.hear(THIRD, AppendAnswer(Term(1), True, Index(1)))

    assert bench.replica.applied == 1
    assert bench.replica.next_flush() is None
    await bench.idle()
    entries, _ = bench.replica.next_flush()
    assert [entry.index for entry in entries] == [1]


def test_a_round_that_is_tried_again_takes_over_all_that_the_next_one_holds():
    """A slot that is left out is a term, or a log given up, that the journal never hears of."""
    first, later = _Round(), _Round()
    slots = [name for name in _Round.__slots__ if name not in ("bytes", "items")]
    for name in slots:
        getattr(first, name).append(f"first {name}")
        getattr(later, name).append(f"later {name}")

    first.append(later)

    for name in slots:
        assert getattr(first, name) == [f"first {name}", f"later {name}"]
