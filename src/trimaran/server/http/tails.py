"""Following topics: one reader a topic on this node, however many people watch it.

Every 100 ms the reader looks how far the replicas here have committed and takes some of what is
new: all of it up to a budget of events and bytes, else a sample, and counts the rest as missed. It
decodes in the decoding thread and hands the same rows to every watcher; a watcher that is slow
loses the oldest of a bounded queue. So neither the number of watchers nor a slow one costs the way
of an event anything but the sampled decoding. A topic without a replica here is read through its
leaders.

Does not: filter or show (feeds do), or promise completeness: it says what it left out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from functools import partial

from trimaran.errors import RequestError
from trimaran.ids import Offset, TopicId
from trimaran.metadata.topology import Topic
from trimaran.records.batch import parse_header
from trimaran.records.entry import Payload
from trimaran.records.iteration import iterate_records
from trimaran.server.http.context import NodeContext
from trimaran.server.http.kafka.asking import LATEST, fetch, gather, list_offset
from trimaran.server.http.reading import Seen, in_thread, seen_in

TICK_S = 0.1
REMOTE_TICK_S = 0.5
EVENTS_OF_A_TICK = 50
"""500 a second."""
FILTERED_EVENTS_OF_A_TICK = 200
"""Where somebody filters more are looked at, for what matches may be rare."""
READ_BYTES = 65_536
BYTES_OF_A_TICK = 2 * 1024 * 1024
"""Decoded, for all watchers of a topic together; an event of each partition in any case."""
QUEUED_MAX = 1_000
"""Rows that wait for one watcher."""
QUEUED_BYTES_MAX = 4 * 1024 * 1024
"""Of these rows; one waits however large it is."""

log = logging.getLogger(__name__)


class Watcher:
    """One tail: what the reader has for it."""

    def __init__(self, *, partition: int | None, is_filtered: bool) -> None:
        self.partition = partition
        self.is_filtered = is_filtered
        self.is_paused = False
        self.is_over = False
        self.missed = 0
        self.news = asyncio.Event()
        self._rows: deque[Seen] = deque()
        self._bytes = 0

    def offer(self, rows: Sequence[Seen], missed: dict[int, int]) -> None:
        """Take what belongs to this tail."""
        if self.partition is None:
            wanted: Sequence[Seen] = rows
            self.missed += sum(missed.values())
        else:
            wanted = [row for row in rows if row.partition == self.partition]
            self.missed += missed.get(self.partition, 0)
        if self.is_paused:
            self.missed += len(wanted)
            return
        self._rows.extend(wanted)
        self._bytes += sum(row.size_bytes for row in wanted)
        while len(self._rows) > QUEUED_MAX or (
            self._bytes > QUEUED_BYTES_MAX and len(self._rows) > 1
        ):
            self._bytes -= self._rows.popleft().size_bytes
            self.missed += 1
        if wanted or self.missed:
            self.news.set()

    def take(self) -> tuple[list[Seen], int]:
        """Return what came since the last call, and how many were missed."""
        rows, missed = list(self._rows), self.missed
        self._clear()
        self.missed = 0
        self.news.clear()
        return rows, missed

    def end(self) -> None:
        """Nothing comes any more."""
        self.is_over = True
        self.news.set()

    def pause(self) -> None:
        """Count what comes as missed."""
        self.is_paused = True
        self.missed += len(self._rows)
        self._clear()

    def resume(self) -> None:
        """Go on with what comes next."""
        self.is_paused = False

    def _clear(self) -> None:
        self._rows.clear()
        self._bytes = 0


class TopicTail:
    """The reader of one topic."""

    def __init__(self, node: NodeContext, topic: Topic) -> None:
        self._node = node
        self.topic = topic
        self.watchers: dict[int, Watcher] = {}
        self._next: dict[int, int] = {}
        """Where each partition's reader stands."""

    @property
    def topic_id(self) -> TopicId:
        """The topic that is followed; another of the same name is another."""
        return self.topic.topic_id

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            topic = self._node.image.topic_by_id(self.topic_id)
            if topic is None:
                return
            self.topic = topic
            is_here = all(
                self._node.replica(topic, number) is not None
                for number in range(len(topic.partitions))
            )
            try:
                await self._tick(topic)
            except (RequestError, OSError) as error:
                log.debug("tail of %s waits: %s", topic.name, error)
            await asyncio.sleep(TICK_S if is_here else REMOTE_TICK_S)

    def position(self, partition: int) -> int | None:
        """Return where the reader stands."""
        return self._next.get(partition)

    async def start(self) -> None:
        """Stand at the end of every partition that has a leader, as the leader knows it.

        A replica here may not yet know of what was acknowledged just now.
        """
        asked = [
            partial(self._leaders_end, self.topic, number)
            for number in range(len(self.topic.partitions))
        ]
        for number, end in enumerate(await gather(asked)):
            if end is not None:
                self._next[number] = end

    async def _tick(self, topic: Topic) -> None:
        ends: dict[int, int] = {}
        for number in range(len(topic.partitions)):
            end = await self._end(topic, number)
            if end is None:
                continue
            if end > self._next.setdefault(number, end):
                ends[number] = end
        if not ends:
            return
        is_filtered = any(watcher.is_filtered for watcher in self.watchers.values())
        budget = FILTERED_EVENTS_OF_A_TICK if is_filtered else EVENTS_OF_A_TICK
        total = sum(end - self._next[number] for number, end in ends.items())
        bytes_max = BYTES_OF_A_TICK // len(ends)
        rows: list[Seen] = []
        missed: dict[int, int] = {}
        for number, end in ends.items():
            new = end - self._next[number]
            share = new if total <= budget else max(1, budget * new // total)
            found = await self._sample(topic, number, end, share, bytes_max=bytes_max)
            rows += found
            missed[number] = max(0, new - len(found))
        # Both at once: who begins to watch meanwhile reads the events before `position` by itself.
        self._next.update(ends)
        for watcher in list(self.watchers.values()):
            watcher.offer(rows, missed)

    async def _end(self, topic: Topic, number: int) -> int | None:
        replica = self._node.replica(topic, number)
        if replica is not None:
            return replica.high_watermark
        return await self._leaders_end(topic, number)

    async def _leaders_end(self, topic: Topic, number: int) -> int | None:
        try:
            found = await list_offset(self._node.kafka, topic, number, LATEST, timeout_s=1.0)
        except RequestError:
            return None
        return found.offset

    async def _sample(
        self, topic: Topic, number: int, end: int, share: int, *, bytes_max: int
    ) -> list[Seen]:
        """Return `share` events at most, of the newest, the last the one that fills `bytes_max`."""
        begin = max(self._next[number], end - share)
        found: list[Seen] = []
        while begin < end and len(found) < share and bytes_max > 0:
            batches = await self._read(topic, number, begin)
            if not batches:
                break
            some = partial(
                sample,
                batches,
                number,
                begin=self._next[number],
                end=end,
                count=share - len(found),
                bytes_max=bytes_max,
            )
            rows = await in_thread(self._node, some)
            found += rows
            bytes_max -= sum(row.size_bytes for row in rows)
            begin = parse_header(batches[-1]).last_offset + 1
        return found

    async def _read(self, topic: Topic, number: int, offset: int) -> Sequence[Payload]:
        replica = self._node.replica(topic, number)
        if replica is None:
            there = await fetch(
                self._node.kafka, topic, number, offset, bytes_max=READ_BYTES, timeout_s=1.0
            )
            return there.batches
        found = replica.read(Offset(max(offset, replica.log_start)), READ_BYTES)
        return await found if isinstance(found, asyncio.Future) else found


def sample(
    batches: Sequence[Payload], number: int, *, begin: int, end: int, count: int, bytes_max: int
) -> list[Seen]:
    """Return up to `count` records of [begin, end): a batch is decoded no further than needed."""
    found: list[Seen] = []
    for batch in batches:
        header = parse_header(batch)
        if len(found) >= count or bytes_max <= 0 or header.base_offset >= end:
            break
        for record in iterate_records(batch):
            if record.offset >= end or len(found) >= count or bytes_max <= 0:
                break
            if record.offset >= begin:
                row = seen_in(header, record, number)
                found.append(row)
                bytes_max -= row.size_bytes
    return found


class Tails:
    """All readers of this node; one that nobody watches ends."""

    def __init__(self, node: NodeContext) -> None:
        self._node = node
        self._tails: dict[TopicId, TopicTail] = {}
        self._tasks: dict[TopicId, asyncio.Task[None]] = {}

    async def watch(self, topic: Topic, watcher: Watcher) -> TopicTail:
        """Have `watcher` offered what comes from now on."""
        tail = self._tails.get(topic.topic_id)
        if tail is None or self._tasks[topic.topic_id].done():
            tail = TopicTail(self._node, topic)
            await tail.start()
            known = self._tails.get(topic.topic_id)
            if known is None or self._tasks[topic.topic_id].done():
                self._tails[topic.topic_id] = tail
                self._tasks[topic.topic_id] = asyncio.get_running_loop().create_task(
                    self._run(tail)
                )
            else:
                tail = known
        tail.watchers[id(watcher)] = watcher
        return tail

    def unwatch(self, tail: TopicTail, watcher: Watcher) -> None:
        """Offer no more; the last watcher ends the reader."""
        tail.watchers.pop(id(watcher), None)
        if not tail.watchers and self._tails.get(tail.topic_id) is tail:
            self._tails.pop(tail.topic_id)
            self._tasks.pop(tail.topic_id).cancel()

    async def _run(self, tail: TopicTail) -> None:
        try:
            await tail.run()
        except Exception:
            log.exception("tail of %s ended", tail.topic.name)
        finally:
            for watcher in tail.watchers.values():
                watcher.end()

    def close(self) -> None:
        """End all readers."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._tails.clear()
