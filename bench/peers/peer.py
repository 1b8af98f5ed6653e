"""What a peer is to the comparison."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from trimaran.bench.target import Target

OpenPeer = Callable[[Path], AbstractContextManager[Target]]
"""From a directory on a disk to a running cluster of three nodes."""

NODES = 3
"""Of every system, each holding every event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One system in one setting."""

    name: str
    durability: str
    """What an acknowledgement means, in the system's own terms."""
    synced: str
    """Whose disk has the event when it is acknowledged, in a word or two."""
    missing: Callable[[], str | None]
    """What has to be installed here first; None: nothing. Builds and downloads what it can."""
    version: Callable[[], str]
    """Of what runs here; asked only where nothing is missing."""
    open: OpenPeer
    memory_gb: float = 2.0
    """What has to be available for three nodes and what the loads leave in their memory."""
    sender: str = ""
    """`module:Class` of its raw producer; empty: it speaks Kafka's protocol."""
    chunk_bytes: int = 65_536
    """What the raw producer sends at a time in the loads without a schedule."""
    warming_s: float = 5.0
    """How long it runs under a light load before it is measured."""
    library: str = ""
    """The Python module that its own client is."""
    package: str = ""
    """What pip calls it."""
    library_sender: str = ""
    """`module:Class` of the producer that uses it."""
    topic_settings: dict[str, str] = field(default_factory=dict)
