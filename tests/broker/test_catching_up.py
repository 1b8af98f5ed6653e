"""A follower that is far behind is served from segments, whatever their cuts."""

from types import SimpleNamespace

import pytest

from trimaran.broker.consensus import Consensus
from trimaran.ids import ClusterId, DiskId, GroupId, Index, NodeId, Offset, Term
from trimaran.raft.ready import OlderEntries
from trimaran.records.control import Compaction
from trimaran.records.entry import Entry, EntryKind
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import open_store

NODE = NodeId(1)
OTHER = NodeId(2)
GROUP = GroupId(bytes(19) + b"\x07")


def stored_log(tmp_path, count):
    """Return a log in which every entry has a segment of its own."""
    files = RealFiles(str(tmp_path))
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity)
    add = store.plan_add_group(Boundary(group=GROUP, voters=(NODE, OTHER)))
    add.run()
    (found,) = add.finish()
    found.log.segment_bytes = 1
    write = found.log.plan_append(
        [
            Entry(Index(index), Term(1), EntryKind.COMMAND, Offset(0), 0, 0, b"command")
            for index in range(1, count + 1)
        ]
    )
    write.run()
    write.finish()
    return found.log


@pytest.mark.asyncio
async def test_a_follower_is_sent_the_first_entry_of_each_segment(tmp_path):
    log = stored_log(tmp_path, 3)
    sent = []

    async def submit(lane, work):
        return work.run()

    node = SimpleNamespace(
        _ports=SimpleNamespace(workers=SimpleNamespace(submit=submit)),
        rounds=SimpleNamespace(touched=lambda replica: None),
    )
    raft = SimpleNamespace(
        older_entries_read=lambda peer, prev, entries: sent.append(
            (prev.index, [entry.index for entry in entries])
        )
    )
    replica = SimpleNamespace(raft=raft, storage=log, removed=False)

    for start in (1, 2, 3):
        await Consensus._read_older(node, replica, OlderEntries(peer=OTHER, start=Index(start)))

    assert sent == [(0, [1]), (1, [2]), (2, [3])]


@pytest.mark.asyncio
async def test_a_follower_inside_a_compacted_range_gets_an_install_behind_it_entries(tmp_path):
    log = stored_log(tmp_path, 6)
    wanted = Compaction(generation=1, end=4, starts=(1, 3), tombstones=0, passes=())
    work = log.plan_compaction(wanted, keys_bytes_max=1, reserve_bytes=0)
    while not work.done:
        work.plan_step().run()
    swap = log.plan_swap(work)
    swap.run()
    log.swapped(swap).run()
    installs, sent = [], []

    async def submit(lane, work):
        return work.run()

    node = SimpleNamespace(
        _ports=SimpleNamespace(workers=SimpleNamespace(submit=submit)),
        rounds=SimpleNamespace(touched=lambda replica: None),
    )
    raft = SimpleNamespace(
        start_install=lambda peer, boundary: installs.append(boundary.index),
        older_entries_read=lambda peer, prev, entries: sent.append(
            (prev.index, [entry.index for entry in entries])
        ),
    )
    replica = SimpleNamespace(raft=raft, storage=log, removed=False)

    for start in range(1, 7):
        await Consensus._read_older(node, replica, OlderEntries(peer=OTHER, start=Index(start)))

    assert installs == [4, 4, 4, 4]
    assert sent == [(4, [5]), (5, [6])]


@pytest.mark.parametrize(("leader", "told"), [(OTHER, [(OTHER, GROUP)]), (None, [])])
def test_a_group_that_starts_over_says_so_to_the_leader_that_sent_it_there(leader, told):
    """Else a leader never learns of an install that ended between two of its heartbeats."""
    missed = []
    nothing = SimpleNamespace(
        group_removed=lambda *_: None,
        forget=lambda *_: None,
        led_changed=lambda *_, **__: None,
        following_changed=lambda *_: None,
        missed=lambda node, group: missed.append((node, group)),
    )
    consensus = SimpleNamespace(
        node_id=NODE,
        _owner=nothing,
        observations=SimpleNamespace(incidents=nothing),
        elections=nothing,
        heartbeats=nothing,
        mending=SimpleNamespace(readmission=nothing),
    )
    left = []
    replica = SimpleNamespace(
        group=GROUP, leave=lambda: left.append(True), raft=SimpleNamespace(leader=leader)
    )

    Consensus.group_removed(consensus, replica, starts_over=True)

    assert missed == told
    assert left
