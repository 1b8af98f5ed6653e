"""Which groups this node is a member of: brought into being and ended as the metadata says.

A group that was found on disk waits until the metadata names it; only a committed deletion of its
topic removes it ("I do not know this partition" never means "delete it"). A new group's files, its
line in the list of groups and its first boundary are synced before it takes part in anything.
Does not: elect, append or serve.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from trimaran.broker.consensus import Consensus
from trimaran.broker.controller import Controller
from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.partition import Partition
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.replica import Replica, StateMachine
from trimaran.broker.space import when_there_is_room
from trimaran.broker.tasks import Tasks
from trimaran.dedup.producers import ProducerTable
from trimaran.errors import CorruptionError
from trimaran.ids import METADATA_GROUP, GroupId, Index, NodeId, TopicId, split_group_id
from trimaran.metadata.image import Image
from trimaran.metadata.results import (
    PartitionsCreated,
    Result,
    TopicCreated,
    TopicDeleted,
    TopicSettingsAltered,
)
from trimaran.metadata.topology import Topic
from trimaran.raft.log import RaftLog
from trimaran.raft.node import RaftNode
from trimaran.raft.progress import RaftLimits
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.recovery import RecoveredGroup, Store

log = logging.getLogger(__name__)

STORED = Index(0)
"""In place of the first index of a term whose entries are in segments: never truncated."""


class Membership:
    """Creates, takes up and removes this node's groups."""

    def __init__(
        self,
        *,
        consensus: Consensus,
        store: Store,
        workers: Workers,
        tasks: Tasks,
        node_id: NodeId,
        limits: RaftLimits,
    ) -> None:
        """Nothing is taken up before `start_metadata`."""
        self._consensus = consensus
        self._store = store
        self._workers = workers
        self._tasks = tasks
        self._node_id = node_id
        self._limits = limits
        self._found: dict[GroupId, RecoveredGroup] = dict(store.groups)
        self._partitions: dict[GroupId, Partition] = {}
        self._making: dict[GroupId, RecoveredGroup | None] = {}
        """Groups on their way: None until their files are there."""
        self._deleted: dict[GroupId, None] = {}
        """Groups whose topic was deleted while they were being made."""
        self._unreadable: dict[GroupId, None] = {}
        """Groups found whose state files are damaged: kept, but nothing can be judged by them."""

    def partition(self, group: GroupId) -> Partition | None:
        """Return this node's replica of a partition."""
        return self._partitions.get(group)

    async def start_metadata(self, controller: Controller, *, voters: tuple[NodeId, ...]) -> None:
        """Take up the metadata group, creating it on a node's first start."""
        found = self._found.pop(METADATA_GROUP, None)
        if found is None:
            (found,) = await self._create([Boundary(group=METADATA_GROUP, voters=voters)])
        for file in found.boundary.state_files:
            controller.image = Image.decode(found.log.read_state(file), source=file[0])
        raft = self._raft(found, eager_commit=True)
        replica = self._replica(found, raft, controller)
        controller.bind(replica)
        self._making.pop(METADATA_GROUP, None)
        self._consensus.group_added(replica, is_new=False)

    def image_changed(self, image: Image, results: Sequence[Result]) -> None:
        """Bring this node's groups to what the metadata says now."""
        for group in list(self._found):
            replicas = image.replicas(group)
            topic = image.topic_by_id(_topic_of(group))
            if group in self._unreadable or _is_broken(self._found[group]):
                continue
            if replicas is not None and topic is not None:
                self._take_up_found(self._found.pop(group), topic)
        for result in results:
            match result:
                case TopicCreated():
                    self._make(image, result.topic, 0)
                case PartitionsCreated():
                    self._make(image, result.topic, result.first_partition)
                case TopicSettingsAltered():
                    self._alter(result.topic)
                case TopicDeleted():
                    self._delete(result.topic)
                case _:
                    pass

    def make_missing(self, image: Image) -> None:
        """Create what the metadata names and this node, after a crash in between, does not hold."""
        for topic in image.topics:
            self._make(image, topic, 0)

    def _make(self, image: Image, topic: Topic, first_partition: int) -> None:
        groups = [
            topic.group(number)
            for number in range(first_partition, len(topic.partitions))
            if self._node_id in topic.partitions[number]
        ]
        missing = [
            group
            for group in groups
            if group not in self._partitions
            and group not in self._making
            and group not in self._found
        ]
        if missing:
            self._making.update(dict.fromkeys(missing))
            self._tasks.spawn(self._make_all(image, topic, missing), name="make-groups")

    async def _make_all(self, image: Image, topic: Topic, groups: Sequence[GroupId]) -> None:
        boundaries = [
            Boundary(group=group, voters=topic.partitions[_number_of(group)]) for group in groups
        ]
        rounds = self._consensus.rounds
        for created in await self._create(boundaries):
            if created.group in self._deleted:
                self._deleted.pop(created.group)
                await self._remove(created.group, rounds.forget_group(created.group))
            else:
                now = image.topic_by_id(topic.topic_id) or topic  # settings may have changed
                self._take_up(created, now, ProducerTable(), is_new=True)
            self._making.pop(created.group)

    async def _create(self, boundaries: Sequence[Boundary]) -> Sequence[RecoveredGroup]:
        """Make groups' files, their lines in the list and first boundaries durable, together."""
        created = await when_there_is_room(partial(self._add, boundaries))
        for group in created:
            self._making[group.group] = group
            if self._store.damage:
                group.damage = Damage(
                    kind=DamageKind.MISSING_FILES,
                    text="made anew on a disk that lost data: it may have been here before",
                )
                self._consensus.rounds.store_damage(group.group, group.damage)
        stored = [self._consensus.rounds.store_boundary(boundary) for boundary in boundaries]
        for done in stored:
            await done
        return created

    async def _add(self, boundaries: Sequence[Boundary]) -> Sequence[RecoveredGroup]:
        add = self._store.plan_add_groups(boundaries)
        await self._workers.submit(Lane.SEGMENTS, add)
        return add.finish()

    def dormant(self) -> Sequence[RecoveredGroup]:
        """Return the groups whose state must be kept although they take no part (yet)."""
        making = [group for group in self._making.values() if group is not None]
        return [*self._found.values(), *making]

    def _take_up_found(self, found: RecoveredGroup, topic: Topic) -> None:
        producers = ProducerTable()
        try:
            for file in found.boundary.state_files:
                producers = ProducerTable.decode(found.log.read_state(file), source=file[0])
        except CorruptionError as error:
            log.error("group unreadable group=%s reason=%s", found.group.hex(), error)
            self._found[found.group] = found
            self._unreadable[found.group] = None
            return
        self._take_up(found, topic, producers, is_new=False)

    def _take_up(
        self, found: RecoveredGroup, topic: Topic, producers: ProducerTable, *, is_new: bool
    ) -> None:
        group = found.group
        epochs = LeaderEpochs()
        for term, offset in found.log.epochs:
            epochs.begin(term, STORED, offset)
        raft = self._raft(found, eager_commit=False)
        partition = Partition(
            topic=topic.name,
            topic_id=topic.topic_id,
            number=_number_of(group),
            settings=topic.effective_settings(),
            producers=producers,
            epochs=epochs,
            log_start=found.boundary.log_start_offset,
            high_watermark=found.boundary.position.next_offset,
            raft=raft,
            storage=found.log,
            owner=self._consensus,
            workers=self._workers,
        )
        found.log.segment_bytes = partition.settings.segment_bytes
        replica = self._replica(found, raft, partition)
        partition.bind(replica)
        self._partitions[group] = partition
        self._consensus.group_added(replica, is_new=is_new)

    def _raft(self, found: RecoveredGroup, *, eager_commit: bool) -> RaftNode:
        if found.damage is not None:
            log.error(
                "group damaged group=%s effect=no vote reason=%s",
                found.group.hex(),
                found.damage.text,
            )
        return RaftNode(
            node_id=self._node_id,
            voters=found.boundary.voters,
            log=RaftLog(found.boundary.position, found.entries),
            hard_state=found.hard_state,
            commit_index=found.commit_index,
            limits=self._limits,
            may_vote=found.damage is None,
            eager_commit=eager_commit,
        )

    def _replica(self, found: RecoveredGroup, raft: RaftNode, machine: StateMachine) -> Replica:
        found.entries = []
        return Replica(
            raft=raft,
            storage=found.log,
            boundary=found.boundary,
            hard_state=found.hard_state,
            machine=machine,
            damage=found.damage,
        )

    def _alter(self, topic: Topic) -> None:
        settings = topic.effective_settings()
        for number in range(len(topic.partitions)):
            partition = self._partitions.get(topic.group(number))
            if partition is not None:
                partition.settings = settings

    def _delete(self, topic: Topic) -> None:
        for number in range(len(topic.partitions)):
            group = topic.group(number)
            self._partitions.pop(group, None)
            replica = self._consensus.groups.remove(group)
            if replica is not None:
                replica.machine.deleted()
                self._consensus.group_removed(replica)
            if group in self._making:
                self._deleted[group] = None
            elif replica is not None or self._found.pop(group, None) is not None:
                # At once: a new journal file holds all groups but those it is told to forget.
                forgotten = self._consensus.rounds.forget_group(group)
                self._tasks.spawn(self._remove(group, forgotten), name="remove-group")

    async def _remove(self, group: GroupId, forgotten: "asyncio.Future[None]") -> None:
        """Delete the group's files once the journal has forgotten it."""
        await forgotten
        remove = self._store.plan_remove_group(group)
        await when_there_is_room(partial(self._workers.submit, Lane.SEGMENTS, remove))


def _is_broken(found: RecoveredGroup) -> bool:
    """Whether the segments lack what the boundary names: nothing can be appended behind them."""
    return found.log.last_index < found.boundary.position.index


def _topic_of(group: GroupId) -> TopicId:
    return split_group_id(group)[0]


def _number_of(group: GroupId) -> int:
    return split_group_id(group)[1]
