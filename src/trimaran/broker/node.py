"""The broker of one node: everything put together, from a recovered store to served clients.

Start: the store was recovered (its live state already copied and synced), so the node may vote. The
metadata group is taken up first; a partition's group is taken up as soon as the metadata names it.
Then the ports open, the node registers itself, and is ready.

Does not: read configuration, open the store or own sockets (server and sim do).
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from trimaran.broker.api import KafkaSettings, NodeEndpoint
from trimaran.broker.clients import Clients
from trimaran.broker.compaction import CompactionStatistics, Compactor
from trimaran.broker.consensus import Consensus
from trimaran.broker.controller import Controller
from trimaran.broker.flusher import Flusher
from trimaran.broker.gauges import BrokerGauges
from trimaran.broker.group_cleaning import GroupCleaning
from trimaran.broker.groups import GroupTable
from trimaran.broker.happenings import tell_topics
from trimaran.broker.kafka_services import COMMAND_TIMEOUT_S, KafkaServices
from trimaran.broker.membership import Membership
from trimaran.broker.mending import MendingStatistics
from trimaran.broker.observations import Observations
from trimaran.broker.peer_frames import Hello, PeerLane, Propose, ProposeAnswer
from trimaran.broker.peers import Peer
from trimaran.broker.ports import Listener, Ports
from trimaran.broker.replica import Replica
from trimaran.broker.retention import Retention
from trimaran.broker.rounds import RoundStatistics
from trimaran.broker.tasks import Tasks
from trimaran.config import NodeConfig
from trimaran.errors import RequestError
from trimaran.ids import (
    METADATA_GROUP,
    BootId,
    ClusterId,
    DiskId,
    GroupId,
    NodeId,
)
from trimaran.metadata.commands import RegisterNode
from trimaran.metadata.results import NodeRegistered, Refused, Result, TopicSettingsAltered
from trimaran.metadata.topology import Node
from trimaran.raft.progress import RaftLimits
from trimaran.storage.identity import read_identity
from trimaran.storage.recovery import RecoveredGroup, Store

log = logging.getLogger(__name__)

STOP_TRANSFER_S = 1.0
"""Longest wait for others to take over when this node is asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatistics:
    """One group, as this node sees it."""

    group: GroupId
    term: int
    role: str
    leader: NodeId | None
    commit_index: int
    last_index: int
    synced_index: int
    boundary_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatistics:
    """What the node knows of itself."""

    node_id: NodeId
    groups: tuple[GroupStatistics, ...]
    rounds: RoundStatistics
    journal_files: int
    journal_bytes: int
    unflushed_bytes: int
    lateness_s_max: float
    mending: MendingStatistics
    compaction: CompactionStatistics


class Broker:
    """One node. Made and used on a running event loop."""

    def __init__(self, *, config: NodeConfig, store: Store, ports: Ports) -> None:
        """Put the parts together; nothing runs before `start`."""
        identity = read_identity(ports.files)
        self.node_id: NodeId = identity.node_id
        self.cluster_id: ClusterId = identity.cluster_id
        self._disk_id = identity.disk_id
        self._config = config
        self._store = store
        self._ports = ports
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks = Tasks(self.fail)
        self._boot_id = BootId(int.from_bytes(ports.chance.bytes(8), "big"))
        hello = Hello(
            lane=PeerLane.CONTROL,
            node_id=self.node_id,
            boot_id=self._boot_id,
            disk_id=identity.disk_id,
            cluster_id=self.cluster_id,
        )
        self.observations = Observations.of(self.node_id, ports.clock)
        """What the node notes of itself, for those that show it."""
        self._consensus = Consensus(
            owner=self,
            observations=self.observations,
            config=config,
            hello=hello,
            groups=GroupTable(),
            journal=store.journal,
            ports=ports,
            tasks=self._tasks,
        )
        self._flusher = self._make_flusher()
        self._membership = Membership(
            consensus=self._consensus,
            store=store,
            workers=ports.workers,
            tasks=self._tasks,
            node_id=self.node_id,
            disk_id=identity.disk_id,
            limits=_raft_limits(config),
            group_settings=KafkaSettings.from_config(config).group,
        )
        self._retention = Retention(
            groups=self._consensus.groups,
            workers=ports.workers,
            interval_s=config.storage.retention_interval_ms / 1000,
        )
        self._compactor = self._make_compactor()
        self._controller = Controller(owner=self, boot_id=self._boot_id)
        self._listeners: list[Listener] = []
        self.services = KafkaServices(
            node_id=self.node_id,
            cluster_id=self.cluster_id,
            kafka=KafkaSettings.from_config(config),
            controller=self._controller,
            consensus=self._consensus,
            membership=self._membership,
            chance=ports.chance,
            fail=self.fail,
        )
        self._clients = Clients(
            self.services, loop=asyncio.get_running_loop(), observations=self.observations
        )
        self._ready = asyncio.Event()
        self.kafka_port = 0
        self.peer_port = 0

    # Life

    async def start(self) -> None:
        """Listen on the peer and Kafka ports, connect to peers, take part in elections."""
        config = self._config
        network = self._ports.network
        mending = self._consensus.mending
        mending.start(membership=self._membership, store=self._store)
        self._membership.install_with(mending.install)
        is_damaged = METADATA_GROUP in self._membership.broken()
        if is_damaged:
            await self._meet_peers()
        await self._membership.start_metadata(
            self._controller, voters=tuple(node.id for node in config.cluster.nodes)
        )
        if not is_damaged:
            await self._meet_peers()
        kafka_listener = await network.listen(
            config.kafka.host, config.kafka.port, self._clients.session
        )
        self._listeners.append(kafka_listener)
        self.kafka_port = kafka_listener.port
        self._membership.take_up(self._controller.image)
        self._tasks.spawn(self._flusher.run(), name="flusher")
        self._tasks.spawn(self._group_cleaning().run(), name="group-cleaning")
        self._tasks.spawn(self._retention.run(), name="retention")
        self._tasks.spawn(self._compactor.run(), name="compaction")
        self._tasks.spawn(self._consensus.space.watch(), name="space")
        self._tasks.spawn(self._consensus.handover.run(), name="handover")
        self._tasks.spawn(self._register(), name="register")

    def _make_flusher(self) -> Flusher:
        storage = self._config.storage
        return Flusher(
            rounds=self._consensus.rounds,
            journal=self._store.journal,
            workers=self._ports.workers,
            tail_bytes_max=storage.tail_bytes,
            flush_bytes=storage.flush_bytes,
            flush_interval_s=storage.flush_interval_ms / 1000,
            flushed=self._flushed,
            observations=self.observations,
        )

    def _make_compactor(self) -> Compactor:
        settings = self._config.storage
        return Compactor(
            groups=self._consensus.groups,
            workers=self._ports.workers,
            swap=self._flusher.swap,
            damage_found=self._consensus.damage_found,
            bytes_per_s=settings.compaction_bytes_per_s,
            keys_bytes_max=settings.compaction_keys_bytes,
            reserve_bytes=settings.free_space_reserve_bytes,
            interval_s=settings.compaction_interval_ms / 1000,
        )

    def _group_cleaning(self) -> GroupCleaning:
        return GroupCleaning(
            image=lambda: self._controller.image,
            coordinators=self._membership.coordinators,
            log_time_ms=self.log_time_ms,
            retention_ms=self._config.group.offsets_retention_minutes * 60_000,
        )

    async def _meet_peers(self) -> None:
        """Listen to other nodes and connect to them."""
        own = self._config.member
        listener = await self._ports.network.listen(
            own.host, own.peer_port, self._consensus.peers.accept
        )
        self._listeners.append(listener)
        self.peer_port = listener.port
        self._consensus.heartbeats.start()
        self._consensus.peers.dial_all()

    async def wait_ready(self) -> None:
        """Wait until this node is registered in a metadata group that has a leader."""
        await self._ready.wait()

    @property
    def is_ready(self) -> bool:
        """Whether `wait_ready` would not wait."""
        return self._ready.is_set()

    async def stop(self) -> None:
        """Move leaderships away, then close everything; safe to be killed at any point."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_TRANSFER_S
        self._consensus.handover.give_up_all()
        while self._leads_with_company() and loop.time() < deadline:
            await self._leader_change(deadline)
        for listener in self._listeners:
            listener.close()
        self._clients.stop()
        self._consensus.heartbeats.stop()
        self._consensus.elections.stop()
        self._consensus.peers.close()
        self._tasks.cancel_all()

    async def run_until_failed(self) -> None:
        """Never return; raise what must end the process."""
        await self._failed

    def fail(self, error: BaseException) -> None:
        """End the process: an invariant of ours is broken, or the disk cannot be trusted."""
        if not self._failed.done():
            self._failed.set_exception(error)

    def statistics(self) -> BrokerStatistics:
        """Return what the node knows of itself."""
        return BrokerStatistics(
            node_id=self.node_id,
            groups=tuple(_group_statistics(item) for item in self._consensus.groups.all()),
            rounds=self._consensus.rounds.statistics(),
            journal_files=self._store.journal.file_count,
            journal_bytes=self._store.journal.bytes,
            unflushed_bytes=self._flusher.unflushed_bytes,
            lateness_s_max=self._consensus.heartbeats.lateness_s_max,
            mending=self._consensus.mending.statistics(),
            compaction=self._compactor.statistics(),
        )

    def replica(self, group: GroupId) -> Replica | None:
        """Return this node's member of a group, for those that show it."""
        return self._consensus.groups.get(group)

    @property
    def replicas(self) -> Sequence[Replica]:
        """This node's members of all groups it takes part in, in the order it took them up."""
        return self._consensus.groups.all()

    @property
    def gauges(self) -> BrokerGauges:
        """What is true of the node now, as far as no group is concerned."""
        consensus = self._consensus
        alive = consensus.heartbeats.is_alive
        return BrokerGauges(
            clients=self._clients.statistics(),
            journal_files=self._store.journal.file_count,
            journal_bytes=self._store.journal.bytes,
            unflushed_bytes=self._flusher.unflushed_bytes,
            tail_bytes=self._flusher.tail_bytes,
            free_bytes=consensus.space.free_bytes,
            has_room=consensus.can_store(),
            consumer_groups=sum(
                len(one.table) for one in self._membership.coordinators() if one.is_leader
            ),
            peers_alive=tuple((node, alive(node)) for node in consensus.peers.peers),
            log_time_ms=self.log_time_ms(),
            mending=consensus.mending.statistics(),
        )

    def _leads_with_company(self) -> bool:
        return any(
            replica.raft.is_leader and len(replica.raft.voters) > 1
            for replica in self._consensus.groups.all()
        )

    async def _leader_change(self, deadline: float) -> None:
        changed = asyncio.Event()
        leaders = self._consensus.leaders
        handle = leaders.watch(changed.set)
        try:
            async with asyncio.timeout_at(deadline):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            leaders.unwatch(handle)

    async def _register(self) -> None:
        """Tell the cluster where this node is, again at each start."""
        config = self._config
        own = config.member
        command = RegisterNode(
            node_id=self.node_id,
            disk_id=self._disk_id,
            host=config.kafka.advertised_host or config.kafka.host,
            kafka_port=config.kafka.advertised_port or self.kafka_port,
            http_port=config.http.port,
            peer_host=own.host,
            peer_port=self.peer_port,
            rack=config.node.rack,
            host_label=config.node.host_label,
            boot_id=self._boot_id,
        )
        result = await self._registered(command)
        while result.has_other_disk:
            log.error("this disk is not the registered one node=%s effect=no vote", own.id)
            await self._membership.give_up_votes(self._controller.image)
            replaced = result.node.disk_id
            result = await self._registered(structs.replace(command, replaces=replaced))
            log.warning("disk registered node=%s effect=takes the place of another", own.id)
        self._membership.registered()
        self._ready.set()

    async def _registered(self, command: RegisterNode) -> NodeRegistered:
        """Have the command committed, however long that takes."""
        result: Result | None = None
        while result is None:
            try:
                result = await self._controller.execute(command, timeout_s=COMMAND_TIMEOUT_S)
            except RequestError as error:
                log.warning("not registered yet reason=%s", error)
        if isinstance(result, Refused):
            raise RequestError(result.code, f"the cluster refuses this node: {result.message}")
        assert isinstance(result, NodeRegistered)
        return result

    # What consensus asks

    def receive_propose(self, peer: Peer, frame: Propose) -> None:
        """A peer forwards a metadata command."""
        if self._controller.is_bound:
            self._controller.receive_propose(peer, frame)

    def receive_propose_answer(self, frame: ProposeAnswer) -> None:
        """A peer answers a command forwarded from here."""
        self._controller.receive_answer(frame)

    def disk_of(self, node: NodeId) -> DiskId | None:
        """Return the disk registered for `node`."""
        known = self._controller.image.node(node)
        return known.disk_id if known is not None else None

    def committed(self, replica: Replica, size: int) -> None:
        """The group has `size` more committed bytes to flush."""
        self._flusher.committed(replica, size)
        self._flushed()

    def intake_changed(self) -> None:
        """Read from clients as long as the segment writer keeps up.

        A node without room, or one that leads nothing and catches up, takes no events from clients:
        nothing is gained by not reading what else they ask.
        """
        consensus = self._consensus
        takes_events = consensus.heartbeats.is_leading and consensus.can_store()
        is_held = takes_events and not consensus.intake.from_clients
        if is_held and not self._clients.is_paused:
            self._clients.pause()
        elif self._clients.is_paused and not is_held:
            self._clients.resume()

    def group_removed(self, replica: Replica) -> None:
        """The group was deleted: nothing of it needs to be flushed."""
        self._flusher.group_removed(replica)

    def _flushed(self) -> None:
        """Less waits for segments, or more."""
        self._consensus.intake.unflushed(self._flusher.unflushed_bytes)

    def install_asked(self, replica: Replica) -> None:
        """A leader has no entries that reach back to this member's log."""
        self._tasks.spawn(self._membership.start_over(replica), name="start-over")

    def dormant_groups(self) -> Sequence[RecoveredGroup]:
        """Return the groups that this node only keeps."""
        return self._membership.dormant()

    # What the controller asks

    def log_time_ms(self) -> int:
        """Return the cluster's time."""
        return self._consensus.log_time_ms()

    def proposed(self, replica: Replica, events: int) -> None:
        """The metadata group has something new to send and sync."""
        self._consensus.proposed(replica, events)

    def peer(self, node: NodeId) -> Peer | None:
        """Return the peer of that id."""
        return self._consensus.peers.peers.get(node)

    def image_changed(self, results: Sequence[Result]) -> None:
        """The image has applied commands with these results."""
        self._membership.image_changed(self._controller.image, results)
        if self._ready.is_set():  # before, what happened long ago is applied again
            tell_topics(self.observations.happenings, results)
        if any(isinstance(result, TopicSettingsAltered) for result in results):
            self._retention.wake()
        self._consensus.peers.check_disks()
        self._consensus.leaders.notify()


def _raft_limits(config: NodeConfig) -> RaftLimits:
    settings = config.replication
    return RaftLimits(
        inflight_messages_max=settings.inflight_messages_max,
        inflight_bytes_max=settings.inflight_bytes_max,
        message_bytes_max=settings.message_bytes_max,
        uncommitted_bytes_max=settings.uncommitted_bytes_max,
    )


def _endpoint(node: Node) -> NodeEndpoint:
    return NodeEndpoint(node_id=node.node_id, host=node.host, port=node.kafka_port, rack=node.rack)


def _group_statistics(replica: Replica) -> GroupStatistics:
    raft = replica.raft
    return GroupStatistics(
        group=replica.group,
        term=raft.term,
        role=raft.role.value,
        leader=raft.leader,
        commit_index=raft.commit_index,
        last_index=raft.log.last_index,
        synced_index=raft.synced_index,
        boundary_index=replica.boundary.position.index,
    )
