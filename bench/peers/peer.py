"""What a peer is to the comparison."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from trimaran.bench.target import Target

OpenPeer = Callable[[Path], AbstractContextManager[Target]]
"""From a directory on a disk to a running cluster of three nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One system in one setting."""

    name: str
    durability: str
    """What an acknowledgement means, in the system's own terms."""
    missing: Callable[[], str | None]
    """What has to be installed here first; None: nothing."""
    open: OpenPeer
    sender: str = ""
    """`module:Class` of its raw producer; empty: it speaks Kafka's protocol."""
    library: str = ""
    """The Python library that its own client is."""
    library_sender: str = ""
    """`module:Class` of the producer that uses it."""
    topic_settings: dict[str, str] = field(default_factory=dict)
