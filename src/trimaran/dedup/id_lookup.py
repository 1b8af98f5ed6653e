"""From an event id's hash to the numbers it may have: a hash table that never stops to grow.

Ids are numbered in log order. The table is a list of groups; a group is a bytearray of cells of
12 bytes in the order of their numbers: the first 8 bytes of the hash, then the low 32 bits of the
number. A search is one `rfind` in one group, so that it costs the same for a thousand ids and for a
million. The table grows by linear hashing (Litwin 1980): every so many ids one group is split in
two, and nothing ever moves all of them. The oldest leave at a group's front (a bytearray forgets
its front without moving the rest), the newest at its back.

Invariants: numbers within a group rise; all numbers held lie within 2**32 of each other.
Does not: know more than 8 bytes of a hash: the caller compares the rest.
"""

from collections.abc import Iterator
from struct import Struct

from trimaran.dedup.event_ids import HASH_BYTES

CELL_BYTES = 12
FINGERPRINT_BYTES = 8
GROUP_IDS = 40
"""Ids in a group on average when the table grows: a search passes over some 500 bytes."""
NUMBER_MASK = 0xFFFF_FFFF

_NUMBER = Struct("<I")
_HASH = Struct("<I12x")
assert _HASH.size == HASH_BYTES
_FIRST_GROUPS = 1


class IdLookup:
    """The table. Numbers come in rising order and leave at either end."""

    __slots__ = ("_count", "_groups", "_half", "_split")

    def __init__(self) -> None:
        self._groups = [bytearray() for _ in range(_FIRST_GROUPS)]
        self._half = _FIRST_GROUPS
        """Groups there were when this round of splits began: a power of two."""
        self._split = 0
        """The next group to split; those before it, and their twins, use one more bit."""
        self._count = 0

    def __len__(self) -> int:
        """Return how many ids are held."""
        return self._count

    @property
    def memory_bytes(self) -> int:
        """Return roughly how much memory the table takes."""
        return self._count * CELL_BYTES * 9 // 8 + len(self._groups) * 72

    def add(self, hashes: bytes, number: int) -> None:
        """Take in hashes that lie one behind the other; the first one's number is `number`.

        It is above all before it. Written straight on: every replica does this for every event.
        """
        groups, pack = self._groups, _NUMBER.pack
        low, full, split = self._half - 1, 2 * self._half - 1, self._split
        at = 0
        for (bits,) in _HASH.iter_unpack(hashes):
            group = bits & low
            if group < split:
                group = bits & full
            groups[group] += hashes[at : at + FINGERPRINT_BYTES] + pack(number & NUMBER_MASK)
            number += 1
            at += HASH_BYTES
        self._count += at // HASH_BYTES
        while self._count > GROUP_IDS * len(groups):
            self._split_one()

    def find(self, fingerprint: bytes) -> "Iterator[int] | tuple[()]":
        """Return the low 32 bits of the numbers of ids that begin so, the newest first."""
        group = self._group(fingerprint)
        at = group.rfind(fingerprint)
        if at < 0:
            return ()
        return self._cells(group, fingerprint, at)

    def drop_first(self, fingerprint: bytes, number: int) -> None:
        """Forget the id of the lowest number of all."""
        group = self._group(fingerprint)
        assert group[:CELL_BYTES] == fingerprint + _NUMBER.pack(number & NUMBER_MASK)
        del group[:CELL_BYTES]
        self._count -= 1

    def drop_last(self, fingerprint: bytes, number: int) -> None:
        """Forget the id of the highest number of all."""
        group = self._group(fingerprint)
        assert group[-CELL_BYTES:] == fingerprint + _NUMBER.pack(number & NUMBER_MASK)
        del group[-CELL_BYTES:]
        self._count -= 1

    def _group(self, fingerprint: bytes) -> bytearray:
        bits: int = _NUMBER.unpack_from(fingerprint)[0]
        number = bits & (self._half - 1)
        if number < self._split:
            number = bits & (2 * self._half - 1)
        return self._groups[number]

    def _cells(self, group: bytearray, fingerprint: bytes, at: int) -> Iterator[int]:
        """Yield the numbers of the cells that begin so; what is found across two cells is none."""
        while at >= 0:
            if at % CELL_BYTES == 0:
                yield _NUMBER.unpack_from(group, at + FINGERPRINT_BYTES)[0]
            at = group.rfind(fingerprint, 0, at + FINGERPRINT_BYTES - 1)

    def _split_one(self) -> None:
        """Move the cells of one group that have the next bit set into a new group behind."""
        old = bytes(self._groups[self._split])
        stay, move = bytearray(), bytearray()
        half = self._half
        for at in range(0, len(old), CELL_BYTES):
            bits = _NUMBER.unpack_from(old, at)[0]
            (move if bits & half else stay).extend(old[at : at + CELL_BYTES])
        self._groups[self._split] = stay
        self._groups.append(move)
        self._split += 1
        if self._split == half:
            self._half = 2 * half
            self._split = 0
