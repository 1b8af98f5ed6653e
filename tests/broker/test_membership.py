"""Groups come and go without the journal ever missing one of them."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from trimaran.broker.groups import GroupTable
from trimaran.broker.membership import Membership
from trimaran.ids import ClusterId, DiskId, NodeId, TopicId
from trimaran.metadata.results import TopicDeleted
from trimaran.metadata.topology import Topic
from trimaran.raft.progress import RaftLimits
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import format_store, open_store

NODE = NodeId(1)
TOPIC = Topic(name="t", topic_id=TopicId(bytes(15) + b"\x09"), partitions=((NODE,),), settings={})
GROUP = TOPIC.group(0)


class FakeRounds:
    def __init__(self):
        self.forgotten = []

    def forget_group(self, group):
        self.forgotten.append(group)
        return asyncio.get_running_loop().create_future()


class FakeImage:
    """What the metadata names: one topic, or nothing."""

    def __init__(self, topic=None):
        self._topic = topic

    def replicas(self, group):
        return self._topic.partitions[0] if self._topic is not None else None

    def topic_by_id(self, topic_id):
        return self._topic


def membership_of(tmp_path):
    """Return a node with one group found on disk, its rounds, and the works it has begun."""
    files = RealFiles(str(tmp_path))
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity)
    add = store.plan_add_group(Boundary(group=GROUP, voters=(NODE,)))
    add.run()
    add.finish()
    rounds, begun = FakeRounds(), []
    membership = Membership(
        consensus=SimpleNamespace(rounds=rounds, groups=GroupTable()),
        store=store,
        workers=None,
        tasks=SimpleNamespace(spawn=lambda work, name: begun.append(work)),
        node_id=NODE,
        limits=RaftLimits(),
    )
    return membership, rounds, begun


@pytest.mark.asyncio
async def test_the_journal_is_told_of_a_deletion_in_the_turn_that_takes_the_group_away(tmp_path):
    membership, rounds, begun = membership_of(tmp_path)
    assert [found.group for found in membership.dormant()] == [GROUP]

    membership.image_changed(FakeImage(), [TopicDeleted(topic=TOPIC)])

    assert membership.dormant() == []
    assert rounds.forgotten == [GROUP]
    begun[0].close()


@pytest.mark.asyncio
async def test_a_group_whose_state_file_is_damaged_is_kept_and_takes_no_part(tmp_path):
    membership, _, begun = membership_of(tmp_path)
    (found,) = membership.dormant()
    found.boundary = replace(found.boundary, state_files=(("producers-7", 10, 0),))

    for _ in range(2):
        membership.image_changed(FakeImage(TOPIC), ())

    assert membership.dormant() == [found]
    assert membership.partition(GROUP) is None
    assert begun == []
