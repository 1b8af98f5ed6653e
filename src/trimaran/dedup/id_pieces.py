"""Event ids as state files: pieces of the columns in log order, each written once.

A boundary names some pieces; together they hold every id that may still count, and the last one
says by which rules. A new piece takes in those before it that are small, and not much larger than
it: so a small one never stays before a large one, all but a few at the end are large, and no id is
written often. A piece all of whose ids are forgotten is dropped.

    position  size  field (big-endian)
    0         2     format version, 1
    2         8     index of the entry that last changed the rules, 0 if none did
    10        8     its log time, ms
    18        8     window, ms, from 1
    26        8     most ids that count, from 1
    34        8     first offset whose id counts
    42        4     number of runs, r
    46        4     number of ids, n
    50        8 r   indexes of the entries that brought them
    ...       8 r   their log times
    ...       n     1 for the first id of each entry, 0 for the others
    ...       8 n   offsets
    ...       16 n  hashes

Does not: choose what to write (`id_window`), or carry a checksum (the boundary does).
"""

import sys
from array import array
from bisect import bisect_left, bisect_right
from struct import Struct
from typing import NamedTuple

from trimaran.dedup.event_ids import HASH_BYTES
from trimaran.dedup.id_columns import IdColumns
from trimaran.errors import CorruptionError
from trimaran.ids import Index, Offset

FORMAT_VERSION = 1
PIECE_IDS_MIN = 16_000
"""A piece of fewer ids is taken into the next one."""
PIECES_MAX = 180
"""So many pieces of that size, at most, hold the ids that count: more of those make larger ones."""

_HEAD = Struct(">HqqqqqII")


class Rules(NamedTuple):
    """Which ids count, and which entry said so."""

    entry_index: Index = Index(0)
    time_ms: int = 0
    window_ms: int = 0
    """An id counts for so long, by log time; 0: dedup is off."""
    ids_max: int = 0
    """Only the newest so many count."""
    floor: Offset = Offset(0)
    """Ids of events below do not count: they were deleted, or came before the window began."""

    @property
    def is_on(self) -> bool:
        """Whether ids are remembered."""
        return self.window_ms > 0


def piece_ids_min(ids_max: int) -> int:
    """Return how many ids a piece must hold to stay as it is, where `ids_max` count."""
    return max(PIECE_IDS_MIN, -(-ids_max // PIECES_MAX))


class Piece(NamedTuple):
    """What `decode_piece` finds."""

    rules: Rules
    indexes: "array[int]"
    """Of the entries that brought ids."""
    times: "array[int]"
    """Their log times."""
    marks: bytes
    """1 at the first id of each entry, else 0."""
    offsets: "array[int]"
    hashes: memoryview


def encode_piece(rules: Rules, columns: IdColumns, start: int, end: int) -> bytes:
    """Return ids `start` to `end` with the rules in force after them.

    Equal ids under equal rules give equal bytes. Nothing is done id by id, and next to nothing is
    copied before the last step: this is on the loop, and fresh memory is what takes the time.
    """
    assert rules.is_on
    indexes: array[int] = array("q")
    times: array[int] = array("q")
    offsets: array[int] = array("q")
    marks: list[bytes | memoryview] = []
    hashes: list[memoryview] = []
    for bucket, low, high in columns.slices(start, end):
        first = bisect_right(bucket.ends, low)
        if indexes and indexes[-1] == bucket.indexes[first]:
            first += 1  # an entry whose ids lie in two buckets
        last = bisect_left(bucket.ends, high)
        indexes += bucket.indexes[first : last + 1]
        times += bucket.times[first : last + 1]
        with memoryview(bucket.offsets) as all_offsets:
            offsets.frombytes(all_offsets[low:high].cast("B"))
        if not marks:
            marks.append(b"\1")
            marks.append(memoryview(bucket.marks)[low + 1 : high])
        else:
            marks.append(memoryview(bucket.marks)[low:high])
        hashes.append(memoryview(bucket.hashes)[HASH_BYTES * low : HASH_BYTES * high])
    assert len(offsets) == end - start
    if sys.byteorder == "little":
        for column in (indexes, times, offsets):
            column.byteswap()
    head = _HEAD.pack(FORMAT_VERSION, *rules, len(indexes), end - start)
    return b"".join((head, indexes, times, *marks, offsets, *hashes))


def decode_piece(data: bytes, *, source: str) -> Piece:
    """Return what `encode_piece` wrote into the file `source`.

    Raises:
        CorruptionError: bytes that it does not write.
    """
    if len(data) < _HEAD.size:
        raise CorruptionError(source, 0, f"{len(data)} bytes are no event ids")
    version, index, time_ms, window_ms, ids_max, floor, run_count, count = _HEAD.unpack_from(data)
    marks_at = _HEAD.size + 16 * run_count
    hashes_at = marks_at + 9 * count
    if version != FORMAT_VERSION or len(data) != hashes_at + HASH_BYTES * count:
        raise CorruptionError(
            source, 0, f"{len(data)} bytes are not {count} event ids of version {FORMAT_VERSION}"
        )
    rules = Rules(Index(index), time_ms, window_ms, ids_max, Offset(floor))
    view = memoryview(data)
    marks = data[marks_at : marks_at + count]
    is_whole = marks.count(1) == run_count == count - marks.count(0) and marks[:1] == b"\1"[:count]
    if min(rules) < 0 or window_ms == 0 or ids_max == 0 or not is_whole:
        raise CorruptionError(source, _HEAD.size, f"the event ids' entries or rules: {rules}")
    return Piece(
        rules,
        indexes=_numbers(view[_HEAD.size : marks_at - 8 * run_count]),
        times=_numbers(view[marks_at - 8 * run_count : marks_at]),
        marks=marks,
        offsets=_numbers(view[marks_at + count : hashes_at]),
        hashes=view[hashes_at:],
    )


def _numbers(data: memoryview) -> "array[int]":
    numbers: array[int] = array("q")
    numbers.frombytes(data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
