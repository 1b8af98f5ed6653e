"""Reading events: pages that lose none, and a last N that is the last, on a log made here."""

from types import SimpleNamespace

import msgspec
import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.topology import Topic
from trimaran.records.batch import Codec, parse_header
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.server.http import reading
from trimaran.server.http.endpoint import Asked
from trimaran.server.http.kafka.asking import EARLIEST, Fetched, Found
from trimaran.server.http.models.base import NoBody
from trimaran.server.http.models.events import EventsQuery
from trimaran.server.http.routes import events

pytestmark = pytest.mark.asyncio

NODE = SimpleNamespace(kafka=None, decoding=None)


def topic(partitions):
    members = tuple((NodeId(1),) for _ in range(partitions))
    return Topic(name="t", topic_id=TopicId(bytes(16)), partitions=members, settings={})


class Log:
    """The batches of each partition, as leaders tell them."""

    def __init__(self, *partitions):
        self.partitions = partitions
        self.fetches = 0

    async def fetch(self, kafka, topic, partition, offset, *, bytes_max):
        self.fetches += 1
        given, size = [], 0
        for batch in self.partitions[partition]:
            if parse_header(batch).last_offset < offset:
                continue
            if given and size + len(batch) > bytes_max:
                break
            given.append(batch)
            size += len(batch)
        return Fetched(given, self.end(partition), 0)

    async def list_offset(self, kafka, topic, partition, timestamp):
        return Found(0 if timestamp == EARLIEST else self.end(partition), -1)

    def end(self, partition):
        return parse_header(self.partitions[partition][-1]).last_offset + 1


@pytest.fixture
def log_of(monkeypatch):
    def make(*partitions):
        log = Log(*partitions)
        monkeypatch.setattr(reading, "fetch", log.fetch)
        monkeypatch.setattr(reading, "list_offset", log.list_offset)
        return log

    return make


def batch(offset, *times, value=b"v", codec=Codec.NONE):
    rows = [Record(value, timestamp_ms=time) for time in times]
    return build_batch(rows, base_offset=offset, codec=codec)


async def read(partitions, **query):
    found = await reading.read_events(
        NODE, topic(partitions), list(range(partitions)), EventsQuery(**query)
    )
    return [(row.partition, row.record.offset) for row in found[0]], found[1]


async def test_pages_hold_every_event_once_though_clients_clocks_go_back(log_of):
    log_of([batch(0, 50, 10, 40, 20)], [batch(0, 30, 5, 60)])
    seen, reads = await read(2, offset=0, limit=4)
    assert len(seen) == 4
    for part in reads:
        more = EventsQuery(offset=part.next, limit=10)
        rows, _, _ = await reading.read_events(NODE, topic(2), [part.partition], more)
        seen += [(row.partition, row.record.offset) for row in rows]
    assert sorted(seen) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
    assert [offset for number, offset in seen if number == 0] == [0, 1, 2, 3]


async def test_the_last_events_are_the_last_though_their_bytes_are_limited(log_of):
    log = log_of([batch(number, number, value=b"x" * 1_000) for number in range(100)])
    rows, (part,) = await read(1, last=True, limit=100, max_bytes=8_192)
    assert [offset for _, offset in rows] == list(range(100 - len(rows), 100))
    assert 4 <= len(rows) <= 9
    assert part.next == 100
    assert log.fetches < 20


async def test_the_last_event_is_shown_however_large_it_is(log_of):
    log_of([batch(0, 1), batch(1, 2, value=b"x" * 100_000)])
    rows, _ = await read(1, last=True, limit=10, max_bytes=1_024)
    assert rows[-1] == (0, 1)


LINE = b"request served in 12 ms " * 400


def compressed(batches):
    rows = [batch(number * 10, *range(10), value=LINE, codec=Codec.ZSTD) for number in batches]
    assert sum(map(len, rows)) < len(LINE), "all of them are fewer bytes than one event"
    return rows


@pytest.mark.parametrize("max_bytes", [1_024, len(LINE) * 3, len(LINE) * 25])
async def test_pages_of_compressed_events_are_bounded_as_decoded_and_lose_none(log_of, max_bytes):
    log_of(compressed(range(5)), compressed(range(5)))
    expected = max(1, max_bytes // len(LINE))
    seen, next_offsets, pages = [], {0: 0, 1: 0}, 0
    for number in (0, 1):
        while next_offsets[number] < 50:
            query = EventsQuery(offset=next_offsets[number], limit=1_000, max_bytes=max_bytes)
            rows, (part,), more = await reading.read_events(NODE, topic(2), [number], query)
            seen += [(row.partition, row.record.offset) for row in rows]
            next_offsets[number] = part.next
            assert len(rows) == min(expected, 50 - rows[0].record.offset)
            assert more == (part.next < 50)
            pages += 1
    assert seen == [(number, offset) for number in (0, 1) for offset in range(50)]
    assert pages == 2 * -(-50 // expected)


async def test_an_answer_of_many_partitions_is_bounded_as_a_whole(log_of):
    log_of(*(compressed([0]) for _ in range(8)))
    rows, reads = await read(8, offset=0, limit=1_000, max_bytes=len(LINE) * 4)
    assert len(rows) == 4
    given = dict(rows)
    assert [part.next for part in reads] == [given.get(number, -1) + 1 for number in range(8)]


async def test_the_last_compressed_events_are_bounded_as_decoded(log_of):
    log = log_of(compressed(range(10)))
    rows, (part,) = await read(1, last=True, limit=1_000, max_bytes=len(LINE) * 12)
    assert [offset for _, offset in rows] == list(range(88, 100))
    assert part.next == 100
    assert log.fetches < 40


async def test_events_come_to_the_loop_as_json(log_of):
    log_of([batch(0, *range(10), value=b'{"a": 1}')])
    node = SimpleNamespace(
        kafka=None, decoding=None, node_id=1, user_topic=lambda name: topic(partitions=1)
    )
    asked = Asked(
        node=node, path={"topic": "t"}, query=EventsQuery(offset=0), body=NoBody(), headers={}
    )
    found = await events.read(asked)
    assert {type(item) for item in found.items} == {msgspec.Raw}
    assert [msgspec.json.decode(item)["offset"] for item in found.items] == list(range(10))


async def test_the_last_events_are_found_behind_holes_that_compaction_left(log_of):
    log = log_of([batch(0, 1, 2, 3), batch(5_000, 4), batch(90_000, 5)])
    rows, _ = await read(1, last=True, limit=4)
    assert [offset for _, offset in rows] == [1, 2, 5_000, 90_000]
    assert log.fetches < 30


async def test_a_reader_of_the_end_looks_at_no_more_than_it_may(log_of):
    log_of([batch(number * 10, *range(10)) for number in range(100)])
    rows, (part,) = await read(1, last=True, limit=1_000, scan=25)
    assert [offset for _, offset in rows] == list(range(975, 1_000))
    assert part.scanned == 25


async def test_a_leader_that_is_not_there_is_told(log_of, monkeypatch):
    log_of([batch(0, 1)])

    async def fetch(*_, **__):
        raise RequestError(ErrorCode.LEADER_NOT_AVAILABLE, "none")

    monkeypatch.setattr(reading, "fetch", fetch)
    with pytest.raises(RequestError):
        await read(1, last=True)
