"""The reader behind tails: what it read is offered once, or read again; tails go at their pace."""

import asyncio
import gc
import weakref
from types import SimpleNamespace

import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.topology import Topic
from trimaran.records.batch import Codec, parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.server.http import feeds
from trimaran.server.http.feeds import TailFeed
from trimaran.server.http.models.stream import Subscribe
from trimaran.server.http.problems import TOO_MANY, ProblemError
from trimaran.server.http.reading import Seen
from trimaran.server.http.tails import QUEUED_BYTES_MAX, TopicTail, Watcher

pytestmark = pytest.mark.asyncio

TOPIC = Topic(
    name="t",
    topic_id=TopicId(bytes(16)),
    partitions=((NodeId(1),), (NodeId(1),)),
    settings={},
)


class Shown(dict):
    """What is shown of an event, of which it can be seen that it is let go."""


class Reader(TopicTail):
    """One whose partitions end where the test says, and fail when it says."""

    def __init__(self):
        super().__init__(SimpleNamespace(), TOPIC)
        self.ends = {0: 0, 1: 0}
        self.failing = set()
        self.while_reading = None

    async def _end(self, topic, number):
        return self.ends[number]

    async def _sample(self, topic, number, end, share, *, bytes_max):
        if number in self.failing:
            raise RequestError(ErrorCode.LEADER_NOT_AVAILABLE, "none")
        rows = [seen(number, at) for at in range(self._next[number], end)]
        if self.while_reading is not None:
            self.while_reading(number)
        return rows


def seen(partition, offset, size_bytes=1):
    return Seen(partition, Record(b"v", offset=offset), False, 1, size_bytes)


def places(watcher):
    rows, missed = watcher.take()
    return [(row.partition, row.record.offset) for row in rows], missed


async def test_what_was_read_when_another_partition_failed_is_not_lost():
    reader, watcher = Reader(), Watcher(partition=None, is_filtered=False)
    reader.watchers[0] = watcher
    await reader._tick(TOPIC)
    reader.ends, reader.failing = {0: 2, 1: 1}, {1}
    with pytest.raises(RequestError):
        await reader._tick(TOPIC)
    reader.failing = set()
    await reader._tick(TOPIC)
    assert places(watcher) == ([(0, 0), (0, 1), (1, 0)], 0)


async def test_who_comes_while_the_reader_reads_is_offered_no_event_below_its_position():
    reader, late = Reader(), Watcher(partition=None, is_filtered=False)
    positions = {}

    def come(number):
        if number == 1:
            reader.watchers[1] = late
            positions.update({at: reader.position(at) for at in (0, 1)})

    await reader._tick(TOPIC)
    reader.ends, reader.while_reading = {0: 2, 1: 1}, come
    await reader._tick(TOPIC)
    offered, _ = places(late)
    assert [offset for number, offset in offered if number == 0] == [0, 1]
    assert all(offset >= positions[number] for number, offset in offered)


@pytest.mark.parametrize(("rate", "pause_s", "limit"), [(1, 1.0, 1), (4, 0.25, 1), (500, 0.1, 50)])
async def test_a_tail_gives_no_more_than_it_was_asked_for(monkeypatch, rate, pause_s, limit):
    pauses, sent = [], []

    async def sleep(seconds):
        pauses.append(seconds)
        raise asyncio.CancelledError

    async def send(message):
        sent.append(message)

    class Tails:
        async def watch(self, topic, watcher):
            watcher.offer([seen(0, at) for at in range(100)], {})

        def unwatch(self, tail, watcher):
            pass

    node = SimpleNamespace(user_topic=lambda name: TOPIC, decoding=None)
    feed = TailFeed(node, Tails(), Subscribe(id="t", feed="tail", topic="t", rate=rate), send)
    monkeypatch.setattr(feeds, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        await feed.run()
    assert pauses == [pause_s]
    assert (len(sent[0].items), sent[0].missed) == (limit, 100 - limit)


async def test_a_crowd_of_filters_ends_no_tail():
    class Busy:
        async def matches(self, expression, rows):
            raise ProblemError(TOO_MANY, "too many filters run at once")

    node = SimpleNamespace(user_topic=lambda name: TOPIC, decoding=None, filters=Busy())
    asked = Subscribe(id="t", feed="tail", topic="t", filter="true")
    found = await TailFeed(node, None, asked, None)._message([seen(0, 1), seen(0, 2)], 3, limit=10)
    assert (found.items, found.missed, found.filtered) == ([], 5, 0)


async def test_what_waits_for_a_slow_watcher_is_bounded_by_bytes_too():
    watcher = Watcher(partition=None, is_filtered=False)
    large = QUEUED_BYTES_MAX // 4
    watcher.offer([seen(0, at, large) for at in range(10)], {})
    assert places(watcher) == ([(0, at) for at in range(6, 10)], 6)
    watcher.offer([seen(0, at, large) for at in range(10, 14)], {})
    assert places(watcher) == ([(0, at) for at in range(10, 14)], 0)
    watcher.offer([seen(0, 14, QUEUED_BYTES_MAX + 1)], {})
    assert places(watcher) == ([(0, 14)], 0)


async def test_a_reader_decodes_no_more_bytes_than_its_tick_may():
    batches = [
        build_batch([Record(b"x" * 1_000)] * 10, base_offset=at, codec=Codec.ZSTD)
        for at in (0, 10, 20)
    ]

    class Replica:
        log_start = 0

        def read(self, offset, bytes_max):
            return [batch for batch in batches if parse_header(batch).last_offset >= offset]

    reader = TopicTail(
        SimpleNamespace(replica=lambda topic, number: Replica(), decoding=None), TOPIC
    )
    reader._next[0] = 0
    for bytes_max, count in ((1, 1), (4_500, 5), (12_000, 12), (1_000_000, 30)):
        rows = await reader._sample(TOPIC, 0, 30, 30, bytes_max=bytes_max)
        assert [row.record.offset for row in rows] == list(range(count))


async def test_a_tail_lets_events_go_before_it_waits_for_its_client():
    gone = asyncio.Event()
    offered = Seen(0, Record(b"v", offset=1), False, 1, 1, Shown())
    weakref.finalize(offered.shown, gone.set)

    class Tails:
        async def watch(self, topic, watcher):
            nonlocal offered
            watcher.offer([offered], {})
            offered = None

        def unwatch(self, tail, watcher):
            pass

    async def send(message):
        gc.collect()
        await asyncio.wait_for(gone.wait(), 1.0)
        raise OSError("the client is gone")

    node = SimpleNamespace(user_topic=lambda name: TOPIC, decoding=None)
    feed = TailFeed(node, Tails(), Subscribe(id="t", feed="tail", topic="t"), send)
    with pytest.raises(OSError, match="gone"):
        await feed.run()
