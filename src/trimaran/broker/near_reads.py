"""Readers in a follower's rack (KIP-392): whom a leader sends there, and what they get there.

A reader that names its rack is sent by the leader to a follower in that rack that lives and is in
sync, unless the leader stands there itself. It is served by the leader for two seconds before, for
it may come because that follower died a moment ago, which the leader cannot know yet; librdkafka,
sent to a dead node while it refreshes its metadata, may wait there until that node is back.

A follower serves only readers of its own rack, only while it follows a leader, and only what it
knows to be committed: a reader never sees more than at the leader, only later. One that is further
than this replica waits for it; if its time ends before, it is told OFFSET_NOT_AVAILABLE, upon which
clients go back to the leader.
Does not: send anybody anywhere by distance; equal names of racks are all that counts.
"""

from trimaran.broker.api import Broker, Partition
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, Offset

SETTLE_S = 2.0
"""How long a reader stays before it is sent on: longer than a node's death goes unnoticed."""


class Stay:
    """One connection's reader at leaders that are not the nearest replica to it."""

    __slots__ = ("_since_s",)

    def __init__(self) -> None:
        self._since_s: float | None = None

    def is_over(self, now_s: float) -> bool:
        """Whether the reader may be sent on; the first question begins its stay."""
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s >= SETTLE_S

    def end(self) -> None:
        """Note that it was sent on: should it come back, another stay begins."""
        self._since_s = None


def nearer_replica(broker: Broker, partition: Partition, rack: str) -> NodeId | None:
    """Return the follower that a reader in `rack` is sent to; None: it reads here, at the leader.

    Only asked of the leader.
    """
    assert partition.is_leader
    racks = {node.node_id: node.rack for node in broker.live_nodes()}
    if racks.get(broker.node_id) == rack:
        return None
    behind = broker.behind(partition.group)
    near = (node for node in partition.replicas if racks.get(node) == rack and node not in behind)
    return next(near, None)


def serves(broker: Broker, partition: Partition, rack: str) -> bool:
    """Whether this node, a follower, serves readers in `rack`."""
    if partition.is_leader or partition.leader is None:
        return False
    own = broker.image.node(broker.node_id)
    leader, _ = broker.leader_hint(partition.group)
    return own is not None and own.rack == rack and leader is not None


def check_epoch(partition: Partition, client_epoch: int) -> None:
    """Check the epoch that a reader knows against this follower's; 0 and below: none.

    Raises:
        RequestError: UNKNOWN_LEADER_EPOCH, FENCED_LEADER_EPOCH (KIP-320).
    """
    epoch = partition.leader_epoch
    if client_epoch > 0 and client_epoch != epoch:
        is_ahead = client_epoch > epoch
        raise RequestError(
            ErrorCode.UNKNOWN_LEADER_EPOCH if is_ahead else ErrorCode.FENCED_LEADER_EPOCH,
            f"leader epoch of {partition.topic}-{partition.number}: asked {client_epoch}, "
            f"here {epoch}",
        )


def not_here_yet(partition: Partition, offset: Offset) -> RequestError | None:
    """Return what a reader is told whose wait for `offset` at this follower ends."""
    if offset <= partition.high_watermark:
        return None
    return RequestError(
        ErrorCode.OFFSET_NOT_AVAILABLE,
        f"offset {offset} of {partition.topic}-{partition.number} is not known committed at this "
        f"follower, which knows {partition.high_watermark}",
    )
