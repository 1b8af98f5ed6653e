"""Syncing, living, leaving, committing: what a group answers, and what it stores first."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.group import NEVER_MS, GroupState
from trimaran.groups.messages import JoinAnswer, MemberClaim
from trimaran.groups.stored import StoredProtocol


def test_nobody_has_a_part_before_the_leader_brought_it(bench):
    one, two = bench.stable(2)
    bench.join(one)
    bench.join(two)
    leader = bench.group.roster.leader
    follower = next(member for member in (one, two) if member != leader)
    waiting = bench.sync(follower)
    assert waiting not in bench.answers
    bench.sync(leader, parts={leader: b"L", follower: b"F"})

    assert bench.answers[waiting].assignment == b"F"
    assert bench.group.state is GroupState.STABLE


def test_nobody_has_a_part_before_the_log_holds_it(bench):
    one = bench.joined().member_id
    bench.holds_stores = True
    ticket = bench.sync(one, parts={one: b"all"})
    (store,) = bench.stores_held
    assert ticket not in bench.answers
    bench.store(store)

    assert bench.answers[ticket].assignment == b"all"
    (stored,) = bench.log
    assert (stored.generation, stored.leader, stored.protocol) == (1, one, "range")
    assert [member.assignment for member in stored.members] == [b"all"]


def test_an_assignment_that_is_not_stored_is_brought_again(bench):
    one = bench.joined().member_id
    bench.holds_stores = True
    lost = bench.sync(one, parts={one: b"all"})
    bench.store(bench.stores_held.pop(), done=False)
    again = bench.sync(one, parts={one: b"all"})
    bench.store(bench.stores_held.pop())

    assert bench.answers[lost].error is ErrorCode.NOT_COORDINATOR
    assert bench.answers[again].assignment == b"all"


def test_an_assignment_that_is_stored_too_late_gives_no_parts(bench):
    one = bench.joined().member_id
    bench.holds_stores = True
    ticket = bench.sync(one, parts={one: b"all"})
    new = bench.join()
    bench.store(bench.stores_held.pop())

    assert bench.answers[ticket].error is ErrorCode.REBALANCE_IN_PROGRESS
    assert bench.group.state is GroupState.PREPARING
    assert new not in bench.answers


def test_a_member_of_a_stable_group_gets_its_part_again(bench):
    (one,) = bench.stable()

    assert bench.answers[bench.sync(one)].assignment == one.encode()


def test_members_that_the_leader_forgot_have_nothing(bench):
    one = bench.joined().member_id

    assert bench.answers[bench.sync(one, parts={"stranger": b"x"})].assignment == b""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"generation": 7}, ErrorCode.ILLEGAL_GENERATION),
        ({"protocol_type": "connect"}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"protocol": "sticky"}, ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ({"instance_id": "i"}, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_a_sync_that_does_not_fit_is_refused(bench, changes, code):
    (one,) = bench.stable()

    assert bench.answers[bench.sync(one, **changes)].error is code


def test_nobody_syncs_while_members_are_waited_for(bench):
    one, _ = bench.stable(2)
    bench.join()

    assert bench.answers[bench.sync(one)].error is ErrorCode.REBALANCE_IN_PROGRESS


def test_who_knows_the_generation_but_never_syncs_is_out(bench):
    one, two = bench.stable(2)
    bench.join(one)
    bench.join(two)
    waiting = bench.sync(two)
    for _ in range(10):
        bench.pass_ms(6_000)
        bench.beat(one)

    assert bench.answers[waiting].error is ErrorCode.REBALANCE_IN_PROGRESS
    assert bench.beat(one) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_follower_that_never_asks_for_its_part_is_out(bench):
    one, two = bench.stable(2)
    bench.join(one)
    bench.join(two)
    leader = bench.group.roster.leader
    follower = two if leader == one else one
    bench.sync(leader, parts={leader: b"x"})
    for _ in range(10):
        bench.pass_ms(6_000)
        bench.beat(one)
        bench.beat(two)

    assert bench.beat(follower) is ErrorCode.UNKNOWN_MEMBER_ID
    assert bench.beat(leader) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_member_without_signs_of_life_is_out_after_its_session(bench):
    one, two = bench.stable(2)
    for _ in range(4):
        bench.pass_ms(2_500)
        assert bench.group.state is not GroupState.EMPTY
        last = bench.beat(one)

    assert last is ErrorCode.REBALANCE_IN_PROGRESS
    assert bench.beat(two) is ErrorCode.UNKNOWN_MEMBER_ID


def test_commits_count_as_signs_of_life(bench):
    (one,) = bench.stable()
    for _ in range(4):
        bench.pass_ms(9_000)
        assert bench.commit(one) is ErrorCode.NONE

    assert bench.beat(one) is ErrorCode.NONE


def test_a_group_whose_last_member_is_gone_is_stored_as_empty(bench):
    (one,) = bench.stable()
    assert bench.leave(one) is ErrorCode.NONE

    assert bench.group.state is GroupState.EMPTY
    assert bench.group.is_idle
    assert bench.log[-1].members == ()
    assert bench.group.next_deadline_ms == NEVER_MS


def test_a_member_that_leaves_is_missed_at_once(bench):
    one, two = bench.stable(2)
    bench.leave(two)

    assert bench.beat(one) is ErrorCode.REBALANCE_IN_PROGRESS
    assert bench.joined(one).generation == 3


def test_members_that_leave_together_are_stored_as_gone_once(bench):
    members = bench.stable(5)
    told = bench.answers[bench.join(learns_id_first=True)].member_id
    stored = len(bench.log)
    leaving = [*members[1:], told, "stranger", members[1]]
    codes = bench.leave_all(*(MemberClaim(member_id=one) for one in leaving))

    unknown = ErrorCode.UNKNOWN_MEMBER_ID
    assert codes == [ErrorCode.NONE] * 5 + [unknown, unknown]
    assert [[one.member_id for one in group.members] for group in bench.log[stored:]] == [
        [members[0]]
    ]
    assert bench.joined(members[0]).generation == 6


def test_a_static_member_leaves_once_under_whatever_name(bench):
    static = bench.joined(instance_id="i").member_id
    bench.sync(static, parts={})
    stored = len(bench.log)
    codes = bench.leave_all(
        MemberClaim(member_id="", instance_id="i"),
        MemberClaim(member_id="", instance_id="i"),
        MemberClaim(member_id=static, instance_id="i"),
    )

    assert codes == [ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.UNKNOWN_MEMBER_ID]
    assert [group.members for group in bench.log[stored:]] == [()]


def test_a_stranger_cannot_leave(bench):
    bench.stable()

    assert bench.leave("stranger") is ErrorCode.UNKNOWN_MEMBER_ID
    assert bench.leave("", "nobody") is ErrorCode.UNKNOWN_MEMBER_ID


def test_somebody_who_only_has_an_id_can_leave(bench):
    told = bench.answers[bench.join(learns_id_first=True)]

    assert bench.leave(told.member_id) is ErrorCode.NONE
    assert bench.group.is_idle


@pytest.mark.parametrize(("generation", "code"), [(1, 22), (3, 22), (2, 0)])
def test_signs_of_life_and_commits_name_their_generation(bench, generation, code):
    one, _ = bench.stable(2)

    assert bench.beat(one, generation=generation) == code
    assert bench.commit(one, generation=generation) == code


def test_commits_are_taken_while_members_join_but_not_before_they_have_parts(bench):
    one, two = bench.stable(2)
    bench.join()
    assert bench.commit(one) is ErrorCode.NONE
    bench.join(one)
    bench.join(two)

    assert bench.commit(one) is ErrorCode.REBALANCE_IN_PROGRESS


def test_without_members_anybody_may_commit_and_with_members_no_stranger(bench):
    assert bench.commit(generation=-1) is ErrorCode.NONE
    bench.stable()

    assert bench.commit(generation=-1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert bench.commit("stranger") is ErrorCode.UNKNOWN_MEMBER_ID


# Static members


def test_a_static_member_that_comes_back_keeps_its_part_without_a_rebalance(bench):
    old = bench.joined(instance_id="i").member_id
    bench.sync(old, parts={old: b"part"})
    new = bench.joined(instance_id="i")

    assert (new.generation, new.member_id != old) == (1, True)
    assert new.leader == old, "it must not think that it has to assign"
    assert bench.answers[bench.sync(new.member_id, instance_id="i")].assignment == b"part"
    assert [member.member_id for member in bench.log[-1].members] == [new.member_id]


def test_a_static_leader_that_comes_back_may_skip_the_assignment(bench):
    old = bench.joined(instance_id="i").member_id
    bench.sync(old, parts={old: b"part"})
    new = bench.joined(instance_id="i", may_skip_assignment=True)

    assert new.skip_assignment
    assert new.leader == new.member_id
    assert [member.instance_id for member in new.members] == ["i"]


def test_a_static_member_is_known_under_its_new_id_only_when_that_is_stored(bench):
    old = bench.joined(instance_id="i").member_id
    bench.sync(old, parts={old: b"part"})
    bench.holds_stores = True
    ticket = bench.join(instance_id="i")
    assert ticket not in bench.answers
    bench.store(bench.stores_held.pop(), done=False)

    assert bench.answers[ticket] == JoinAnswer(error=ErrorCode.NOT_COORDINATOR)


def test_the_older_life_of_a_static_member_is_fenced(bench):
    old = bench.joined(instance_id="i").member_id
    bench.sync(old, parts={old: b"part"})
    bench.joined(instance_id="i")

    assert bench.beat(old, instance_id="i") is ErrorCode.FENCED_INSTANCE_ID
    assert bench.commit(old, instance_id="i") is ErrorCode.FENCED_INSTANCE_ID
    assert bench.answers[bench.sync(old, instance_id="i")].error is ErrorCode.FENCED_INSTANCE_ID
    assert bench.answers[bench.join(old, instance_id="i")].error is ErrorCode.FENCED_INSTANCE_ID
    assert bench.leave(old, "i") is ErrorCode.FENCED_INSTANCE_ID


def test_an_older_life_that_waits_is_told_so(bench):
    bench.stable()
    old = bench.join(instance_id="i")
    bench.join(instance_id="i")

    assert bench.answers[old].error is ErrorCode.FENCED_INSTANCE_ID


def test_a_static_member_that_offers_another_protocol_brings_a_rebalance(
    bench, range_protocol, sticky_protocol
):
    both = (range_protocol, sticky_protocol)
    old = bench.joined(instance_id="i", protocols=both).member_id
    bench.sync(old, parts={old: b"part"})

    assert bench.joined(instance_id="i", protocols=(sticky_protocol,)).generation == 2


def test_a_static_member_is_waited_for_until_its_session_ends(bench):
    static = bench.joined(instance_id="i", session_timeout_ms=100_000).member_id
    bench.sync(static, parts={})
    new = bench.join()
    bench.pass_ms(60_000)
    assert bench.answers.get(new) is not None, "the others go on"
    assert static in bench.group.roster
    bench.sync(bench.answers[new].member_id)
    bench.pass_ms(100_000)

    assert static not in bench.group.roster


def test_an_administrator_removes_a_static_member_by_its_instance_id(bench):
    static = bench.joined(instance_id="i").member_id
    bench.sync(static, parts={})

    assert bench.leave("", "i") is ErrorCode.NONE
    assert bench.group.state is GroupState.EMPTY


# Another coordinator


def test_another_coordinator_goes_on_with_the_members_of_the_log(bench, bench_of):
    one, two = bench.stable(2)
    other = bench_of(stored=bench.log[-1])

    assert other.group.state is GroupState.STABLE
    assert other.beat(one, generation=2) is ErrorCode.NONE
    assert other.answers[other.sync(two)].assignment == two.encode()
    assert other.commit(two) is ErrorCode.NONE
    assert other.joined(two).generation == 2


def test_members_that_do_not_find_the_other_coordinator_are_out_after_a_session(bench, bench_of):
    one, two = bench.stable(2)
    other = bench_of(stored=bench.log[-1])
    other.pass_ms(9_000)
    other.beat(one)
    other.pass_ms(1_000)

    assert other.beat(one) is ErrorCode.REBALANCE_IN_PROGRESS
    assert other.beat(two) is ErrorCode.UNKNOWN_MEMBER_ID


def test_who_left_is_not_waited_for_by_another_coordinator(bench, bench_of):
    one, two, three = bench.stable(3)
    bench.leave(two)
    other = bench_of(stored=bench.log[-1])

    assert other.beat(one) is ErrorCode.REBALANCE_IN_PROGRESS
    other.join(one)
    answer = other.joined(three)
    assert (answer.generation, len(other.group.roster)) == (4, 2)


def test_a_new_member_joins_a_restored_group(bench, bench_of):
    (one,) = bench.stable()
    other = bench_of(stored=bench.log[-1])
    new = other.join(fresh_id="new")
    again = other.join(one)

    assert other.answers[new].generation == other.answers[again].generation == 2


def test_a_coordinator_that_leads_no_more_answers_all_who_wait(bench):
    one, two = bench.stable(2)
    joining = bench.join()
    again = bench.join(one)
    bench.join(two)
    syncing = bench.sync(one if bench.group.roster.leader != one else two)
    bench.join(
        two if bench.group.roster.leader != two else one,
        protocols=(StoredProtocol("range", b"other"),),
    )
    bench.group.give_up(ErrorCode.NOT_COORDINATOR)
    bench.carry_out()

    assert {joining, again, syncing} <= bench.answers.keys()
    assert all(not member.is_waiting for member in bench.group.roster)


# Topics


def test_subscribed_topics_are_read_from_what_members_say(bench):
    subscription = b"\x00\x01\x00\x00\x00\x02\x00\x01a\x00\x02bb\xff\xff\xff\xff"
    bench.stable(protocols=(StoredProtocol("range", subscription),))

    assert bench.group.subscribed_topics() == ["a", "bb"]


@pytest.mark.parametrize(
    "metadata",
    [b"", b"\x00\x01\x00\x00\x00\x05", b"\x00\x01\x00\x00\x00\x01\x00\x09a", b"\xff" * 9],
)
def test_what_is_no_subscription_says_nothing(bench, metadata):
    bench.stable(protocols=(StoredProtocol("range", metadata),))

    assert bench.group.subscribed_topics() is None


def test_other_protocol_types_say_nothing_about_topics(bench):
    assert bench.group.subscribed_topics() == ()
    bench.stable(protocol_type="connect")

    assert bench.group.subscribed_topics() is None
