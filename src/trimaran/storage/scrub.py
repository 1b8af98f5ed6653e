"""Reading stored entries only to see whether they still pass their checks (design D11).

A segment is gone through in parts, so that each part is a short work on the lane of reads. Two
replicas' segments are compared by a digest over their rows: a row holds the checksum of its
payload, and each payload was checked against its row.

Does not: repair, choose what to read when, or talk to peers.
"""

from dataclasses import dataclass
from hashlib import blake2b

from trimaran.errors import CorruptionError, StorageError
from trimaran.ids import Index
from trimaran.storage.log_reads import moved
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import (
    ROWS_PER_READ_MAX,
    ROWS_SUFFIX,
    Segment,
    read_entries,
    read_rows,
)
from trimaran.storage.sidecar import ROW_BYTES, Row, encode_row, encode_rows_head, row_seed

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubbedPart:
    """What a part of a segment was found to be."""

    next_number: int
    """Row number to go on with; the row count at the segment's end."""
    read_bytes: int
    bad_index: Index | None = None
    """The entry that fails its check: the last one looked at.

    In a compacted segment, if its row fails, the one behind the row before.
    """
    reason: str = ""
    """File, position and check, if there is a bad entry."""


class ScrubPart:
    """Checks entries from a row on. Runs on the lane of reads."""

    __slots__ = ("_bytes_max", "_files", "_number", "_segment")

    def __init__(self, files: OpenFiles, segment: Segment, number: int, bytes_max: int) -> None:
        """Check about `bytes_max` bytes of `segment` from row `number` on, at least one entry."""
        assert number < segment.row_count
        self._files = files
        self._segment = segment
        self._number = number
        self._bytes_max = bytes_max

    def run(self) -> ScrubbedPart:
        """Read and check, in a thread.

        Raises:
            StorageError: the disk cannot be read.
        """
        segment, number = self._segment, self._number
        try:
            if number == 0:
                _check_head(self._files, segment)
            rows = _up_to(
                read_rows(self._files, segment, number, ROWS_PER_READ_MAX), self._bytes_max
            )
            entries = read_entries(self._files, segment, rows)
        except CorruptionError as error:
            return ScrubbedPart(
                next_number=number + 1,
                read_bytes=0,
                bad_index=_index_of(self._files, segment, number),
                reason=str(error),
            )
        read_bytes = sum(row.size for row in rows[: len(entries)])
        return ScrubbedPart(next_number=number + len(entries), read_bytes=read_bytes)


class RowsDigest:
    """The digest of a segment's rows, each of them checked. Runs on the lane of reads.

    Of a compacted segment it is the one over its records: their bytes may be packed differently.
    """

    __slots__ = ("_files", "_segment")

    def __init__(self, files: OpenFiles, segment: Segment) -> None:
        """Digest all rows of `segment`."""
        self._files = files
        self._segment = segment

    def run(self) -> bytes:
        """Return DIGEST_BYTES bytes, equal for replicas whose rows are equal.

        Raises:
            SegmentsMovedError: the segment was deleted meanwhile.
            CorruptionError: a row fails its check.
            StorageError: the disk cannot be read.
        """
        try:
            return self._digest()
        except StorageError as error:
            raise moved(self._files, error, self._segment) from error

    def _digest(self) -> bytes:
        segment = self._segment
        if segment.generation:
            return segment.digest
        seed = row_seed(segment.group)
        digest = blake2b(digest_size=DIGEST_BYTES)
        number = 0
        while number < segment.row_count:
            rows = read_rows(self._files, segment, number, ROWS_PER_READ_MAX)
            digest.update(b"".join(encode_row(row, seed) for row in rows))
            number += len(rows)
        return digest.digest()


def _check_head(files: OpenFiles, segment: Segment) -> None:
    """Compare the header of the segment's rows with what is known. Raises CorruptionError."""
    path = segment.path + ROWS_SUFFIX
    found = bytes(files.get(path, segment.serial).pread(ROW_BYTES, 0))
    if found != encode_rows_head(segment.group, segment.base, segment.generation):
        raise CorruptionError(path, 0, "the header of the rows fails its check")


def _index_of(files: OpenFiles, segment: Segment, number: int) -> Index:
    """Return the entry that row `number`, which may be bad, stands for."""
    if segment.generation == 0:
        return Index(segment.first_index + number)
    for at, distance in ((number, 0), (number - 1, 1)):
        try:
            if at >= 0:
                return Index(read_rows(files, segment, at, 1)[0].index + distance)
        except CorruptionError:
            continue
    return segment.first_index


def _up_to(rows: list[Row], bytes_max: int) -> list[Row]:
    """Return the first rows that together have `bytes_max` bytes of payload, at least one."""
    size = 0
    for number, row in enumerate(rows):
        size += row.size
        if size > bytes_max and number:
            return rows[:number]
    return rows
