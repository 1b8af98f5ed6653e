"""Groups with members go from one protocol to the other, and keep what they have."""

import struct

import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups import classic_consumers
from trimaran.groups.hand_over import upgraded
from trimaran.groups.limits import MEMBER_ID_CHARACTERS_MAX, SUBSCRIPTION_TOPICS_MAX
from trimaran.groups.messages import MemberClaim, MigrationPolicy
from trimaran.groups.stored import StoredProtocol
from trimaran.groups.subscription import read_assignment, write_assignment

WANTS_A = b"\x00\x01\x00\x00\x00\x01\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x00"


TOO_LONG = "x" * (MEMBER_ID_CHARACTERS_MAX + 1)
TOO_MANY = [str(number) for number in range(SUBSCRIPTION_TOPICS_MAX + 1)]


def wants(*topics):
    """Return the subscription of a member that has nothing yet."""
    names = [struct.pack(">h", len(name)) + name.encode() for name in topics]
    return b"".join((struct.pack(">hi", 1, len(names)), *names, struct.pack(">ii", -1, 0)))


def heartbeat(bench, member_id, generation):
    claim = MemberClaim(member_id=member_id, generation=generation)
    return classic_consumers.heartbeat(bench.group, claim, now_ms=bench.now_ms)


def test_a_classic_member_is_served_beside_one_of_the_new_protocol(consumers):
    consumers.join("new")
    joined = consumers.classic_join("old", subscription=WANTS_A)
    told = consumers.beat("new", 1)
    consumers.beat("new", 1, owned=told.assigned)
    code = heartbeat(consumers, "old", joined.generation)
    again = consumers.classic_join("old", subscription=WANTS_A)
    synced = consumers.classic_sync("old", again.generation)

    assert (joined.error, joined.leader, joined.protocol) == (ErrorCode.NONE, "", "range")
    assert code is ErrorCode.REBALANCE_IN_PROGRESS
    ((name, numbers),) = read_assignment(synced.assignment)
    assert (name, len(numbers)) == ("a", 3)
    assert sorted([*numbers, *consumers.numbers(told.assigned)]) == [0, 1, 2, 3, 4, 5]


def test_the_last_member_of_the_new_protocol_leaves_a_classic_group_behind(consumers):
    consumers.join("new")
    consumers.classic_join("old", subscription=WANTS_A)
    consumers.beat("new", -1)

    stored = consumers.classic.group
    assert [member.member_id for member in stored.members] == ["old"]
    assert (stored.protocol, stored.is_rebalancing) == ("range", True)


@pytest.mark.parametrize("policy", [MigrationPolicy.UPGRADE, MigrationPolicy.DISABLED])
def test_no_group_is_downgraded_where_that_is_not_wanted(consumers_of, policy):
    bench = consumers_of(migration=policy)
    bench.join("new")
    bench.classic_join("old", subscription=WANTS_A)
    bench.beat("new", -1)

    assert bench.classic is None
    assert len(bench.group.members) == 1


def test_classic_members_may_not_say_more_than_a_group_may_hold(consumers, monkeypatch):
    consumers.join("new")
    consumers.classic_join("old", subscription=WANTS_A)
    limit = 2 * (len(WANTS_A) + 1) + 1
    monkeypatch.setattr("trimaran.groups.consumer_group.GROUP_BYTES_MAX", limit)
    joined = consumers.classic_join(subscription=WANTS_A)
    with pytest.raises(RequestError) as refused:
        consumers.classic_join(subscription=WANTS_A)
    with pytest.raises(RequestError) as refused_first:
        consumers.classic_join(subscription=WANTS_A, learns_id_first=True)

    assert joined.error is ErrorCode.NONE
    assert refused.value.code is refused_first.value.code is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert len(consumers.group.members) == 3


@pytest.mark.parametrize("topics", [[TOO_LONG], TOO_MANY])
def test_a_subscription_that_no_log_takes_is_refused_and_changes_nothing(consumers, topics):
    consumers.join("new")
    with pytest.raises(RequestError) as refused:
        consumers.classic_join("old", subscription=wants(*topics))

    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert "topic" in str(refused.value)
    assert [member.member_id for member in consumers.group.members] == ["new"]
    assert (consumers.group.epoch, consumers.group.is_void) == (1, False)


@pytest.mark.parametrize(
    ("subscription", "part"),
    [
        (wants(TOO_LONG), b""),
        (wants(*TOO_MANY), b""),
        (wants("a"), write_assignment(1, (("a", (-1,)),))),
    ],
)
def test_a_classic_group_that_no_log_takes_as_one_of_the_new_protocol_stays_one(
    bench, consumers, subscription, part
):
    member_id = bench.joined(protocols=(StoredProtocol("range", subscription),)).member_id
    bench.sync(member_id, parts={member_id: part})
    with pytest.raises(RequestError) as refused:
        upgraded(bench.group, topics=consumers.topics)

    assert refused.value.code is ErrorCode.GROUP_ID_NOT_FOUND
    assert member_id in str(refused.value)


def share(bench, *members, **parts):
    """Have members join again and the first of them, the leader, bring `parts`; it alone syncs."""
    for member in members:
        bench.join(member, protocols=(StoredProtocol("range", WANTS_A),))
    bench.sync(members[0], parts={name: some(*numbers) for name, numbers in parts.items()})


def some(*numbers):
    return write_assignment(1, (("a", numbers),))


def has(bench, consumers):
    """Return which partitions members have that go over to the new protocol."""
    stored = upgraded(bench.group, topics=consumers.topics)
    return {
        member.member_id: [number for _, numbers in member.assigned for number in numbers]
        for member in stored.members
    }


def pair(bench):
    """Let one and two be members: one leads, and was told that it has everything."""
    protocols = (StoredProtocol("range", WANTS_A),)
    bench.joined(fresh_id="one", protocols=protocols)
    bench.sync("one", parts={"one": some(0, 1, 2, 3, 4, 5)})
    bench.join(fresh_id="two", protocols=protocols)


def test_a_member_has_what_it_was_told_not_what_is_planned_for_it(bench, consumers):
    """Or what it still reads would be given to a member of the new protocol."""
    pair(bench)
    bench.holds_stores = True
    share(bench, "one", one=(0, 1, 2), two=(3, 4, 5))
    bench.join(fresh_id="three", protocols=(StoredProtocol("range", WANTS_A),))

    assert has(bench, consumers) == {"one": [0, 1, 2, 3, 4, 5], "two": [], "three": []}


def test_what_another_member_was_told_since_it_has_no_more(bench, consumers):
    pair(bench)
    share(bench, "one", one=(0, 1, 2), two=(3, 4, 5))
    bench.sync("two")
    both = has(bench, consumers)
    share(bench, "one", "two", one=(0, 1, 2, 3), two=(4, 5))

    assert both == {"one": [0, 1, 2], "two": [3, 4, 5]}
    assert has(bench, consumers) == {"one": [0, 1, 2, 3], "two": [4, 5]}
