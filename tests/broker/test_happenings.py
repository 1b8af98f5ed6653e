"""The feed of what happened: bounded, numbered, one line for what hits many groups at once."""

import asyncio

import pytest

from trimaran.broker.happenings import (
    GROUPS_NAMED_MAX,
    HappeningKind,
    Happenings,
    tell_topics,
)
from trimaran.broker.observations import SLOW_SYNC_S, Observations
from trimaran.ids import NodeId, Term, TopicId, group_id
from trimaran.metadata.results import TopicCreated, TopicDeleted
from trimaran.metadata.topology import Topic

ONE = NodeId(1)


def group(number):
    return group_id(TopicId(b"t" * 16), number)


def test_numbers_rise_by_one_and_the_oldest_go():
    feed = Happenings(wall_ms=lambda: 7, kept_max=3)
    for _ in range(5):
        feed.add(HappeningKind.NODE_UP, node=ONE)

    assert [one.number for one in feed.since(0)] == [3, 4, 5]
    assert [one.number for one in feed.since(4)] == [5]
    assert feed.since(5) == ()
    assert feed.last_number == 5
    assert feed.since(0)[0].time_ms == 7


def test_watchers_are_told_until_they_leave():
    feed = Happenings(wall_ms=lambda: 0)
    told = []
    handle = feed.watch(told.append)
    first = feed.add(HappeningKind.SPACE, text="full")
    feed.unwatch(handle)
    feed.add(HappeningKind.SPACE, text="room")

    assert told == [first]


@pytest.mark.asyncio
async def test_groups_of_one_turn_are_one_happening_for_each_node_and_kind():
    feed = Happenings(wall_ms=lambda: 0)
    for number in range(50):
        feed.gather(HappeningKind.LEADER_MOVED, group(number), node=ONE, term=Term(number))
    feed.gather(HappeningKind.LEADER_MOVED, group(99), node=NodeId(2), term=Term(1))
    assert feed.since(0) == ()

    await asyncio.sleep(0)

    first, second = feed.since(0)
    assert (first.group_count, len(first.groups), first.term) == (50, GROUPS_NAMED_MAX, 49)
    assert first.groups[0] == group(0)
    assert (second.node, second.group_count) == (2, 1)

    feed.gather(HappeningKind.LEADER_MOVED, group(1), node=ONE, term=Term(3))
    await asyncio.sleep(0)
    assert feed.since(2)[0].group_count == 1


def test_a_disk_that_stays_slow_is_told_once_in_a_while_and_counted_always():
    notes = Observations(node_id=ONE, now_s=lambda: 0.0, wall_ms=lambda: 0)

    def sync(seconds, at_s):
        notes.synced(submitted_s=at_s - seconds, begun_s=at_s - seconds, ended_s=at_s, now_s=at_s)

    for at_s in range(1, 25):
        sync(SLOW_SYNC_S * 2, float(at_s))
    sync(SLOW_SYNC_S / 2, 30.0)

    told = notes.happenings.since(0)
    assert notes.counters.slow_syncs == 24
    assert [one.kind for one in told] == [HappeningKind.SLOW_DISK] * 3
    assert told[0].duration_ms == pytest.approx(200)
    assert notes.counters.journal_sync.count == 25


def test_topics_made_and_deleted_together_are_a_line_each():
    feed = Happenings(wall_ms=lambda: 0)
    topics = [
        Topic(name=f"t{n}", topic_id=TopicId(bytes(16)), partitions=((ONE,),), settings={})
        for n in range(8)
    ]
    tell_topics(feed, [TopicCreated(topic=topic) for topic in topics])
    tell_topics(feed, [TopicDeleted(topic=topics[0])])
    tell_topics(feed, [])

    created, deleted = feed.since(0)
    assert created.text == "created: t0, t1, t2, t3, t4 and 3 more"
    assert deleted.text == "deleted: t0"
