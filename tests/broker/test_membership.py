"""Groups come and go without the journal ever missing one of them."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from trimaran.broker.groups import GroupTable
from trimaran.broker.membership import Membership
from trimaran.broker.observations import Observations
from trimaran.errors import CorruptionError
from trimaran.ids import ClusterId, DiskId, NodeId, TopicId
from trimaran.metadata.results import TopicCreated, TopicDeleted
from trimaran.metadata.topology import Topic
from trimaran.raft.progress import RaftLimits
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import open_store

NODE = NodeId(1)
TOPIC = Topic(name="t", topic_id=TopicId(bytes(15) + b"\x09"), partitions=((NODE,),), settings={})
GROUP = TOPIC.group(0)
DAMAGE = Damage(kind=DamageKind.CORRUPT, text="a bad round")


class FakeRounds:
    """`boundaries` holds who waits for a first boundary to be synced."""

    def __init__(self):
        self.forgotten = []
        self.damaged = []
        self.boundaries = []

    def store_boundary(self, boundary):
        self.boundaries.append(asyncio.get_running_loop().create_future())
        return self.boundaries[-1]

    def store_damage(self, group, damage):
        self.damaged.append(group)

    def forget_group(self, group):
        self.forgotten.append(group)
        return asyncio.get_running_loop().create_future()


class FakeImage:
    """What the metadata names: one topic, or nothing; and whether it was deleted."""

    topics = ()

    def __init__(self, topic=None, *, deleted=()):
        self._topic = topic
        self._deleted = deleted

    def was_deleted(self, topic_id):
        return topic_id in self._deleted

    def replicas(self, group):
        return self._topic.partitions[0] if self._topic is not None else None

    def node(self, node_id):
        return None

    def topic_by_id(self, topic_id):
        return self._topic


class FakeWorkers:
    def submit(self, lane, work):
        future = asyncio.get_running_loop().create_future()
        future.set_result(work.run())
        return future


def membership_of(tmp_path, *, has_group=True, damage=(), voters=(NODE,)):
    """Return a node with one group found on disk, its rounds, and the works it has begun."""
    files = RealFiles(str(tmp_path))
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=NODE, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity)
    store.damage += damage
    if has_group:
        add = store.plan_add_group(Boundary(group=GROUP, voters=voters))
        add.run()
        add.finish()
    rounds, begun, forgotten = FakeRounds(), [], []
    membership = Membership(
        consensus=SimpleNamespace(
            rounds=rounds,
            groups=GroupTable(),
            observations=Observations.apart(),
            inbox=SimpleNamespace(forget=forgotten.append),
        ),
        store=store,
        workers=FakeWorkers(),
        tasks=SimpleNamespace(spawn=lambda work, name: begun.append(work)),
        node_id=NODE,
        disk_id=identity.disk_id,
        limits=RaftLimits(),
    )
    rounds.leaders_forgotten = forgotten
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
async def test_of_a_deleted_topic_that_was_never_here_nothing_is_remembered(tmp_path):
    membership, rounds, _ = membership_of(tmp_path, has_group=False)

    membership.image_changed(FakeImage(), [TopicDeleted(topic=TOPIC)])

    assert rounds.leaders_forgotten == [GROUP]


@pytest.mark.asyncio
async def test_a_group_deleted_while_it_is_made_is_not_kept_once_the_journal_forgets_it(
    tmp_path, settle
):
    membership, rounds, begun = membership_of(tmp_path, has_group=False)
    membership.image_changed(FakeImage(TOPIC), [TopicCreated(topic=TOPIC)])
    making = asyncio.ensure_future(begun.pop())
    await settle(lambda: rounds.boundaries)
    assert [found.group for found in membership.dormant()] == [GROUP]

    membership.image_changed(FakeImage(deleted=[TOPIC.topic_id]), [TopicDeleted(topic=TOPIC)])
    rounds.boundaries[0].set_result(None)
    await settle(lambda: rounds.forgotten)

    assert rounds.forgotten == [GROUP]
    assert membership.dormant() == []
    await making
    begun.pop().close()


@pytest.mark.asyncio
async def test_a_group_that_a_crash_kept_from_being_removed_goes_once_its_deletion_is_known(
    tmp_path,
):
    membership, rounds, begun = membership_of(tmp_path)

    membership.image_changed(FakeImage(), ())  # "I do not know this topic" removes nothing
    assert [found.group for found in membership.dormant()] == [GROUP]
    assert begun == []
    for _ in range(2):
        membership.image_changed(FakeImage(deleted=[TOPIC.topic_id]), ())

    assert membership.dormant() == []
    assert rounds.forgotten == [GROUP]
    begun.pop().close()
    assert begun == []


@pytest.mark.asyncio
async def test_a_damaged_group_goes_too_once_its_topic_was_deleted(tmp_path):
    membership, rounds, begun = membership_of(tmp_path)
    (found,) = membership.dormant()
    found.boundary = replace(found.boundary, state_files=(("producers-7", 10, 0),))
    membership.image_changed(FakeImage(TOPIC), ())

    membership.image_changed(FakeImage(deleted=[TOPIC.topic_id]), ())

    assert membership.dormant() == []
    assert rounds.forgotten == [GROUP]
    begun.pop().close()


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


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", [None, DAMAGE])
async def test_a_group_that_is_found_damaged_never_stands_for_election(tmp_path, damage):
    membership, _, _ = membership_of(tmp_path, voters=(NODE, NodeId(2), NodeId(3)))
    (found,) = membership.dormant()
    found.damage = damage
    taken_up = []
    membership._consensus.group_added = lambda replica, is_new: taken_up.append(replica)

    membership.image_changed(FakeImage(TOPIC), ())

    (replica,) = taken_up
    replica.raft.campaign()
    assert replica.raft.has_ready == (damage is None)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_registered", [False, True])
async def test_a_group_made_on_a_damaged_disk_has_a_vote_only_if_it_cannot_have_been_there(
    tmp_path, settle, is_registered
):
    membership, rounds, begun = membership_of(tmp_path, has_group=False, damage=["a gap"])
    if is_registered:  # whatever was created before is known by then
        membership.registered()
    membership.image_changed(FakeImage(TOPIC), [TopicCreated(topic=TOPIC)])
    making = asyncio.ensure_future(begun.pop())
    await settle(lambda: rounds.boundaries)

    (found,) = membership.dormant()
    assert (found.damage is None) == is_registered
    assert rounds.damaged == ([] if is_registered else [GROUP])
    making.cancel()


class SlowWorkers:
    """Workers whose works are run by the test."""

    def __init__(self):
        self.waiting = []

    def submit(self, lane, work):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((work, future))
        return future

    def run_next(self):
        work, future = self.waiting.pop(0)
        try:
            future.set_result(work.run())
        except CorruptionError as error:
            future.set_exception(error)


def serving(tmp_path):
    """Return a membership that serves with one group found and not named yet."""
    membership, rounds, begun = membership_of(tmp_path)
    membership._workers = SlowWorkers()
    membership._consensus.group_added = lambda _replica, is_new: None
    membership.take_up(FakeImage())
    return membership, rounds, begun


@pytest.mark.asyncio
async def test_a_serving_node_takes_a_group_up_once_its_state_was_read_aside(tmp_path):
    membership, _, begun = serving(tmp_path)
    (found,) = membership.dormant()

    for _ in range(2):  # it is read once
        membership.image_changed(FakeImage(TOPIC), ())

    assert membership.partition(GROUP) is None
    assert membership.dormant() == [found], "the journal keeps it meanwhile"
    assert membership.waiting(GROUP) is None, "it is not installed meanwhile"
    (work,) = begun
    task = asyncio.ensure_future(work)
    membership._workers.run_next()
    await task
    assert membership.partition(GROUP) is not None
    assert membership.dormant() == []


@pytest.mark.asyncio
async def test_a_group_deleted_while_its_state_is_read_is_not_taken_up(tmp_path):
    membership, rounds, begun = serving(tmp_path)
    membership.image_changed(FakeImage(TOPIC), ())
    task = asyncio.ensure_future(begun.pop())

    membership.image_changed(FakeImage(deleted=[TOPIC.topic_id]), [TopicDeleted(topic=TOPIC)])
    membership._workers.run_next()
    await task

    assert membership.partition(GROUP) is None
    assert membership.dormant() == []
    assert rounds.forgotten == [GROUP]
    begun.pop().close()


@pytest.mark.asyncio
async def test_a_group_whose_state_read_aside_is_damaged_is_installed(tmp_path):
    membership, rounds, begun = serving(tmp_path)
    wanted = []
    membership.install_with(wanted.append)
    (found,) = membership.dormant()
    found.boundary = replace(found.boundary, state_files=(("producers-7", 10, 0),))
    membership.image_changed(FakeImage(TOPIC), ())
    task = asyncio.ensure_future(begun.pop())

    membership._workers.run_next()
    await task

    assert (wanted, rounds.damaged) == ([GROUP], [GROUP])
    assert membership.waiting(GROUP) is found
    assert membership.partition(GROUP) is None
