"""What a node tells clients about leaders never goes back in time."""

from trimaran.broker.leaders import LeaderTable
from trimaran.ids import GroupId, NodeId, Term

GROUP = GroupId(bytes(20))
ONE, TWO = NodeId(1), NodeId(2)


def test_a_fact_of_a_lower_term_is_ignored() -> None:
    table = LeaderTable()
    table.note(GROUP, Term(5), ONE, now_s=1.0)

    table.note(GROUP, Term(4), TWO, now_s=2.0)

    assert table.hint(GROUP) == (ONE, 5)


def test_a_lost_leader_is_noted_with_its_time_until_there_is_another() -> None:
    table = LeaderTable()
    table.note(GROUP, Term(5), ONE, now_s=1.0)

    table.note(GROUP, Term(5), None, now_s=2.0)
    table.note(GROUP, Term(6), None, now_s=2.5)

    assert table.lost_at(GROUP) == 2.0
    table.note(GROUP, Term(6), TWO, now_s=3.0)
    assert table.lost_at(GROUP) is None


def test_a_group_that_never_had_a_leader_has_not_lost_one() -> None:
    table = LeaderTable()

    table.note(GROUP, Term(1), None, now_s=1.0)

    assert table.lost_at(GROUP) is None


def test_watchers_are_called_at_each_change_and_at_no_repetition() -> None:
    table = LeaderTable()
    calls: list[str] = []
    handle = table.watch(lambda: calls.append("changed"))

    table.note(GROUP, Term(1), ONE, now_s=1.0)
    table.note(GROUP, Term(1), ONE, now_s=1.0)
    assert calls == ["changed"]

    table.unwatch(handle)
    table.note(GROUP, Term(2), TWO, now_s=1.0)
    assert calls == ["changed"]


def test_led_by_lists_the_groups_of_one_node() -> None:
    table = LeaderTable()
    other = GroupId(bytes(19) + b"\x01")
    table.note(GROUP, Term(1), ONE, now_s=1.0)
    table.note(other, Term(3), TWO, now_s=1.0)

    assert table.led_by(TWO) == [(other, 3)]
    table.forget(other)
    assert table.led_by(TWO) == []
