"""What a right log makes of any clients is never flagged; one change to it is."""

from collections import deque
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from trimaran.checking import (
    Anomaly,
    Assign,
    EndRead,
    Outcome,
    Poll,
    Seek,
    Send,
    check_history,
    make_value,
)

CLIENTS, PARTITIONS = 3, 2
LONG_AFTER_S = 1e6


class ModelCluster:
    """Logs that are right by construction, and clients that note what they do. One step, one s."""

    def __init__(self):
        self.history = []
        self.now_s = 0.0
        self.logs = [{} for _ in range(PARTITIONS)]
        self.ends = [0] * PARTITIONS
        self.waiting = {}
        """Sends not stored yet, oldest first, of each producer and partition."""
        self.stored = deque()
        """Sends stored and not answered yet."""
        self.positions = {}
        self.count = 0

    def send(self, who, partition, size):
        values = [make_value(f"p{who}", self.count + place) for place in range(size + 1)]
        self.count += len(values)
        send = Send(f"p{who}", partition, values, self.now_s)
        self.history.append(send)
        self.waiting.setdefault((who, partition), deque()).append(send)

    def store(self, who, partition, size):
        send = self.take_waiting(who)
        if send is not None:
            partition = send.partition
            base = self.ends[partition]
            self.logs[partition].update(enumerate(send.values, base))
            self.ends[partition] += len(send.values) + (size == 0)  # sometimes with a hole behind
            self.stored.append((send, base))

    def answer(self, who, partition, size):
        if self.stored:
            self.stored.rotate(who)  # Answers come in any order
            send, base = self.stored.popleft()
            if size > 0:
                send.outcome, send.completed_s = Outcome.OK, self.now_s
                if size > 1:
                    send.offsets = range(base, base + len(send.values))

    def refuse(self, who, partition, size):
        send = self.take_waiting(who)
        if send is not None:
            send.outcome, send.completed_s = Outcome.FAILED, self.now_s

    def take_waiting(self, number):
        """Take the oldest send of one of the streams that have any."""
        streams = [stream for stream in self.waiting.values() if stream]
        return streams[number % len(streams)].popleft() if streams else None

    def exchange(self, who, partition, size):
        """Send, store and acknowledge a batch, with nothing between."""
        self.send(who, partition, size)
        while self.waiting[who, partition]:
            self.store(0, partition, 1)
        self.now_s += 1.0
        while self.stored:
            self.answer(0, partition, 2)

    def poll(self, who, partition, size, outcome=Outcome.OK):
        position = self.positions.get((who, partition), self.ends[partition])
        records = [
            (offset, value) for offset, value in self.logs[partition].items() if offset >= position
        ][: size * 2]
        offsets, values = [offset for offset, _ in records], [value for _, value in records]
        end = self.ends[partition]
        self.history.append(
            Poll(f"r{who}", partition, offsets, values, self.now_s, outcome, high_watermark=end)
        )
        if outcome is Outcome.OK:
            self.positions[who, partition] = offsets[-1] + 1 if offsets else position

    def lose_poll(self, who, partition, size):
        self.poll(who, partition, size, Outcome.UNKNOWN)

    def seek(self, who, partition, size):
        offset = size * self.ends[partition] // 4
        self.positions[who, partition] = offset
        self.history.append(Seek(f"r{who}", partition, offset))

    def assign(self, who, partition, size):
        self.history.append(Assign(f"r{who}", [partition]))
        for other in range(PARTITIONS):
            if other != partition:
                self.positions.pop((who, other), None)

    def find_end(self, who, partition, size):
        invoked_s = self.now_s - 0.5
        self.history.append(
            EndRead(f"r{who}", partition, self.ends[partition], invoked_s, self.now_s)
        )

    def read_all(self):
        self.now_s = LONG_AFTER_S
        for partition in range(PARTITIONS):
            self.seek("final", partition, 0)
            while self.positions["final", partition] <= max(self.logs[partition], default=-1):
                self.poll("final", partition, 3)


STEPS = [
    ModelCluster.send,
    ModelCluster.store,
    ModelCluster.answer,
    ModelCluster.refuse,
    ModelCluster.poll,
    ModelCluster.lose_poll,
    ModelCluster.seek,
    ModelCluster.assign,
    ModelCluster.find_end,
]
WRITES = [ModelCluster.send, ModelCluster.store, ModelCluster.answer]
WEIGHTED = [*STEPS, *WRITES * 3, ModelCluster.exchange, ModelCluster.poll]


@st.composite
def right_histories(draw, exchanges=0):
    """Draw steps of clients, let the model take them, read everything in the end."""
    cluster = ModelCluster()
    for number in range(exchanges):
        cluster.exchange(number, 0, 2)
    step = st.tuples(
        st.sampled_from(WEIGHTED),
        st.integers(0, CLIENTS - 1),
        st.integers(0, PARTITIONS - 1),
        st.integers(0, 3),
    )
    for take, who, partition, size in draw(st.lists(step, min_size=20, max_size=80)):
        cluster.now_s += 1.0
        take(cluster, who, partition, size)
    cluster.read_all()
    return cluster.history


def anomalies(history):
    return {finding.anomaly for finding in check_history(history, allowed=())}


@given(right_histories())
def test_a_right_history_is_never_flagged(history):
    assert check_history(history, allowed=()) == []


def acknowledged(history):
    return [one for one in history if isinstance(one, Send) and one.outcome is Outcome.OK]


def with_polls(history, change):
    """Return the history with `change` made to the (offset, value) pairs of every poll."""
    changed = []
    for one in history:
        if isinstance(one, Poll):
            pairs = change(one, list(zip(one.offsets, one.values, strict=True)))
            offsets, values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            changed.append(replace(one, offsets=offsets, values=values))
        else:
            changed.append(one)
    return changed


@given(right_histories(exchanges=2), st.data())
def test_an_acknowledged_record_that_no_reader_gets_is_noticed(history, data):
    sends = acknowledged(history)
    gone = data.draw(st.sampled_from(sends)).values[-1]

    broken = with_polls(history, lambda _, pairs: [pair for pair in pairs if pair[1] != gone])

    assert anomalies(broken) & {Anomaly.LOST_WRITE, Anomaly.UNSEEN}


@given(right_histories(exchanges=2), st.data())
def test_a_record_that_one_reader_gets_at_another_offset_is_noticed(history, data):
    polls = [one for one in history if isinstance(one, Poll) and one.offsets]
    victim = data.draw(st.sampled_from(polls))
    far = max(max(poll.offsets) for poll in polls) + 5

    broken = with_polls(
        history,
        lambda poll, pairs: [*pairs, (far, pairs[0][1])] if poll is victim else pairs,
    )

    assert Anomaly.DUPLICATE in anomalies(broken)


@given(right_histories(exchanges=2), st.data())
def test_two_values_of_one_offset_are_noticed(history, data):
    polls = [one for one in history if isinstance(one, Poll) and len(one.offsets) > 1]
    victim = data.draw(st.sampled_from(polls))

    broken = with_polls(
        history,
        lambda poll, pairs: [(pairs[0][0], pairs[1][1]), *pairs[1:]] if poll is victim else pairs,
    )

    assert anomalies(broken) & {Anomaly.INCONSISTENT_OFFSETS, Anomaly.DUPLICATE}


@given(right_histories(exchanges=2), st.data())
def test_a_read_of_what_was_refused_or_damaged_is_noticed(history, data):
    polls = [one for one in history if isinstance(one, Poll) and one.offsets]
    value = data.draw(st.sampled_from(polls)).values[0]
    sender = next(one for one in history if isinstance(one, Send) and value in one.values)

    refused = [
        replace(one, outcome=Outcome.FAILED, offsets=()) if one is sender else one
        for one in history
    ]
    damaged = with_polls(
        history, lambda _, pairs: [(o, v + b"!" if v == value else v) for o, v in pairs]
    )

    assert Anomaly.ABORTED_READ in anomalies(refused)
    assert Anomaly.CORRUPT_PAYLOAD in anomalies(damaged)
