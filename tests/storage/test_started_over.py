"""Groups that start over from a peer's boundary while the journal has another log of them."""

import pytest

from trimaran.ids import Index, NodeId, Offset, Term
from trimaran.raft.log import RaftLog
from trimaran.records.entry import HardState, LogPosition
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.journal import LiveGroup

STATE = HardState(term=Term(3), vote=None)


@pytest.fixture
def installed(kit):
    """The boundary of a leader of term 3: behind its log start, nothing is in segments."""
    return Boundary(
        group=kit.GROUP,
        voters=(NodeId(1), NodeId(2), NodeId(3)),
        position=LogPosition(index=Index(7), term=Term(3), next_offset=Offset(7), log_time_ms=2000),
        log_start_index=Index(8),
        log_start_offset=Offset(7),
    )


@pytest.fixture
def deposed(kit, driver):
    """A leader of term 2 with entries 5 to 10 that nobody else has."""
    driver.add()
    driver.append(*(kit.records(index) for index in range(1, 5)), commit=4)
    driver.append(*(kit.records(index, term=2) for index in range(5, 11)), previous_term=1)
    return driver


def log_of(found):
    """Build the log as a node does when it takes the group up."""
    return RaftLog(found.boundary.position, found.entries)


def test_entries_of_another_log_are_gone_once_a_group_started_over(kit, deposed, installed):
    deposed.round(
        started_over=[kit.GROUP], boundaries=[installed], hard_states=[(kit.GROUP, STATE)]
    )
    for _ in range(2):
        found = deposed.restart().groups[kit.GROUP]
        assert (found.damage, found.boundary, found.entries) == (None, installed, [])
        assert log_of(found).last_index == 7


def test_what_follows_a_start_over_is_the_log(kit, deposed, installed):
    deposed.round(started_over=[kit.GROUP], boundaries=[installed])
    deposed.append(kit.records(8, term=3), previous_term=3)
    for _ in range(2):
        found = deposed.restart().groups[kit.GROUP]
        assert (found.damage, found.entries) == (None, [kit.records(8, term=3)])


@pytest.mark.parametrize("index", [2, 4, 10])
def test_a_boundary_of_any_height_can_be_started_over_from(kit, deposed, index):
    deposed.round(
        boundaries=[
            Boundary(
                group=kit.GROUP,
                position=deposed.flush(*(kit.records(number) for number in range(1, 5))),
            )
        ]
    )
    position = LogPosition(
        index=Index(index), term=Term(3), next_offset=Offset(index), log_time_ms=2000
    )
    boundary = Boundary(
        group=kit.GROUP,
        position=position,
        log_start_index=Index(index + 1),
        log_start_offset=Offset(index),
    )
    deposed.log().plan_reset(position).run()
    deposed.round(started_over=[kit.GROUP], boundaries=[boundary])
    found = deposed.restart().groups[kit.GROUP]
    assert (found.damage, found.boundary, found.entries) == (None, boundary, [])


def test_files_are_not_kept_for_the_log_that_was_left(kit, deposed, installed):
    first = deposed.journal.generation
    deposed.round(started_over=[kit.GROUP], boundaries=[installed])
    deposed.rollover(LiveGroup(group=kit.GROUP, hard_state=STATE, boundary=installed))
    assert deposed.journal.release().generations == [first]


def test_a_boundary_that_nothing_explains_hands_out_no_entry_of_another_log(
    kit, deposed, installed
):
    deposed.round(boundaries=[installed], hard_states=[(kit.GROUP, STATE)])
    for _ in range(2):
        found = deposed.restart().groups[kit.GROUP]
        assert found.damage is not None
        assert found.damage.kind is DamageKind.BOUNDARY
        assert (found.boundary, found.entries) == (installed, [])
        assert log_of(found).last_index == 7


def test_copies_of_another_log_are_not_handed_out(kit, deposed, installed):
    reason = Damage(kind=DamageKind.BOUNDARY, text="found at an earlier start")
    deposed.rollover(
        LiveGroup(
            group=kit.GROUP,
            hard_state=STATE,
            boundary=installed,
            entries=[kit.records(index, term=2) for index in range(8, 11)],
            damage=reason,
        )
    )
    deposed.journal.release().run()
    for _ in range(2):
        found = deposed.restart().groups[kit.GROUP]
        assert (found.damage, found.boundary, found.entries) == (reason, installed, [])
        assert log_of(found).last_index == 7
