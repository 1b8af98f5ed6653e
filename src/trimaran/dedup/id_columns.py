"""The event ids of a partition in log order: hashes, offsets, and which entry brought them.

Ids are numbered from the first ever folded. They lie in buckets of `BUCKET_IDS`, so that growth
never copies more than one bucket and the oldest leave a bucket at a time. A run is what one entry
brought to one bucket: its index and log time are kept once for all its ids. Whole columns of plain
machine numbers, so that an id takes 25 bytes and an entry 20 more.

Invariants: indexes, log times and offsets never fall from one id to the next; every bucket but the
last is full. Does not: search by hash (`id_lookup`), or know which ids still count (`id_window`).
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import compress

from trimaran.dedup.event_ids import HASH_BYTES
from trimaran.ids import Index, Offset

BUCKET_IDS = 50_000
"""Ids in a full bucket: 1.3 MB."""


class Bucket:
    """Ids numbered from `first` on."""

    __slots__ = ("ends", "first", "hashes", "indexes", "marks", "offsets", "times")

    def __init__(self, first: int) -> None:
        self.first = first
        self.hashes = bytearray()
        self.offsets = array("q")
        self.marks = bytearray()
        """1 at the first id of an entry, else 0."""
        self.ends = array("I")
        """Where each run ends, counted from `first`."""
        self.indexes = array("q")
        self.times = array("q")

    @property
    def memory_bytes(self) -> int:
        """Return roughly how much memory the columns take."""
        return (25 * len(self.offsets) + 20 * len(self.ends)) * 17 // 16 + 600


class IdColumns:
    """All ids that are held."""

    __slots__ = ("_buckets", "end", "first")

    def __init__(self) -> None:
        self._buckets: deque[Bucket] = deque()
        self.first = 0
        """Number of the first id held."""
        self.end = 0
        """Number the next id gets."""

    @property
    def memory_bytes(self) -> int:
        """Return roughly how much memory the columns take."""
        return sum(bucket.memory_bytes for bucket in self._buckets)

    @property
    def last_run(self) -> tuple[Index, int] | None:
        """Index and log time of the last entry that brought ids; None if none is held."""
        if self.first == self.end:
            return None
        bucket = self._buckets[-1]
        return Index(bucket.indexes[-1]), bucket.times[-1]

    def append(self, index: Index, time_ms: int, offsets: Sequence[int], hashes: bytes) -> None:
        """Take in what the entry `index` brings; `hashes` lie one behind the other."""
        assert len(hashes) == HASH_BYTES * len(offsets)
        taken = 0
        while taken < len(offsets):
            bucket = self._open_bucket()
            count = min(len(offsets) - taken, BUCKET_IDS - len(bucket.offsets))
            bucket.hashes += hashes[HASH_BYTES * taken : HASH_BYTES * (taken + count)]
            bucket.offsets.extend(offsets[taken : taken + count])
            bucket.marks.append(taken == 0)
            bucket.marks += bytes(count - 1)
            bucket.ends.append(len(bucket.offsets))
            bucket.indexes.append(index)
            bucket.times.append(time_ms)
            taken += count
            self.end += count

    def extend(
        self,
        *,
        indexes: "array[int]",
        times: "array[int]",
        marks: bytes,
        offsets: "array[int]",
        hashes: bytes | memoryview,
    ) -> None:
        """Take in what many entries bring, with nothing done id by id.

        `indexes` and `times` are the entries', `marks` has 1 at the first id of each, else 0.
        """
        taken = run = 0
        while taken < len(offsets):
            bucket = self._open_bucket()
            held = len(bucket.offsets)
            count = min(len(offsets) - taken, BUCKET_IDS - held)
            part = marks[taken : taken + count]
            starts = array("I", compress(range(held, held + count), part))
            first = run - (part[0] == 0)  # an entry whose ids lie in two buckets
            run += len(starts)
            bucket.ends += starts[part[0] :]
            bucket.ends.append(held + count)
            bucket.indexes += indexes[first:run]
            bucket.times += times[first:run]
            bucket.marks += part
            bucket.offsets += offsets[taken : taken + count]
            bucket.hashes += hashes[HASH_BYTES * taken : HASH_BYTES * (taken + count)]
            taken += count
            self.end += count

    def hash_at(self, number: int) -> bytes:
        """Return the 16 bytes of id `number`."""
        bucket, place = self._place(number)
        return bytes(bucket.hashes[HASH_BYTES * place : HASH_BYTES * (place + 1)])

    def is_at(self, number: int, event_hash: bytes) -> bool:
        """Whether id `number` is held and has this hash."""
        if not self.first <= number < self.end:
            return False
        bucket, place = self._place(number)
        return bucket.hashes[HASH_BYTES * place : HASH_BYTES * (place + 1)] == event_hash

    def event_at(self, number: int) -> tuple[Offset, Index, int]:
        """Return offset, entry and log time of the event of id `number`."""
        bucket, place = self._place(number)
        run = bisect_right(bucket.ends, place)
        return Offset(bucket.offsets[place]), Index(bucket.indexes[run]), bucket.times[run]

    def first_after_time(self, time_ms: int) -> int:
        """Return the first id that came later than `time_ms`, `end` if none did."""
        for bucket in self._buckets:
            run = bisect_right(bucket.times, time_ms)
            if run < len(bucket.times):
                return max(self.first, bucket.first + (bucket.ends[run - 1] if run else 0))
        return self.end

    def first_after_index(self, index: Index) -> int:
        """Return the first id that an entry after `index` brought, `end` if none did."""
        for bucket in reversed(self._buckets):
            if bucket.indexes[0] <= index:
                run = bisect_right(bucket.indexes, index)
                return max(self.first, bucket.first + bucket.ends[run - 1])
        return self.first

    def first_from_offset(self, offset: Offset) -> int:
        """Return the first id of an event at or behind `offset`, `end` if there is none."""
        for bucket in self._buckets:
            place = bisect_left(bucket.offsets, offset)
            if place < len(bucket.offsets):
                return max(self.first, bucket.first + place)
        return self.end

    def drop_first(self, count: int) -> bytes:
        """Forget the oldest `count` ids, or fewer, not beyond a bucket; return their hashes."""
        assert count > 0
        assert self.first < self.end
        bucket, place = self._place(self.first)
        end = min(place + count, len(bucket.offsets))
        dropped = bytes(bucket.hashes[HASH_BYTES * place : HASH_BYTES * end])
        self.first += end - place
        if end == BUCKET_IDS:
            self._buckets.popleft()
        elif self.first == self.end:
            self._buckets.clear()
        return dropped

    def clear(self) -> None:
        """Forget all ids; numbers go on."""
        self._buckets.clear()
        self.first = self.end

    def drop_last_run(self) -> Iterator[tuple[int, bytes]]:
        """Forget what the last run brought; yield number and hash of each id, the last first."""
        bucket = self._buckets[-1]
        bucket.ends.pop()
        bucket.indexes.pop()
        bucket.times.pop()
        start = max(self.first - bucket.first, bucket.ends[-1] if bucket.ends else 0)
        del bucket.marks[start:]
        while len(bucket.offsets) > start:
            bucket.offsets.pop()
            found = bytes(bucket.hashes[-HASH_BYTES:])
            del bucket.hashes[-HASH_BYTES:]
            self.end -= 1
            yield self.end, found
        if self.end == self.first or not bucket.ends:
            self._buckets.pop()

    def slices(self, start: int, end: int) -> Iterator[tuple[Bucket, int, int]]:
        """Yield the buckets that hold ids `start` to `end`, with the places there."""
        for bucket in self._buckets:
            low = max(start - bucket.first, 0)
            high = min(end - bucket.first, len(bucket.offsets))
            if low < high:
                yield bucket, low, high

    def _open_bucket(self) -> Bucket:
        """Return the bucket that the next id goes into."""
        if not self._buckets or len(self._buckets[-1].offsets) == BUCKET_IDS:
            self._buckets.append(Bucket(self.end))
        return self._buckets[-1]

    def _place(self, number: int) -> tuple[Bucket, int]:
        assert self.first <= number < self.end
        at, place = divmod(number - self._buckets[0].first, BUCKET_IDS)
        return self._buckets[at], place
