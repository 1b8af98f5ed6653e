"""Where cores, peers, time and the journal meet: the node's part in all of its groups.

Everything that concerns more than one group, or a group and the outside, is joined here: frames
from peers go to cores, what cores are ready with goes to peers and the journal (rounds), signs of
life and their absence become elections. Each of these lives in its own module; this one only
connects them. Does not: know topics or Kafka.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from trimaran.broker.elections import Elections
from trimaran.broker.groups import GroupTable
from trimaran.broker.handover import Handover
from trimaran.broker.happenings import HappeningKind
from trimaran.broker.heartbeats import Heartbeats
from trimaran.broker.in_sync import InSync
from trimaran.broker.inbox import Commands, Inbox
from trimaran.broker.intake import Intake
from trimaran.broker.leaders import LeaderTable
from trimaran.broker.log_clock import LogClock
from trimaran.broker.mending import Mending
from trimaran.broker.observations import Observations
from trimaran.broker.peer_frames import (
    Hello,
    PeerLane,
    write_leaders,
)
from trimaran.broker.peers import Peer, Peers
from trimaran.broker.ports import Lane, Ports
from trimaran.broker.reachability import Reachability
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import Rounds
from trimaran.broker.space import Space
from trimaran.broker.tasks import Tasks
from trimaran.config import NodeConfig
from trimaran.errors import CorruptionError
from trimaran.ids import DiskId, GroupId, Index, NodeId, Term
from trimaran.raft.ready import OlderEntries, Ready, Role
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.journal import Journal
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.recovery import RecoveredGroup

log = logging.getLogger(__name__)

OLDER_BYTES_MAX = 1 << 20
"""Entries read from segments for a follower at a time."""


class ConsensusOwner(Commands, Protocol):
    """What the node does with what concerns its metadata, disk and end."""

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""

    def committed(self, replica: Replica, size: int) -> None:
        """The group has `size` more committed bytes to flush."""

    def group_removed(self, replica: Replica) -> None:
        """The group was deleted: nothing of it needs to be flushed."""

    def install_asked(self, replica: Replica) -> None:
        """The leader has no entries that reach back to this member's log: it must start over."""

    def dormant_groups(self) -> Sequence[RecoveredGroup]:
        """Return the groups that this node only keeps, ordered."""

    def intake_changed(self) -> None:
        """What may be taken from clients may be another thing now."""

    def fail(self, error: BaseException) -> None:
        """End the process."""


class Consensus:
    """The node's part in all of its groups."""

    def __init__(
        self,
        *,
        owner: ConsensusOwner,
        observations: Observations,
        config: NodeConfig,
        hello: Hello,
        groups: GroupTable,
        journal: Journal,
        ports: Ports,
        tasks: Tasks,
    ) -> None:
        """`hello` is this node's greeting on the control lane."""
        settings = config.replication
        self.node_id = hello.node_id
        self.observations = observations
        self.groups = groups
        self.leaders = LeaderTable(moved=self._leader_moved)
        self.in_sync = InSync(self.leaders, node_id=hello.node_id, lag_s=settings.lag_max_ms / 1000)
        self._owner, self._ports, self._tasks = owner, ports, tasks
        self._loop, self._log_clock = asyncio.get_running_loop(), LogClock()
        self.space = Space(
            files=ports.files,
            workers=ports.workers,
            reserve_bytes=config.storage.free_space_reserve_bytes,
            changed=self._room_changed,
        )
        self.intake = self._make_intake(config)
        self._announced: list[tuple[GroupId, Term, NodeId]] = []
        reachability = Reachability(self)
        self.peers = Peers(
            owner=reachability,
            network=ports.network,
            tasks=tasks,
            hello=hello,
            addresses=config.cluster.nodes,
            accepts_disks=settings.forced_recovery,
            observations=observations,
        )
        self.rounds = Rounds(
            owner=self,
            journal=journal,
            workers=ports.workers,
            peers=self.peers,
            batch_max_events=settings.batch_max_events,
            batch_linger_s=settings.batch_linger_ms / 1000,
            round_bytes_max=settings.round_bytes_max,
            journal_full=self.intake.journal_full,
            observations=observations,
        )
        self.heartbeats = self._make_heartbeats(reachability, config)
        self.elections = Elections(
            owner=self, node_id=self.node_id, chance=ports.chance, settings=settings
        )
        self.handover = Handover(
            node_id=self.node_id,
            heartbeats=self.heartbeats,
            groups=groups,
            has_room=self.can_store,
            touched=self.touched,
        )
        self.mending = Mending(
            self,
            config=config,
            hello=hello,
            ports=ports,
            tasks=tasks,
            start_over=self._start_over,
        )
        self.inbox = self._make_inbox(owner)

    def _make_intake(self, config: NodeConfig) -> Intake:
        """Return who says whether events are taken."""
        return Intake(
            unflushed_bytes_max=config.storage.unflushed_bytes_max,
            has_space=lambda: self.space.may_follow,
            changed=self._owner.intake_changed,
        )

    def _make_heartbeats(self, reachability: Reachability, config: NodeConfig) -> Heartbeats:
        """Return who sends and judges signs of life."""
        return Heartbeats(
            owner=self,
            reachability=reachability,
            node_id=self.node_id,
            peers=self.peers.peers,
            clock=self._ports.clock,
            log_clock=self._log_clock,
            in_sync=self.in_sync,
            intake=self.intake,
            settings=config.replication,
            observations=self.observations,
        )

    def _make_inbox(self, commands: Commands) -> Inbox:
        """Return who takes what peers say to the parts above."""
        return Inbox(
            commands=commands,
            groups=self.groups,
            heartbeats=self.heartbeats,
            leaders=self.leaders,
            in_sync=self.in_sync,
            mending=self.mending,
            touched=self.touched,
            hand_over=self.handover.hand_over,
            intake=self.intake,
            observations=self.observations,
        )

    # What groups ask for

    def log_time_ms(self) -> int:
        """Return the cluster's time in ms since the Unix epoch."""
        return self._log_clock.time_ms(self._loop.time())

    def can_store(self) -> bool:
        """Whether there is room for events."""
        return self.space.has_room

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""
        self.rounds.proposed(replica, events)

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core."""
        self.rounds.touched(replica)

    def confirm_leadership(self, replica: Replica) -> int:
        """Send heartbeats now; return the number of the last one sent before."""
        return self.heartbeats.confirm(replica)

    def group_added(self, replica: Replica, *, is_new: bool) -> None:
        """Take part in a recovered or new group; deliver what came for it too early."""
        self.groups.add(replica)
        start = Index(replica.boundary.position.index + 1)
        if replica.applied >= start:
            end = Index(replica.applied + 1)
            self._owner.committed(replica, replica.raft.log.bytes_between(start, end))
        self.elections.group_added(replica, is_new=is_new)
        self.inbox.deliver_early(replica)
        self.rounds.touched(replica)

    def group_removed(self, replica: Replica, *, starts_over: bool = False) -> None:
        """Leave a group: it was deleted, or it `starts_over` with its leader's files."""
        replica.leave()
        self._owner.group_removed(replica)
        self.observations.incidents.group_removed(replica.group)
        self.elections.forget(replica.group)
        self.heartbeats.led_changed(replica, is_leader=False)
        self.heartbeats.following_changed(replica)
        self.mending.readmission.forget(replica)
        leader = replica.raft.leader
        if starts_over and leader is not None and leader != self.node_id:
            # The files may be here before its next heartbeat, which would then find all well.
            self.heartbeats.missed(leader, replica.group)
        if not starts_over:
            self.inbox.forget(replica.group)

    def live_replicas(self) -> Sequence[Replica]:
        """Return all groups of this node, ordered."""
        return self.groups.all()

    def replica(self, group: GroupId) -> Replica | None:
        """Return this node's member of `group`."""
        return self.groups.get(group)

    # What a core was ready with

    def ready_handled(self, replica: Replica, ready: Ready) -> None:
        """Do what a `Ready` asks beyond the group itself."""
        if not replica.raft.may_vote and replica.damage is None:
            self._set_back(replica)
        if ready.role_change is not None:
            self._role_changed(replica, ready.role_change.role)
        if ready.committed_to is not None:
            self._committed(replica, ready)
        if ready.install is not None:
            self._owner.install_asked(replica)
        for older in ready.older:
            self._tasks.spawn(self._read_older(replica, older), name="read-older")

    def _set_back(self, replica: Replica) -> None:
        """The leader knows that this node held more in this term: its disk was set back in time."""
        replica.damage = Damage(
            kind=DamageKind.SET_BACK,
            text=f"the log ends at {replica.raft.log.last_index}, below what was acknowledged",
        )
        log.error("disk set back group=%s effect=no vote", replica.group.hex())
        self._note(replica, HappeningKind.DAMAGE)
        self.rounds.store_damage(replica.group, replica.damage)
        self.heartbeats.following_changed(replica)

    def vote_changed(self, replica: Replica) -> None:
        """This node has its vote in the group back, or lost it: its leader is told."""
        self.heartbeats.following_changed(replica)
        self._note(replica, HappeningKind.REPAIR if replica.raft.may_vote else HappeningKind.DAMAGE)
        self.touched(replica)

    def _note(self, replica: Replica, kind: HappeningKind) -> None:
        """Note that something happened to the group on this node."""
        happenings = self.observations.happenings
        happenings.gather(kind, replica.group, node=self.node_id, term=replica.raft.term)

    def _start_over(self, replica: Replica) -> None:
        """Take the leader's files instead of this node's; let another lead first."""
        if replica.removed:
            return
        raft = replica.raft
        if raft.is_leader:
            others = [node for node in replica.node_ids if node != self.node_id]
            any(self.handover.hand_over(replica, node) for node in others)
        elif raft.leader is not None:
            self._owner.install_asked(replica)

    def member_damaged(self, peer: Peer, replica: Replica) -> None:
        """A follower in a group led here says that it is damaged."""
        self.mending.readmission.member_damaged(peer, replica)

    def damage_found(self, replica: Replica, error: CorruptionError) -> None:
        """A stored entry of the group fails its check: another member has it."""
        self.mending.damage_found(replica, error)

    def _committed(self, replica: Replica, ready: Ready) -> None:
        assert ready.committed_from is not None
        assert ready.committed_to is not None
        raft = replica.raft
        end = Index(ready.committed_to + 1)
        self._owner.committed(replica, raft.log.bytes_between(ready.committed_from, end))
        incidents = self.observations.incidents
        if incidents.is_open:
            incidents.committed(replica)
        if raft.is_leader:
            self.heartbeats.progressed(replica)

    def _role_changed(self, replica: Replica, role: Role) -> None:
        raft = replica.raft
        self.observations.role_changed(replica, role)
        was_leader = self.leaders.hint(replica.group) == (self.node_id, raft.term)
        self.leaders.note(replica.group, raft.term, raft.leader, now_s=self._loop.time())
        if role is Role.LEADER:
            replica.leader_since_s = self._loop.time()
            self._announce(replica)
        else:
            self.mending.readmission.forget(replica)
            if was_leader:
                log.info("leadership lost group=%s term=%s", replica.group.hex(), raft.term)
        self.heartbeats.led_changed(replica, is_leader=role is Role.LEADER)
        self.heartbeats.following_changed(replica)
        self.elections.role_changed(replica)
        self._owner.intake_changed()

    def _announce(self, replica: Replica) -> None:
        """Tell all nodes at the end of the turn, in one frame for all groups won in it."""
        log.info(
            "leadership won group=%s term=%s last_index=%s",
            replica.group.hex(),
            replica.raft.term,
            replica.raft.log.last_index,
        )
        if not self._announced:
            self._loop.call_soon(self._send_announcements)
        self._announced.append((replica.group, replica.raft.term, self.node_id))

    def _send_announcements(self) -> None:
        facts, self._announced = self._announced, []
        for peer in self.peers.peers.values():
            peer.send(PeerLane.CONTROL, write_leaders(facts))
        self.heartbeats.tell_behind()

    async def _read_older(self, replica: Replica, older: OlderEntries) -> None:
        """Read entries that left memory for a follower that is far behind."""
        while not replica.removed:
            whole_from = replica.storage.whole_from
            if older.start <= whole_from.index:
                # Below the log start, or in a compacted range: entries are missing there.
                replica.raft.start_install(older.peer, whole_from)
                break
            work = replica.storage.plan_read_index(older.start, OLDER_BYTES_MAX)
            try:
                entries = await self._ports.workers.submit(Lane.READS, work)
            except SegmentsMovedError:
                continue  # removed, or below the log start by now
            except CorruptionError as error:
                await self.mending.damage_found(replica, error)
                if replica.raft.is_leader:
                    continue
                return
            if replica.removed:
                return
            replica.raft.older_entries_read(older.peer, work.previous, entries)
            break
        self.rounds.touched(replica)

    # What peers say, and silence

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""
        return self._owner.disk_of(node)

    def majority_silent(self, replica: Replica) -> None:
        """This node leads the group and hears no majority of it (CheckQuorum)."""
        log.warning(
            "majority lost group=%s term=%s effect=step down",
            replica.group.hex(),
            replica.raft.term,
        )
        self._note(replica, HappeningKind.WARNING)
        replica.raft.quorum_lost()
        replica.machine.majority_lost()
        self.rounds.touched(replica)

    def claim_dropped(self, group: GroupId, node: NodeId) -> None:
        """`node` no longer says that it leads `group`."""
        replica = self.groups.get(group)
        if replica is not None and replica.raft.leader == node:
            self.elections.leader_gone(replica, node)

    def leader_missing(self, replica: Replica) -> None:
        """The group's leader is gone, as far as this node can tell."""
        raft = replica.raft
        self.observations.leader_lost(replica, self.leaders.hint(replica.group)[0])
        self.leaders.note(replica.group, raft.term, raft.leader, now_s=self._loop.time())

    def _leader_moved(self, group: GroupId, term: Term, leader: NodeId) -> None:
        """A group has a leader that it did not have."""
        is_own = leader == self.node_id
        kind = HappeningKind.ELECTION if is_own else HappeningKind.LEADER_MOVED
        self.observations.happenings.gather(kind, group, node=leader, term=term)

    # Disk and end

    def disk_full(self, full: bool) -> None:
        """The journal's last write found the disk full, or did not."""
        self.space.write_ended(refused=full)

    def _room_changed(self, has_room: bool) -> None:
        """Without room for events this node leads nothing that another could lead."""
        self._owner.intake_changed()
        if has_room:
            log.warning("disk has room again effect=events are accepted")
            self._note_space("the disk has room again: events are accepted")
            return
        log.error("disk full effect=no events accepted, leaderships given up")
        self._note_space("the disk is full: no events are accepted, leaderships are given up")
        self.handover.give_up_all()

    def _note_space(self, text: str) -> None:
        self.observations.happenings.add(HappeningKind.SPACE, node=self.node_id, text=text)

    def dormant_groups(self) -> Sequence[RecoveredGroup]:
        """Return the groups that this node only keeps, ordered."""
        return self._owner.dormant_groups()

    def fail(self, error: BaseException) -> None:
        """End the process."""
        self._owner.fail(error)
