"""The demo's verdict: each planted fault makes it fail, and only a whole stream passes."""

import pytest

from trimaran.cli.demo_check import compare, digest


def event(number):
    return digest(b"UA1545", b'{"number":%d}' % number)


SENT = [event(number) for number in range(8)]


@pytest.fixture
def acked():
    return {0: list(enumerate(SENT[:5])), 1: list(enumerate(SENT[5:]))}


@pytest.fixture
def read(acked):
    return {partition: list(sightings) for partition, sightings in acked.items()}


def judge(acked, read, *, gaps=(120, 340)):
    return compare(
        sent=frozenset(SENT), acked=acked, read=read, failover_gaps_ms=gaps, failovers_planned=2
    )


def test_a_whole_stream_holds_and_its_line_is_exact(acked, read):
    verdict = judge(acked, read)
    assert verdict.holds
    assert verdict.line() == (
        "sent 8 acked 8 lost 0 duplicated 0 out of order 0 failovers 2 failover max 340 ms"
    )


def test_a_planted_lost_event_fails(acked, read):
    del read[0][2]
    verdict = judge(acked, read)
    assert (verdict.lost, verdict.duplicated, verdict.out_of_order) == (1, 0, 0)
    assert not verdict.holds


def test_a_planted_doubled_event_fails(acked, read):
    read[0].append((5, SENT[1]))
    verdict = judge(acked, read)
    assert (verdict.lost, verdict.duplicated, verdict.out_of_order) == (0, 1, 0)
    assert not verdict.holds


def test_an_event_read_twice_at_its_own_offset_fails(acked, read):
    read[1].insert(1, read[1][0])
    verdict = judge(acked, read)
    assert verdict.duplicated == 1
    assert not verdict.holds


def test_two_planted_swapped_events_fail(acked, read):
    read[0][1], read[0][2] = (1, SENT[2]), (2, SENT[1])
    verdict = judge(acked, read)
    assert (verdict.lost, verdict.duplicated, verdict.out_of_order) == (0, 0, 2)
    assert not verdict.holds


def test_a_planted_altered_event_fails_as_lost(acked, read):
    read[1][0] = (0, digest(b"UA1545", b'{"number":5 }'))
    verdict = judge(acked, read)
    assert (verdict.lost, verdict.unknown) == (1, 1)
    assert not verdict.holds


def test_an_event_that_nobody_sent_fails(acked, read):
    read[1].append((3, digest(b"x", b"y")))
    verdict = judge(acked, read)
    assert verdict.unknown == 1
    assert not verdict.holds


def test_an_event_in_the_wrong_partition_is_lost_from_its_own_place(acked, read):
    read[1].append((3, read[0].pop()[1]))
    assert not judge(acked, read).holds


def test_a_whole_missing_partition_is_lost(acked, read):
    del read[1]
    verdict = judge(acked, read)
    assert verdict.lost == 3
    assert not verdict.holds


def test_events_acknowledged_against_the_sending_order_are_out_of_order(acked, read):
    acked[0] = [(1, SENT[0]), (0, SENT[1]), *acked[0][2:]]
    read[0] = sorted(acked[0])
    verdict = judge(acked, read)
    assert (verdict.lost, verdict.out_of_order) == (0, 1)
    assert not verdict.holds


def test_an_event_without_acknowledgement_fails_even_if_it_is_there(acked, read):
    acked[1].pop()
    verdict = judge(acked, read)
    assert (verdict.sent, verdict.acked, verdict.lost) == (8, 7, 0)
    assert not verdict.holds


def test_an_event_acknowledged_without_an_offset_is_looked_for_by_what_it_is(acked, read):
    acked[0][2] = (None, SENT[2])
    assert judge(acked, read).holds
    read[0].append((5, SENT[2]))
    assert judge(acked, read).duplicated == 1
    del read[0][2], read[0][-1]
    assert judge(acked, read).lost == 1


def test_nothing_sent_proves_nothing():
    verdict = compare(
        sent=frozenset(), acked={}, read={}, failover_gaps_ms=[1, 1], failovers_planned=2
    )
    assert not verdict.holds


def test_a_missing_failover_fails(acked, read):
    assert not judge(acked, read, gaps=(120,)).holds


def test_key_and_payload_are_told_apart():
    assert (
        len({digest(b"ab", b"c"), digest(b"a", b"bc"), digest(None, b"abc"), digest(b"", b"abc")})
        == 4
    )
