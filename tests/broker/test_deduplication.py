"""Event ids on a partition: every row of the table in design D9, and what others got wrong.

A member is one replica with its files; the test plays the other members and the disk's worker.
"""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from trimaran.broker.deduplication import IDS_FILE, EventIds
from trimaran.broker.epochs import LeaderEpochs
from trimaran.broker.partition import Partition
from trimaran.broker.replica import Replica
from trimaran.dedup import id_judging
from trimaran.dedup.event_ids import hash_id
from trimaran.dedup.marks import decode_mark
from trimaran.dedup.producers import ProducerTable
from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import ClusterId, DiskId, Index, NodeId, Offset, Term, TopicId, group_id
from trimaran.metadata.topic_settings import effective_settings
from trimaran.raft.log import RaftLog
from trimaran.raft.messages import AppendAnswer, AppendEntries, PreVoteAnswer, VoteAnswer
from trimaran.raft.node import RaftNode
from trimaran.records.batch import Codec, crc_of, parse_header
from trimaran.records.building import build_batch
from trimaran.records.entry import EntryKind, HardState
from trimaran.records.iteration import Record, iterate_records
from trimaran.storage.boundary import Boundary
from trimaran.storage.files import RealFiles
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.recovery import open_store

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
TOPIC = TopicId(bytes(15) + b"\x09")
ON = {"event.dedup.enable": "true", "event.dedup.window.ms": "60000"}
RECORDS = EntryKind.RECORDS


class ThreadlessWorkers:
    def submit(self, lane, work):
        future = asyncio.get_running_loop().create_future()
        future.set_result(work.run())
        return future


@dataclass
class Node:
    """What the partition asks of its node; time stands still until a test moves it."""

    now_ms: int = 1_000_000

    def log_time_ms(self):
        return self.now_ms

    def can_store(self):
        return True

    def proposed(self, replica, events):
        pass


@dataclass
class Member:
    node: Node
    store: object
    raft: RaftNode
    partition: Partition
    replica: Replica
    states: dict = field(default_factory=dict)

    def settle(self):
        """Carry out what the core wants, its sync included."""
        while self.raft.has_ready:
            ready = self.raft.ready()
            self.replica.handle(ready)
            self.replica.round_finished(ready)

    def lead(self):
        self.raft.campaign()
        self.settle()
        self.raft.step(TWO, PreVoteAnswer(term=Term(self.raft.term + 1), granted=True))
        self.settle()
        self.raft.step(TWO, VoteAnswer(term=self.raft.term, granted=True))
        self.settle()
        assert self.partition.is_leader

    def commit(self):
        """Another member has the whole log."""
        self.settle()
        self.raft.step(TWO, AppendAnswer(self.raft.term, True, self.raft.log.last_index))
        self.settle()
        assert self.partition.high_watermark == self.partition.log_end

    def hear(self, sender, term, prev, entries, commit):
        """Hear from the leader of `term` what follows entry `prev`."""
        message = AppendEntries(Term(term), prev[0], prev[1], Index(commit), entries)
        self.raft.step(sender, message)
        self.settle()

    def copy_log_of(self, other, commit=0):
        log = other.raft.log
        entries = log.slice(Index(1), Index(log.last_index + 1))
        self.hear(ONE, other.raft.term, (Index(0), Term(0)), entries, commit)
        assert self.raft.log.last_index == log.last_index

    def send(self, *ids, **fields):
        return self.send_records([event(at, name) for at, name in enumerate(ids)], **fields)

    def send_records(self, records, **fields):
        if fields.get("producer_id", -1) >= 0:
            fields = {"producer_epoch": 0, "base_sequence": 0, **fields}
        acks = fields.pop("acks", -1)
        batch = bytes(build_batch(records, **fields))
        pending = self.partition.append(memoryview(batch), acks=acks)
        self.settle()
        return pending

    def entries(self, kind=RECORDS):
        log = self.raft.log
        found = log.slice(Index(1), Index(log.last_index + 1))
        return [entry for entry in found if entry.kind is kind]

    def stored(self):
        """Return (offset, value) of every event in the log, committed or not."""
        return [
            (record.offset, record.value)
            for entry in self.entries()
            for record in iterate_records(entry.payload)
        ]

    def digest(self):
        return self.partition.event_ids.window.digest()


def member(path, node_id, settings=ON, event_ids=None):
    files = RealFiles(str(path))
    path.mkdir()
    identity = Identity(cluster_id=ClusterId("c" * 22), node_id=node_id, disk_id=DiskId(bytes(16)))
    format_store(files, identity)
    store = open_store(files, identity=identity)
    voters = (ONE, TWO, THREE)
    add = store.plan_add_group(Boundary(group=group_id(TOPIC, 0), voters=voters))
    add.run()
    (found,) = add.finish()
    state = HardState(term=Term(0), vote=None)
    raft = RaftNode(
        node_id=node_id, voters=voters, log=RaftLog(), hard_state=state, commit_index=Index(0)
    )
    node = Node()
    partition = Partition(
        topic="t",
        topic_id=TOPIC,
        number=0,
        settings=effective_settings(settings),
        producers=ProducerTable(),
        epochs=LeaderEpochs(),
        log_start=Offset(0),
        high_watermark=Offset(0),
        raft=raft,
        storage=found.log,
        owner=node,
        workers=ThreadlessWorkers(),
        event_ids=event_ids,
    )
    replica = Replica(
        raft=raft,
        storage=found.log,
        boundary=found.boundary,
        hard_state=state,
        machine=partition,
    )
    partition.bind(replica)
    return Member(node, store, raft, partition, replica)


@pytest.fixture
def leader(tmp_path):
    made = member(tmp_path / "one", ONE)
    made.lead()
    made.commit()
    return made


@pytest.fixture
def follower(tmp_path):
    return member(tmp_path / "three", THREE)


def event(at, name):
    """One event; `name` is its id, None: it has none."""
    headers = () if name is None else ((b"event-id", name.encode()),)
    return Record(b"%d" % at, headers=headers, timestamp_ms=1)


# The table of design D9


def test_duplicate_of_a_committed_event_is_answered_with_the_first_ones_offset(leader):
    leader.send("x", "a")
    leader.commit()

    again = leader.send("a")

    assert again.done
    assert (again.error, again.base_offset) == (None, 1)
    assert len(leader.entries()) == 1


@pytest.mark.parametrize(("name", "sender"), [("a", {}), (None, {"producer_id": 7})])
def test_duplicate_of_an_uncommitted_event_waits_for_its_commit(leader, name, sender):
    leader.send(name, **sender)

    again = leader.send(name, **sender)
    waits = not again.done
    leader.commit()

    assert waits
    assert again.done
    assert (again.error, again.base_offset) == (None, 0)
    assert leader.stored() == [(0, b"0")]


def test_batch_of_duplicates_moves_an_idempotent_producer_on(leader):
    leader.send("z", "a", "b")
    leader.commit()

    known = leader.send("a", "b", producer_id=7)
    waits = not known.done
    leader.commit()
    following = leader.send("c", producer_id=7, base_sequence=2)
    retried = leader.send("a", "b", producer_id=7)

    assert waits
    assert (known.error, known.base_offset) == (None, 1)
    assert following.base_offset == 3
    assert (retried.done, retried.base_offset) == (True, 1)
    (mark,) = leader.entries(EntryKind.DEDUP_MARK)
    assert decode_mark(mark.payload).last_sequence == 1


def test_a_follower_folds_the_mark_of_a_batch_of_duplicates(leader, follower):
    leader.send("a")
    leader.send("a", producer_id=7)

    follower.copy_log_of(leader)

    tables = [one.partition._producers.digest() for one in (leader, follower)]
    assert tables[0] == tables[1]
    assert len(follower.partition._producers) == 1


@pytest.mark.parametrize("codec", Codec)
def test_partly_known_batch_is_stored_without_what_is_known(leader, codec):
    leader.send("b")

    pending = leader.send("a", "b", "c", "b", codec=codec)
    leader.commit()

    assert pending.base_offset == 1
    assert leader.stored() == [(0, b"0"), (1, b"0"), (3, b"2")]
    assert leader.partition.log_end == 5
    payload = leader.entries()[-1].payload
    header = parse_header(payload)
    assert (header.record_count, header.last_offset_delta, header.codec) == (2, 3, codec)
    assert header.size == len(payload)
    assert crc_of(payload) == header.crc
    assert leader.send("c").base_offset == 3


@pytest.mark.parametrize("settings", [{}, {"message.timestamp.type": "LogAppendTime"}])
def test_a_batch_without_its_latest_event_has_the_highest_time_of_the_others(leader, settings):
    leader.partition.settings = effective_settings({**ON, **settings})
    leader.send("late")
    times = {"a": 20, "late": 9_000, "b": 70, "c": 30}

    leader.send_records(
        [
            replace(event(at, name), timestamp_ms=time)
            for at, (name, time) in enumerate(times.items())
        ]
    )

    header = parse_header(leader.entries()[-1].payload)
    assert header.max_timestamp == (leader.node.now_ms if settings else 70)


def test_the_last_duplicates_are_remembered_with_their_originals(leader):
    leader.send(*[f"x{number}" for number in range(30)])
    leader.node.now_ms += 7

    leader.send("x29", "new", "x3", "new")
    for number in range(25):
        leader.send(f"x{number}")

    last = leader.partition.event_ids.last_duplicates
    assert [row.original_offset for row in last] == list(range(5, 25))
    assert last[-1] == (hash_id(b"x24"), 24, leader.node.now_ms)
    assert leader.partition.event_ids.duplicate_count == 28


def test_the_same_id_twice_in_one_batch_is_stored_the_first_time(leader):
    pending = leader.send("a", "a", "b")

    assert pending.base_offset == 0
    assert leader.stored() == [(0, b"0"), (2, b"2")]


def test_events_without_id_are_stored_every_time(leader):
    leader.send(None, "a")
    leader.send(None, "a")

    assert leader.stored() == [(0, b"0"), (1, b"1"), (2, b"0")]


def test_what_the_producers_sequence_says_comes_first(leader):
    leader.send("a", producer_id=7)
    leader.send("b")
    leader.commit()

    retried = leader.send("b", producer_id=7)

    assert (retried.done, retried.base_offset) == (True, 0)
    assert leader.entries(EntryKind.DEDUP_MARK) == []


def test_a_sequence_out_of_order_is_refused_before_ids_are_looked_at(leader):
    leader.send("a", producer_id=7)

    with pytest.raises(RequestError) as refused:
        leader.send("a", producer_id=7, base_sequence=5)

    assert refused.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


@pytest.mark.parametrize("acks", [0, 1])
def test_duplicates_with_weaker_acks_do_not_wait_for_more(leader, acks):
    leader.send("a", acks=acks)

    again = leader.send("a", acks=0)

    assert again.done
    assert leader.stored() == [(0, b"0")]


# Followers, failover, restart


def test_a_follower_remembers_what_the_leader_does(leader, follower):
    leader.send("a", None, "b", codec=Codec.LZ4)
    leader.send("b", "c", "a")
    leader.send("c")

    follower.copy_log_of(leader)

    assert follower.digest() == leader.digest()
    assert follower.partition.event_ids.window.last_index == leader.raft.log.last_index


def test_ids_come_back_from_the_state_files(leader, tmp_path):
    leader.send("a", "b")
    leader.commit()
    log = leader.raft.log
    entries = log.slice(Index(1), Index(log.last_index + 1))
    states = leader.partition.flushed(entries)
    flush = leader.replica.storage.plan_flush(entries, states)
    flush.run()
    flush.finish()
    leader.send("c")
    (entry,) = leader.entries()[-1:]
    leader.commit()
    kept = leader.partition.flushed([entry])

    files = [row for row in flush.state_files if row[0].startswith(IDS_FILE)]
    found = EventIds.restore((row, leader.replica.storage.read_state(row)) for row in files)
    found.fold(entry)

    assert found.window.digest() == leader.digest()
    assert IDS_FILE in kept, "ids of one flush are one file, until they are written with the next"
    assert found.flushed(entry.index).keys() == kept.keys() - {"producers", "settings"}


# Settings


def test_a_topic_without_dedup_stores_what_comes(tmp_path):
    plain = member(tmp_path / "plain", ONE, {})
    plain.lead()

    plain.send("a")
    plain.send("a")

    assert plain.stored() == [(0, b"0"), (1, b"0")]
    assert plain.entries(EntryKind.SETTINGS) == []
    assert plain.entries()[0].event_ids == b""


def test_switched_on_over_old_data_the_window_begins_empty(leader):
    leader.partition.settings = effective_settings({})
    leader.send("a")
    leader.partition.settings = effective_settings(ON)

    pending = leader.send("a")
    again = leader.send("a")

    assert (pending.base_offset, again.base_offset) == (1, 1)


def test_rules_are_an_entry_of_the_log_before_the_batch_they_judge(leader, follower):
    leader.send("a")
    leader.partition.settings = effective_settings({**ON, "event.dedup.max.ids": "2000"})
    leader.send("a")
    leader.send("b")
    follower.copy_log_of(leader)

    assert len(leader.entries(EntryKind.SETTINGS)) == 2
    assert leader.partition.event_ids.window.rules.ids_max == 2000
    assert follower.partition.event_ids.window.rules == leader.partition.event_ids.window.rules
    assert leader.stored() == [(0, b"0"), (1, b"0")]


@pytest.mark.parametrize(
    ("header", "setting"),
    [(b"Nats-Msg-Id", "event-id"), (b"event-id", "event-id"), (b"my-id", "my-id")],
)
def test_ids_are_one_space_whatever_header_names_them(leader, header, setting):
    leader.partition.settings = effective_settings({**ON, "event.dedup.header": setting})
    leader.send_records([Record(b"v", headers=((b"Nats-Msg-Id", b"a"),), timestamp_ms=1)])

    again = leader.send_records([Record(b"w", headers=((header, b"a"),), timestamp_ms=1)])

    assert again.base_offset == 0
    assert len(leader.stored()) == 1


def test_a_cloud_event_is_known_by_id_and_source(leader):
    def cloud(source):
        headers = ((b"ce_source", source), (b"ce_id", b"1"), (b"ce_type", b"t"))
        return leader.send_records([Record(b"v", headers=headers, timestamp_ms=1)])

    offsets = [cloud(source).base_offset for source in (b"/x", b"/y", b"/x")]

    assert offsets == [0, 1, 0]


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (((b"event-id", b""),), "found 0 bytes"),
        (((b"event-id", None),), "found null"),
        (((b"event-id", b"i" * 257),), "found 257 bytes"),
        (((b"event-id", b"a"), (b"Nats-Msg-Id", b"b")), "more than one header"),
        (((b"event-id", b"a"), (b"ce_id", b"b"), (b"ce_source", b"c")), "more than one header"),
        (((b"ce_id", b"b"),), "expected one ce_source"),
    ],
)
def test_a_record_with_a_wrong_id_is_refused_by_its_number(leader, headers, found):
    records = [event(0, "good"), Record(b"v", headers=headers, timestamp_ms=1)]

    with pytest.raises(RequestError, match=f"record 1: .*{found}") as refused:
        leader.send_records(records)

    assert refused.value.code is ErrorCode.INVALID_RECORD
    assert leader.stored() == []
    assert leader.send("good").base_offset == 0


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
def test_a_batch_of_too_many_events_is_refused_before_it_is_opened(leader, monkeypatch, codec):
    monkeypatch.setattr(id_judging, "RECORDS_MAX", 3)
    leader.send("a", "b", "c")
    monkeypatch.setattr(id_judging, "decompress", None)

    with pytest.raises(RequestError, match="4 events, at most 3") as refused:
        leader.send("d", "e", "f", "g", codec=codec)

    assert refused.value.code is ErrorCode.RECORD_LIST_TOO_LARGE
    assert len(leader.entries()) == 1


# What others got wrong


def test_staged_id_after_lost_leadership_does_not_refuse_the_retry(leader):
    """NATS server 6415: nothing was stored, and the retry was taken for a duplicate."""
    lost = leader.send("a")
    before = leader.raft.log.position_at(Index(leader.raft.log.last_index - 1))
    noop = replace(leader.entries()[-1], term=Term(9), kind=EntryKind.LEADER_START)
    noop.payload, noop.event_ids, noop.offset_count = b"", b"", 0

    leader.hear(THREE, 9, (before.index, before.term), [noop], commit=noop.index)
    leader.lead()
    retried = leader.send("a")
    leader.commit()

    assert lost.error is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (retried.error, retried.base_offset) == (None, 0)
    assert leader.stored() == [(0, b"0")]


def test_retry_at_the_new_leader_while_the_first_copy_is_in_its_inherited_tail(leader, follower):
    """The new leader has the event, but does not know yet that it is committed."""
    leader.send("a")
    follower.copy_log_of(leader)

    follower.lead()
    retried = follower.send("a", producer_id=3)
    waits = not retried.done
    follower.commit()

    assert waits
    assert (retried.error, retried.base_offset) == (None, 0)
    assert [entry.term for entry in follower.entries()] == [leader.raft.term]


def test_replicas_do_not_decide_by_their_own_clocks(leader, follower):
    """NATS server 6486: a replica that was down had emptied its window and diverged."""
    leader.send("a")
    follower.node.now_ms += 3_600_000
    leader.send("a", "b")

    follower.copy_log_of(leader)

    assert follower.digest() == leader.digest()
    assert follower.stored() == leader.stored()


def test_a_producers_clock_moves_no_window(leader):
    year = 365 * 86_400_000
    headers = ((b"event-id", b"a"),)
    leader.send_records([Record(b"v", headers=headers, timestamp_ms=year * 80)])
    leader.send("b")

    assert leader.send("a").base_offset == 0


def test_a_duplicate_does_not_prolong_the_window(leader):
    leader.send("a")
    leader.node.now_ms += 59_999
    within = leader.send("a")
    leader.node.now_ms += 1

    after = leader.send("a")

    assert (within.base_offset, after.base_offset) == (0, 1)


def test_purge_frees_the_ids(leader, follower):
    """NATS server 6782: ids stayed behind when the messages were purged."""
    leader.send("a", "b")
    leader.commit()
    leader.partition.delete_records(1)
    leader.commit()

    sent = leader.send("a", "b")
    follower.copy_log_of(leader)

    assert leader.stored()[-1] == (2, b"0")
    assert sent.base_offset == 2
    assert leader.partition.log_end == 4
    assert follower.digest() == leader.digest()


def test_ids_do_not_survive_a_topics_re_creation(tmp_path, leader):
    leader.send("a")
    anew = member(tmp_path / "anew", ONE)  # another topic id: another group, another log
    anew.lead()

    assert anew.send("a").base_offset == 0
    assert anew.stored() == [(0, b"0")]


def test_capacity_does_not_evict_unseen(leader):
    leader.partition.settings = effective_settings({**ON, "event.dedup.max.ids": "1000"})
    leader.send(*[f"x{n}" for n in range(1000)])
    leader.send("a")

    oldest, second = leader.send("x0"), leader.send("x2")
    statistics = leader.partition.event_ids.statistics(
        leader.node.now_ms, leader.partition.settings
    )

    assert oldest.base_offset == 1001, "x0 was the oldest"
    assert second.base_offset == 2
    assert statistics.is_cut_short


def test_ids_with_equal_sequences_of_a_second_producer_are_stored(leader):
    """RabbitMQ streams: a second publisher of one name loses what has a lower sequence."""
    leader.send("a", "b", producer_id=1)

    second = leader.send("c", "d", producer_id=2)

    assert second.base_offset == 2
    assert len(leader.stored()) == 4
