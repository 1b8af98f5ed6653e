"""Compactions on one node: written aside, swapped under a boundary, given up without harm."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker import compaction
from trimaran.broker.compaction import Compactor
from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.flusher import Flusher
from trimaran.broker.groups import GroupTable
from trimaran.broker.partition import Partition
from trimaran.broker.ports import Lane
from trimaran.broker.replica import Replica
from trimaran.dedup.producers import ProducerTable
from trimaran.errors import CorruptionError, DiskFullError, StorageError
from trimaran.ids import ClusterId, DiskId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.metadata.topic_settings import effective_settings
from trimaran.raft.log import RaftLog
from trimaran.raft.node import RaftNode
from trimaran.records.batch import stamp
from trimaran.records.building import build_batch
from trimaran.records.control import Compaction
from trimaran.records.entry import Entry, EntryKind, HardState
from trimaran.records.iteration import Record, iterate_records
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import open_store
from trimaran.storage.segment import group_directory

NODE, OTHER = NodeId(1), NodeId(2)
GROUP = group_id(TopicId(bytes(15) + b"\x0b"), 0)
WANTED = Compaction(generation=1, end=8, starts=(1, 5), tombstones=0, passes=())


class Workers:
    """Works run at once; `broken` says what a lane's works end with."""

    def __init__(self):
        self.broken = {}
        self.lanes = []

    def submit(self, lane, work):
        future = asyncio.get_running_loop().create_future()
        self.lanes.append((lane, type(work).__name__))
        error = self.broken.get((lane, type(work).__name__))
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(work.run())
        return future


class Rounds:
    """Boundaries are synced at once; `seen` is what the group's directory held then."""

    def __init__(self, files):
        self.files = files
        self.seen = []

    def store_boundary(self, boundary, replica):
        self.seen.append(self.files.list(group_directory(GROUP)))
        replica.boundary = boundary
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def keyed(index):
    """Return a batch of one event with one of three keys."""
    record = Record(value=b"%d" % index, key=b"key-%d" % (index % 3), timestamp_ms=index)
    batch = build_batch([record])
    stamp(batch, base_offset=index - 1, leader_epoch=1)
    return Entry(
        Index(index), Term(1), EntryKind.RECORDS, Offset(index - 1), 1, index, bytes(batch)
    )


class Bench:
    """A replica with ten segments of one batch each, and what compacts it."""

    def __init__(self, tmp_path):
        self.files = RealFiles(str(tmp_path))
        identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
        format_store(self.files, identity)
        store = open_store(self.files, identity=identity)
        add = store.plan_add_group(Boundary(group=GROUP, voters=(NODE, OTHER)))
        add.run()
        (found,) = add.finish()
        self.log = found.log
        self.log.segment_bytes = 1
        flush = self.log.plan_flush([keyed(index) for index in range(1, 11)], {"producers": b"p"})
        flush.run()
        flush.finish()
        boundary = Boundary(
            group=GROUP,
            position=self.log.last_position,
            voters=(NODE, OTHER),
            state_files=flush.state_files,
        )
        raft = RaftNode(
            node_id=NODE,
            voters=(NODE, OTHER),
            log=RaftLog(boundary.position),
            hard_state=HardState(term=Term(1), vote=None),
            commit_index=Index(10),
        )
        self.workers, self.rounds = Workers(), Rounds(self.files)
        self.partition = Partition(
            topic="t",
            topic_id=TopicId(GROUP[:16]),
            number=0,
            settings=effective_settings({"cleanup.policy": "compact"}),
            producers=ProducerTable(),
            epochs=LeaderEpochs(),
            log_start=Offset(0),
            high_watermark=Offset(10),
            raft=raft,
            storage=self.log,
            owner=SimpleNamespace(log_time_ms=lambda: 1, can_store=lambda: True),
            workers=self.workers,
        )
        self.replica = Replica(
            raft=raft,
            storage=self.log,
            boundary=boundary,
            hard_state=HardState(term=Term(1), vote=None),
            machine=self.partition,
        )
        self.partition.bind(self.replica)
        self.partition.rules.compaction = WANTED
        self.flusher = Flusher(
            rounds=self.rounds,
            journal=SimpleNamespace(generation=0, file_count=1),
            workers=self.workers,
            tail_bytes_max=1 << 20,
            flush_bytes=1 << 20,
            flush_interval_s=60.0,
            flushed=lambda: None,
        )
        self.damage = []
        self.compactor = self.make_compactor()

    def make_compactor(self):
        groups = GroupTable()
        groups.add(self.replica)
        return Compactor(
            groups=groups,
            workers=self.workers,
            swap=self.flusher.swap,
            damage_found=lambda replica, error: self.damage.append(error),
            bytes_per_s=1 << 40,
            keys_bytes_max=1 << 20,
            reserve_bytes=0,
            interval_s=0.001,
        )

    async def work_until(self, reached):
        """Let flusher and compactor work until `reached`."""
        tasks = [
            asyncio.ensure_future(self.flusher.run()),
            asyncio.ensure_future(self.compactor.run()),
        ]
        try:
            async with asyncio.timeout(10):
                while not reached():
                    await asyncio.sleep(0)
                    for task in tasks:
                        if task.done():
                            task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def values(self):
        found, offset = [], Offset(0)
        while entries := self.log.plan_read_offset(offset, 1 << 20).run():
            found += [r.value for entry in entries for r in iterate_records(entry.payload)]
            offset = entries[-1].next_offset
            if offset >= 10:
                break
        return found

    @property
    def names(self):
        return self.files.list(group_directory(GROUP))


@pytest.mark.asyncio
async def test_old_segments_go_only_after_the_boundary_that_names_the_new(tmp_path):
    bench = Bench(tmp_path)
    before = [name for name in bench.names if name.endswith((".segment", ".rows"))]

    await bench.work_until(lambda: bench.compactor.statistics().done == 1)

    (at_boundary,) = bench.rounds.seen
    assert [name for name in before if name not in at_boundary] == []
    written = [name for name in bench.names if name.count("-") == 2]
    assert len(written) == 4
    assert [name for name in written if name not in at_boundary] == []
    raw = [name for name in bench.names if name.endswith(".segment") and name.count("-") == 1]
    assert len(raw) == 2
    assert bench.values() == [b"6", b"7", b"8", b"9", b"10"]
    names = [name for name, _, _ in bench.replica.boundary.state_files]
    assert names == ["producers-10", "compacted-1"]
    assert bench.files.list(group_directory(GROUP) + "/state") == sorted(names)
    assert "compacting" not in bench.names
    statistics = bench.compactor.statistics()
    assert statistics.freed_bytes > 0
    assert statistics.moved_bytes > 0
    assert (statistics.given_up, statistics.decided) == (0, 0)


@pytest.mark.asyncio
async def test_damage_in_the_way_is_told_and_nothing_is_left_behind(tmp_path):
    bench = Bench(tmp_path)
    bench.workers.broken[Lane.COMPACTION, "CompactionStep"] = CorruptionError("x", 1, "bad")

    await bench.work_until(lambda: bench.compactor.statistics().given_up == 2)

    assert len(bench.damage) == 2
    assert "compacting" not in bench.names
    assert bench.rounds.seen == []
    del bench.workers.broken[Lane.COMPACTION, "CompactionStep"]
    await bench.work_until(lambda: bench.compactor.statistics().done == 1)
    assert bench.values() == [b"6", b"7", b"8", b"9", b"10"]


@pytest.mark.asyncio
async def test_a_full_disk_puts_a_compaction_off_and_another_failure_ends_the_node(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(compaction, "FULL_RETRY_S", 0.0)
    bench = Bench(tmp_path)
    bench.workers.broken[Lane.COMPACTION, "CompactionStep"] = DiskFullError("no space")

    await bench.work_until(lambda: bench.compactor.statistics().given_up == 2)
    assert bench.damage == []
    bench.workers.broken[Lane.COMPACTION, "CompactionStep"] = StorageError("EIO")

    with pytest.raises(StorageError, match="EIO"):
        await bench.work_until(lambda: False)


@pytest.mark.asyncio
async def test_what_does_not_fit_beside_the_reserve_is_not_tried_at_every_look(
    tmp_path, monkeypatch
):
    bench = Bench(tmp_path)
    looks, look = [], GroupTable.all
    monkeypatch.setattr(GroupTable, "all", lambda groups: looks.append(None) or look(groups))
    bench.compactor._reserve_bytes = 1 << 60

    await bench.work_until(lambda: len(looks) > 20)

    assert bench.compactor.statistics().given_up == 1
    assert "compacting" not in bench.names
    bench.compactor._reserve_bytes = 0
    bench.compactor._full[GROUP] = asyncio.get_running_loop().time()
    await bench.work_until(lambda: bench.compactor.statistics().done == 1)
    assert bench.values() == [b"6", b"7", b"8", b"9", b"10"]


@pytest.mark.asyncio
async def test_nothing_is_swapped_into_a_group_that_is_gone(tmp_path):
    bench = Bench(tmp_path)
    finished = bench.compactor._swap
    swaps = []

    async def remove_first(replica, work):
        replica.removed = True
        swaps.append(await finished(replica, work))
        return swaps[-1]

    bench.compactor._swap = remove_first

    await bench.work_until(lambda: bench.compactor.statistics().given_up == 1)

    assert swaps == [False]
    assert bench.rounds.seen == []
    assert Lane.SEGMENTS not in [lane for lane, _ in bench.workers.lanes]


@pytest.mark.asyncio
@pytest.mark.parametrize("when", ["CompactionStep", "CompactionDiscard"])
async def test_a_group_that_is_removed_while_it_is_compacted_leaves_no_file_open(
    tmp_path, monkeypatch, when
):
    bench = Bench(tmp_path)
    opened, really_open = [], bench.files.open
    submit = bench.workers.submit

    def noted(path, *, create=False):
        opened.append(really_open(path, create=create))
        return opened[-1]

    def removed_meanwhile(lane, work):
        done = submit(lane, work)
        if type(work).__name__ == when:
            bench.replica.removed = True
        return done

    monkeypatch.setattr(RealFiles, "open", lambda _self, *args, **kwargs: noted(*args, **kwargs))
    bench.workers.submit = removed_meanwhile
    if when == "CompactionDiscard":
        bench.workers.broken[Lane.COMPACTION, "CompactionStep"] = DiskFullError("no space")
        bench.workers.broken[Lane.COMPACTION, "CompactionDiscard"] = StorageError("gone")

    await bench.work_until(lambda: bench.compactor.statistics().given_up == 1)

    if when == "CompactionStep":
        assert opened
    assert [file.path for file in opened if file._descriptor >= 0] == []
