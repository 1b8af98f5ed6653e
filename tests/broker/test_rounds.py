"""Rounds share syncs, and keep nobody waiting who is alone."""

import asyncio
from dataclasses import dataclass, field

import pytest

from trimaran.broker.ports import Lane
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds
from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import ClusterId, DiskId, GroupId, Index, NodeId, Term
from trimaran.raft.log import RaftLog
from trimaran.raft.node import RaftNode
from trimaran.records.entry import EntryKind, HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import format_store, open_store

NODE = NodeId(1)
GROUP = GroupId(bytes(19) + b"\x07")


class HeldWorkers:
    """Works wait until the test lets one run."""

    def __init__(self):
        self.waiting = []
        self.submitted = asyncio.Event()

    def submit(self, lane, work):
        assert lane is Lane.JOURNAL
        self.submitted.set()
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((work, future))
        return future

    def run_one(self, error=None):
        self.submitted.clear()
        work, future = self.waiting.pop(0)
        if error is not None:
            work.state = "full"
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
    failures: list = field(default_factory=list)

    def ready_handled(self, replica, ready):
        pass

    def live_replicas(self):
        return self.replicas

    def dormant_groups(self):
        return []

    def disk_full(self, full):
        self.full.append(full)

    def fail(self, error):
        self.failures.append(error)


@dataclass
class Bench:
    rounds: Rounds
    workers: HeldWorkers
    owner: Owner
    replica: Replica
    machine: Machine

    def propose(self, events=1):
        entry = self.replica.raft.propose(
            EntryKind.RECORDS, b"x" * 100, offset_count=events, log_time_ms=1
        )
        self.replica.proposed(entry)
        self.rounds.proposed(self.replica, events)

    async def turn(self):
        for _ in range(3):
            await asyncio.sleep(0)

    async def sync(self):
        self.workers.run_one()
        await self.turn()


async def leading(tmp_path):
    """Return one group that leads itself, nothing under way."""
    files = RealFiles(str(tmp_path))
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity)
    add = store.plan_add_group(Boundary(group=GROUP, voters=(NODE,)))
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
    )
    state = HardState(term=Term(0), vote=None)
    raft = RaftNode(
        node_id=NODE, voters=(NODE,), log=RaftLog(), hard_state=state, commit_index=Index(0)
    )
    replica = Replica(
        raft=raft,
        storage=found.log,
        boundary=found.boundary,
        hard_state=state,
        machine=machine,
    )
    owner.replicas.append(replica)
    bench = Bench(rounds, workers, owner, replica, machine)
    raft.campaign()
    rounds.touched(replica)
    await bench.turn()
    while workers.waiting:
        await bench.sync()
    assert raft.is_leader
    assert raft.commit_index == 1
    return bench


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
