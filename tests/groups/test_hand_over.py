"""Groups with members go from one protocol to the other, and keep what they have."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups import classic_consumers
from trimaran.groups.messages import MemberClaim, MigrationPolicy
from trimaran.groups.subscription import read_assignment

WANTS_A = b"\x00\x01\x00\x00\x00\x01\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x00"


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
