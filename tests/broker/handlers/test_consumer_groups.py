"""ConsumerGroupHeartbeat and ConsumerGroupDescribe: what a member of the new protocol is told."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey

BEAT = ApiKey.CONSUMER_GROUP_HEARTBEAT


def heartbeat(member_id="one", epoch=0, **changes):
    first = {
        "rebalance_timeout_ms": 30_000,
        "subscribed_topic_names": ["flights"],
        "topic_partitions": [],
    }
    fields = {"group_id": "g"} | (first if epoch == 0 else {}) | changes
    return m.ConsumerGroupHeartbeatRequest(member_id=member_id, member_epoch=epoch, **fields)


def numbers(assignment):
    return [list(topic.partitions) for topic in assignment.topic_partitions]


@pytest.fixture
def ready(coordinator, flights):
    return coordinator


@pytest.mark.asyncio
@pytest.mark.parametrize("version", [0, 1])
async def test_a_member_joins_goes_on_and_leaves(ask, ready, flights, version):
    joined = await ask(BEAT, heartbeat(), version)
    going_on = await ask(BEAT, heartbeat(epoch=1), version)
    left = await ask(BEAT, heartbeat(epoch=-1), version)

    assert (joined.error_code, joined.member_id, joined.member_epoch) == (0, "one", 1)
    assert joined.heartbeat_interval_ms == 1_000
    (topic,) = joined.assignment.topic_partitions
    assert (topic.topic_id, list(topic.partitions)) == (flights.topic_id, [0, 1, 2, 3])
    assert (going_on.error_code, going_on.member_epoch, going_on.assignment) == (0, 1, None)
    assert (left.error_code, left.member_epoch) == (0, -1)


@pytest.mark.asyncio
async def test_before_version_1_the_coordinator_names_members(ask, ready):
    joined = await ask(BEAT, heartbeat(""), 0)

    assert joined.error_code == 0
    assert len(joined.member_id) == 36


@pytest.mark.asyncio
async def test_a_pattern_is_matched_against_whole_names(ask, ready, broker):
    broker.add_topic("flights-late", 2)
    pattern = {"subscribed_topic_names": None, "subscribed_topic_regex": "fl.ghts"}
    joined = await ask(BEAT, heartbeat(**pattern))

    assert numbers(joined.assignment) == [[0, 1, 2, 3]]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"epoch": -3}, ErrorCode.INVALID_REQUEST),
        ({"member_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"group_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"instance_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"rack_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"rebalance_timeout_ms": -1}, ErrorCode.INVALID_REQUEST),
        ({"rebalance_timeout_ms": -2}, ErrorCode.INVALID_REQUEST),
        ({"subscribed_topic_names": None}, ErrorCode.INVALID_REQUEST),
        ({"topic_partitions": None}, ErrorCode.INVALID_REQUEST),
        (
            {"topic_partitions": [m.HeartbeatTopicPartitions(topic_id=bytes(16))]},
            ErrorCode.INVALID_REQUEST,
        ),
        ({"epoch": -2}, ErrorCode.INVALID_REQUEST),
        ({"member_id": "m" * 600}, ErrorCode.INVALID_REQUEST),
        ({"instance_id": "i" * 250}, ErrorCode.INVALID_REQUEST),
        ({"subscribed_topic_names": ["t"] * 10_001}, ErrorCode.INVALID_REQUEST),
        ({"server_assignor": "sticky"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ({"subscribed_topic_regex": "("}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"subscribed_topic_regex": "(a)\\1"}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"subscribed_topic_regex": "a" * 5_000}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"epoch": 1}, ErrorCode.GROUP_ID_NOT_FOUND),
        ({"epoch": -1}, ErrorCode.GROUP_ID_NOT_FOUND),
    ],
)
async def test_nonsense_and_strangers_are_refused(ask, ready, changes, code):
    answer = await ask(BEAT, heartbeat(**changes))

    assert answer.error_code == code
    assert answer.error_message
    assert not (await ready.ready()).is_known("g")


@pytest.mark.asyncio
async def test_nothing_is_told_before_it_is_stored(client, ready, settle):
    live = await ready.ready()
    ready.holds = True
    call = client.send(BEAT, 1, heartbeat())
    await settle(lambda: ready.held)
    assert not client.has_answered(call)
    ready.held.pop()()
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).member_epoch == 1
    assert live.get("g").state.value == "Stable"


@pytest.mark.asyncio
async def test_what_cannot_be_stored_is_taken_back(client, ask, ready, settle):
    await ask(BEAT, heartbeat())
    ready.holds = True
    call = client.send(BEAT, 1, heartbeat("two"))
    await settle(lambda: ready.held)
    ready.held.pop()(False)
    await settle(lambda: client.has_answered(call))
    ready.holds = False
    going_on = await ask(BEAT, heartbeat("one", 1))

    assert client.answer_of(call).error_code == ErrorCode.NOT_COORDINATOR
    assert (going_on.error_code, going_on.member_epoch) == (0, 1)
    assert (await ask(BEAT, heartbeat("two", 1))).error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.asyncio
@pytest.mark.parametrize("version", [0, 1])
async def test_a_group_of_the_new_protocol_is_described(ask, ready, version):
    await ask(BEAT, heartbeat(instance_id="i", rack_id="r"))
    request = m.ConsumerGroupDescribeRequest(group_ids=["g", "other", "g"])
    group, other = (await ask(ApiKey.CONSUMER_GROUP_DESCRIBE, request, version)).groups

    assert (group.error_code, group.group_state, group.assignor_name) == (0, "Stable", "uniform")
    assert (group.group_epoch, group.assignment_epoch) == (1, 1)
    (member,) = group.members
    assert (member.member_id, member.instance_id, member.rack_id) == ("one", "i", "r")
    assert member.assignment.topic_partitions[0].topic_name == "flights"
    assert numbers(member.assignment) == numbers(member.target_assignment) == [[0, 1, 2, 3]]
    assert member.member_type == 1
    assert (other.error_code, other.group_id) == (ErrorCode.GROUP_ID_NOT_FOUND, "other")


@pytest.mark.asyncio
async def test_lists_tell_groups_of_both_protocols_apart(ask, ready, stable):
    await stable()
    await ask(BEAT, heartbeat(group_id="new"))
    every = (await ask(ApiKey.LIST_GROUPS, m.ListGroupsRequest())).groups
    request = m.ListGroupsRequest(types_filter=["Consumer"])
    some = (await ask(ApiKey.LIST_GROUPS, request)).groups

    assert [(one.group_id, one.group_type, one.group_state) for one in every] == [
        ("g", "classic", "Stable"),
        ("new", "consumer", "Stable"),
    ]
    assert [(one.group_id, one.protocol_type) for one in some] == [("new", "consumer")]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("version", "code"), [(5, ErrorCode.NONE), (6, ErrorCode.GROUP_ID_NOT_FOUND)]
)
async def test_to_describe_groups_such_a_group_is_dead(ask, ready, version, code):
    await ask(BEAT, heartbeat())
    request = m.DescribeGroupsRequest(groups=["g"])
    (group,) = (await ask(ApiKey.DESCRIBE_GROUPS, request, version)).groups

    assert (group.group_state, group.error_code) == ("Dead", code)


@pytest.mark.asyncio
async def test_offsets_are_taken_from_members_in_their_epoch(
    ask, ready, commit_request, codes_of, positions
):
    await ask(BEAT, heartbeat())
    good = await ask(
        ApiKey.OFFSET_COMMIT, commit_request((0, 5, ""), member_id="one", generation=1)
    )
    stale = await ask(
        ApiKey.OFFSET_COMMIT, commit_request((0, 9, ""), member_id="one", generation=0)
    )
    stranger = await ask(
        ApiKey.OFFSET_COMMIT, commit_request((0, 9, ""), member_id="two", generation=1)
    )

    assert codes_of(good) == [ErrorCode.NONE]
    assert codes_of(stale) == [ErrorCode.STALE_MEMBER_EPOCH]
    assert codes_of(stranger) == [ErrorCode.UNKNOWN_MEMBER_ID]
    assert await positions(9, "g", 0) == (ErrorCode.NONE, [(0, 5, "")])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("member_id", "epoch", "code"),
    [
        ("one", 1, ErrorCode.NONE),
        ("one", 2, ErrorCode.STALE_MEMBER_EPOCH),
        ("two", 1, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
async def test_a_member_that_asks_for_offsets_names_its_epoch(ask, ready, member_id, epoch, code):
    await ask(BEAT, heartbeat())
    group = m.OffsetFetchRequestGroup(
        group_id="g", member_id=member_id, member_epoch=epoch, topics=None
    )
    answer = await ask(ApiKey.OFFSET_FETCH, m.OffsetFetchRequest(groups=[group]), 9)

    assert answer.groups[0].error_code == code


@pytest.mark.asyncio
async def test_only_a_group_without_members_is_deleted(ask, ready):
    await ask(BEAT, heartbeat())
    request = m.DeleteGroupsRequest(groups_names=["g"])
    refused = (await ask(ApiKey.DELETE_GROUPS, request)).results
    await ask(BEAT, heartbeat(epoch=-1))
    deleted = (await ask(ApiKey.DELETE_GROUPS, request)).results

    assert [one.error_code for one in refused] == [ErrorCode.NON_EMPTY_GROUP]
    assert [one.error_code for one in deleted] == [ErrorCode.NONE]
    assert not (await ready.ready()).is_known("g")


@pytest.mark.asyncio
async def test_an_empty_group_becomes_what_its_next_member_speaks(ask, ready, joined):
    await ask(BEAT, heartbeat())
    await ask(BEAT, heartbeat(epoch=-1))
    assert ready.table.consumers("g") is not None
    answer = await joined()
    assert (answer.error_code, answer.protocol_name) == (0, "range")
    member = m.MemberIdentity(member_id=answer.member_id)
    await ask(ApiKey.LEAVE_GROUP, m.LeaveGroupRequest(group_id="g", members=[member]))
    again = await ask(BEAT, heartbeat())

    assert (again.error_code, again.member_epoch) == (0, 1)
    assert ready.table.stored("g") is None
