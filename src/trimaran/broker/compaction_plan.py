"""When a log is compacted, and how far: Kafka's rules, by log time (design D12).

Only finished segments are compacted, from the beginning of the log to the last one that

    is older than min.compaction.lag.ms, by its last entry
    is older than the window of event ids, so that nothing inside it goes

and only if the part of that which no compaction has seen yet is more than min.cleanable.dirty.ratio
of it, or holds an entry older than max.compaction.lag.ms. A tombstone goes with the first
compaction that is decided delete.retention.ms after one that had it in its range: whoever had
begun to read by then has had that long to come to it.

Segments that have become small are written together, up to segment.bytes as they were before.
Does not: propose, or read a record.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trimaran.metadata.topic_settings import TopicSettings
from trimaran.records.control import (
    PASSES_MAX,
    SEGMENTS_PER_COMPACTION_MAX,
    Compaction,
    StoredSettings,
)
from trimaran.storage.segment import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Compactable:
    """A log, as far as compaction is concerned."""

    segments: Sequence[Segment]
    """As stored, ascending; the last one still grows."""
    before: Compaction | None
    """The last one decided."""
    stored: StoredSettings


def next_compaction(log: Compactable, settings: TopicSettings, now_ms: int) -> Compaction | None:
    """Return what should be compacted now; None if nothing should, or something still is.

    Args:
        log: the log.
        settings: the topic's.
        now_ms: log time.
    """
    if not settings.is_compacted or len(log.segments) < 2:
        return None
    lag_ms = max(settings.min_compaction_lag_ms, log.stored.dedup_window_ms)
    if settings.event_dedup_enable:
        lag_ms = max(lag_ms, settings.event_dedup_window_ms)
    finished = [
        segment for segment in log.segments[:-1] if now_ms - segment.last.log_time_ms >= lag_ms
    ]
    seen_end = 0 if log.before is None else log.before.end
    unseen = [segment for segment in finished if segment.last.index > seen_end]
    if not unseen or _is_unfinished(log):
        return None
    dirty_bytes = sum(segment.size for segment in unseen)
    ratio = dirty_bytes / max(1, sum(segment.size for segment in finished))
    is_late = now_ms - unseen[0].base.log_time_ms > settings.max_compaction_lag_ms
    if ratio <= settings.min_cleanable_dirty_ratio and not is_late:
        return None
    return _compaction(log.before, finished, settings, now_ms)


def _is_unfinished(log: Compactable) -> bool:
    """Whether this node has not yet done what was decided last."""
    before = log.before
    if before is None:
        return False
    return any(
        segment.generation < before.generation
        for segment in log.segments
        if segment.last.index <= before.end
    )


def _compaction(
    before: Compaction | None, finished: Sequence[Segment], settings: TopicSettings, now_ms: int
) -> Compaction:
    starts: list[int] = []
    size = 0
    for segment in finished:
        size += segment.size
        if not starts or size > settings.segment_bytes:
            starts.append(segment.first_index)
            size = segment.size
    end: int = finished[-1].last.index
    if len(starts) > SEGMENTS_PER_COMPACTION_MAX:
        end = starts[SEGMENTS_PER_COMPACTION_MAX] - 1
        del starts[SEGMENTS_PER_COMPACTION_MAX:]
    passes = () if before is None else before.passes
    tombstones = 0 if before is None else before.tombstones
    for pass_end, decided_ms in passes:
        if now_ms - decided_ms >= settings.delete_retention_ms:
            tombstones = max(tombstones, pass_end)
    waiting = [row for row in passes if row[0] > tombstones]
    return Compaction(
        generation=1 if before is None else before.generation + 1,
        end=end,
        starts=tuple(starts),
        tombstones=tombstones,
        # Without the place of a pass its tombstones wait for the one behind it.
        passes=(*waiting[: PASSES_MAX - 1], (end, now_ms)),
    )
