"""What no single event shows, and what happens when watching itself fails."""

import pytest

from trimaran.broker.happenings import HappeningKind, Happenings
from trimaran.server.observing.groups import DedupRow, GroupsLook, TopicRow
from trimaran.server.observing.merging import merged
from trimaran.server.observing.observer import NodeObserver
from trimaran.server.observing.shapes import Incident, Phase
from trimaran.server.observing.warnings import DedupWarnings


def look(**cut_short):
    topics = {
        name: TopicRow(dedup=DedupRow(window_ms=600_000, effective_ms=90_000, cut_short=count))
        for name, count in cut_short.items()
    }
    return GroupsLook(topics={**topics, "without": TopicRow()})


def test_a_window_that_the_count_cuts_short_is_told_once_while_it_lasts(caplog):
    feed = Happenings(wall_ms=lambda: 0)
    warnings = DedupWarnings(feed)
    for found in (look(t=0), look(t=2), look(t=2, u=1), look(t=0), look(t=1)):
        warnings.look(found)

    told = [one.text for one in feed.since(0)]
    assert [text.split(":")[0] for text in told] == ["topic t", "topic u", "topic t"]
    assert "after 90 s of 600 s" in told[0]
    assert all(one.kind is HappeningKind.WARNING for one in feed.since(0))
    assert caplog.messages[0].startswith("dedup window cut short topic=t partitions=2 ")


@pytest.mark.asyncio
async def test_sampling_that_fails_ends_with_a_line_and_takes_nothing_with_it(caplog, monkeypatch):
    async def fail(self):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(NodeObserver, "sample", fail)

    await object.__new__(NodeObserver).run()

    assert "sampling failed" in caplog.text
    assert "of all things" in caplog.text


def record(observer, began_ms, lost=1, leader=2, total_ms=100.0, **phases):
    return Incident(
        id=f"{observer}-{began_ms}",
        began_ms=began_ms,
        observed_by=observer,
        cause="connection",
        lost_node=lost,
        groups=4,
        topic=None,
        partition=None,
        old_term=1,
        new_term=2,
        new_leader=leader,
        phases=[Phase(name=name, at_ms=at_ms) for name, at_ms in phases.items()],
        total_ms=total_ms,
        over_limit=False,
    )


def test_records_of_one_failover_are_put_together_and_others_are_not():
    records = [
        record(2, 1_000, last_ack=0, detected=5, elected=40, first_commit=50),
        record(3, 1_002, leader=3, last_ack=0, detected=6, vote=20, elected=30, first_ack=700),
        record(2, 1_500, lost=3, last_ack=0, detected=5),
        record(2, 60_000, last_ack=0, detected=5),
    ]

    newest, other, both = merged(records)

    assert (newest.began_ms, other.lost_node) == (60_000, 3)
    times = {phase.name: phase.at_ms for phase in both.phases}
    assert times == {
        "last_ack": 0,
        "detected": 6,
        "vote": 20,
        "elected": 40,
        "first_commit": 50,
        "first_ack": 700,
    }
    assert list(times) == sorted(times, key=times.get)
    assert (both.id, both.began_ms, both.new_leader) == ("2-1000", 1_000, None)
    assert both.total_ms == 700
    assert both.over_limit


def test_a_failover_that_one_node_has_not_seen_the_end_of_is_not_over():
    (both,) = merged([record(2, 1_000, detected=5), record(3, 1_001, total_ms=None, detected=5)])

    assert both.total_ms is None
