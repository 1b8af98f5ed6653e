"""The broker of one node: everything put together, from a recovered store to served clients.

Start: the store was recovered (its live state already copied and synced), so the node may vote. The
metadata group is taken up first; a partition's group is taken up as soon as the metadata names it.
Then the ports open, the node registers itself, and is ready.

Does not: read configuration, open the store or own sockets (server and sim do).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trimaran.broker.api import KafkaSettings, NodeEndpoint
from trimaran.broker.balance import Balance
from trimaran.broker.clients import Clients
from trimaran.broker.consensus import Consensus
from trimaran.broker.controller import Controller
from trimaran.broker.flusher import Flusher
from trimaran.broker.groups import GroupTable
from trimaran.broker.membership import Membership
from trimaran.broker.partition import Partition
from trimaran.broker.peer_frames import Hello, PeerLane, Propose, ProposeAnswer
from trimaran.broker.peers import Peer
from trimaran.broker.ports import Lane, Listener, Ports
from trimaran.broker.replica import Replica
from trimaran.broker.rounds import RoundStatistics
from trimaran.broker.tasks import Tasks
from trimaran.config import NodeConfig
from trimaran.errors import RequestError
from trimaran.ids import (
    BootId,
    ClusterId,
    DiskId,
    GroupId,
    NodeId,
    Term,
    TopicId,
    group_id,
)
from trimaran.metadata.commands import AllocateProducerIds, Command, RegisterNode
from trimaran.metadata.image import Image
from trimaran.metadata.results import NodeRegistered, ProducerIdsAllocated, Refused, Result
from trimaran.metadata.topology import Node
from trimaran.protocol.codec import preload
from trimaran.raft.progress import RaftLimits
from trimaran.storage.identity import read_identity
from trimaran.storage.recovery import RecoveredGroup, Store

log = logging.getLogger(__name__)

PRODUCER_ID_BLOCK = 1_000
COMMAND_TIMEOUT_S = 10.0
STOP_TRANSFER_S = 1.0
"""Longest wait for others to take over when this node is asked to stop."""


class Preload:
    """Loads what rare requests need, in a thread, so that the first of them stalls nobody."""

    def run(self) -> None:
        """Import the schemas."""
        preload()


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


class Broker:
    """One node. Made and used on a running event loop."""

    def __init__(self, *, config: NodeConfig, store: Store, ports: Ports) -> None:
        """Put the parts together; nothing runs before `start`."""
        identity = read_identity(ports.files)
        self.node_id: NodeId = identity.node_id
        self.cluster_id: ClusterId = identity.cluster_id
        self._disk_id = identity.disk_id
        self.kafka = KafkaSettings.from_config(config)
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
        self._consensus = Consensus(
            owner=self,
            config=config,
            hello=hello,
            groups=GroupTable(),
            journal=store.journal,
            ports=ports,
            tasks=self._tasks,
        )
        self._flusher = Flusher(
            rounds=self._consensus.rounds,
            journal=store.journal,
            workers=ports.workers,
            tail_bytes_max=config.storage.tail_bytes,
            flush_bytes=config.storage.flush_bytes,
            flush_interval_s=config.storage.flush_interval_ms / 1000,
            flushed=self._flushed,
        )
        self._balance = Balance(
            node_id=self.node_id,
            heartbeats=self._consensus.heartbeats,
            replicas=self._consensus.groups.all,
            transfer=self._consensus.transfer,
        )
        self._membership = Membership(
            consensus=self._consensus,
            store=store,
            workers=ports.workers,
            tasks=self._tasks,
            node_id=self.node_id,
            limits=_raft_limits(config),
        )
        self._controller = Controller(owner=self, image=Image())
        self._producer_ids: list[int] = []
        self._producer_ids_lock: asyncio.Future[None] | None = None
        self._listeners: list[Listener] = []
        self._clients = Clients(self, loop=asyncio.get_running_loop())
        self._ready = asyncio.Event()
        self.kafka_port = 0
        self.peer_port = 0

    # Life

    async def start(self) -> None:
        """Listen on the peer and Kafka ports, connect to peers, take part in elections."""
        config = self._config
        self._controller = await self._membership.start_metadata(
            voters=tuple(NodeId(node.id) for node in config.cluster.nodes),
            make=lambda image: Controller(owner=self, image=image),
        )
        network = self._ports.network
        own = config.member
        peer_listener = await network.listen(own.host, own.peer_port, self._consensus.peers.accept)
        kafka_listener = await network.listen(
            config.kafka.host, config.kafka.port, self._clients.session
        )
        self._listeners = [peer_listener, kafka_listener]
        self.peer_port = peer_listener.port
        self.kafka_port = kafka_listener.port
        self._consensus.heartbeats.start()
        self._consensus.peers.dial_all()
        self._membership.image_changed(self._controller.image, ())
        self._tasks.spawn(self._flusher.run(), name="flusher")
        self._tasks.spawn(self._consensus.space.watch(), name="space")
        self._tasks.spawn(self._balance.run(), name="balance")
        self._tasks.spawn(self._register(), name="register")

    async def wait_ready(self) -> None:
        """Wait until this node is registered in a metadata group that has a leader."""
        await self._ready.wait()

    async def stop(self) -> None:
        """Move leaderships away, then close everything; safe to be killed at any point."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_TRANSFER_S
        self._consensus.give_up_leaderships()
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
        result: Result | None = None
        while result is None:
            try:
                result = await self._controller.execute(command, timeout_s=COMMAND_TIMEOUT_S)
            except RequestError as error:
                log.warning("not registered yet reason=%s", error)
        if isinstance(result, Refused):
            raise RequestError(result.code, f"the cluster refuses this node: {result.message}")
        assert isinstance(result, NodeRegistered)
        if result.has_other_disk:
            log.error("this disk is not the registered one node=%s effect=no vote", own.id)
        self._ready.set()
        await self._ports.workers.submit(Lane.READS, Preload())

    # What consensus asks

    def receive_propose(self, peer: Peer, frame: Propose) -> None:
        """A peer forwards a metadata command."""
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
        if self._flusher.unflushed_bytes > self._config.storage.unflushed_bytes_max:
            self._clients.pause()

    def group_removed(self, replica: Replica) -> None:
        """The group was deleted: nothing of it needs to be flushed."""
        self._flusher.group_removed(replica.group)

    def _flushed(self) -> None:
        """Some of what waited is in segments: read from clients again when it was enough."""
        if self._flusher.unflushed_bytes <= self._config.storage.unflushed_bytes_max:
            self._clients.resume()

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
        self._consensus.leaders.notify()

    # What Kafka handlers ask (broker.api.Broker)

    @property
    def image(self) -> Image:
        """What the cluster agreed on, as far as this node has applied it."""
        return self._controller.image

    def new_topic_id(self) -> TopicId:
        """Return 16 random bytes."""
        return TopicId(self._ports.chance.bytes(16))

    def live_nodes(self) -> Sequence[NodeEndpoint]:
        """Return the registered nodes that answer, this one included."""
        alive = self._consensus.heartbeats.is_alive
        return [_endpoint(node) for node in self._controller.image.nodes if alive(node.node_id)]

    def partition(self, topic: str, number: int) -> Partition | None:
        """Return this node's replica, None if it holds none."""
        known = self._controller.image.topic(topic)
        if known is None or not 0 <= number < len(known.partitions):
            return None
        return self._membership.partition(known.group(number))

    def partition_by_id(self, topic_id: TopicId, number: int) -> Partition | None:
        """Return this node's replica, None if it holds none."""
        if number < 0:
            return None
        return self._membership.partition(group_id(topic_id, number))

    def leader_hint(self, group: GroupId) -> tuple[NodeId | None, Term]:
        """Return who leads `group` and in which term."""
        return self._consensus.leaders.hint(group)

    def leader_lost_at(self, group: GroupId) -> float | None:
        """Return when (loop time) `group` lost its leader; None while it has one or never had."""
        return self._consensus.leaders.lost_at(group)

    def confirm_alive(self, nodes: Sequence[NodeId], done: Callable[[], None]) -> None:
        """Call `done` once each of `nodes` gave a new sign of life or is known to be gone."""
        self._consensus.heartbeats.confirm_alive(nodes, done)

    def watch_leaders(self, callback: Callable[[], None]) -> object:
        """Call `callback` whenever a leader hint or the metadata image changed."""
        return self._consensus.leaders.watch(callback)

    def unwatch_leaders(self, handle: object) -> None:
        """Stop calling."""
        self._consensus.leaders.unwatch(handle)

    async def execute(self, command: Command) -> Result:
        """Have a metadata command committed and applied here; return what applying it returned.

        Raises:
            RequestError: what the state machine refused, or REQUEST_TIMED_OUT (outcome unknown).
        """
        result = await self._controller.execute(command, timeout_s=COMMAND_TIMEOUT_S)
        if isinstance(result, Refused):
            raise RequestError(result.code, result.message)
        return result

    async def next_producer_id(self) -> int:
        """Return a producer id that nobody in the cluster got before."""
        while not self._producer_ids:
            if self._producer_ids_lock is not None:
                await asyncio.shield(self._producer_ids_lock)
                continue
            await self._fetch_producer_ids()
        return self._producer_ids.pop()

    async def _fetch_producer_ids(self) -> None:
        self._producer_ids_lock = asyncio.get_running_loop().create_future()
        try:
            result = await self.execute(
                AllocateProducerIds(node_id=self.node_id, count=PRODUCER_ID_BLOCK)
            )
            assert isinstance(result, ProducerIdsAllocated)
            self._producer_ids = list(range(result.first + result.count - 1, result.first - 1, -1))
        finally:
            self._producer_ids_lock.set_result(None)
            self._producer_ids_lock = None

    def wait_metadata(
        self, predicate: Callable[[], bool], timeout_s: float
    ) -> "asyncio.Future[bool]":
        """Result True once `predicate()` holds, tried at once and at each change; False in time."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        if predicate():
            future.set_result(True)
            return future

        def settle(value: bool) -> None:
            if not future.done():
                future.set_result(value)

        def look() -> None:
            if future.done() or predicate():
                settle(True)

        handle = self.watch_leaders(look)
        timer = loop.call_later(timeout_s, settle, False)

        def end(_: "asyncio.Future[bool]") -> None:
            timer.cancel()
            self.unwatch_leaders(handle)

        future.add_done_callback(end)
        return future


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
