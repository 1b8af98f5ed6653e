"""What a topic says about the time in its batches."""

import dataclasses

import pytest

from trimaran.broker.timestamps import judge_time
from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.topic_settings import effective_settings
from trimaran.records.batch import parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record

NOW_MS = 1_000_000


def judged(*timestamps, **settings):
    records = [Record(value=b"", timestamp_ms=at) for at in timestamps]
    header = parse_header(build_batch(records))
    return judge_time(header, dataclasses.replace(effective_settings({}), **settings), NOW_MS)


def test_the_log_time_takes_the_place_of_the_producers():
    assert judged(1, 10**12, message_timestamp_type="LogAppendTime") == NOW_MS


def test_by_default_a_producer_may_say_what_it_likes():
    assert judged(0, 10**12) == -1


@pytest.mark.parametrize(
    ("timestamps", "refused"),
    [
        ((NOW_MS, NOW_MS + 500), False),
        ((NOW_MS, NOW_MS + 501), True),
        ((NOW_MS - 700, NOW_MS), False),
        ((NOW_MS - 701, NOW_MS), True),
    ],
)
def test_too_far_from_the_log_time_is_refused(timestamps, refused):
    limits = {
        "message_timestamp_after_max_ms": 500,
        "message_timestamp_before_max_ms": 700,
    }
    if not refused:
        assert judged(*timestamps, **limits) == -1
        return
    with pytest.raises(RequestError) as error:
        judged(*timestamps, **limits)
    assert error.value.code is ErrorCode.INVALID_TIMESTAMP
