"""What a partition asks of its node: time, room, and to be sent and synced.

Does not: hold behaviour or state.
"""

from typing import Protocol

from trimaran.broker.replica import Replica
from trimaran.errors import CorruptionError


class PartitionOwner(Protocol):
    """What a partition asks of its node."""

    def log_time_ms(self) -> int:
        """Return the cluster's time (see log_clock)."""

    def proposed(self, replica: Replica, events: int) -> None:
        """The group has something new to send and sync."""

    def confirm_leadership(self, replica: Replica) -> int:
        """Send heartbeats now; return the number of the last one sent before."""

    def can_store(self) -> bool:
        """Whether the disk has room for events."""

    def damage_found(self, replica: Replica, error: CorruptionError) -> None:
        """A stored entry fails its check: it cannot be read until it was repaired."""
