"""When a log is compacted, how far, and when tombstones may go."""

from dataclasses import replace

import pytest

from trimaran.broker.compaction_plan import Compactable, next_compaction
from trimaran.ids import GroupId, Index, Offset, Term
from trimaran.metadata.topic_settings import effective_settings
from trimaran.records.control import (
    PASSES_MAX,
    SEGMENTS_PER_COMPACTION_MAX,
    Compaction,
    StoredSettings,
    decode_compaction,
    encode_compaction,
)
from trimaran.records.entry import LogPosition
from trimaran.storage.segment import Segment

NOW_MS = 1_000_000
MIB = 1 << 20


def log_of(*sizes, generations=(), step_ms=1_000, before=None, dedup_window_ms=0):
    """Return segments of ten entries each, the last one written `step_ms` ago, and so on back."""
    segments = []
    for number, size in enumerate(sizes):
        ends_ms = NOW_MS - (len(sizes) - 1 - number) * step_ms
        segments.append(
            Segment(
                group=GroupId(bytes(20)),
                serial=number,
                base=position(10 * number, ends_ms - step_ms),
                last=position(10 * number + 10, ends_ms),
                size=size,
                generation=generations[number] if number < len(generations) else 0,
                kept_count=1,
            )
        )
    stored = StoredSettings(dedup_window_ms=dedup_window_ms)
    return Compactable(segments=segments, before=before, stored=stored)


def position(index, time_ms):
    return LogPosition(
        index=Index(index), term=Term(1), next_offset=Offset(index), log_time_ms=time_ms
    )


def settings(**texts):
    named = {name.replace("_", "."): str(value) for name, value in texts.items()}
    return effective_settings({"cleanup.policy": "compact"} | named)


def after(end, generation=1, tombstones=0, passes=()):
    return Compaction(
        generation=generation, end=end, starts=(1,), tombstones=tombstones, passes=passes
    )


def test_all_finished_segments_are_compacted_up_to_segment_bytes_together():
    found = next_compaction(
        log_of(MIB, MIB, 3 * MIB, MIB, 9), settings(segment_bytes=3 * MIB), NOW_MS
    )

    assert found == Compaction(
        generation=1, end=40, starts=(1, 21, 31), tombstones=0, passes=((40, NOW_MS),)
    )


@pytest.mark.parametrize(
    "log", [log_of(), log_of(5), log_of(5, 5, before=after(10), generations=(1,))]
)
def test_nothing_is_due_without_a_finished_segment_that_was_not_seen(log):
    assert next_compaction(log, settings(min_cleanable_dirty_ratio=0), NOW_MS) is None


def test_a_topic_that_is_not_compacted_is_left_alone():
    plain = effective_settings({})

    assert next_compaction(log_of(5, 5), plain, NOW_MS) is None
    both = settings(cleanup_policy="compact,delete")
    assert next_compaction(log_of(5, 5), both, NOW_MS) is not None


@pytest.mark.parametrize(("dirty", "is_due"), [(99, False), (100, False), (101, True)])
def test_the_part_not_seen_must_be_more_than_the_ratio(dirty, is_due):
    log = log_of(100, dirty, 7, before=after(10), generations=(1,))

    assert (next_compaction(log, settings(), NOW_MS) is not None) == is_due


def test_what_waited_for_max_lag_is_compacted_whatever_the_ratio():
    log = log_of(100, 1, 7, before=after(10), generations=(1,), step_ms=1_000)

    assert next_compaction(log, settings(max_compaction_lag_ms=2_000), NOW_MS) is None
    found = next_compaction(log, settings(max_compaction_lag_ms=1_999), NOW_MS)
    assert found is not None
    assert found.end == 20


@pytest.mark.parametrize(
    ("texts", "window_ms", "end"),
    [
        ({}, 0, 30),
        ({"min_compaction_lag_ms": 1_001}, 0, 20),
        ({"min_compaction_lag_ms": 2_000}, 0, 20),
        ({"min_compaction_lag_ms": 5_000}, 0, None),
        ({}, 2_500, 10),
        ({"event_dedup_enable": "true", "event_dedup_window_ms": 1_500}, 0, 20),
    ],
)
def test_nothing_younger_than_the_lag_or_inside_the_window_of_ids_is_compacted(
    texts, window_ms, end
):
    log = log_of(10, 10, 10, 10, dedup_window_ms=window_ms)

    found = next_compaction(log, settings(**texts), NOW_MS)

    assert (found.end if found else None) == end


def test_a_compaction_that_is_not_done_here_is_done_first():
    log = log_of(100, 100, 100, 7, before=after(20), generations=(1, 0))

    assert next_compaction(log, settings(), NOW_MS) is None
    done = replace(
        log,
        segments=[
            replace(part, generation=1 if part.last.index <= 20 else 0) for part in log.segments
        ],
    )
    found = next_compaction(done, settings(min_cleanable_dirty_ratio=0), NOW_MS)
    assert found is not None
    assert (found.generation, found.end) == (2, 30)


def test_tombstones_go_delete_retention_after_a_compaction_that_had_them():
    passes = ((10, NOW_MS - 5_000), (20, NOW_MS - 2_000))
    log = log_of(1, 1, 1, 1, 1, before=after(20, tombstones=5, passes=passes), generations=(1, 1))

    def tombstones(retention_ms):
        wanted = settings(delete_retention_ms=retention_ms, min_cleanable_dirty_ratio=0)
        found = next_compaction(log, wanted, NOW_MS)
        return found.tombstones, found.passes

    new = (40, NOW_MS)
    assert tombstones(5_001) == (5, (*passes, new))
    assert tombstones(5_000) == (10, (passes[1], new))
    assert tombstones(2_000) == (20, (new,))


def test_memory_of_passes_is_bounded_and_errs_on_the_late_side():
    passes = tuple((at, at) for at in range(1, PASSES_MAX + 1))
    before = after(PASSES_MAX, passes=passes)
    log = replace(log_of(1, 1, before=before), segments=log_of(*[1] * 12).segments)
    log = replace(
        log,
        segments=[replace(part, generation=1) for part in log.segments[:7]]
        + list(log.segments[7:]),
    )

    found = next_compaction(
        log, settings(delete_retention_ms=2**60, min_cleanable_dirty_ratio=0), NOW_MS
    )

    assert found is not None
    assert found.passes == (*passes[: PASSES_MAX - 1], (110, NOW_MS))
    assert decode_compaction(encode_compaction(found)) == found


def test_a_log_of_very_many_segments_is_compacted_in_parts():
    log = log_of(*[MIB] * (SEGMENTS_PER_COMPACTION_MAX + 3))

    found = next_compaction(log, settings(segment_bytes=MIB), NOW_MS)

    assert found is not None
    assert len(found.starts) == SEGMENTS_PER_COMPACTION_MAX
    assert found.end == 10 * SEGMENTS_PER_COMPACTION_MAX
