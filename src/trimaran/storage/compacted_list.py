"""Which segments of a group are compacted ones: a state file that the boundary names.

So the change from the segments as they were appended to those that compaction wrote is one record
of the journal: before it the old files count, behind it the new ones, whatever else is in the
directory. The state file `compacted-<generation>` is one byte, the format version (1), then a
MessagePack array with the fields of `CompactedSegment` for each, ascending; one that is below the
log start by now may be named without being there.
Does not: write files, or know why records are gone.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated

import msgspec

from trimaran.errors import CorruptionError
from trimaran.ids import GroupId, Index, Offset, Term
from trimaran.records.entry import LogPosition
from trimaran.storage.boundary import StateFile
from trimaran.storage.segment import Segment, SegmentName

COMPACTED_FILE = "compacted"
FORMAT_VERSION = 1
DIGEST_BYTES = 32

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class CompactedSegment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One compacted segment: the entries around its ends, and what is left between them."""

    generation: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    base_index: _Count
    base_term: _Count
    base_offset: _Count
    """First offset of the segment."""
    base_time_ms: _Count
    last_index: _Count
    last_term: _Count
    next_offset: _Count
    last_time_ms: _Count
    size: _Count
    """Bytes of payload."""
    kept_count: _Count
    """Rows."""
    max_timestamp_ms: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    digest: Annotated[bytes, msgspec.Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
    """Over the records."""

    @property
    def name(self) -> SegmentName:
        """What its files are called."""
        first = Index(self.base_index + 1)
        return SegmentName(first, Offset(self.base_offset), self.generation)

    def segment(self, group: GroupId, serial: int) -> Segment:
        """Return it as a segment of `group`."""
        return Segment(
            group=group,
            serial=serial,
            base=LogPosition(
                index=Index(self.base_index),
                term=Term(self.base_term),
                next_offset=Offset(self.base_offset),
                log_time_ms=self.base_time_ms,
            ),
            last=LogPosition(
                index=Index(self.last_index),
                term=Term(self.last_term),
                next_offset=Offset(self.next_offset),
                log_time_ms=self.last_time_ms,
            ),
            size=self.size,
            max_timestamp_ms=self.max_timestamp_ms,
            generation=self.generation,
            kept_count=self.kept_count,
            digest=self.digest,
        )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[CompactedSegment, ...])


def encode_compacted(segments: Iterable[Segment]) -> bytes:
    """Return the content of the state file for those of `segments` that are compacted."""
    rows = [_row(segment) for segment in segments if segment.generation]
    return bytes((FORMAT_VERSION,)) + _ENCODER.encode(rows)


def decode_compacted(content: bytes, *, source: str) -> tuple[CompactedSegment, ...]:
    """Return what `encode_compacted` wrote into the state file `source`.

    Raises:
        CorruptionError: it is something else.
    """
    if not content or content[0] != FORMAT_VERSION:
        raise CorruptionError(source, 0, f"no list of compacted segments, version {FORMAT_VERSION}")
    try:
        rows = _DECODER.decode(memoryview(content)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptionError(source, 1, str(error)) from error
    if any(before.last_index > after.base_index for before, after in pairwise(rows)):
        raise CorruptionError(source, 1, "compacted segments overlap")
    if any(row.last_index <= row.base_index or row.kept_count == 0 for row in rows):
        raise CorruptionError(source, 1, "a compacted segment without entries")
    return rows


def compacted_file(state_files: Iterable[StateFile]) -> StateFile | None:
    """Return the list among a boundary's state files, None if nothing was compacted."""
    for state_file in state_files:
        if state_file[0].startswith(COMPACTED_FILE + "-"):
            return state_file
    return None


def _row(segment: Segment) -> CompactedSegment:
    base, last = segment.base, segment.last
    return CompactedSegment(
        generation=segment.generation,
        base_index=base.index,
        base_term=base.term,
        base_offset=base.next_offset,
        base_time_ms=base.log_time_ms,
        last_index=last.index,
        last_term=last.term,
        next_offset=last.next_offset,
        last_time_ms=last.log_time_ms,
        size=segment.size,
        kept_count=segment.kept_count,
        max_timestamp_ms=segment.max_timestamp_ms,
        digest=segment.digest,
    )
