"""Which segments go: by age and by size, never what is not committed."""

import dataclasses

import pytest

from trimaran.broker.log_starts import Kept, retained_from
from trimaran.ids import GroupId, Index, Offset, Term
from trimaran.metadata.topic_settings import effective_settings
from trimaran.records.control import LogStart
from trimaran.records.entry import LogPosition
from trimaran.storage.segment import Segment

GROUP = GroupId(bytes(20))
BEGIN = LogStart(index=Index(1), offset=Offset(0))
DEFAULTS = effective_settings({})


def position(index, log_time_ms):
    """Entry `index` holds ten events."""
    return LogPosition(
        index=Index(index), term=Term(1), next_offset=Offset(10 * index), log_time_ms=log_time_ms
    )


def kept(*segments, start=BEGIN, end=None):
    """Return a log of (last index, log time, bytes) segments."""
    rows, base = [], position(0, 0)
    for index, log_time_ms, size in segments:
        last = position(index, log_time_ms)
        rows.append(Segment(group=GROUP, serial=index, base=base, last=last, size=size))
        base = last
    return Kept(segments=rows, start=start, end=end or base)


def settings(**changes):
    return dataclasses.replace(DEFAULTS, **changes)


THREE = kept((2, 100, 50), (4, 200, 50), (6, 300, 50))


def test_by_default_nothing_goes():
    assert retained_from(THREE, DEFAULTS, 10**15) is None


@pytest.mark.parametrize(
    ("now_ms", "start"),
    [
        (150, None),
        (151, LogStart(index=Index(3), offset=Offset(20))),
        (251, LogStart(index=Index(5), offset=Offset(40))),
        (350, LogStart(index=Index(5), offset=Offset(40))),
        (351, LogStart(index=Index(7), offset=Offset(60), begins_segment=True)),
    ],
)
def test_segments_go_when_their_last_entry_is_too_old(now_ms, start):
    assert retained_from(THREE, settings(retention_ms=50), now_ms) == start


def test_the_last_segment_stays_while_anything_is_newer():
    log = dataclasses.replace(THREE, end=position(7, 340))

    assert retained_from(log, settings(retention_ms=50), 351).index == 5


def test_a_last_segment_without_events_is_left_alone():
    empty = LogPosition(index=Index(7), term=Term(2), next_offset=Offset(60), log_time_ms=300)
    last = dataclasses.replace(THREE.segments[-1], base=position(6, 300), last=empty)
    log = Kept(segments=[last], start=BEGIN, end=empty)

    assert retained_from(log, settings(retention_ms=50), 10**6) is None


@pytest.mark.parametrize(
    ("limit", "index"), [(0, 5), (49, 5), (50, 5), (51, 3), (100, 3), (101, None), (1_000, None)]
)
def test_the_oldest_go_while_the_rest_is_large_enough(limit, index):
    start = retained_from(THREE, settings(retention_bytes=limit), 0)

    assert (start and start.index) == index


def test_what_begins_there_already_is_not_decided_again():
    log = dataclasses.replace(THREE, start=LogStart(index=Index(5), offset=Offset(40)))

    assert retained_from(log, settings(retention_bytes=0), 0) is None


@pytest.mark.parametrize("policy", [("compact",), ()])
def test_a_topic_that_does_not_delete_keeps_all(policy):
    assert retained_from(THREE, settings(retention_ms=0, cleanup_policy=policy), 10**6) is None


def test_a_log_without_segments_keeps_all():
    assert retained_from(kept(), settings(retention_ms=0), 10**6) is None
