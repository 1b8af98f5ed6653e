"""What the node offers to Kafka handlers: `broker.api.Broker` over the real parts.

Does not: hold state of its own, but for producer ids not yet given out.
"""

import asyncio
from collections.abc import Callable, Sequence

from trimaran.broker.api import KafkaSettings, NodeEndpoint
from trimaran.broker.consensus import Consensus
from trimaran.broker.controller import Controller
from trimaran.broker.coordinator import Coordinator
from trimaran.broker.fetch_sessions import FetchSessions
from trimaran.broker.membership import Membership
from trimaran.broker.partition import Partition
from trimaran.broker.peer_frames import HandOver, PeerLane, write_hand_over
from trimaran.broker.ports import Chance
from trimaran.errors import RequestError
from trimaran.ids import GROUPS_TOPIC_ID, ClusterId, GroupId, NodeId, Term, TopicId, group_id
from trimaran.metadata.commands import AllocateProducerIds, Command
from trimaran.metadata.image import Image
from trimaran.metadata.results import ProducerIdsAllocated, Refused, Result
from trimaran.metadata.topology import Node

PRODUCER_ID_BLOCK = 1_000
"""Producer ids that a node gets at a time; those of a block not given out at a stop are lost."""
COMMAND_TIMEOUT_S = 10.0
"""Longest wait for the metadata group to commit a command."""


class KafkaServices:
    """The node, as a handler of one request needs it."""

    def __init__(
        self,
        *,
        node_id: NodeId,
        cluster_id: ClusterId,
        kafka: KafkaSettings,
        controller: Controller,
        consensus: Consensus,
        membership: Membership,
        chance: Chance,
        fail: Callable[[BaseException], None],
    ) -> None:
        """`fail` ends the process."""
        self.node_id = node_id
        self.cluster_id = cluster_id
        self.kafka = kafka
        self.fail = fail
        self._controller = controller
        self._consensus = consensus
        self._membership = membership
        self._chance = chance
        self.fetch_sessions = FetchSessions(self._draw_session_id)
        self._producer_ids: list[int] = []
        self._producer_ids_coming: asyncio.Future[None] | None = None

    def _draw_session_id(self) -> int:
        return int.from_bytes(self._chance.bytes(4), "big") & 0x7FFF_FFFF

    @property
    def image(self) -> Image:
        """What the cluster agreed on, as far as this node has applied it."""
        return self._controller.image

    def new_topic_id(self) -> TopicId:
        """Return 16 random bytes."""
        return TopicId(self._chance.bytes(16))

    def live_nodes(self) -> Sequence[NodeEndpoint]:
        """Return the registered nodes that answer, this one included."""
        alive = self._consensus.heartbeats.is_alive
        return [_endpoint(node) for node in self.image.nodes if alive(node.node_id)]

    def partition(self, topic: str, number: int) -> Partition | None:
        """Return this node's replica, None if it holds none."""
        known = self.image.topic(topic)
        if known is None or not 0 <= number < len(known.partitions):
            return None
        return self._membership.partition(known.group(number))

    def partition_by_id(self, topic_id: TopicId, number: int) -> Partition | None:
        """Return this node's replica, None if it holds none."""
        if number < 0:
            return None
        return self._membership.partition(group_id(topic_id, number))

    def coordinator(self, number: int) -> Coordinator | None:
        """Return this node's replica of a coordinator, None if it holds none."""
        return self._membership.coordinator(group_id(GROUPS_TOPIC_ID, number))

    def coordinators(self) -> Sequence[Coordinator]:
        """Return all replicas of coordinators on this node."""
        return self._membership.coordinators()

    def leader_hint(self, group: GroupId) -> tuple[NodeId | None, Term]:
        """Return who leads `group` and in which term."""
        return self._consensus.leaders.hint(group)

    def behind(self, group: GroupId) -> Sequence[NodeId]:
        """Return the replicas of `group` that are not in sync, as far as its leader has said."""
        return self._consensus.in_sync.behind(group)

    @property
    def free_bytes(self) -> int:
        """Bytes left on the disk, -1 unknown."""
        return self._consensus.space.free_bytes

    def hand_over(self, group: GroupId, target: NodeId) -> bool:
        """Have `group` handed to `target`, here or by its leader; False if that cannot be asked."""
        replica = self._consensus.groups.get(group)
        leader, _ = self._consensus.leaders.hint(group)
        if leader == self.node_id:
            return replica is not None and self._consensus.handover.hand_over(replica, target)
        peer = None if leader is None else self._consensus.peers.peers.get(leader)
        if peer is None:
            return False
        peer.send(PeerLane.CONTROL, write_hand_over(HandOver(group, target)))
        return True

    def leader_lost_at(self, group: GroupId) -> float | None:
        """Return when (loop time) `group` lost its leader; None while it has one or never had."""
        return self._consensus.leaders.lost_at(group)

    def confirm_alive(self, nodes: Sequence[NodeId], done: Callable[[], None]) -> None:
        """Call `done` once each of `nodes` gave a new sign of life or is known to be gone."""
        self._consensus.heartbeats.confirm_alive(nodes, done)

    def cut_off_for_s(self) -> float:
        """Return how long this node has not heard of as many others as make a majority with it."""
        return self._consensus.heartbeats.cut_off_for_s()

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
            if self._producer_ids_coming is not None:
                await asyncio.shield(self._producer_ids_coming)
            else:
                await self._allocate_producer_ids()
        return self._producer_ids.pop()

    async def _allocate_producer_ids(self) -> None:
        self._producer_ids_coming = asyncio.get_running_loop().create_future()
        try:
            command = AllocateProducerIds(node_id=self.node_id, count=PRODUCER_ID_BLOCK)
            result = await self.execute(command)
            assert isinstance(result, ProducerIdsAllocated)
            last = result.first + result.count - 1
            self._producer_ids = list(range(last, result.first - 1, -1))
        finally:
            self._producer_ids_coming.set_result(None)
            self._producer_ids_coming = None

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


def _endpoint(node: Node) -> NodeEndpoint:
    return NodeEndpoint(node_id=node.node_id, host=node.host, port=node.kafka_port, rack=node.rack)
