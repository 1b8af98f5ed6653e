"""Where a log is to begin: by age, by size, or because a client said so (design D12).

    retention.ms     segments whose last entry is older go, also the last one if nothing is newer
    retention.bytes  oldest segments go while the rest is still at least so large; never the last

Age is by log time: clients' timestamps delete nothing. Only what is committed is given up.
Does not: propose or apply anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.broker.replica import Replica
from trimaran.ids import Index, Offset
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.records.control import LogStart
from trimaran.records.entry import LogPosition
from trimaran.storage.segment import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A log, as far as what to keep of it is concerned."""

    segments: Sequence[Segment]
    """As stored, ascending."""
    start: LogStart
    """Where it begins now."""
    end: LogPosition
    """Its last entry, which is committed."""


def retained_from(kept: Kept, settings: TopicSettings, now_ms: int) -> LogStart | None:
    """Return where the log should begin; None if that is where it does, or before.

    Args:
        kept: the log.
        settings: retention_ms and retention_bytes, and whether cleanup.policy has delete.
        now_ms: log time.
    """
    segments = kept.segments
    if not segments or "delete" not in settings.cleanup_policy:
        return None
    count = max(
        _expired_count(kept, settings.retention_ms, now_ms),
        _excess_count(segments, settings.retention_bytes),
    )
    if count == 0:
        return None
    if count < len(segments):
        base = segments[count].base
        start = LogStart(index=Index(base.index + 1), offset=base.next_offset)
    else:
        end = kept.end
        start = LogStart(index=Index(end.index + 1), offset=end.next_offset, begins_segment=True)
    return start if start.index > kept.start.index else None


def _expired_count(kept: Kept, retention_ms: int, now_ms: int) -> int:
    """Return how many of the oldest segments are too old, all of them only if nothing is newer."""
    if retention_ms < 0:
        return 0
    *finished, last = kept.segments
    count = 0
    while count < len(finished) and now_ms - finished[count].last.log_time_ms > retention_ms:
        count += 1
    if count == len(finished) and now_ms - kept.end.log_time_ms > retention_ms:
        holds_events = last.base.next_offset < kept.end.next_offset
        count += 1 if holds_events else 0
    return count


def _excess_count(segments: Sequence[Segment], retention_bytes: int) -> int:
    """Return how many of the oldest segments may go; what stays is not below the limit (Kafka)."""
    if retention_bytes < 0:
        return 0
    left = sum(segment.size for segment in segments)
    count = 0
    while count < len(segments) - 1 and left - segments[count].size >= retention_bytes:
        left -= segments[count].size
        count += 1
    return count


def log_start_at(replica: Replica, offset: Offset) -> LogStart:
    """Return the log start that gives up everything below `offset`, which is committed.

    The entry that begins a segment is asked for where otherwise much would stay: segments are
    deleted whole.
    """
    segments = replica.storage.segments
    end = replica.raft.log.position_at(replica.applied)
    assert offset <= end.next_offset
    found = replica.raft.log.find_offset(offset) if offset < end.next_offset else None
    if offset == end.next_offset:
        index = Index(replica.applied + 1)
    elif found is not None:
        index = found
    else:
        index = replica.storage.segment_at(offset).first_index
    last_begins = segments[-1].first_index if segments else replica.storage.first_index
    is_empty = offset == end.next_offset
    return LogStart(index=index, offset=offset, begins_segment=is_empty and index > last_begins)
