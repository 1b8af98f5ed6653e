"""A broker that is only what the handlers see of it: partitions are lists of batches.

Time is a fixture (`clock`) that stands still until a test moves it. Partitions and broker satisfy
the protocols of `trimaran.broker.api`.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest

from trimaran.broker.api import KafkaSettings, NodeEndpoint
from trimaran.broker.calls import Call
from trimaran.broker.dispatch import Dispatcher
from trimaran.broker.waiting import Deadlines
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import ClusterId, NodeId, Offset, Term, TopicId, group_id
from trimaran.protocol.api import ApiKey
from trimaran.records.batch import stamp, validate
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record


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
        self.append_error = None
        self.pendings = []
        self.appended_acks = []
        self.reads_are_futures = False
        self.read_futures = []
        self.read_count = 0
        self.watchers = {}
        self.index_futures = []
        self.times = []
        self.epoch_ends = {}

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
        if acks == 0:
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
        if self.leader_ready and self.is_leader:
            future.set_result(self.high_watermark)
        elif not self.is_leader:
            future.set_exception(RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, "not the leader"))
        else:
            self.index_futures.append(future)
        return future

    def offset_for_time(self, timestamp_ms):
        future = asyncio.get_running_loop().create_future()
        later = [pair for pair in self.times if pair[1] >= timestamp_ms]
        future.set_result(later[0] if later else None)
        return future

    def offset_of_max_time(self):
        future = asyncio.get_running_loop().create_future()
        future.set_result(max(self.times, key=lambda pair: pair[1]) if self.times else None)
        return future

    def epoch_end(self, leader_epoch):
        return self.epoch_ends.get(leader_epoch, (-1, -1))


@dataclass
class FakeTopic:
    name: str
    topic_id: TopicId
    partitions: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)


class FakeBroker:
    """Node 1 of three; `execute` notes commands and has them answered by `on_execute`."""

    def __init__(self, clock):
        self.clock = clock
        self.node_id = NodeId(1)
        self.cluster_id = ClusterId("QUJDREVGR0hJSktMTU5PUA")
        self.kafka = KafkaSettings()
        self.node_list = [
            NodeEndpoint(node_id=NodeId(number), host=f"host{number}", port=9091 + number)
            for number in (1, 2, 3)
        ]
        self.dead = set()
        self.topic_rows = {}
        self.replica_rows = {}
        self.leaders = {}
        self.lost_at = {}
        self.watchers = {}
        self.commands = []
        self.on_execute = None
        self.failures = []
        self._producer_ids = itertools.count(1000)

    def set(self, **changes):
        """Change Kafka settings."""
        self.kafka = replace(self.kafka, **changes)

    def add_topic(self, name, partition_count=1, *, replicas=(1, 2, 3), hosted=True, **settings):
        """Add a topic whose partitions this node leads (or, not hosted, knows of only)."""
        topic_id = TopicId(name.encode().ljust(16, b"-")[:16])
        row = FakeTopic(name=name, topic_id=topic_id, settings=settings)
        nodes = tuple(NodeId(node) for node in replicas)
        for number in range(partition_count):
            row.partitions.append(SimpleNamespace(replicas=nodes))
            self.set_leader(group_id(topic_id, number), nodes[0], 1)
            if hosted:
                partition = FakePartition(self, name, topic_id, number, nodes)
                self.replica_rows[name, number] = partition
                self.replica_rows[topic_id, number] = partition
        self.topic_rows[name] = row
        self.notify()
        return row

    def set_leader(self, group, leader, term, *, lost_at=None):
        self.leaders[group] = (leader, Term(term))
        self.lost_at[group] = lost_at
        self.notify()

    def notify(self):
        for callback in list(self.watchers.values()):
            callback()

    def topic(self, name):
        return self.topic_rows.get(name)

    def topic_by_id(self, topic_id):
        found = [row for row in self.topic_rows.values() if row.topic_id == topic_id]
        return found[0] if found else None

    def topics(self):
        return [self.topic_rows[name] for name in sorted(self.topic_rows)]

    def nodes(self):
        return self.node_list

    def live_nodes(self):
        return [node for node in self.node_list if node.node_id not in self.dead]

    def partition(self, topic, number):
        return self.replica_rows.get((topic, number))

    def partition_by_id(self, topic_id, number):
        return self.replica_rows.get((topic_id, number))

    def leader_hint(self, group):
        return self.leaders.get(group, (None, Term(0)))

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
        return await self.on_execute(command) if self.on_execute is not None else None

    async def next_producer_id(self):
        return next(self._producer_ids)

    def wait_metadata(self, predicate, timeout_s):
        return wait_until(self, predicate, timeout_s)

    def fail(self, error):
        self.failures.append(error)


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
        self.dispatcher = Dispatcher(broker)
        self.finished = []
        self.closed = []

    def send(self, key: ApiKey, version: int, request):
        """Dispatch a request; returns the call, whose answer `answer_of` has."""
        call = Call(
            broker=self.broker,
            deadlines=self.deadlines,
            owner=self,
            api_key=key,
            version=version,
            client_id="tester",
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

    def fail(self, call, error):
        self.dispatcher.failed(call, error)

    def close(self, reason):
        self.closed.append(reason)


async def settle(condition: Callable[[], bool] = lambda: False, turns: int = 50):
    """Let the loop turn until `condition` holds (or it has turned often)."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)


def make_batch(count: int = 1, *, size: int = 10, **fields) -> bytearray:
    """Return a batch of `count` records with values of `size` bytes."""
    records = [
        Record(offset=n, timestamp_ms=5000 + n, key=None, value=b"v" * size, headers=())
        for n in range(count)
    ]
    return build_batch(records, **fields)


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
