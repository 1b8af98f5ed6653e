"""Who is in sync: found by the leader of a group, told to all, kept over elections."""

import pytest

from trimaran.broker.in_sync import InSync
from trimaran.broker.leaders import LeaderTable
from trimaran.ids import GroupId, Index, NodeId, Term

OWN, OTHER, THIRD = NodeId(1), NodeId(2), NodeId(3)
GROUP = GroupId(bytes(19) + b"\x07")
NEXT = GroupId(bytes(19) + b"\x08")
LAG_S = 3.0


class Node:
    """Knows that `leader` leads GROUP in term 5."""

    def __init__(self, leader=OWN):
        self.leaders = LeaderTable()
        self.in_sync = InSync(self.leaders, node_id=OWN, lag_s=LAG_S)
        self.leads(leader, 5)
        self.notified = 0
        self.leaders.watch(self._count)

    def _count(self):
        self.notified += 1

    def leads(self, leader, term, group=GROUP):
        self.leaders.note(group, Term(term), leader, now_s=0.0)

    def looked(self, match, commit, now_s, node=OTHER):
        self.in_sync.looked(GROUP, node, match=Index(match), commit=Index(commit), now_s=now_s)

    @property
    def behind(self):
        return self.in_sync.behind(GROUP)


def leading(*absent):
    node = Node()
    node.in_sync.lead(GROUP, Term(5), absent=absent)
    return node


def test_all_replicas_are_in_sync_as_long_as_nobody_says_otherwise():
    assert Node(leader=OTHER).behind == ()
    assert leading().behind == ()


def test_a_follower_that_is_gone_is_behind_until_it_holds_all_that_is_committed():
    node = leading()

    node.in_sync.away(OTHER, [GROUP])
    assert node.behind == (OTHER,)
    node.looked(9, 10, now_s=1.0)
    assert node.behind == (OTHER,)
    node.looked(10, 10, now_s=1.1)
    assert node.behind == ()


def test_a_follower_is_behind_when_it_lacks_for_long_what_was_committed_then():
    node = leading()
    node.looked(5, 10, now_s=1.0)

    assert list(node.in_sync.tick(1.0 + LAG_S - 0.01)) == []
    assert node.behind == ()
    assert list(node.in_sync.tick(1.0 + LAG_S)) == [(GROUP, 5, (OTHER,))]
    assert node.behind == (OTHER,)


def test_a_follower_that_is_never_quite_there_but_never_far_behind_is_in_sync():
    node = leading()

    for step in range(100):
        now_s = step * LAG_S / 10
        node.looked(step * 10, step * 10 + 10, now_s=now_s)
        assert list(node.in_sync.tick(now_s)) == []

    assert node.behind == ()


def test_a_follower_whose_lag_grows_is_behind_although_it_moves():
    node = leading()

    for step in range(100):
        node.looked(step, step * 10 + 10, now_s=step * LAG_S / 10)
        node.in_sync.tick(step * LAG_S / 10)

    assert node.behind == (OTHER,)


def test_the_one_who_was_behind_longest_is_found_among_many_that_moved_since():
    node = leading()
    node.in_sync.lead(NEXT, Term(1), absent=())
    node.leads(OWN, 1, group=NEXT)
    node.looked(0, 10, now_s=0.0)
    node.in_sync.looked(NEXT, OTHER, match=Index(0), commit=Index(1), now_s=0.1)
    node.looked(10, 20, now_s=1.0)

    assert list(node.in_sync.tick(0.1 + LAG_S)) == [(NEXT, 1, (OTHER,))]


def test_others_are_told_each_change_once_and_clients_with_it():
    node = leading()
    node.in_sync.away(OTHER, [GROUP])
    node.in_sync.away(THIRD, [GROUP])

    assert list(node.in_sync.tick(0.0)) == [(GROUP, 5, (OTHER, THIRD))]
    assert node.notified == 1
    assert list(node.in_sync.tick(0.0)) == []

    node.looked(4, 4, now_s=0.0)
    assert list(node.in_sync.tick(0.0)) == [(GROUP, 5, (THIRD,))]
    node.looked(4, 4, now_s=0.0, node=THIRD)
    assert list(node.in_sync.tick(0.0)) == [(GROUP, 5, ())]
    assert node.notified == 3


def test_what_the_leader_says_is_taken_and_its_last_word_counts():
    node = Node(leader=OTHER)

    node.in_sync.take([(GROUP, Term(5), (OWN, THIRD))])
    assert node.behind == (OWN, THIRD)
    node.in_sync.take([(GROUP, Term(5), ())])
    assert node.behind == ()
    assert node.notified == 2


def test_what_a_leader_of_the_past_says_is_not_believed():
    node = Node(leader=OTHER)
    node.leads(THIRD, 6)

    node.in_sync.take([(GROUP, Term(6), (OWN,))])
    node.in_sync.take([(GROUP, Term(5), (THIRD,))])

    assert node.behind == (OWN,)


def test_what_the_last_leader_said_is_void_when_another_leads():
    node = Node(leader=OTHER)
    node.in_sync.take([(GROUP, Term(5), (THIRD,))])

    node.leads(THIRD, 6)

    assert node.behind == ()


def test_a_new_leader_begins_with_what_it_was_told_and_who_is_not_heard_of():
    node = Node(leader=OTHER)
    node.in_sync.take([(GROUP, Term(5), (OWN, THIRD))])
    node.leads(OWN, 6)

    node.in_sync.lead(GROUP, Term(6), absent=[OTHER])

    assert node.behind == (OTHER, THIRD)
    assert list(node.in_sync.tick(0.0)) == [(GROUP, 6, (OTHER, THIRD))]


def test_a_leader_takes_no_word_of_others_about_its_group():
    node = leading()

    node.in_sync.take([(GROUP, Term(5), (OTHER,))])

    assert node.behind == ()


def test_one_who_leads_no_more_says_nothing_of_the_group():
    node = leading(THIRD)
    node.looked(1, 2, now_s=0.0)

    node.in_sync.unlead(GROUP)

    assert list(node.in_sync.tick(LAG_S * 2)) == []
    assert list(node.in_sync.led_facts()) == []


@pytest.mark.parametrize("absent", [(), (THIRD,)])
def test_a_node_that_connects_is_told_all_whatever_it_was_told_before(absent):
    leader, other = leading(*absent), Node(leader=OTHER)
    other.in_sync.take([(GROUP, Term(5), (OWN, THIRD))])

    other.in_sync.take(leader.in_sync.led_facts())

    assert other.behind == absent


def test_a_deleted_group_leaves_nothing():
    node = Node(leader=OTHER)
    node.in_sync.take([(GROUP, Term(5), (THIRD,))])

    node.in_sync.forget(GROUP)

    assert node.behind == ()
