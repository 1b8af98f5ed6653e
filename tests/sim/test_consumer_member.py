"""Simulated members of the new group protocol, and the checker of who has what."""

import pytest

from trimaran.groups import reconciliation
from trimaran.sim.checkers import PartitionsOwnedOnce
from trimaran.sim.crowd import CLASSIC, NEW, Crowd
from trimaran.sim.history import History, OwnershipNote
from trimaran.sim.run import run_seed

SEED = 20
"""One with a group of the new protocol alone."""


def stay(member, told_s, *, proven_s, given_up_s=float("inf"), partition=0):
    return OwnershipNote("sharers", partition, member, told_s, proven_s, given_up_s)


def judged(*stays):
    return list(PartitionsOwnedOnce().finish(History(ownerships=list(stays))))


def test_two_members_that_have_one_partition_at_once_are_seen():
    found = judged(
        stay("a", 1.0, proven_s=9.0, given_up_s=5.0),
        stay("b", 4.9, proven_s=6.0),
        stay("c", 7, proven_s=8.0, partition=1),
    )

    assert found == [
        "group sharers partition 0: b was told at 4.900 s that it has it, a had it until 5.000 s"
    ]


def test_a_short_stay_within_a_long_one_is_seen_and_does_not_hide_the_next():
    found = judged(
        stay("a", 1.0, proven_s=9.0), stay("b", 2.0, proven_s=3.0), stay("c", 8.0, proven_s=8.5)
    )

    assert [line.split()[4] for line in found] == ["b", "c"]


def test_a_partition_that_is_given_up_before_the_next_member_has_it_is_right():
    assert judged(stay("a", 1.0, proven_s=9.0, given_up_s=5.0), stay("b", 5.0, proven_s=6.0)) == []


def test_a_member_may_be_out_without_knowing_it():
    assert judged(stay("a", 1.0, proven_s=2.0, given_up_s=8.0), stay("b", 4.0, proven_s=6.0)) == []


def test_a_member_may_have_its_own_partition_again():
    assert judged(stay("a", 1.0, proven_s=9.0), stay("a", 5.0, proven_s=9.0)) == []


@pytest.mark.sim
def test_members_share_hand_over_and_commit():
    report = run_seed(SEED, kinds=())

    assert report.violations == ()
    assert report.counts["member taken in"] > 1
    assert report.counts["partition handed over"] > 0
    assert report.counts["epoch's offset committed"] > 0


@pytest.mark.sim
def test_a_partition_handed_on_before_it_is_given_up_is_noticed(monkeypatch):
    monkeypatch.setattr(reconciliation, "_has_any", lambda _owned, _parts: False)

    violations = run_seed(SEED, kinds=()).violations

    assert any(line.startswith("PartitionsOwnedOnce") for line in violations)


def test_seeds_with_groups_have_either_protocol_or_both():
    class Seeded(Crowd):
        def __init__(self, seed):
            self._seed = seed

    drawn = {Seeded(seed)._protocols() for seed in range(1, 60)}

    assert drawn == {(), (CLASSIC,), (NEW,), (CLASSIC, NEW)}
