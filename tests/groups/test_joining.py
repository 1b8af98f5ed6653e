"""Joining a group: who gets in, when a generation begins, who leads it."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.group import GroupState
from trimaran.groups.limits import GROUP_BYTES_MAX
from trimaran.groups.stored import StoredProtocol


def test_a_member_alone_leads_the_first_generation(bench):
    answer = bench.joined()

    assert (answer.generation, answer.leader) == (1, answer.member_id)
    assert [member.metadata for member in answer.members] == [b"topics"]
    assert bench.group.state is GroupState.COMPLETING


def test_a_new_member_learns_its_id_first_if_it_can(bench):
    told = bench.answers[bench.join(learns_id_first=True)]
    answer = bench.joined(told.member_id)

    assert told.error is ErrorCode.MEMBER_ID_REQUIRED
    assert answer.member_id == told.member_id


def test_an_id_that_was_given_out_expires_with_the_session(bench):
    told = bench.answers[bench.join(learns_id_first=True)]
    bench.pass_ms(10_000)

    assert bench.answers[bench.join(told.member_id)].error is ErrorCode.UNKNOWN_MEMBER_ID


def test_an_empty_group_waits_for_more_members_and_each_one_extends_the_wait(bench_of):
    bench = bench_of(initial_rebalance_delay_ms=100)
    first = bench.join()
    bench.pass_ms(99)
    second = bench.join()
    bench.pass_ms(100)
    assert first not in bench.answers
    bench.pass_ms(1)

    assert bench.answers[first].generation == bench.answers[second].generation == 1
    assert len(bench.answers[first].members) == 2
    assert bench.answers[second].members == ()


def test_the_first_wait_never_exceeds_the_rebalance_time_out(bench_of):
    bench = bench_of(initial_rebalance_delay_ms=100)
    first = bench.join(rebalance_timeout_ms=250)
    for _ in range(4):
        bench.pass_ms(60)
        bench.join(rebalance_timeout_ms=250)
    bench.pass_ms(10)

    assert bench.answers[first].generation == 1


def test_the_next_generation_waits_until_all_have_joined_again(bench):
    one, two = bench.stable(2)
    new = bench.join()
    first = bench.join(one)
    assert new not in bench.answers
    second = bench.join(two)

    assert {bench.answers[t].generation for t in (new, first, second)} == {3}


def test_who_does_not_join_again_in_time_is_out(bench):
    one, two = bench.stable(2)
    new = bench.join()
    again = bench.join(one)
    for _ in range(10):
        bench.pass_ms(6_000)
        bench.beat(two)

    assert bench.answers[again].generation == 3
    assert bench.answers[new].error is ErrorCode.NONE
    assert bench.beat(two) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_leader_that_is_late_loses_its_lead(bench):
    one, two = bench.stable(2)
    bench.join()
    again = bench.join(two)
    bench.leave(one)

    assert bench.answers[again].leader == two
    assert len(bench.answers[again].members) == 2


def test_a_follower_that_says_the_same_stays_as_it_is(bench):
    one, two = bench.stable(2)
    answer = bench.joined(two)

    assert (answer.generation, answer.members) == (2, ())
    assert bench.group.state is GroupState.STABLE
    assert bench.beat(one) is ErrorCode.NONE


def test_a_leader_that_joins_again_wants_a_rebalance(bench):
    one, two = bench.stable(2)
    bench.join(one)

    assert bench.beat(two) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_follower_that_wants_other_topics_brings_a_rebalance(bench):
    one, two = bench.stable(2)
    bench.join(two, protocols=(StoredProtocol("range", b"other topics"),))

    assert bench.beat(one) is ErrorCode.REBALANCE_IN_PROGRESS


def test_an_answer_that_was_lost_is_given_again(bench):
    first = bench.joined()
    again = bench.joined(first.member_id)

    assert again == first


def test_the_older_of_two_joins_of_one_member_is_answered(bench):
    one, _ = bench.stable(2)
    bench.join()
    older = bench.join(one)
    newer = bench.join(one)

    assert bench.answers[older].error is ErrorCode.REBALANCE_IN_PROGRESS
    assert newer not in bench.answers


def test_all_must_have_a_protocol_in_common(bench, range_protocol, sticky_protocol):
    bench.stable(protocols=(range_protocol, sticky_protocol))
    other = StoredProtocol("roundrobin", b"")

    refused = [
        bench.join(protocols=(other,)),
        bench.join(protocol_type="connect"),
        bench.join(protocols=()),
    ]

    assert {bench.answers[ticket].error for ticket in refused} == {
        ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    }


def test_the_protocol_is_what_most_like_best_of_the_common_ones(
    bench_of, range_protocol, sticky_protocol
):
    bench = bench_of(initial_rebalance_delay_ms=10)
    other = StoredProtocol("roundrobin", b"")
    tickets = [
        bench.join(protocols=(range_protocol, sticky_protocol)),
        bench.join(protocols=(other, sticky_protocol, range_protocol)),
        bench.join(protocols=(sticky_protocol, range_protocol)),
    ]
    bench.pass_ms(50)

    assert {bench.answers[ticket].protocol for ticket in tickets} == {"sticky"}
    leader = next(bench.answers[t] for t in tickets if bench.answers[t].members)
    assert {member.metadata for member in leader.members} == {b"sticky topics"}


def test_a_stranger_is_not_let_in_under_a_name_it_made_up(bench):
    bench.stable()

    assert bench.answers[bench.join("stranger")].error is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_full_group_takes_nobody_but_keeps_its_members(bench_of):
    bench = bench_of(members_max=2)
    one, _ = bench.stable(2)

    assert bench.answers[bench.join()].error is ErrorCode.GROUP_MAX_SIZE_REACHED
    bench.join(one)
    assert bench.beat(one) is ErrorCode.REBALANCE_IN_PROGRESS


def test_members_may_not_say_more_than_one_entry_holds(bench):
    much = (StoredProtocol("range", bytes(GROUP_BYTES_MAX)),)
    one = bench.joined(protocols=much).member_id

    assert bench.answers[bench.join()].error is ErrorCode.GROUP_MAX_SIZE_REACHED
    more = (StoredProtocol("range", bytes(GROUP_BYTES_MAX + 1)),)
    assert bench.answers[bench.join(one, protocols=more)].error is ErrorCode.GROUP_MAX_SIZE_REACHED


def test_who_got_an_id_first_may_not_say_more_than_one_entry_holds_either(bench):
    half = (StoredProtocol("range", bytes(GROUP_BYTES_MAX // 2)),)
    ids = [bench.answers[bench.join(learns_id_first=True)].member_id for _ in range(3)]
    joins = [bench.join(member_id, protocols=half) for member_id in ids]

    errors = [bench.answers[ticket].error for ticket in joins]
    assert errors == [ErrorCode.NONE, ErrorCode.NONE, ErrorCode.GROUP_MAX_SIZE_REACHED]
    assert bench.group.state is GroupState.COMPLETING, "who was refused is not waited for"


def test_who_waits_and_goes_away_holds_up_nobody_for_longer_than_its_session(bench):
    (one,) = bench.stable()
    new = bench.join(learns_id_first=True)
    waiting = bench.join(bench.answers[new].member_id)
    bench.gone(waiting)
    again = bench.join(one)
    bench.pass_ms(9_999)
    assert again not in bench.answers
    bench.pass_ms(1)

    assert bench.answers[again].generation == 2


def test_who_never_knew_its_id_is_out_at_once_when_it_goes_away(bench):
    (one,) = bench.stable()
    bench.gone(bench.join())

    assert bench.joined(one).generation == 2


def test_a_group_without_members_starts_over_with_any_protocol_type(bench):
    (one,) = bench.stable()
    bench.leave(one)

    answer = bench.joined(protocol_type="connect", protocols=(StoredProtocol("eager", b""),))

    assert (answer.protocol_type, answer.generation) == ("connect", 3)


@pytest.mark.parametrize("member_id", ["", "somebody"])
def test_a_deleted_group_sends_everybody_away(bench, member_id):
    bench.group.delete()

    assert bench.answers[bench.join(member_id)].error is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert bench.beat("x") is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert bench.leave("x") is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert bench.commit("x") is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert bench.answers[bench.sync("x")].error is ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_a_static_member_that_comes_back_may_not_say_more_than_one_entry_holds(bench):
    half = (StoredProtocol("range", bytes(GROUP_BYTES_MAX // 2)),)
    one = bench.joined(protocols=half, instance_id="first").member_id
    more = (StoredProtocol("range", bytes(GROUP_BYTES_MAX + 1)),)

    refused = bench.answers[bench.join(protocols=more, instance_id="first")]

    assert refused.error is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert bench.group.roster.of_instance("first").member_id == one


def test_members_that_go_silent_together_are_stored_as_gone_once(bench):
    bench.stable(5)
    stored = len(bench.log)
    kept = bench.group.roster.leader
    bench.pass_ms(9_000)
    bench.beat(kept)

    bench.pass_ms(1_000)

    assert [member.member_id for member in bench.log[-1].members] == [kept]
    assert len(bench.log) == stored + 1
