"""Which groups this node is a member of: brought into being and ended as the metadata says.

A group that was found on disk waits until the metadata names it; only a committed deletion of its
topic removes it ("I do not know this partition" never means "delete it"). A deletion that a crash
kept from being carried out is known from the image, which remembers the ids of deleted topics.
A new group's files, its line in the list of groups and its first boundary are synced before it
takes part in anything. What a group stood for is read on the loop only before the node serves.
Does not: elect, append or serve.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from trimaran.broker.consensus import Consensus
from trimaran.broker.controller import Controller
from trimaran.broker.coordinator import Coordinator
from trimaran.broker.deduplication import EventIds
from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.group_topics import GroupTopics
from trimaran.broker.partition import Partition
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.replica import Replica, StateMachine
from trimaran.broker.space import when_there_is_room
from trimaran.broker.states import GroupState, PartitionState, ReadState, read_group, read_image
from trimaran.broker.stored_rules import StoredRules
from trimaran.broker.tasks import Tasks
from trimaran.dedup.producers import ProducerTable
from trimaran.errors import CorruptionError
from trimaran.groups.messages import GroupSettings
from trimaran.groups.table import GroupTable
from trimaran.ids import (
    METADATA_GROUP,
    DiskId,
    GroupId,
    Index,
    NodeId,
    Term,
    TopicId,
    split_group_id,
)
from trimaran.metadata.image import Image
from trimaran.metadata.limits import DELETED_TOPICS_MAX
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
from trimaran.records.entry import HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.recovery import RecoveredGroup, Store

log = logging.getLogger(__name__)

MADE_ANEW = Damage(
    kind=DamageKind.MISSING_FILES,
    text="made anew on a disk that lost data: it may have been here before",
)
DISK_REPLACED = Damage(
    kind=DamageKind.MISSING_FILES, text="made on a disk that takes the place of another"
)
T = TypeVar("T")
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
        disk_id: DiskId,
        limits: RaftLimits,
        group_settings: GroupSettings | None = None,
    ) -> None:
        """Nothing is taken up before `start_metadata`."""
        self._group_settings = group_settings or GroupSettings()
        self._coordinators: dict[GroupId, Coordinator] = {}
        self._consensus = consensus
        self._store = store
        self._workers = workers
        self._tasks = tasks
        self._node_id = node_id
        self._disk_id = disk_id
        self._limits = limits
        self._found: dict[GroupId, RecoveredGroup] = dict(store.groups)
        self._reading: dict[GroupId, None] = {}
        """Groups found whose state is being read."""
        self._serves = False
        self._partitions: dict[GroupId, Partition] = {}
        self._making: dict[GroupId, RecoveredGroup | None] = {}
        """Groups on their way: None until their files are there."""
        self._deleted: dict[GroupId, None] = {}
        """Groups whose topic was deleted while they were being made."""
        self._deleted_names: dict[str, None] = {}
        """Topics deleted while this node ran, the latest: their producers may go on in new ones."""
        self._install: Callable[[GroupId], None] = _nothing_to_install
        self._metadata_installed: asyncio.Future[None] | None = None
        self._image = Image()
        self._has_lost_groups = bool(store.damage)
        """What is made now may have been here before, on the part of the disk that lost data."""
        self._made = asyncio.Event()
        """Set whenever groups were made."""

    def registered(self) -> None:
        """The metadata is applied up to this start's registration.

        Each group of before that moment is here by now, or is being made and marked. One that is
        named later was never on this disk, whatever the disk has lost.
        """
        self._has_lost_groups = False

    def partition(self, group: GroupId) -> Partition | None:
        """Return this node's replica of a partition."""
        return self._partitions.get(group)

    def coordinator(self, group: GroupId) -> Coordinator | None:
        """Return this node's replica of a coordinator of consumer groups."""
        return self._coordinators.get(group)

    def coordinators(self) -> Sequence[Coordinator]:
        """Return all replicas of coordinators on this node."""
        return list(self._coordinators.values())

    # Groups that start over from a leader's files

    def broken(self) -> Sequence[GroupId]:
        """Return the groups that take no part until they were installed."""
        return [group for group, found in self._found.items() if _is_broken(found)]

    def waiting(self, group: GroupId) -> RecoveredGroup | None:
        """Return a group that takes no part, None if it is none of those, or about to."""
        return None if group in self._reading else self._found.get(group)

    def install_with(self, install: Callable[[GroupId], None]) -> None:
        """Have `install` called with each group that cannot take part with what it has."""
        self._install = install

    def installed(self, recovered: RecoveredGroup) -> None:
        """Take the group up: it has the files of its boundary."""
        self._found[recovered.group] = recovered
        if recovered.group != METADATA_GROUP:
            self.image_changed(self._image, ())
        elif self._metadata_installed is not None and not self._metadata_installed.done():
            self._metadata_installed.set_result(None)

    async def start_over(self, replica: Replica) -> None:
        """Leave a group whose leader has no entries that reach back to this member's log."""
        if replica.removed:
            return
        group = replica.group
        log.warning("group starts over group=%s", group.hex())
        # The next round comes after all that hold something of this group.
        await self._consensus.rounds.leave(replica)
        if self._consensus.groups.get(group) is not replica:
            return  # deleted meanwhile
        self._consensus.groups.remove(group)
        self._partitions.pop(group, None)
        self._coordinators.pop(group, None)
        raft = replica.raft
        start = Index(replica.boundary.position.index + 1)
        end = Index(raft.synced_index + 1)
        self._found[group] = RecoveredGroup(
            group=group,
            boundary=replica.boundary,
            hard_state=replica.journaled,
            log=replica.storage,
            entries=list(raft.log.slice(start, end)) if end > start else [],
            commit_index=raft.synced_commit_index,
            commit_known=raft.synced_commit_index,
            damage=replica.damage,
            has_files=False,
        )
        self._consensus.group_removed(replica, starts_over=True)
        if isinstance(replica.machine, Controller):
            replica.machine.majority_lost()
            await self.start_metadata(replica.machine, voters=replica.boundary.voters)
            replica.machine.started_over()
            self._catch_up(replica.machine.image)
        else:
            replica.machine.deleted()
            self._install(group)

    def _catch_up(self, image: Image) -> None:
        """Do what the commands would have led to that this node has not seen."""
        self.image_changed(image, ())
        for group, partition in list(self._partitions.items()):
            if image.was_deleted(partition.topic_id):
                self._note_deleted(partition.topic)
                replica = self._consensus.groups.remove(group)
                del self._partitions[group]
                if replica is not None:
                    self._consensus.group_removed(replica)
                    replica.machine.deleted()
                    self._forget(group)
        for topic in image.topics:
            self._alter(topic)
        self.make_missing(image)

    # What the metadata says

    async def start_metadata(self, controller: Controller, *, voters: tuple[NodeId, ...]) -> None:
        """Take up the metadata group, creating it on a node's first start.

        If it is damaged this waits until it was installed from another node.
        """
        found = self._found.get(METADATA_GROUP)
        if found is None:
            boundary = Boundary(group=METADATA_GROUP, voters=voters)
            (found,) = await self._create([boundary], is_suspect=self._has_lost_groups)
        while (image := await self._read_image(found)) is None:
            self._metadata_installed = asyncio.get_running_loop().create_future()
            self._found[METADATA_GROUP] = found
            self._install(METADATA_GROUP)
            await self._metadata_installed
            found = self._found[METADATA_GROUP]
        self._found.pop(METADATA_GROUP, None)
        controller.image = image
        if not found.boundary.voters:
            found.boundary = replace(found.boundary, voters=voters)
        raft = self._raft(found, eager_commit=True)
        replica = self._replica(found, raft, controller)
        controller.bind(replica)
        self._making.pop(METADATA_GROUP, None)
        self._consensus.group_added(replica, is_new=False)

    async def _read_image(self, found: RecoveredGroup) -> Image | None:
        """Return the image at the boundary, None if it cannot be read or has lost its log."""
        if _is_broken(found):
            return None
        work = read_image(found)
        try:
            if not self._serves:
                return work.run()
            return await self._read_aside(found, work)
        except CorruptionError as error:
            self._unreadable(found, error)
            return None

    def take_up(self, image: Image) -> None:
        """Take up what was found, and make what is missing: from then on this node serves."""
        self.image_changed(image, ())
        self.make_missing(image)
        self._serves = True

    def _unreadable(self, found: RecoveredGroup, error: CorruptionError) -> None:
        """A state file fails its check: nothing can be judged by what is left."""
        log.error("group unreadable group=%s reason=%s", found.group.hex(), error)
        found.has_files = False
        if found.damage is None:
            found.damage = Damage(kind=DamageKind.BOUNDARY, text=str(error))
            self._consensus.rounds.store_damage(found.group, found.damage)

    def image_changed(self, image: Image, results: Sequence[Result]) -> None:
        """Bring this node's groups to what the metadata says now."""
        self._image = image
        for group in list(self._found):
            if image.was_deleted(_topic_of(group)):
                self._remove_found(group)
                continue
            replicas = image.replicas(group)
            topic = image.topic_by_id(_topic_of(group))
            if _is_broken(self._found[group]) or group in self._reading:
                continue
            if replicas is not None and topic is not None:
                self._read_state(self._found[group], topic)
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
        if image.was_deleted(topic.topic_id):
            return  # further on in what was applied together
        groups = [
            topic.group(number)
            for number in range(first_partition, len(topic.partitions))
            if self._node_id in topic.partitions[number]
        ]
        missing = [
            group
            for group in groups
            if group not in self._partitions
            and group not in self._coordinators
            and group not in self._making
            and group not in self._found
        ]
        if missing:
            self._making.update(dict.fromkeys(missing))
            is_suspect = self._has_lost_groups or self._is_foreign(image)
            making = self._make_all(image, topic, missing, is_suspect=is_suspect)
            self._tasks.spawn(making, name="make-groups")

    async def _make_all(
        self, image: Image, topic: Topic, groups: Sequence[GroupId], *, is_suspect: bool
    ) -> None:
        boundaries = [
            Boundary(group=group, voters=topic.partitions[_number_of(group)]) for group in groups
        ]
        for created in await self._create(boundaries, is_suspect=is_suspect):
            del self._making[created.group]
            if created.group in self._deleted:
                del self._deleted[created.group]
                self._forget(created.group)
            elif topic.is_internal:
                self._take_up_coordinator(created, GroupTable(), is_new=True)
            else:
                now = image.topic_by_id(topic.topic_id) or topic  # settings may have changed
                producers = ProducerTable(is_successor=topic.name in self._deleted_names)
                state = PartitionState(producers, StoredRules(), EventIds())
                self._take_up(created, now, state, is_new=True)
        self._made.set()

    def _is_foreign(self, image: Image) -> bool:
        """Whether the cluster knows this node by another disk: its groups were there before."""
        node = image.node(self._node_id)
        return node is not None and node.disk_id != self._disk_id

    async def give_up_votes(self, image: Image) -> None:
        """Mark every group: the disk that held them is gone, and with it votes and entries.

        Returns when all groups that `image` names are here and marked, durably.
        """
        stored = []
        for replica in self._consensus.groups.all():
            if replica.damage is None:
                replica.damage = DISK_REPLACED
                replica.raft.lose_vote()
                stored.append(self._consensus.rounds.store_damage(replica.group, DISK_REPLACED))
                self._consensus.vote_changed(replica)
        for found in self.dormant():
            if found.damage is None:
                found.damage = DISK_REPLACED
                stored.append(self._consensus.rounds.store_damage(found.group, DISK_REPLACED))
        for done in stored:
            await done
        self.make_missing(image)
        while self._making:
            self._made.clear()
            await self._made.wait()

    async def _create(
        self, boundaries: Sequence[Boundary], *, is_suspect: bool
    ) -> Sequence[RecoveredGroup]:
        """Make groups' files, their lines in the list and first boundaries durable, together.

        `is_suspect`: this node may have voted in them before; they get no vote until repaired.
        """
        created = await when_there_is_room(partial(self._add, boundaries))
        for group in created:
            self._making[group.group] = group
            if is_suspect:
                group.damage = MADE_ANEW
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

    def _read_state(self, found: RecoveredGroup, topic: Topic) -> None:
        """Read what the group stood for, then take it up: at once if this node does not serve."""
        work = read_group(found, is_internal=topic.is_internal)
        if self._serves:
            reading = self._read_aside(found, work)
            self._tasks.spawn(self._take_up_once_read(found, reading), name="read-state")
        else:
            self._take_up_found(found, work.run)

    def _read_aside(self, found: RecoveredGroup, work: ReadState[T]) -> "asyncio.Future[T]":
        self._reading[found.group] = None
        reading = self._workers.submit(Lane.SEGMENTS, work)
        reading.add_done_callback(lambda _: self._reading.pop(found.group))
        return reading

    async def _take_up_once_read(
        self, found: RecoveredGroup, reading: "asyncio.Future[GroupState]"
    ) -> None:
        with contextlib.suppress(CorruptionError):  # its result says so again
            await reading
        self._take_up_found(found, reading.result)

    def _take_up_found(self, found: RecoveredGroup, read: Callable[[], GroupState]) -> None:
        topic = self._image.topic_by_id(_topic_of(found.group))
        is_here = self._found.get(found.group) is found  # not deleted meanwhile
        try:
            state = read()
        except CorruptionError as error:
            if is_here:
                self._unreadable(found, error)
                self._install(found.group)
            return
        if topic is None or not is_here:
            return
        del self._found[found.group]
        if not found.boundary.voters:  # the journal lost it: a group's members never change
            voters = topic.partitions[_number_of(found.group)]
            found.boundary = replace(found.boundary, voters=voters)
        if isinstance(state, GroupTable):
            self._take_up_coordinator(found, state, is_new=False)
        else:
            self._take_up(found, topic, state, is_new=False)

    def _take_up_coordinator(
        self, found: RecoveredGroup, table: GroupTable, *, is_new: bool
    ) -> None:
        raft = self._raft(found, eager_commit=False)
        coordinator = Coordinator(
            number=_number_of(found.group),
            table=table,
            settings=self._group_settings,
            topics=GroupTopics(lambda: self._image),
            raft=raft,
            owner=self._consensus,
        )
        coordinator.bind(self._replica(found, raft, coordinator))
        self._coordinators[found.group] = coordinator
        self._consensus.group_added(coordinator.replica, is_new=is_new)

    def _take_up(
        self, found: RecoveredGroup, topic: Topic, state: PartitionState, *, is_new: bool
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
            producers=state.producers,
            epochs=epochs,
            log_start=found.boundary.log_start_offset,
            high_watermark=found.boundary.position.next_offset,
            raft=raft,
            storage=found.log,
            owner=self._consensus,
            workers=self._workers,
            rules=state.rules,
            event_ids=state.event_ids,
            observations=self._consensus.observations,
        )
        found.log.segment_bytes = state.rules.settings.segment_bytes
        replica = self._replica(found, raft, partition)
        partition.bind(replica)
        self._partitions[group] = partition
        self._consensus.group_added(replica, is_new=is_new)

    def _raft(self, found: RecoveredGroup, *, eager_commit: bool) -> RaftNode:
        raft_log = RaftLog(found.boundary.position, found.entries)
        if found.hard_state.term < raft_log.last_term:
            self._lost_term(found, raft_log.last_term)
        if found.damage is not None:
            log.error(
                "group damaged group=%s effect=no vote reason=%s",
                found.group.hex(),
                found.damage.text,
            )
        return RaftNode(
            node_id=self._node_id,
            voters=found.boundary.voters,
            log=raft_log,
            hard_state=found.hard_state,
            commit_index=found.commit_index,
            limits=self._limits,
            may_vote=found.damage is None,
            eager_commit=eager_commit,
        )

    def _lost_term(self, found: RecoveredGroup, last_term: Term) -> None:
        """The last entry is of a term that the journal does not know of.

        A term is stored before any entry of it: the write that held it went astray, and with it
        perhaps a vote. A member that does not vote may know of a term too late.
        """
        found.hard_state = HardState(term=last_term, vote=None)
        if found.damage is None:
            text = f"the last entry is of term {last_term}, which was never stored"
            found.damage = Damage(kind=DamageKind.GAP, text=text)
            self._consensus.rounds.store_damage(found.group, found.damage)

    def _replica(self, found: RecoveredGroup, raft: RaftNode, machine: StateMachine) -> Replica:
        found.entries = []
        return Replica(
            raft=raft,
            storage=found.log,
            boundary=found.boundary,
            hard_state=found.hard_state,
            machine=machine,
            damage=found.damage,
            commit_known=found.commit_known,
        )

    def _alter(self, topic: Topic) -> None:
        settings = topic.effective_settings()
        for number in range(len(topic.partitions)):
            partition = self._partitions.get(topic.group(number))
            if partition is not None:
                partition.settings = settings

    def _delete(self, topic: Topic) -> None:
        self._note_deleted(topic.name)
        for number in range(len(topic.partitions)):
            group = topic.group(number)
            self._partitions.pop(group, None)
            replica = self._consensus.groups.remove(group)
            if replica is not None:
                self._consensus.group_removed(replica)
                replica.machine.deleted()
            else:
                self._consensus.inbox.forget(group)
            if group in self._making:
                self._deleted[group] = None
            elif replica is not None:
                self._forget(group)
            elif group in self._found:
                self._remove_found(group)

    def _note_deleted(self, name: str) -> None:
        self._deleted_names[name] = None
        if len(self._deleted_names) > DELETED_TOPICS_MAX:
            del self._deleted_names[next(iter(self._deleted_names))]

    def _remove_found(self, group: GroupId) -> None:
        """Remove a group that takes no part; a crash may have kept it from being removed before."""
        del self._found[group]
        self._forget(group)

    def _forget(self, group: GroupId) -> None:
        # At once: a new journal file holds all groups but those it is told to forget.
        forgotten = self._consensus.rounds.forget_group(group)
        self._tasks.spawn(self._remove(group, forgotten), name="remove-group")

    async def _remove(self, group: GroupId, forgotten: "asyncio.Future[None]") -> None:
        """Delete the group's files once the journal has forgotten it."""
        await forgotten
        remove = self._store.plan_remove_group(group)
        await when_there_is_room(partial(self._workers.submit, Lane.SEGMENTS, remove))
        await self._workers.submit(Lane.READS, remove.plan_let_go())


def _is_broken(found: RecoveredGroup) -> bool:
    """Whether files lack what the boundary names: nothing can be appended behind them."""
    return not found.has_files or found.log.last_index < found.boundary.position.index


def _nothing_to_install(group: GroupId) -> None:
    """Before the node can reach others there is nothing to be done."""


def _topic_of(group: GroupId) -> TopicId:
    return split_group_id(group)[0]


def _number_of(group: GroupId) -> int:
    return split_group_id(group)[1]
