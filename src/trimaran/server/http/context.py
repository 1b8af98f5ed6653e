"""What every route stands on: this node and its ways to others.

Does not: answer anything.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from trimaran.broker.node import Broker
from trimaran.broker.partition import Partition
from trimaran.config import NodeConfig
from trimaran.ids import METADATA_GROUP, NodeId
from trimaran.metadata.image import Image
from trimaran.metadata.topology import Topic
from trimaran.server.http.controls import LocalControl
from trimaran.server.http.fellows import Fellows
from trimaran.server.http.filters import Filters
from trimaran.server.http.kafka.client import KafkaClient
from trimaran.server.http.kafka.publishing import Publisher
from trimaran.server.http.problems import not_found, unavailable
from trimaran.server.http.recently import Shared
from trimaran.server.observing.shapes import Observer


@dataclass(slots=True, kw_only=True)
class NodeContext:
    """This node, as routes see it."""

    broker: Broker
    config: NodeConfig
    observer: Observer
    kafka: KafkaClient
    publisher: Publisher
    fellows: Fellows
    filters: Filters
    control: LocalControl
    decoding: ThreadPoolExecutor
    """One thread: what decodes events must not hold the loop."""
    started_ms: int
    shared: Shared = field(default_factory=Shared)
    started_s: float = field(default_factory=time.monotonic)

    @property
    def node_id(self) -> NodeId:
        """This node."""
        return self.broker.node_id

    @property
    def image(self) -> Image:
        """What the cluster agreed on."""
        return self.broker.services.image

    @property
    def controller_id(self) -> NodeId | None:
        """Who leads the metadata group."""
        return self.broker.services.leader_hint(METADATA_GROUP)[0]

    def check_ready(self) -> None:
        """Return if this node has joined the cluster. Raises ProblemError (503) that says why not.

        Before, it does not know what the cluster agreed on: not even which topics there are.
        """
        if self.broker.is_ready:
            return
        is_led = self.controller_id is not None
        what = "its registration" if is_led else "a leader of the metadata group"
        heard = ", ".join(str(node) for node in self.heard())
        raise unavailable(
            f"node {self.node_id} is not ready: it waits for {what}, which takes a majority of the "
            f"{len(self.config.cluster.nodes)} nodes; it hears {heard}. "
            f"Start the others, or mend the network between them"
        )

    def topic(self, name: str) -> Topic:
        """Return the topic. Raises ProblemError (404)."""
        topic = self.image.topic(name)
        if topic is None:
            raise not_found(f"topic {name!r}: POST /v1/topics creates one")
        return topic

    def user_topic(self, name: str) -> Topic:
        """Return a topic that holds events. Raises ProblemError (404)."""
        topic = self.topic(name)
        if topic.is_internal:
            raise not_found(f"topic {name!r} is internal: it holds no events")
        return topic

    def partition_of(self, topic: Topic, number: int) -> int:
        """Return `number` if the topic has it. Raises ProblemError (404)."""
        if number >= len(topic.partitions):
            raise not_found(
                f"partition {number} of topic {topic.name!r}: "
                f"it has 0 to {len(topic.partitions) - 1}"
            )
        return number

    def replica(self, topic: Topic, number: int) -> Partition | None:
        """Return this node's replica of a partition."""
        return self.broker.services.partition(topic.name, number)

    def alive(self) -> list[NodeId]:
        """Return the registered nodes that this one hears, itself included."""
        return [node.node_id for node in self.broker.services.live_nodes()]

    def heard(self) -> list[NodeId]:
        """Return the nodes that this one hears, itself included, registered or not."""
        peers = self.broker.gauges.peers_alive
        return sorted([self.node_id, *(peer for peer, is_alive in peers if is_alive)])


def now_ms() -> int:
    """Return the wall time."""
    return time.time_ns() // 1_000_000
