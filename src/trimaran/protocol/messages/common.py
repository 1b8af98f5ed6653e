"""What several messages share: the leader hints of KIP-951 and the unset values.

Does not: know bytes.
"""

from dataclasses import dataclass
from typing import Final

from trimaran.ids import TopicId

ZERO_TOPIC_ID: Final = TopicId(bytes(16))
"""Stands for "no id" wherever Kafka has an id that may be missing."""

OPERATIONS_UNKNOWN: Final = -(2**31)
"""Authorized operations that were not asked for (KIP-430)."""


@dataclass(slots=True)
class LeaderIdAndEpoch:
    """Who leads a partition now, sent with NOT_LEADER_OR_FOLLOWER (KIP-951)."""

    leader_id: int = -1
    leader_epoch: int = -1


@dataclass(slots=True)
class NodeEndpoint:
    """Where to reach a node that a `LeaderIdAndEpoch` of the same answer names (KIP-951)."""

    node_id: int
    host: str
    port: int
    rack: str | None = None
