"""Consumer groups as each library drives them."""

import time
import uuid

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

PARTITIONS = 4
SETTLED_S = 40.0
LOOK_S = 0.3


@pytest.fixture
def group(client_name):
    return f"group-{client_name}-{uuid.uuid4().hex[:8]}"


def fill(admin, topic, *, of_each=5):
    """Write events to all partitions."""
    for partition in range(PARTITIONS):
        records = [
            {"key": "k", "value": f"{partition}-{n}", "partition": partition}
            for n in range(of_each)
        ]
        admin.ask("produce", topic=topic, records=records)
    return PARTITIONS * of_each


def values(records):
    return sorted(one["value"] for one in records)


def settle(members, wanted):
    """Poll all members until `wanted` holds for what they are assigned."""
    deadline = time.monotonic() + SETTLED_S
    while True:
        for member in members:
            member.ask("poll", count=1_000_000, seconds=LOOK_S)
        assigned = [member.ask("assignment") for member in members]
        if wanted(assigned):
            return assigned
        assert time.monotonic() < deadline, assigned


def are_shared(assigned):
    """Whether every partition is assigned to one member, and every member has some."""
    everything = sorted(tuple(place) for places in assigned for place in places)
    return len(everything) == len(set(everything)) == PARTITIONS and all(assigned)


@pytest.mark.feature("group: reads, commits, goes on where it was")
def test_a_group_goes_on_where_it_committed(client, another, admin, topic, group):
    name = topic(partitions=PARTITIONS)
    count = fill(admin, name)
    member = another()
    member.ask("join", group=group, topics=[name])
    first = member.ask("poll", count=count)
    member.ask("commit")
    member.ask("leave")

    more = fill(admin, name, of_each=3)
    member.ask("join", group=group, topics=[name])
    second = member.ask("poll", count=more)
    member.ask("leave")

    assert len(set(values(first))) == len(first) == count
    assert len(second) == more
    assert admin.ask("committed", group=group, topic=name, partition=0) in (5, 8)


@pytest.mark.feature("group: members share partitions ({strategy})")
@pytest.mark.parametrize("strategy", ["range", "cooperative-sticky"])
def test_members_share_and_take_over(client, another, admin, topic, group, strategy):
    name = topic(partitions=PARTITIONS)
    fill(admin, name)
    first, second = another(), another()
    first.ask("join", group=group, topics=[name], strategy=strategy)
    settle([first], are_shared)

    second.ask("join", group=group, topics=[name], strategy=strategy)
    settle([first, second], are_shared)
    assert admin.ask("group", group=group) == {"state": "Stable", "members": 2}
    second.ask("leave")
    (left,) = settle([first], are_shared)
    first.ask("leave")

    assert left == [[name, number] for number in range(PARTITIONS)]


@pytest.mark.feature("group: a static member comes back without a rebalance")
def test_a_static_member_comes_back_as_itself(client, another, admin, topic, group):
    name = topic(partitions=PARTITIONS)
    fill(admin, name)
    first, second = another(), another()
    first.ask("join", group=group, topics=[name], instance="one")
    settle([first], are_shared)
    second.ask("join", group=group, topics=[name], instance="two")
    before = settle([first, second], are_shared)

    second.kill()
    again = another()
    again.ask("join", group=group, topics=[name], instance="two")
    after = settle([first, again], are_shared)

    assert after == before
    assert admin.ask("group", group=group)["members"] == 2


@pytest.mark.feature("group: its coordinator is killed")
def test_a_group_survives_its_coordinator(client, another, admin, cluster, topic, group):
    name = topic(partitions=PARTITIONS)
    count = fill(admin, name)
    member = another()
    member.ask("join", group=group, topics=[name])
    first = member.ask("poll", count=count)
    member.ask("commit")

    for node in cluster.nodes[:1]:
        cluster.kill(node)
        cluster.start(node)
    more = fill(admin, name, of_each=2)
    second = member.ask("poll", count=more)
    member.ask("commit")
    member.ask("leave")

    assert len(first) == count
    assert len(second) == more
