"""Everything that a node does about damage, its own and the others' (design D11).

    readmission   a damaged member gets its vote back
    install       a group starts over from its leader's files
    repair        single stored entries are written again
    scrub         finds bad entries that nobody asked for
    archive       gives others what they need for the same
    last_resort   no leader can exist without damaged members

This module joins them with the rest of the node; each of them knows only its own part.
Does not: find damage at start (storage does).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trimaran.broker.archive import Archive
from trimaran.broker.asking import Asking
from trimaran.broker.groups import GroupTable
from trimaran.broker.install import InstallOwner, Installs
from trimaran.broker.last_resort import LastResort
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.peer_frames import Frame, Hello
from trimaran.broker.peers import Peer, Peers
from trimaran.broker.ports import Ports
from trimaran.broker.readmission import Readmission
from trimaran.broker.repair import Repairs
from trimaran.broker.repair_frames import (
    MemberStatus,
    Readmit,
    RepairAnswer,
    RepairAsk,
)
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds
from trimaran.broker.scrub import Scrub, ScrubStatistics
from trimaran.broker.tasks import Tasks
from trimaran.config import NodeConfig
from trimaran.errors import CorruptionError, PeerError
from trimaran.ids import GroupId
from trimaran.storage.recovery import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MendingStatistics:
    """What is damaged now, and what was done about damage since start."""

    groups_without_vote: int
    groups_waiting: int
    """Groups that take no part until their files were installed."""
    groups_stuck: int
    """Groups that have no leader and need people."""
    segments_in_repair: int
    readmissions: int
    installs: int
    installed_bytes: int
    bad_entries_found: int
    entries_repaired: int
    scrub: ScrubStatistics


class MendingOwner(Protocol):
    """What the node does for it."""

    groups: GroupTable
    leaders: LeaderTable
    peers: Peers
    rounds: Rounds

    def log_time_ms(self) -> int:
        """Return the cluster's time."""

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""

    def vote_changed(self, replica: Replica) -> None:
        """This node has its vote in the group back, or lost it."""


class Keeper(InstallOwner, Protocol):
    """Who keeps the groups that take no part."""

    def broken(self) -> Sequence[GroupId]:
        """Return those that must be installed first."""


class Mending:
    """The node's care for damage. Made with the node, started with it."""

    def __init__(
        self,
        owner: MendingOwner,
        *,
        config: NodeConfig,
        hello: Hello,
        ports: Ports,
        tasks: Tasks,
        start_over: Callable[[Replica], None],
    ) -> None:
        """`hello` is this node's greeting; nothing runs before `start`.

        `start_over` takes a leader's files instead of this node's, once another node leads.
        """
        self._owner = owner
        self._config = config
        self._ports = ports
        self._tasks = tasks
        self._membership: Keeper | None = None
        self.asking = Asking(owner.peers.peers, boot_id=hello.boot_id)
        self.readmission = Readmission(
            owner=owner,
            groups=owner.groups,
            rounds=owner.rounds,
            peers=owner.peers.peers,
            boot_id=hello.boot_id,
            readmitted=owner.vote_changed,
        )
        self.repairs = Repairs(
            node_id=hello.node_id,
            asking=self.asking,
            leaders=owner.leaders,
            workers=ports.workers,
            tasks=tasks,
            start_over=start_over,
        )
        self.scrub = Scrub(
            owner=self.repairs,
            node_id=hello.node_id,
            groups=owner.groups,
            asking=self.asking,
            workers=ports.workers,
            bytes_per_s=config.storage.scrub_bytes_per_s,
            interval_s=config.storage.scrub_interval_s,
        )
        self._archive = Archive(owner=self, groups=owner.groups, ports=ports)
        self._last_resort = LastResort(
            owner=owner,
            node_id=hello.node_id,
            asking=self.asking,
            readmission=self.readmission,
            is_forced=config.replication.forced_recovery,
        )
        self.installs: Installs | None = None

    def start(self, *, membership: Keeper, store: Store) -> None:
        """Begin to mend: peers may be reached from now on."""
        self._membership = membership
        self.installs = Installs(
            owner=membership,
            asking=self.asking,
            leaders=self._owner.leaders,
            rounds=self._owner.rounds,
            store=store,
            workers=self._ports.workers,
            node_ids=[node.id for node in self._config.cluster.nodes],
            bytes_per_s=self._config.storage.repair_bytes_per_s,
            reserve_bytes=self._config.storage.free_space_reserve_bytes,
        )
        for group in membership.broken():
            self.installs.want(group)
        self._tasks.spawn(self.installs.run(), name="installs")
        self._tasks.spawn(self.scrub.run(), name="scrub")
        self._tasks.spawn(self._last_resort.run(), name="last-resort")

    def statistics(self) -> MendingStatistics:
        """Return what is damaged now, and counts since start."""
        installs, membership = self.installs, self._membership
        replicas = self._owner.groups.all()
        return MendingStatistics(
            groups_without_vote=sum(not replica.raft.may_vote for replica in replicas),
            groups_waiting=0 if membership is None else len(membership.broken()),
            groups_stuck=self._last_resort.stuck_count,
            segments_in_repair=self.repairs.open_count,
            readmissions=self.readmission.count,
            installs=0 if installs is None else installs.count,
            installed_bytes=0 if installs is None else installs.bytes,
            bad_entries_found=self.repairs.found,
            entries_repaired=self.repairs.count,
            scrub=self.scrub.statistics(),
        )

    # What others say

    def receive(self, peer: Peer, frame: Frame) -> None:
        """Handle a frame that is about damage. Raises PeerError for any other."""
        match frame:
            case RepairAsk():
                self._tasks.spawn(self._archive.answer(peer, frame), name="archive")
            case RepairAnswer():
                self.asking.receive(peer, frame)
            case Readmit():
                self.readmission.receive(peer, frame)
            case _:
                raise PeerError(f"{type(frame).__name__} is no frame for this point")

    # What the node says

    def install(self, group: GroupId) -> None:
        """`group`, which takes no part, must start over from its leader's files."""
        if self.installs is not None:
            self.installs.want(group)

    def damage_found(self, replica: Replica, error: CorruptionError) -> "asyncio.Future[None]":
        """A stored entry fails its check; the future is done when it was repaired."""
        return self.repairs.damage_found(replica, error)

    def member_status(self, group: GroupId) -> MemberStatus | None:
        """Return what this node's member of `group` knows of its own log."""
        replica = self._owner.groups.get(group)
        if replica is not None:
            return self._last_resort.status(replica)
        return None
