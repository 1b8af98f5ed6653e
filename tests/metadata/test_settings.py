"""Settings tables: what may be set, and what a topic makes of it."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import ErrorCode, RequestError
from trimaran.metadata.node_settings import NODE_SETTINGS, check_node_settings
from trimaran.metadata.settings import (
    INT_MAX,
    PROBLEMS_MAX,
    SETTINGS_MAX,
    Effect,
    Kind,
    Setting,
    check,
    parse,
    table_of,
)
from trimaran.metadata.topic_settings import (
    TOPIC_SETTINGS,
    TopicSettings,
    check_topic_settings,
    effective_settings,
)

BOOLEAN = Setting(name="b", kind=Kind.BOOLEAN, default="false", doc="")
NUMBER = Setting(name="n", kind=Kind.INT, default="1", low=-1, high=INT_MAX, doc="")
RATIO = Setting(name="r", kind=Kind.DOUBLE, default="0.5", low=0, high=1, doc="")
WORD = Setting(name="w", kind=Kind.STRING, default="one", choices=("one", "two"), doc="")
TEXT = Setting(name="t", kind=Kind.STRING, default="x", low=1, high=3, doc="")
LIST = Setting(name="l", kind=Kind.LIST, default="one", choices=("one", "two"), doc="")


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (BOOLEAN, "true", True),
        (BOOLEAN, " FALSE ", False),
        (NUMBER, "-1", -1),
        (NUMBER, " +5 ", 5),
        (NUMBER, str(INT_MAX), INT_MAX),
        (RATIO, "0.25", 0.25),
        (RATIO, "1", 1.0),
        (RATIO, ".5", 0.5),
        (RATIO, "5E-1", 0.5),
        (WORD, "two", "two"),
        (TEXT, "abc", "abc"),
        (LIST, "one", ("one",)),
        (LIST, "two , one", ("two", "one")),
        (LIST, "one,one", ("one",)),
        (LIST, "", ()),
    ],
)
def test_text_is_parsed_by_its_kind(setting, text, value):
    assert parse(setting, text) == value


@pytest.mark.parametrize(
    ("setting", "text", "allowed"),
    [
        (BOOLEAN, "yes", "true or false"),
        (NUMBER, "-2", "int from -1 to 2147483647"),
        (NUMBER, str(INT_MAX + 1), "int from"),
        (NUMBER, "1.5", "int from"),
        (NUMBER, "1_000", "int from"),
        (NUMBER, "٣", "int from"),
        (NUMBER, "", "int from"),
        (NUMBER, "9" * 5_000, "int from"),
        (RATIO, "1.1", "double from 0 to 1"),
        (RATIO, "nan", "double from 0 to 1"),
        (WORD, "three", "one of one, two"),
        (TEXT, "", "1 to 3 characters"),
        (TEXT, "abcd", "1 to 3 characters"),
        (LIST, "one,", "a list of one, two"),
        (LIST, "one,three", "a list of one, two"),
    ],
)
def test_text_out_of_range_is_refused_with_what_is_allowed(setting, text, allowed):
    with pytest.raises(RequestError, match=allowed) as raised:
        parse(setting, text)

    assert raised.value.code is ErrorCode.INVALID_CONFIG
    assert len(str(raised.value)) < 300


@given(st.sampled_from([*TOPIC_SETTINGS.values(), BOOLEAN, TEXT]), st.text())
def test_any_text_is_parsed_or_refused(setting, text):
    try:
        value = parse(setting, text)
    except RequestError:
        return
    assert value is not None


def test_all_problems_are_named_at_once():
    with pytest.raises(RequestError) as raised:
        check_topic_settings(
            {
                "max.message.byte": "1",
                "zzzz": "1",
                "segment.bytes": "12",
                "validate": "records",
                "flush.ms": "5",
            },
            replication_factor=3,
        )

    problems = str(raised.value).split("; ")
    assert raised.value.code is ErrorCode.INVALID_CONFIG
    assert len(problems) == 4
    assert problems[0].startswith(
        "unknown setting 'max.message.byte': did you mean max.message.bytes? known are"
    )
    assert problems[1].startswith("unknown setting 'zzzz': known are max.message.bytes, segment.")
    assert problems[2] == "segment.bytes: expected int from 1048576 to 2147483647, found '12'"
    assert problems[3] == "validate: not there yet, only 'batch' is accepted, found 'records'"


def test_a_refusal_looks_for_what_was_meant_by_a_few_unknown_names_only(monkeypatch):
    looked_for = []
    monkeypatch.setattr(
        "trimaran.metadata.settings.get_close_matches",
        lambda name, table, n: looked_for.append(name) or [],
    )
    unknown = {f"retention.hours.{number}": "1" for number in range(SETTINGS_MAX)}

    with pytest.raises(RequestError, match=r"unknown setting 'retention\.hours\.0'") as raised:
        check(TOPIC_SETTINGS, unknown)

    assert raised.value.code is ErrorCode.INVALID_CONFIG
    assert looked_for == list(unknown)[:PROBLEMS_MAX]
    assert str(raised.value).count("; ") == PROBLEMS_MAX - 1


def test_more_settings_than_anybody_needs_are_refused_unread():
    settings = {f"{number}" * 5_000: "1" for number in range(SETTINGS_MAX + 1)}

    with pytest.raises(RequestError) as raised:
        check(TOPIC_SETTINGS, settings)

    assert raised.value.code is ErrorCode.INVALID_CONFIG
    assert str(raised.value) == "expected at most 100 settings, found 101"


def test_setting_that_waits_takes_only_its_default_however_it_is_written():
    table = table_of(dataclasses.replace(LIST, effect=Effect.WAITING))

    check(table, {"l": " one "})
    with pytest.raises(RequestError, match="not there yet"):
        check(table, {"l": "two"})


@pytest.mark.parametrize(("replicas", "majority"), [(1, 1), (2, 2), (3, 2), (5, 3), (7, 4)])
def test_min_insync_replicas_goes_up_to_the_majority(replicas, majority):
    check_topic_settings({"min.insync.replicas": str(majority)}, replication_factor=replicas)

    with pytest.raises(RequestError, match=f"expected at most {majority}") as raised:
        check_topic_settings(
            {"min.insync.replicas": str(majority + 1)}, replication_factor=replicas
        )
    assert raised.value.code is ErrorCode.INVALID_CONFIG


def test_topic_without_settings_has_the_defaults():
    defaults = effective_settings({})

    assert defaults == TopicSettings(
        max_message_bytes=1_048_588,
        segment_bytes=1 << 30,
        segment_ms=2**63 - 1,
        min_insync_replicas=1,
        cleanup_policy=("delete",),
        retention_ms=-1,
        retention_bytes=-1,
        compression_type="producer",
        message_timestamp_type="CreateTime",
        message_timestamp_before_max_ms=2**63 - 1,
        message_timestamp_after_max_ms=2**63 - 1,
        min_compaction_lag_ms=0,
        max_compaction_lag_ms=2**63 - 1,
        min_cleanable_dirty_ratio=0.5,
        delete_retention_ms=86_400_000,
        validate="batch",
        event_dedup_enable=False,
        event_dedup_header="event-id",
        event_dedup_window_ms=600_000,
        event_dedup_max_ids=1_000_000,
    )


def test_setting_of_the_topic_goes_before_the_default():
    settings = effective_settings({"max.message.bytes": "1000", "of.another.version": "x"})

    assert settings == dataclasses.replace(effective_settings({}), max_message_bytes=1_000)


@pytest.mark.parametrize("table", [TOPIC_SETTINGS, NODE_SETTINGS])
def test_every_row_says_what_it_is(table):
    for name, row in table.items():
        assert name == row.name
        assert row.doc.endswith(".")
        assert row.allowed
        check(table, {name: row.default})


def test_names_of_every_setting_the_topic_table_promises():
    assert {
        "cleanup.policy",
        "retention.ms",
        "retention.bytes",
        "segment.bytes",
        "segment.ms",
        "max.message.bytes",
        "min.insync.replicas",
        "compression.type",
        "message.timestamp.type",
        "min.compaction.lag.ms",
        "delete.retention.ms",
        "event.dedup.enable",
        "event.dedup.header",
        "event.dedup.window.ms",
        "event.dedup.max.ids",
    } <= TOPIC_SETTINGS.keys()


def test_node_settings_are_checked_by_their_own_table():
    check_node_settings({"num.partitions": "8", "auto.create.topics.enable": "false"})

    with pytest.raises(RequestError, match="unknown setting 'retention"):
        check_node_settings({"retention.ms": "1"})


def test_the_least_compaction_lag_is_not_above_the_most():
    settings = {"min.compaction.lag.ms": "11", "max.compaction.lag.ms": "10"}

    with pytest.raises(
        RequestError, match=r"at most max.compaction.lag.ms, 10; found 11"
    ) as raised:
        check_topic_settings(settings, replication_factor=3)
    assert raised.value.code is ErrorCode.INVALID_CONFIG
    check_topic_settings({"cleanup.policy": "compact,delete"}, replication_factor=3)


def test_what_must_be_compacted_in_time_ends_its_segment_in_time():
    texts = {"segment.ms": "500", "max.compaction.lag.ms": "100"}

    assert effective_settings(texts).segment_ms_max == 500
    assert effective_settings(texts | {"cleanup.policy": "compact"}).segment_ms_max == 100
    assert effective_settings({"cleanup.policy": "delete,compact"}).is_compacted
