"""Each checker accepts a right history and objects to its own planted anomaly."""

from dataclasses import dataclass, field

import pytest

from trimaran.raft.log import RaftLog
from trimaran.raft.ready import Role
from trimaran.records.entry import Entry, EntryKind
from trimaran.sim.checkers import (
    ALL,
    AcknowledgedNeverLost,
    CommitAndTermMonotone,
    Evidence,
    LogMatching,
    OneCommittedValue,
    OneLeaderPerTerm,
    OrderPerProducer,
    ProducerSequencesStoredOnce,
    ReadsCommittedOnly,
    RefusedNeverRead,
    ReplicasEndEqual,
)
from trimaran.sim.history import History, Outcome, ReadRecord, SentRecord

GROUP = bytes(20)


@dataclass
class Core:
    """What checkers read of a core."""

    term: int = 1
    role: Role = Role.FOLLOWER
    commit_index: int = 0
    log: RaftLog = field(default_factory=RaftLog)


def entry(index, term, payload=b"x"):
    return Entry(index, term, EntryKind.RECORDS, index - 1, 1, 1000, payload)


def core(*terms, payload=b"x", commit=0, **rest):
    log = RaftLog()
    for index, term in enumerate(terms, 1):
        log.append(entry(index, term, payload))
    return Core(log=log, commit_index=commit, **rest)


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


def sent(number, outcome=Outcome.ACKED, *, offset=None, producer="p", idempotent=True):
    value = f"{producer}/0/{number}/".encode()
    place = number if offset is None else offset
    return SentRecord(producer, 0, number, value, idempotent, outcome, place)


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
