"""What is true of a node at a moment, as far as no group is concerned: read once a second.

Does not: hold or measure anything.
"""

from dataclasses import dataclass

from trimaran.broker.clients import ClientsStatistics
from trimaran.broker.mending import MendingStatistics
from trimaran.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerGauges:
    """Sizes and states now, and the counts that their parts keep themselves."""

    clients: ClientsStatistics
    journal_files: int
    journal_bytes: int
    unflushed_bytes: int
    """Committed bytes that are in no segment yet."""
    tail_bytes: int
    """Bytes of entries that are in segments and still in memory."""
    free_bytes: int
    """Left on the disk, -1 unknown."""
    has_room: bool
    """Whether the disk has room for events."""
    consumer_groups: int
    """Consumer groups that this node coordinates."""
    peers_alive: tuple[tuple[NodeId, bool], ...]
    """The other nodes, and whether they are heard of."""
    log_time_ms: int
    """The cluster's time."""
    mending: MendingStatistics
