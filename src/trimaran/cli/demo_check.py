"""The demo's verdict: does what was read back equal what was acknowledged? Pure.

Each side is per partition a sequence of (offset, digest); the digest covers key and payload, and
every event sent is different, so a digest names an event. Acknowledged events come in the order in
which they were sent. An acknowledgement may lack its offset: librdkafka infers some from the
success of a later batch.
Does not: read, send, or know Kafka.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias

Sighting: TypeAlias = tuple[int, bytes]
"""(offset, digest)."""
Acknowledgement: TypeAlias = tuple[int | None, bytes]
"""(offset, or None if the client does not know it; digest)."""
DIGEST_BYTES = 16


def digest(key: bytes | None, value: bytes | None) -> bytes:
    """Return 16 bytes that name an event; no key and an empty key differ."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for part in (key, value):
        hashed.update((-1 if part is None else len(part)).to_bytes(8, "big", signed=True))
        hashed.update(part or b"")
    return hashed.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the comparison found."""

    sent: int
    acked: int
    lost: int
    """Acknowledged events not read back from their partition; an altered event is a lost one."""
    duplicated: int
    """Readings of an event beyond its first."""
    out_of_order: int
    """Readings at another place than acknowledged, or not after what was sent before."""
    unknown: int
    """Readings of what nobody sent."""
    failovers: int
    failovers_planned: int
    failover_max_ms: int

    @property
    def holds(self) -> bool:
        """Whether everything sent is there, once, unchanged, in order, in spite of every kill."""
        faults = self.lost + self.duplicated + self.out_of_order + self.unknown
        whole = self.sent == self.acked and self.acked > 0 and faults == 0
        return whole and self.failovers == self.failovers_planned

    def line(self) -> str:
        """Return the demo's last line."""
        return (
            f"sent {self.sent} acked {self.acked} lost {self.lost} duplicated {self.duplicated} "
            f"out of order {self.out_of_order} failovers {self.failovers} "
            f"failover max {self.failover_max_ms} ms"
        )


def compare(
    *,
    sent: frozenset[bytes],
    acked: Mapping[int, Sequence[Acknowledgement]],
    read: Mapping[int, Sequence[Sighting]],
    failover_gaps_ms: Sequence[int],
    failovers_planned: int,
) -> Verdict:
    """Judge `read` by `acked`, partition by partition.

    An event sent but not acknowledged may be there or not: its outcome is unknown; it is counted by
    `sent` and `acked` being different.
    """
    seen = Counter(name for sightings in read.values() for _, name in sightings)
    homes = {name: partition for partition, acks in acked.items() for _, name in acks}
    lost = strayed = misplaced_count = 0
    for partition in sorted(acked.keys() | read.keys()):
        acks, sightings = acked.get(partition, ()), read.get(partition, ())
        here = {name for _, name in sightings}
        lost += sum(1 for _, name in acks if name not in here)
        strayed += sum(1 for name in here if homes.get(name, partition) != partition)
        misplaced_count += misplaced(acks, sightings)
    return Verdict(
        sent=len(sent),
        acked=len(homes),
        lost=lost,
        duplicated=sum(count - 1 for name, count in seen.items() if name in sent),
        out_of_order=misplaced_count + strayed,
        unknown=sum(count for name, count in seen.items() if name not in sent),
        failovers=len(failover_gaps_ms),
        failovers_planned=failovers_planned,
        failover_max_ms=max(failover_gaps_ms, default=0),
    )


def misplaced(acked: Sequence[Acknowledgement], read: Sequence[Sighting]) -> int:
    """Return how many events of one partition stand where they should not.

    An event stands right at the offset that was acknowledged (if one was), after everything read
    before it and after everything sent before it. A second reading is counted as a duplicate, not
    here.
    """
    places = {name: (offset, turn) for turn, (offset, name) in enumerate(acked)}
    known: set[bytes] = set()
    wrong = 0
    last_offset, last_turn = -1, -1
    for offset, name in read:
        if name in places and name not in known:
            known.add(name)
            expected, turn = places[name]
            strayed = expected is not None and offset != expected
            wrong += strayed or offset <= last_offset or turn <= last_turn
            last_turn = max(last_turn, turn)
        last_offset = max(last_offset, offset)
    return wrong
