"""The new protocol: epochs, targets, steps; who is fenced, who is missed, what is stored first."""

import time

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.consumer_group import ConsumerGroupState
from trimaran.groups.messages import MemberClaim
from trimaran.groups.parts import NOTHING
from trimaran.groups.stored import MemberState

AWAY = -2
INVALID_REQUEST = ErrorCode.INVALID_REQUEST
LEAVE = -1


def stable_pair(bench):
    """Two members that share six partitions; return what each has."""
    bench.join("one")
    bench.join("two")
    told = bench.beat("one", 1)
    has = bench.beat("one", 1, owned=told.assigned)
    given = bench.beat("two", 2)
    assert bench.group.state is ConsumerGroupState.STABLE
    return has.assigned or told.assigned, given.assigned


def test_a_member_alone_has_everything_at_once(consumers):
    answer = consumers.join("one")

    assert (answer.error, answer.epoch, answer.member_id) == (ErrorCode.NONE, 1, "one")
    assert answer.heartbeat_interval_ms == 1_000
    assert consumers.numbers(answer.assigned) == [0, 1, 2, 3, 4, 5]
    assert consumers.group.state is ConsumerGroupState.STABLE


def test_what_has_an_owner_is_given_only_once_it_is_given_up(consumers):
    consumers.join("one")
    joined = consumers.join("two")
    told = consumers.beat("one", 1)
    still = consumers.beat("two", 2)
    revoked = consumers.beat("one", 1, owned=told.assigned)
    given = consumers.beat("two", 2)

    assert (joined.epoch, joined.assigned) == (2, NOTHING)
    assert (told.epoch, len(told.assigned)) == (1, 3)
    assert still.assigned is None
    assert (revoked.epoch, revoked.assigned) == (2, None)
    assert len(given.assigned) == 3
    assert given.assigned.isdisjoint(told.assigned)


def test_a_member_that_says_nothing_of_what_it_has_may_have_everything(consumers):
    consumers.join("one")
    consumers.join("two")
    consumers.beat("one", 1)

    assert consumers.beat("one", 1).epoch == 1
    assert consumers.beat("two", 2).assigned is None
    assert consumers.group.state is ConsumerGroupState.RECONCILING


def test_what_a_member_left_behind_goes_to_the_others_at_their_next_heartbeat(consumers):
    stable_pair(consumers)
    left = consumers.beat("two", LEAVE)
    state = consumers.group.state
    answer = consumers.beat("one", 2)

    assert (left.epoch, left.assigned) == (LEAVE, None)
    assert state is ConsumerGroupState.ASSIGNING
    assert consumers.numbers(answer.assigned) == [0, 1, 2, 3, 4, 5]


def test_a_silent_member_is_out_after_its_session(consumers):
    stable_pair(consumers)
    consumers.pass_ms(6_000)
    consumers.beat("one", 2)
    consumers.pass_ms(3_999)
    assert len(consumers.group.members) == 2
    consumers.pass_ms(1)

    assert len(consumers.group.members) == 1
    assert len(consumers.beat("one", 2).assigned) == 6
    assert consumers.code_of("two", 2) is ErrorCode.UNKNOWN_MEMBER_ID


def test_who_does_not_give_up_in_time_is_out(consumers):
    consumers.join("one", rebalance_timeout_ms=5_000)
    consumers.join("two")
    consumers.beat("one", 1)
    for _ in range(4):
        consumers.pass_ms(1_000)
        consumers.beat("one", 1)
        consumers.beat("two", 2)
    assert len(consumers.group.members) == 2
    consumers.pass_ms(1_000)

    assert consumers.code_of("one", 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert len(consumers.beat("two", 2).assigned) == 6


@pytest.mark.parametrize(
    ("member", "epoch", "changes", "code"),
    [
        ("one", 3, {}, ErrorCode.FENCED_MEMBER_EPOCH),
        ("one", 0, {"owned": NOTHING}, ErrorCode.FENCED_MEMBER_EPOCH),
        ("one", 1, {}, ErrorCode.FENCED_MEMBER_EPOCH),
        ("stranger", 1, {}, ErrorCode.UNKNOWN_MEMBER_ID),
        ("stranger", LEAVE, {}, ErrorCode.UNKNOWN_MEMBER_ID),
        ("stranger", LEAVE, {"instance_id": "i"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ("stranger", 2, {"instance_id": "i"}, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_strangers_and_members_of_another_epoch_are_sent_away(
    consumers, member, epoch, changes, code
):
    stable_pair(consumers)

    assert consumers.code_of(member, epoch, **changes) is code


def test_a_member_whose_answer_was_lost_comes_again_in_its_last_epoch(consumers):
    first = consumers.join("one")
    again = consumers.join("one")

    assert (again.epoch, again.assigned) == (first.epoch, first.assigned)
    assert len(consumers.changes) == 1


def test_no_news_costs_no_entry_in_the_log(consumers):
    stable_pair(consumers)
    before = len(consumers.changes)
    answer = consumers.beat("one", 2)

    assert (answer.epoch, answer.assigned) == (2, None)
    assert len(consumers.changes) == before


def test_no_answer_leaves_before_the_log_holds_what_it_says(consumers):
    consumers.holds_changes = True
    join = consumers.send("one", 0, topics=("a",), rebalance_timeout_ms=1_000, owned=NOTHING)
    again = consumers.send("one", 1, topics=("a",), rebalance_timeout_ms=1_000, owned=NOTHING)
    assert join not in consumers.answers
    assert again not in consumers.answers
    consumers.store()

    assert len(consumers.answers[join].assigned) == len(consumers.answers[again].assigned) == 6


def test_a_change_that_is_not_stored_voids_the_group(consumers):
    consumers.holds_changes = True
    ticket = consumers.send("one", 0, topics=("a",), rebalance_timeout_ms=1, owned=NOTHING)
    consumers.store(done=False)

    assert consumers.group.is_void
    assert consumers.answers[ticket].error is ErrorCode.NOT_COORDINATOR
    consumers.take_over()
    assert len(consumers.group.members) == 0


def test_another_coordinator_goes_on_where_the_log_stands(consumers):
    has, _ = stable_pair(consumers)
    consumers.take_over()
    answer = consumers.beat("one", 2, topics=("a",), rebalance_timeout_ms=30_000, owned=has)

    assert (answer.epoch, answer.assigned) == (2, has)
    assert consumers.group.state is ConsumerGroupState.STABLE
    consumers.pass_ms(9_999)
    assert len(consumers.group.members) == 2


def test_a_takeover_amid_a_rebalance_gives_nothing_out_twice(consumers):
    consumers.join("one")
    consumers.join("two")
    told = consumers.beat("one", 1)
    consumers.take_over()

    assert consumers.beat("two", 2).assigned is None
    assert consumers.beat("one", 1, owned=told.assigned).epoch == 2
    assert len(consumers.beat("two", 2).assigned) == 3


def test_new_partitions_and_topics_reach_members_at_their_next_heartbeat(consumers_of):
    bench = consumers_of({"a": 2})
    bench.join("one", topics=("a", "b"))
    bench.topics.grow("a", 3)
    grown = bench.beat("one", 1)
    bench.topics.create("b", 1)
    both = bench.beat("one", 2)

    assert (grown.epoch, bench.numbers(grown.assigned)) == (2, [0, 1, 2])
    assert (both.epoch, bench.numbers(both.assigned, "b")) == (3, [0])


def test_a_topic_that_ended_is_taken_away(consumers_of):
    bench = consumers_of({"a": 2, "b": 2})
    bench.join("one", topics=("a", "b"))
    bench.topics.delete("b")
    told = bench.beat("one", 1)

    assert (told.epoch, bench.numbers(told.assigned)) == (1, [0, 1])
    assert len(told.assigned) == 2


def test_a_coordinator_that_has_not_heard_of_a_topic_yet_takes_nothing_away(consumers):
    consumers.join("one")
    bring_back = consumers.topics.forget("a")
    consumers.take_over()
    unknown = consumers.beat("one", 1)
    bring_back()

    assert (unknown.epoch, unknown.assigned) == (1, None)
    assert consumers.beat("one", 1).epoch == 1


def test_a_pattern_follows_the_topics_that_fit(consumers_of):
    bench = consumers_of({"a1": 1, "b1": 1})
    first = bench.join("one", topics=None, pattern="a")
    bench.topics.create("a2", 2)
    second = bench.beat("one", 1)
    dropped = bench.beat("one", 2, pattern="", topics=("b1",))

    assert len(first.assigned) == 1
    assert bench.numbers(second.assigned, "a2") == [0, 1]
    assert dropped.assigned == NOTHING
    assert bench.beat("one", 2, owned=NOTHING).assigned == bench.parts(0, topic="b1")


def test_a_pattern_is_matched_once_however_many_members_have_it(consumers_of):
    bench = consumers_of({"a1": 1, "b1": 1})
    matched = []
    fits = bench.topics.fits
    bench.topics.fits = lambda pattern, name: matched.append((pattern, name)) or fits(pattern, name)
    for member in ("one", "two", "three"):
        bench.join(member, topics=None, pattern="a")
    bench.join("four", topics=("b1",), pattern="a")
    joined, matched[:] = list(matched), []

    bench.topics.create("c1", 1)
    bench.beat("four", bench.group.members.get("four").epoch)

    assert joined == [("a", "a1"), ("a", "b1")]
    assert matched == [("a", "a1"), ("a", "b1"), ("a", "c1")]
    assert [one.wanted for one in bench.group.members] == [("a1",)] * 3 + [("a1", "b1")]


def test_more_patterns_than_are_kept_are_matched_anew(consumers_of, monkeypatch):
    monkeypatch.setattr("trimaran.groups.topics.PATTERNS_MATCHED_MAX", 2)
    bench = consumers_of({"a1": 1, "b1": 1, "c1": 1})

    for pattern in "abcb":
        bench.join(f"{pattern}-{bench.now_ms}", topics=None, pattern=pattern)

    assert [one.wanted for one in bench.group.members] == [("a1",), ("b1",), ("c1",)]


def test_the_assignor_that_most_members_ask_for_is_taken(consumers_of):
    bench = consumers_of({"a": 3, "b": 3})
    for name, assignor in (("one", "range"), ("two", "range"), ("three", "uniform")):
        bench.join(name, topics=("a", "b"), assignor=assignor)

    assert bench.group.assignor == "range"
    assert bench.group.members.get("one").target == bench.parts(0) | bench.parts(0, topic="b")


def test_a_static_member_is_away_for_a_while_and_moves_nobody(consumers):
    consumers.join("one", instance_id="first")
    consumers.join("two")
    has = consumers.beat("one", 1).assigned
    consumers.beat("one", 1, owned=has)
    others = consumers.beat("two", 2).assigned
    epoch = consumers.group.epoch
    away = consumers.beat("one", AWAY, instance_id="first")
    back = consumers.join("uno", instance_id="first")

    assert away.epoch == AWAY
    assert (back.epoch, back.assigned) == (2, has)
    assert consumers.beat("two", 2, owned=others).assigned is None
    assert consumers.group.epoch == epoch
    assert consumers.code_of("one", 2, instance_id="first") is ErrorCode.FENCED_INSTANCE_ID
    assert consumers.code_of("one", LEAVE, instance_id="first") is ErrorCode.FENCED_INSTANCE_ID


def test_an_instance_id_in_use_is_not_given_away(consumers):
    consumers.join("one", instance_id="first")
    fields = {"instance_id": "first", "topics": ("a",), "owned": NOTHING}

    code = consumers.code_of("two", 0, rebalance_timeout_ms=1_000, **fields)
    assert code is ErrorCode.UNRELEASED_INSTANCE_ID


def test_a_static_member_that_stays_away_is_out_after_its_session(consumers):
    consumers.join("one", instance_id="first")
    consumers.join("two")
    consumers.beat("one", AWAY, instance_id="first")
    for _ in range(9):
        consumers.pass_ms(1_000)
        consumers.beat("two", 2)
    assert len(consumers.group.members) == 2
    consumers.pass_ms(1_000)

    assert len(consumers.beat("two", 2).assigned) == 6


def test_a_static_member_leaves_for_good(consumers):
    consumers.join("one", instance_id="first")
    consumers.beat("one", LEAVE, instance_id="first")

    assert consumers.group.state is ConsumerGroupState.EMPTY
    assert consumers.group.is_idle


def test_a_full_group_takes_nobody_more(consumers_of):
    bench = consumers_of(members_max=1)
    bench.join("one")
    fields = {"topics": ("a",), "owned": NOTHING, "rebalance_timeout_ms": 1}

    assert bench.code_of("two", 0, **fields) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert bench.beat("one", 1).epoch == 1


def test_members_may_not_say_more_than_a_group_may_hold(consumers, monkeypatch):
    monkeypatch.setattr("trimaran.groups.consumer_group.GROUP_BYTES_MAX", 12)
    consumers.join("one", topics=("a", "bb"), pattern="ccc")
    fields = {"owned": NOTHING, "rebalance_timeout_ms": 1}
    full = ErrorCode.GROUP_MAX_SIZE_REACHED

    assert consumers.code_of("two", 0, topics=("ddddddd",), **fields) is full
    assert consumers.code_of("one", 1, topics=("dddddddddd",)) is full, "its pattern counts"
    assert consumers.code_of("one", 1, pattern="dddddddddd") is full, "and so do its topics"
    assert consumers.join("two", topics=("d",), pattern="ddddd").error is ErrorCode.NONE
    assert consumers.beat("one", 1, topics=("dd",)).error is ErrorCode.NONE


def test_a_group_that_holds_too_much_already_goes_on_but_not_further(consumers, monkeypatch):
    consumers.join("one", topics=("a", "bb"))
    monkeypatch.setattr("trimaran.groups.consumer_group.GROUP_BYTES_MAX", 2)

    assert consumers.beat("one", 1, topics=("cc", "d")).error is ErrorCode.NONE
    assert consumers.code_of("one", 2, topics=("cc", "dd")) is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert consumers.code_of("two", 0, topics=("a",)) is ErrorCode.GROUP_MAX_SIZE_REACHED


@pytest.mark.parametrize(
    ("claim", "version", "code"),
    [
        (("one", 2), 9, ErrorCode.NONE),
        (("one", 1), 9, ErrorCode.STALE_MEMBER_EPOCH),
        (("one", 2), 8, ErrorCode.UNSUPPORTED_VERSION),
        (("stranger", 2), 9, ErrorCode.UNKNOWN_MEMBER_ID),
        (("", -1), 9, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_who_may_commit(consumers, claim, version, code):
    stable_pair(consumers)
    member_id, epoch = claim
    named = MemberClaim(member_id=member_id, generation=epoch)

    assert consumers.group.judge_commit(named, version=version) is code


def test_an_empty_group_takes_commits_of_whoever_assigns_partitions_itself(consumers):
    claim = MemberClaim(member_id="", generation=-1)

    assert consumers.group.judge_commit(claim, version=9) is ErrorCode.NONE


@pytest.mark.parametrize(
    ("member_id", "epoch", "code"),
    [
        (None, -1, ErrorCode.NONE),
        ("one", 2, ErrorCode.NONE),
        ("one", 1, ErrorCode.STALE_MEMBER_EPOCH),
        ("stranger", 2, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_who_may_ask_for_offsets(consumers, member_id, epoch, code):
    stable_pair(consumers)

    assert consumers.group.judge_fetch(member_id, epoch) is code


def test_a_thousand_partitions_cost_a_heartbeat_without_news_nothing(consumers_of):
    bench = consumers_of({"a": 1_000})
    names = ("one", "two", "three")
    for name in names:
        bench.join(name)
    owned = dict.fromkeys(names, NOTHING)
    epochs = {"one": 1, "two": 2, "three": 3}
    for _ in range(6):
        for name in names:
            answer = bench.beat(name, epochs[name], owned=owned[name])
            epochs[name] = answer.epoch
            if answer.assigned is not None:
                owned[name] = answer.assigned
    assert bench.group.state is ConsumerGroupState.STABLE
    assert sorted(len(one) for one in owned.values()) == [333, 333, 334]

    bench.topics.find = bench.topics.names = None  # a heartbeat without news asks for nothing
    before = len(bench.changes)
    begin = time.process_time()
    for _ in range(1_000):
        for name in names:
            bench.beat(name, epochs[name])
    taken_us = (time.process_time() - begin) * 1_000_000 / 3_000
    print(f"{taken_us:.1f} us for a heartbeat")

    assert len(bench.changes) == before
    assert taken_us < 200, "O(1): it does not look at a thousand partitions"


def test_a_change_stores_only_whom_it_concerns(consumers):
    stable_pair(consumers)
    consumers.beat("one", 2, topics=("a",), rebalance_timeout_ms=7_000, owned=NOTHING)
    (member,) = consumers.changes[-1].members

    assert (member.member_id, member.rebalance_timeout_ms) == ("one", 7_000)
    assert consumers.changes[-1].topics is None
    assert member.state is MemberState.STABLE


@pytest.mark.parametrize("state", ["away", "unknown"])
def test_an_instance_does_not_take_the_id_of_another_member(consumers, state):
    consumers.join("one", instance_id="first")
    consumers.join("two", instance_id="second")
    name = "third"
    if state == "away":
        consumers.beat("one", AWAY, instance_id="first")
        name = "first"

    consumers.join("three")

    fields = {"topics": ("a",), "owned": NOTHING}
    assert consumers.code_of("two", 0, instance_id=name, **fields) is INVALID_REQUEST
    if state == "away":
        assert consumers.code_of("three", 0, instance_id=name, **fields) is INVALID_REQUEST

    assert consumers.join("uno", instance_id="first" if state == "away" else "third").epoch > 0


def test_a_member_that_left_leaves_no_instance_behind(consumers):
    consumers.join("one")
    consumers.join("one", instance_id="first")
    consumers.beat("one", LEAVE, instance_id="first")

    assert consumers.join("uno", instance_id="first").error is ErrorCode.NONE
