"""Each checker accepts a right history and objects to its own planted anomaly."""

from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import pytest

from trimaran.broker.partition import Partition
from trimaran.checking import make_value
from trimaran.dedup.producers import ProducerTable
from trimaran.raft.log import RaftLog
from trimaran.raft.progress import Progress
from trimaran.raft.ready import Role
from trimaran.records.entry import Entry, EntryKind, LogPosition
from trimaran.sim.checkers import (
    ALL,
    AcknowledgedNeverLost,
    CommitAndTermMonotone,
    Evidence,
    HistoryWithoutAnomaly,
    LeaderCompleteness,
    LogMatching,
    MatchIsTrue,
    OffsetsFollow,
    OneCommittedValue,
    OneLeaderPerTerm,
    OrderPerProducer,
    ProducerSequencesStoredOnce,
    ProducerStateEqual,
    ReadsCommittedOnly,
    RefusedNeverRead,
    ReplicasEndEqual,
    SegmentsIdentical,
    SyncedIsDurable,
)
from trimaran.sim.disk import Disk
from trimaran.sim.files import SimFiles
from trimaran.sim.history import History, Outcome, ReadRecord, SentRecord
from trimaran.sim.trace import EventLog
from trimaran.storage.open_files import OpenFiles
from trimaran.storage.segment import SegmentAppend, group_directory, new_segment

GROUP = bytes(20)


@dataclass
class Core:
    """What checkers read of a core."""

    term: int = 1
    role: Role = Role.FOLLOWER
    commit_index: int = 0
    log: RaftLog = field(default_factory=RaftLog)
    node_id: int = 1
    may_vote: bool = True
    progress: dict = field(default_factory=dict)
    synced_index: int = 0


def entry(index, term, payload=b"x"):
    return Entry(index, term, EntryKind.RECORDS, index - 1, 1, 1000, payload)


def core(*terms, payload=b"x", commit=0, synced=None, **rest):
    log = RaftLog()
    for index, term in enumerate(terms, 1):
        log.append(entry(index, term, payload))
    synced_index = len(terms) if synced is None else synced
    return Core(log=log, commit_index=commit, synced_index=synced_index, **rest)


def view(node, state, incarnation=1):
    return Evidence(node, incarnation, GROUP, state)


def look(checker, *moments):
    return [line for views in moments for line in checker.step(views)]


def test_two_leaders_of_one_term_are_seen_even_one_after_the_other():
    checker = OneLeaderPerTerm()
    first, second = Core(term=3, role=Role.LEADER), Core(term=3, role=Role.LEADER)

    assert look(checker, [view("a", first)], [view("a", first), view("b", Core(term=3))]) == []
    assert "term 3: a led, now b leads" in look(checker, [view("b", second)])[0]


def test_leaders_of_different_terms_are_right():
    checker = OneLeaderPerTerm()
    moments = [[view("a", Core(term=term, role=Role.LEADER))] for term in (1, 2, 5)]

    assert look(checker, *moments) == []
    assert checker.change_count == 2


def test_entries_of_equal_index_and_term_must_be_equal():
    checker = LogMatching()

    assert look(checker, [view("a", core(1, 1, 2)), view("b", core(1, 1))]) == []
    assert len(look(checker, [view("c", core(1, payload=b"other"))])) == 1


def test_the_entry_before_must_have_the_same_term():
    checker = LogMatching()
    look(checker, [view("a", core(1, 2, 3))])

    assert len(look(checker, [view("b", core(1, 1, 3))])) == 1


def test_a_truncated_and_rewritten_log_is_compared_again():
    checker = LogMatching()
    look(checker, [view("a", core(1, 2, 3)), view("b", core(1, 1, 1))])

    assert look(checker, [view("b", core(1, 2, 3))]) == []
    assert (
        len(look(checker, [view("b", core(1, 2, 3, 3)), view("a", core(1, 2, 3, 3, payload=b"y"))]))
        > 0
    )


def test_two_committed_values_at_one_index_are_seen():
    checker = OneCommittedValue()

    assert look(checker, [view("a", core(1, 2, commit=2)), view("b", core(1, 1, commit=1))]) == []
    assert len(look(checker, [view("b", core(1, 1, commit=2))])) == 1


def test_a_committed_entry_is_remembered_across_restarts():
    checker = OneCommittedValue()
    look(checker, [view("a", core(1, commit=1))])

    assert len(look(checker, [view("a", core(2, commit=1), incarnation=2)])) == 1


def test_commit_and_term_never_go_back_within_a_process():
    checker = CommitAndTermMonotone()
    log = core(1, 1, 1).log
    right = [Core(term, Role.FOLLOWER, commit, log) for term, commit in ((1, 0), (1, 2), (2, 3))]

    assert look(checker, *[[view("a", state)] for state in right]) == []
    assert len(look(checker, [view("a", Core(2, Role.FOLLOWER, 2, log))])) == 1
    assert len(look(checker, [view("a", Core(1, Role.FOLLOWER, 3, log))])) == 1
    assert look(checker, [view("a", Core(1, Role.FOLLOWER, 0, log), incarnation=2)]) == []


def test_a_commit_beyond_the_log_is_seen():
    assert len(look(CommitAndTermMonotone(), [view("a", core(1, commit=2))])) == 1


def test_a_leader_without_an_entry_committed_in_an_earlier_term_is_seen():
    for terms in ((1,), (1, 1)):
        checker = LeaderCompleteness()
        look(checker, [view("a", core(1, 2, commit=2, term=2))])
        lacking = core(*terms, term=3, role=Role.LEADER)

        assert len(look(checker, [view("b", lacking)], [view("b", lacking)])) == 1


def test_a_leader_may_lack_what_was_committed_in_its_own_term_or_later():
    checker = LeaderCompleteness()
    look(checker, [view("a", core(1, 1, 2, commit=2, term=2))])

    assert look(checker, [view("b", core(1, 1, term=3, role=Role.LEADER))]) == []
    assert look(checker, [view("c", core(1, term=2, role=Role.LEADER))]) == []


def test_what_a_leader_released_from_memory_is_not_missed():
    checker = LeaderCompleteness()
    look(checker, [view("a", core(1, 1, 1, commit=3))])
    leader = core(1, 1, 1, 2, term=2, role=Role.LEADER)
    leader.log.release(2)

    assert look(checker, [view("b", leader)]) == []


def leading(match, *, counts=True, next_index=10, term=1):
    progress = Progress(next_index=next_index)
    progress.match = match
    progress.counts = counts
    return core(1, 1, 1, 1, role=Role.LEADER, progress={2: progress}, term=term)


def test_a_match_that_falls_within_a_term_is_seen():
    checker = MatchIsTrue()

    assert look(checker, *[[view("a", leading(match))] for match in (0, 2, 3)]) == []
    assert len(look(checker, [view("a", leading(2))])) == 1
    assert look(checker, [view("a", leading(0, term=2))]) == []


@pytest.mark.parametrize("terms", [(1, 1), (1, 1, 1)])
def test_a_match_above_what_the_follower_synced_is_seen(terms):
    checker = MatchIsTrue()
    follower = view("b", core(*terms, synced=2, node_id=2))

    assert look(checker, [view("a", leading(2)), follower]) == []
    assert len(look(checker, [view("a", leading(3)), follower])) == 1


def test_a_follower_that_lost_what_it_had_may_fall_behind():
    checker = MatchIsTrue()
    look(checker, [view("a", leading(3))])

    assert look(checker, [view("a", leading(1, counts=False))], [view("a", leading(2))]) == []
    damaged = view("b", core(1, node_id=2, may_vote=False), incarnation=2)
    assert look(checker, [view("a", leading(4)), damaged]) == []


def test_offsets_that_overlap_or_leave_a_hole_are_seen():
    for count in (2, 0):
        checker = OffsetsFollow()
        before = RaftLog(entries=[Entry(1, 1, EntryKind.RECORDS, 0, count, 1000, b"x")])

        assert look(checker, [view("a", Core(log=before, commit_index=1))]) == []
        assert len(look(checker, [view("b", core(1, 1, commit=2))])) == 1


def test_offsets_that_follow_are_right_also_behind_a_gap_in_what_was_seen():
    checker = OffsetsFollow()
    later = core(1, 1, 1, 1, commit=4)
    later.log.release(2)

    assert look(checker, [view("a", core(1, commit=1))], [view("b", later)]) == []
    assert look(checker, [view("a", core(1, 1, 1, 1, 1, commit=5))]) == []


def table(*sequences, producer_id=7):
    made = ProducerTable()
    for index, sequence in enumerate(sequences, 1):
        made.fold(
            producer_id=producer_id,
            epoch=0,
            first_sequence=sequence,
            last_sequence=sequence,
            base_offset=index - 1,
            last_offset=index - 1,
            entry_index=index,
            log_time_ms=1000,
        )
    return made


def partition_view(node, producers, flushed=None, *, commit=5, folded=2):
    machine = object.__new__(Partition)
    machine._producers = producers
    machine._flushed_producers = table() if flushed is None else flushed
    state = core(1, 1, 1, 1, 1, commit=commit)
    machine._flushed_index = machine._flushed_producers.last_index
    return Evidence(node, 1, GROUP, state, SimpleNamespace(machine=machine, folded=folded))


def test_replicas_that_know_different_producers_at_one_entry_are_seen():
    checker = ProducerStateEqual()

    right = [partition_view("a", table(0, 1)), partition_view("b", table(0), folded=1)]
    assert look(checker, right) == []
    assert len(look(checker, [partition_view("c", table(0, 2))])) == 1
    assert len(look(checker, [partition_view("d", table(0, 1), table(9))])) == 1


def test_a_replica_that_did_not_fold_an_entry_is_seen():
    checker = ProducerStateEqual()
    look(checker, [partition_view("a", table(0, 1))])

    assert look(checker, [partition_view("b", table(0), folded=1)]) == []
    assert len(look(checker, [partition_view("b", table(0))])) == 1
    assert look(checker, [partition_view("c", table(0), commit=1)]) == []


def test_producers_of_an_uncommitted_tail_may_differ():
    checker = ProducerStateEqual()
    tails = [partition_view(node, table(0, end), commit=1) for node, end in (("a", 1), ("b", 5))]

    assert look(checker, tails) == []


def test_cores_without_a_partition_have_no_producers():
    assert view("a", core(1)).producer_tables() == ()


def stored(node, *payloads, synced=True):
    """Return a replica with one segment on a disk of its own."""
    disk = Disk(node, Random(1), EventLog(lambda: 0.0))
    files = SimFiles(disk, who=node)
    directory = ""
    for part in group_directory(GROUP).split("/"):
        directory = f"{directory}/{part}".strip("/")
        files.make_directory(directory)
    append = SegmentAppend(new_segment(GROUP, LogPosition(), serial=1))
    for index, payload in enumerate(payloads, 1):
        append.add(entry(index, 1, payload))
    open_files = OpenFiles(files)
    append.write(open_files)
    segment = append.grown
    if synced:
        for path in segment.paths[0], segment.paths[2]:
            open_files.sync(path)
    log = SimpleNamespace(segments=(segment,), synced_position=segment.last)
    replica = SimpleNamespace(storage=log, removed=False)
    return Evidence(node, 1, GROUP, core(), replica, disk)


def judged(checker, *views):
    made = checker()
    assert list(made.step(views)) == []
    return list(made.finish(History()))


def test_segments_are_equal_as_far_as_both_are_written():
    long, short = stored("a", b"one", b"two", b"three"), stored("b", b"one", b"two")

    assert judged(SegmentsIdentical, long, short, long) == []


def test_segments_of_one_name_with_different_bytes_are_seen():
    one, other = stored("a", b"one", b"two"), stored("b", b"one", b"TWO")

    assert "entry 2 differs between a and b" in judged(SegmentsIdentical, one, other)[0]


def test_a_segment_that_is_not_there_is_seen_unless_its_group_was_removed():
    view = stored("a", b"one")
    view.disk.wipe()

    assert len(judged(SegmentsIdentical, view)) == 1
    view.replica.removed = True
    assert judged(SegmentsIdentical, view) == []


@pytest.mark.parametrize("suffix", [0, 2])
def test_damage_that_a_checksum_tells_is_no_difference(suffix):
    one, other = stored("a", b"one", b"two"), stored("b", b"one", b"two")
    path = other.replica.storage.segments[0].paths[suffix]
    node = other.disk.file_node(path)
    node.flip_bit(node.size - 1, 3)

    assert judged(SegmentsIdentical, one, other) == []


def test_bytes_that_count_as_synced_and_are_not_durable_are_seen():
    assert judged(SyncedIsDurable, stored("a", b"one")) == []

    lost = stored("a", b"one", synced=False)
    assert len(judged(SyncedIsDurable, lost)) == 1
    lost.replica.storage.synced_position = LogPosition()
    assert judged(SyncedIsDurable, lost) == []


def sent(number, outcome=Outcome.ACKED, *, offset=None, producer="p", idempotent=True):
    value = f"{producer}/0/{number}/".encode()
    place = number if offset is None else offset
    return SentRecord(producer, 0, number, value, idempotent, outcome, place, batch=number)


def read(*numbers, start=0, high_watermark=100, producer="p"):
    return [
        ReadRecord(start + place, f"{producer}/0/{number}/".encode(), high_watermark)
        for place, number in enumerate(numbers)
    ]


def right_history():
    history = History(sent=[sent(number) for number in range(4)])
    for source in ("leader", "node-1", "node-2"):
        history.final[source, 0] = read(0, 1, 2, 3)
    history.reads["reader", 0] = read(0, 1, 2)
    return history


@pytest.mark.parametrize("checker", ALL)
def test_a_right_history_has_no_violation(checker):
    assert list(checker().finish(right_history())) == []


def found(checker, history):
    return list(checker().finish(history))


def test_an_acknowledged_record_that_is_gone_is_seen():
    history = right_history()
    history.final["leader", 0] = read(0, 1, 2)

    assert "p/0/3/ acked at offset 3" in found(AcknowledgedNeverLost, history)[0]


def test_an_acknowledged_record_at_another_offset_is_seen():
    history = right_history()
    history.sent[2].offset = 7

    assert found(AcknowledgedNeverLost, history) == ["p/0/2/ acked at offset 7 is at 2"]


def test_a_record_of_unknown_outcome_may_be_there_or_not():
    history = right_history()
    history.sent[3].outcome = Outcome.UNKNOWN
    assert found(AcknowledgedNeverLost, history) == []
    history.final["leader", 0] = read(0, 1, 2)
    assert found(AcknowledgedNeverLost, history) == []


def test_a_record_stored_twice_is_seen():
    history = right_history()
    history.final["leader", 0] = read(0, 1, 1, 2, 3)

    assert len(found(ProducerSequencesStoredOnce, history)) == 1


@pytest.mark.parametrize("numbers", [(0, 2, 1, 3), (1, 2, 3), (0, 2, 3), (0, 1, 2, 3, 9)])
def test_records_out_of_order_with_a_gap_or_from_nowhere_are_seen(numbers):
    history = right_history()
    history.final["leader", 0] = read(*numbers)

    assert len(found(OrderPerProducer, history)) > 0


def test_a_plain_producer_may_have_gaps_but_no_disorder():
    history = right_history()
    history.sent = [sent(number, idempotent=False) for number in range(4)]
    history.final["leader", 0] = read(0, 2, 3)
    assert found(OrderPerProducer, history) == []
    history.final["leader", 0] = read(0, 3, 2)
    assert len(found(OrderPerProducer, history)) == 1


def test_a_refused_record_that_is_read_is_seen():
    history = right_history()
    history.sent[2].outcome = Outcome.REFUSED

    assert len(found(RefusedNeverRead, history)) == 4


def test_a_reader_that_skips_goes_back_or_sees_too_much_is_seen():
    for records in (
        read(1, start=1),
        read(0) + read(0),
        read(0, 1) + read(3, start=3),
        read(0, high_watermark=0),
        read(0, 9),
    ):
        history = right_history()
        history.reads["reader", 0] = records
        assert len(found(ReadsCommittedOnly, history)) > 0


def test_replicas_that_differ_in_the_end_are_seen():
    for records in (read(0, 1, 2), read(0, 1, 3, 2), read(0, 1, 2, 3, 4)):
        history = right_history()
        history.final["node-2", 0] = records
        assert len(found(ReplicasEndEqual, history)) == 1


def noted_history():
    """Return what a producer and a reader note who do all there is to note."""
    history = History()
    values = [make_value("p", number) for number in range(4)]
    records = [SentRecord("p", 0, number, value, True) for number, value in enumerate(values)]
    history.note_batch(records[:3], 1.0)
    history.note_batch(records[3:], 1.5)
    for offset, record in enumerate(records[:3]):
        record.outcome, record.acked_s, record.offset = Outcome.ACKED, 2.0, offset
    reader = history.note_reader("r", 0, 0)
    found = [ReadRecord(offset, value, 3) for offset, value in enumerate(values[:3])]
    history.note_poll(reader, 0, found, high_watermark=3, now_s=3.0)
    history.note_poll(reader, 0, [], high_watermark=3, now_s=4.0)
    history.note_end("r", 0, 3, asked_s=4.0, now_s=5.0)
    history.final["leader", 0] = found
    return history


def test_a_noted_history_becomes_operations_and_has_no_anomaly():
    history = noted_history()

    assert len(history.operations()) == 2 + 4 + 2
    assert found(HistoryWithoutAnomaly, history) == []


def test_an_anomaly_of_the_noted_history_is_seen():
    history = noted_history()
    history.note_end("r", 0, 2, asked_s=6.0, now_s=7.0)

    assert found(HistoryWithoutAnomaly, history)[0].startswith("stale end: partition 0: ")


def test_nothing_is_unseen_without_the_final_reads():
    history = noted_history()
    history.consumed.clear()
    history.final["leader", 0] = []
    assert len(found(HistoryWithoutAnomaly, history)) == 3
    del history.final["leader", 0]
    assert found(HistoryWithoutAnomaly, history) == []


def test_a_history_that_cannot_be_is_a_violation_not_an_exception():
    history = noted_history()
    history.note_batch([SentRecord("q", 0, 0, make_value("p", 0), True)], 9.0)

    assert found(HistoryWithoutAnomaly, history)[0].startswith("the clients noted what cannot be")
