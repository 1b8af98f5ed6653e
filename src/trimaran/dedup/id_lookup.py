"""From an event id's hash to the numbers it may have: a hash table that never stops to grow.

Ids are numbered in log order. The table is a list of groups; a group is a bytearray of cells of
12 bytes in the order of their numbers: the first 8 bytes of the hash, then the low 32 bits of the
number. A search looks through one group, so that it costs the same for a thousand ids and for a
million. The table grows by linear hashing (Litwin 1980): every so many ids one group is split in
two, and nothing ever moves all of them. The oldest leave at a group's front (a bytearray forgets
its front without moving the rest), the newest at its back.

Which group a hash belongs to follows from `KEY`, which is another one in each process: ids cannot
be made up to lie in one group, where all searches would be long. No replica's state says it.

Invariants: numbers within a group rise; all numbers held lie within 2**32 of each other.
Does not: know more than 8 bytes of a hash: the caller compares the rest.
"""

from collections.abc import Iterable, Iterator
from struct import Struct

from trimaran.dedup.event_ids import HASH_BYTES
from trimaran.dedup.native import COMPILED

CELL_BYTES = 12
FINGERPRINT_BYTES = 8
GROUP_IDS = 40
"""Ids in a group on average when the table grows: a search passes over some 500 bytes."""
NUMBER_MASK = 0xFFFF_FFFF

KEY = hash(b"groups of event ids") & 0xFFFF_FFFF_FFFF_FFFF | 1
"""Python's own secret for its dictionaries (PYTHONHASHSEED), made into an odd factor."""

_NUMBER = Struct("<I")
_FINGERPRINT = Struct("<Q")
_HASH = Struct("<Q8x")
assert _HASH.size == HASH_BYTES


class IdLookup:
    """The table. Numbers come in rising order and leave at either end."""

    __slots__ = ("_count", "_groups", "_half", "_split")

    def __init__(self, expected: int = 0) -> None:
        """Begin empty, with the groups that there are once `expected` ids were added."""
        count = max(1, -(-expected // GROUP_IDS))
        self._groups = [bytearray() for _ in range(count)]
        self._half = 1 << count.bit_length() - 1
        """Groups there were when this round of splits began: a power of two."""
        self._split = count - self._half
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

        It is above all before it. Every replica does this for every event.
        """
        if COMPILED is not None:
            COMPILED.add(self._groups, KEY, self._half, self._split, hashes, number & NUMBER_MASK)
        else:
            self._add(hashes, number)
        self._count += len(hashes) // HASH_BYTES
        while self._count > GROUP_IDS * len(self._groups):
            self._split_one()

    def _add(self, hashes: bytes, number: int) -> None:
        groups, pack = self._groups, _NUMBER.pack
        low, full, split = self._half - 1, 2 * self._half - 1, self._split
        at = 0
        for (fingerprint,) in _HASH.iter_unpack(hashes):
            bits = fingerprint * KEY >> 32
            group = bits & low
            if group < split:
                group = bits & full
            groups[group] += hashes[at : at + FINGERPRINT_BYTES] + pack(number & NUMBER_MASK)
            number += 1
            at += HASH_BYTES

    def find(self, hashes: bytes) -> Iterable[tuple[int, int]]:
        """Return what may be known of hashes that lie one behind the other.

        Returns:
            Pairs of a hash's place and the low 32 bits of the number of an id that begins so; of
            several for one place, the newest comes first.
        """
        if COMPILED is not None:
            found: list[tuple[int, int]] = COMPILED.find(
                self._groups, KEY, self._half, self._split, hashes
            )
            return found
        return self._find(hashes)

    def _find(self, hashes: bytes) -> Iterator[tuple[int, int]]:
        for place in range(len(hashes) // HASH_BYTES):
            start = HASH_BYTES * place
            fingerprint = hashes[start : start + FINGERPRINT_BYTES]
            group = self._group(fingerprint)
            at = group.rfind(fingerprint)
            while at >= 0:
                if at % CELL_BYTES == 0:  # what is found across two cells is none
                    yield place, _NUMBER.unpack_from(group, at + FINGERPRINT_BYTES)[0]
                at = group.rfind(fingerprint, 0, at + FINGERPRINT_BYTES - 1)

    def drop_first(self, hashes: bytes, number: int) -> None:
        """Forget the ids of the lowest numbers of all, from `number` on."""
        number &= NUMBER_MASK
        if COMPILED is not None:
            is_right = COMPILED.drop_first(
                self._groups, KEY, self._half, self._split, hashes, number
            )
        else:
            is_right = self._drop_first(hashes, number)
        assert is_right, "the oldest id is at its group's front"
        self._count -= len(hashes) // HASH_BYTES

    def _drop_first(self, hashes: bytes, number: int) -> bool:
        for start in range(0, len(hashes), HASH_BYTES):
            fingerprint = hashes[start : start + FINGERPRINT_BYTES]
            group = self._group(fingerprint)
            if group[:CELL_BYTES] != fingerprint + _NUMBER.pack(number):
                return False
            del group[:CELL_BYTES]
            number = (number + 1) & NUMBER_MASK
        return True

    def drop_last(self, fingerprint: bytes, number: int) -> None:
        """Forget the id of the highest number of all."""
        group = self._group(fingerprint)
        assert group[-CELL_BYTES:] == fingerprint + _NUMBER.pack(number & NUMBER_MASK)
        del group[-CELL_BYTES:]
        self._count -= 1

    def _group(self, fingerprint: bytes) -> bytearray:
        bits: int = _FINGERPRINT.unpack_from(fingerprint)[0] * KEY >> 32
        number = bits & (self._half - 1)
        if number < self._split:
            number = bits & (2 * self._half - 1)
        return self._groups[number]

    def _split_one(self) -> None:
        """Move the cells of one group that have the next bit set into a new group behind."""
        old = bytes(self._groups[self._split])
        stay, move = bytearray(), bytearray()
        half = self._half
        for at in range(0, len(old), CELL_BYTES):
            bits = _FINGERPRINT.unpack_from(old, at)[0] * KEY >> 32
            (move if bits & half else stay).extend(old[at : at + CELL_BYTES])
        self._groups[self._split] = stay
        self._groups.append(move)
        self._split += 1
        if self._split == half:
            self._half = 2 * half
            self._split = 0
