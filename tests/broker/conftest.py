"""A broker that is only what the handlers see of it: partitions are lists of batches.

Time is a fixture (`clock`) that stands still until a test moves it. Partitions and broker satisfy
the protocols of `trimaran.broker.api`.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from trimaran.broker.api import KafkaSettings, NodeEndpoint
from trimaran.broker.calls import Call
from trimaran.broker.counters import PartitionCounters
from trimaran.broker.dispatch import Dispatcher
from trimaran.broker.fetch_sessions import FetchSessions
from trimaran.broker.group_topics import GroupTopics
from trimaran.broker.near_reads import Stay
from trimaran.broker.topic_parts import TopicParts
from trimaran.broker.waiting import Deadlines
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import ClusterId, DiskId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.metadata.commands import AllocateProducerIds, CreateTopic, RegisterNode
from trimaran.metadata.image import Image
from trimaran.metadata.results import PartitionsCreated, TopicCreated
from trimaran.protocol.api import ApiKey
from trimaran.protocol.codec import RequestHeader, encode_response
from trimaran.records.batch import HEADER, HEADER_BYTES, LENGTH_END, renew_crc, stamp, validate


class FakeClock:
    """The part of an event loop that `Deadlines` uses, moved by hand."""

    def __init__(self):
        self.now_s = 1000.0
        self._timers = []
        self._ready = []
        self._numbers = itertools.count()

    def time(self):
        return self.now_s

    def call_at(self, when_s, callback):
        handle = SimpleNamespace(callback=callback, when_s=when_s)
        handle.cancel = lambda: setattr(handle, "callback", None)
        heapq.heappush(self._timers, (when_s, next(self._numbers), handle))
        return handle

    def call_soon(self, callback):
        self._ready.append(callback)

    def turn(self):
        """Run what was put off to the next loop turn, until nothing is left."""
        for _ in range(100):
            ready, self._ready = self._ready, []
            if not ready:
                return
            for callback in ready:
                callback()
        raise AssertionError("callbacks without end")

    def advance(self, seconds):
        """Let time pass, timer by timer."""
        end_s = self.now_s + seconds
        self.turn()
        while self._timers and self._timers[0][0] <= end_s:
            when_s, _, handle = heapq.heappop(self._timers)
            self.now_s = max(self.now_s, when_s)
            if handle.callback is not None:
                handle.callback()
            self.turn()
        self.now_s = end_s

    @property
    def timer_count(self):
        return sum(1 for _, _, handle in self._timers if handle.callback is not None)


class FakePending:
    """A batch that waits until the test says it is stored."""

    def __init__(self, base_offset):
        self.base_offset = base_offset
        self.log_append_time_ms = -1
        self.done = False
        self.error = None
        self.refusal = None
        self._callbacks = []

    def on_done(self, callback):
        assert not self.done
        self._callbacks.append(callback)

    def finish(self, error=None):
        self.done = True
        self.error = error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def refuse(self, error):
        self.refusal = error
        self.finish(error.code)


class FakePartition:
    """A replica as a list of stamped batches; commits when told, or at once with `auto_commit`."""

    def __init__(self, broker, topic, topic_id, number, replicas):
        self.broker = broker
        self.topic = topic
        self.topic_id = topic_id
        self.number = number
        self.group = group_id(topic_id, number)
        self.replicas = replicas
        self.is_leader = True
        self.leader = NodeId(1)
        self.leader_epoch = 1
        self.leader_ready = True
        self.batches = []
        self.high_watermark = Offset(0)
        self.log_start = Offset(0)
        self.log_end = Offset(0)
        self.auto_commit = True
        self.opens_batches = False
        """Whether a batch is under way before it is appended, also with acks=0."""
        self.append_error = None
        self.pendings = []
        self.appended_acks = []
        self.reads_are_futures = False
        self.read_futures = []
        self.read_count = 0
        self.watchers = {}
        self.index_futures = []
        self.is_cut_off = False
        self.times = []
        self.epoch_ends = {}
        self.deletions = []
        self.size_bytes = 0
        self.counts = PartitionCounters()
        self.producers = []

    def append(self, batch, *, acks):
        if self.append_error is not None:
            raise self.append_error
        if not self.is_leader:
            raise RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "not the leader")
        header = validate(batch, max_bytes=1_048_588)
        stored = bytearray(batch)
        stamp(stored, base_offset=self.log_end, leader_epoch=Term(self.leader_epoch))
        pending = FakePending(self.log_end)
        self.appended_acks.append(acks)
        self.batches.append((self.log_end, header.last_offset_delta + 1, bytes(stored)))
        self.log_end = Offset(self.log_end + header.last_offset_delta + 1)
        self.pendings.append(pending)
        if acks == 0 and not self.opens_batches:
            pending.done = True
        if self.auto_commit:
            pending.done = True
            self.commit()
        return pending

    def commit(self):
        self.high_watermark = self.log_end
        pendings, self.pendings = self.pendings, []
        for pending in pendings:
            pending.finish()
        self.notify()

    def notify(self):
        for callback in list(self.watchers.values()):
            callback()

    def depose(self, *, leader=None, lost_at=None):
        """Lose leadership, to `leader` or to nobody."""
        self.is_leader = False
        self.leader = leader
        self.leader_epoch += 1
        self.broker.set_leader(self.group, leader, self.leader_epoch, lost_at=lost_at)
        self.notify()

    def fill(self, *counts, size=10):
        """Append and commit batches of so many events each."""
        for count in counts:
            self.append(memoryview(make_batch(count, size=size)), acks=-1)
        self.commit()

    def found(self, offset, bytes_max):
        """What `read` finds, without its checks."""
        result, size = [], 0
        for base, count, stored in self.batches:
            if base + count <= offset or base >= self.high_watermark:
                continue
            if result and size + len(stored) > bytes_max:
                break
            result.append(memoryview(stored))
            size += len(stored)
        return result

    def read(self, offset, bytes_max):
        self.read_count += 1
        if not self.log_start <= offset <= self.log_end:
            raise RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, "out of range")
        if self.reads_are_futures:
            future = asyncio.get_running_loop().create_future()
            self.read_futures.append((future, offset, bytes_max))
            return future
        return self.found(offset, bytes_max)

    def finish_read(self, error=None):
        """Let the oldest segment read end."""
        future, offset, bytes_max = self.read_futures.pop(0)
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(self.found(offset, bytes_max))

    def watch(self, callback):
        handle = object()
        self.watchers[handle] = callback
        return handle

    def unwatch(self, handle):
        self.watchers.pop(handle, None)

    def read_index(self):
        future = asyncio.get_running_loop().create_future()
        if self.leader_ready and self.is_leader and not self.is_cut_off:
            future.set_result(self.high_watermark)
        elif not self.is_leader:
            future.set_exception(RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "not the leader"))
        else:
            self.index_futures.append(future)
        return future

    def lose_reads(self):
        """Settle what waits for a confirmation as a deposed leader does."""
        for future in self.index_futures:
            error = RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "not the leader")
            future.set_exception(error)

    def offset_for_time(self, timestamp_ms):
        future = asyncio.get_running_loop().create_future()
        later = [pair for pair in self.times if pair[1] >= timestamp_ms]
        future.set_result(later[0] if later else None)
        return future

    def offset_of_max_time(self):
        future = asyncio.get_running_loop().create_future()
        future.set_result(max(self.times, key=lambda pair: pair[1]) if self.times else None)
        return future

    @property
    def settings(self):
        return self.broker.image.topic_by_id(self.topic_id).effective_settings()

    def delete_records(self, offset):
        """Move the log start at once; with `auto_commit` off when `finish_deletions` says so."""
        if not -1 <= offset <= self.high_watermark:
            raise RequestError(ErrorCode.OFFSET_OUT_OF_RANGE, "out of range")
        pending = FakePending(self.log_start)
        self.deletions.append((pending, self.high_watermark if offset < 0 else offset))
        if self.auto_commit:
            self.finish_deletions()
        return pending

    def finish_deletions(self):
        deletions, self.deletions = self.deletions, []
        for pending, offset in deletions:
            self.log_start = max(self.log_start, Offset(offset))
            pending.finish()

    @property
    def known_producers(self):
        return self.producers

    def epoch_end(self, leader_epoch):
        return self.epoch_ends.get(leader_epoch, (-1, -1))


class FakeBroker:
    """Node 1 of three with a real metadata image; commands are applied unless `on_execute`."""

    def __init__(self, clock):
        self.clock = clock
        self.node_id = NodeId(1)
        self.cluster_id = ClusterId("QUJDREVGR0hJSktMTU5PUA")
        self.kafka = KafkaSettings()
        self.image = Image()
        self.dead = {}
        self.cut_off_s = 0.0
        self.replica_rows = {}
        self.coordinator_rows = {}
        self.make_coordinator = None
        self.leaders = {}
        self.behind_rows = {}
        self.lost_at = {}
        self.watchers = {}
        self.commands = []
        self.on_execute = None
        self.elects = True
        self.failures = []
        self.free_bytes = 123
        self.fetch_sessions = FetchSessions(lambda: next(self._numbers))
        self.handed_over = []
        self._numbers = itertools.count(1)
        for number in (1, 2, 3):
            self.apply(register(number))

    def set(self, **changes):
        """Change Kafka settings."""
        self.kafka = replace(self.kafka, **changes)

    def apply(self, command):
        """Apply a command to the image; host and lead what it creates."""
        result = self.image.apply(command, Index(self.image.applied_index + 1))
        if isinstance(result, TopicCreated | PartitionsCreated):
            self.host(result.topic)
        self.notify()
        return result

    def confirm_alive(self, nodes, done):
        done()

    def cut_off_for_s(self):
        return self.cut_off_s

    def host(self, topic):
        for number, replicas in enumerate(topic.partitions):
            if (topic.name, number) in self.replica_rows:
                continue
            if self.elects:
                self.leaders[topic.group(number)] = (replicas[0], Term(1))
            if topic.is_internal:
                if self.node_id in replicas:
                    self.coordinator_rows[number] = self.make_coordinator(
                        self.kafka.group, GroupTopics(lambda: self.image)
                    )
            elif self.node_id in replicas:
                partition = FakePartition(self, topic.name, topic.topic_id, number, replicas)
                partition.is_leader = replicas[0] == self.node_id and self.elects
                self.replica_rows[topic.name, number] = partition
                self.replica_rows[topic.topic_id, number] = partition

    def add_topic(self, name, partition_count=1, *, replicas=(1, 2, 3), **settings):
        """Add a topic that prefers the first of `replicas` as leader."""
        texts = {key.replace("_", "."): text for key, text in settings.items()}
        result = self.apply(
            CreateTopic(
                name=name,
                topic_id=self.new_topic_id(),
                assignments=(tuple(NodeId(node) for node in replicas),) * partition_count,
                settings=texts,
            )
        )
        assert isinstance(result, TopicCreated), result
        return result.topic

    def set_leader(self, group, leader, term, *, lost_at=None):
        self.leaders[group] = (leader, Term(term))
        self.lost_at[group] = lost_at
        self.notify()

    def notify(self):
        for callback in list(self.watchers.values()):
            callback()

    def new_topic_id(self):
        return TopicId(next(self._numbers).to_bytes(16, "little"))

    def live_nodes(self):
        return [
            NodeEndpoint(node_id=node.node_id, host=node.host, port=node.kafka_port, rack=node.rack)
            for node in self.image.nodes
            if node.node_id not in self.dead
        ]

    def partition(self, topic, number):
        return self.replica_rows.get((topic, number))

    def partition_by_id(self, topic_id, number):
        return self.replica_rows.get((topic_id, number))

    def coordinator(self, number):
        return self.coordinator_rows.get(number)

    def coordinators(self):
        return list(self.coordinator_rows.values())

    def leader_hint(self, group):
        return self.leaders.get(group, (None, Term(0)))

    def behind(self, group):
        return self.behind_rows.get(group, ())

    def hand_over(self, group, target):
        self.handed_over.append((group, target))
        return True

    def leader_lost_at(self, group):
        return self.lost_at.get(group)

    def watch_leaders(self, callback):
        handle = object()
        self.watchers[handle] = callback
        return handle

    def unwatch_leaders(self, handle):
        self.watchers.pop(handle, None)

    async def execute(self, command):
        self.commands.append(command)
        if self.on_execute is not None:
            return await self.on_execute(command)
        return self.apply(command)

    async def next_producer_id(self):
        count = 1
        result = self.apply(AllocateProducerIds(node_id=self.node_id, count=count))
        return result.first

    def wait_metadata(self, predicate, timeout_s):
        return wait_until(self, predicate, timeout_s)

    def fail(self, error):
        self.failures.append(error)


def register(number):
    """Return the command that registers node `number`."""
    return RegisterNode(
        node_id=NodeId(number),
        disk_id=DiskId(bytes([number]) * 16),
        host=f"host{number}",
        kafka_port=9091 + number,
        http_port=0,
        peer_host=f"host{number}",
        peer_port=7000 + number,
        rack=None,
        host_label=None,
        boot_id=1,
    )


def wait_until(broker: FakeBroker, predicate: Callable[[], bool], timeout_s: float):
    """Return a future for `predicate`, driven by the broker's watchers and the fake clock."""
    future = asyncio.get_running_loop().create_future()

    def look():
        if not future.done() and predicate():
            future.set_result(True)

    def give_up():
        if not future.done():
            future.set_result(False)

    broker.watch_leaders(look)
    broker.clock.call_at(broker.clock.now_s + timeout_s, give_up)
    look()
    return future


class Client:
    """A client session without bytes: calls in, responses out."""

    def __init__(self, broker, clock):
        self.broker = broker
        self.deadlines = Deadlines(clock)
        self.parts = TopicParts(broker)
        self.dispatcher = Dispatcher(broker)
        self.finished = []
        self.closed = []
        self.sent_away = []
        self.noted = []
        self.stay = Stay()

    def send(self, key: ApiKey, version: int, request, *, client_id="tester"):
        """Dispatch a request; returns the call, whose answer `answer_of` has."""
        call = Call(
            broker=self.broker,
            deadlines=self.deadlines,
            parts=self.parts,
            owner=self,
            header=RequestHeader(key, version, len(self.finished), client_id),
            peer="10.0.0.9:5555",
        )
        self.dispatcher.dispatch(call, request)
        return call

    def ask(self, key: ApiKey, version: int, request):
        """Dispatch a request that is answered at once; returns the response."""
        return self.answer_of(self.send(key, version, request))

    async def ask_slowly(self, key: ApiKey, version: int, request):
        """Dispatch a request and let the loop turn until it is answered."""
        call = self.send(key, version, request)
        await settle(lambda: self.has_answered(call))
        return self.answer_of(call)

    def has_answered(self, call):
        return any(done is call for done, _ in self.finished)

    def answer_of(self, call):
        answers = [response for done, response in self.finished if done is call]
        assert len(answers) == 1, f"{len(answers)} answers, closed: {self.closed}"
        return answers[0]

    def finish(self, call, response):
        self.finished.append((call, response))
        if response is not None:
            assert len(encode_response(call.header, response)) > 0

    def note(self, call, error):
        self.noted.append(error.code)

    def fail(self, call, error):
        self.dispatcher.failed(call, error)

    def close(self, reason):
        self.closed.append(reason)

    def send_away(self, reason):
        self.sent_away.append(reason)


async def settle(condition: Callable[[], bool] = lambda: False, turns: int = 50):
    """Let the loop turn until `condition` holds (or it has turned often)."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)


def make_batch(count: int = 1, *, size: int = 10) -> bytearray:
    """Return a batch with a right header whose records nobody looks at, `size` bytes each."""
    records = b"r" * (size * count)
    batch = bytearray(HEADER_BYTES) + records
    length = HEADER_BYTES - LENGTH_END + len(records)
    HEADER.pack_into(batch, 0, 0, length, -1, 2, 0, 0, count - 1, 5000, 5000, -1, -1, -1, count)
    renew_crc(batch)
    return batch


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def broker(clock):
    return FakeBroker(clock)


@pytest.fixture
def client(broker, clock):
    return Client(broker, clock)


@pytest.fixture
def batch():
    return make_batch


@pytest.fixture(name="settle")
def _settle():
    return settle


@pytest.fixture
def registration():
    """The command with which a node of that number registers."""
    return register
