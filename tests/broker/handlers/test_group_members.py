"""Members of consumer groups and administrators, as their requests are answered."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.protocol import messages as m
from trimaran.protocol.api import ApiKey


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(10))
async def test_a_member_joins_in_every_version(joined, version, subscription):
    answer = await joined(version)

    assert (answer.error_code, answer.generation_id) == (ErrorCode.NONE, 1)
    assert answer.leader == answer.member_id
    assert answer.member_id.startswith("tester-")
    assert [member.metadata for member in answer.members] == [subscription]


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(6))
async def test_a_part_is_given_in_every_version(joined, ask, version):
    member_id = (await joined()).member_id
    assignment = m.SyncGroupRequestAssignment(member_id=member_id, assignment=b"part")
    request = m.SyncGroupRequest(
        group_id="g",
        generation_id=1,
        member_id=member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[assignment],
    )

    answer = await ask(ApiKey.SYNC_GROUP, request, version)

    assert (answer.error_code, answer.assignment) == (ErrorCode.NONE, b"part")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"session_timeout_ms": 5_999}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"session_timeout_ms": 1_800_001}, ErrorCode.INVALID_SESSION_TIMEOUT),
        ({"group_id": ""}, ErrorCode.INVALID_GROUP_ID),
        ({"member_id": "stranger"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "x" * 513}, ErrorCode.INVALID_REQUEST),
        ({"instance_id": "x" * 250}, ErrorCode.INVALID_REQUEST),
    ],
)
async def test_a_join_out_of_bounds_is_refused(ask, coordinator, changes, code, join_request):
    answer = await ask(ApiKey.JOIN_GROUP, join_request(**changes))

    assert answer.error_code == code


@pytest.mark.asyncio
async def test_a_member_without_protocols_fits_nowhere(ask, coordinator):
    request = m.JoinGroupRequest(
        group_id="g", session_timeout_ms=10_000, member_id="", protocol_type="", protocols=[]
    )

    answer = await ask(ApiKey.JOIN_GROUP, request)

    assert answer.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("key", "request_of"),
    [
        (
            ApiKey.JOIN_GROUP,
            lambda: m.JoinGroupRequest(
                group_id="g",
                session_timeout_ms=10_000,
                member_id="",
                protocol_type="consumer",
                protocols=[m.JoinGroupRequestProtocol(name="range", metadata=b"")],
            ),
        ),
        (
            ApiKey.SYNC_GROUP,
            lambda: m.SyncGroupRequest(group_id="g", generation_id=1, member_id="x"),
        ),
        (
            ApiKey.HEARTBEAT,
            lambda: m.HeartbeatRequest(group_id="g", generation_id=1, member_id="x"),
        ),
        (ApiKey.LEAVE_GROUP, lambda: m.LeaveGroupRequest(group_id="g")),
        (ApiKey.OFFSET_DELETE, lambda: m.OffsetDeleteRequest(group_id="g", topics=[])),
    ],
)
async def test_a_node_that_does_not_coordinate_the_group_says_so(
    ask, broker, key, request_of, create_coordinators
):
    assert (await ask(key, request_of())).error_code == ErrorCode.NOT_COORDINATOR
    create_coordinators()
    for coordinator in broker.coordinators():
        coordinator.depose()

    assert (await ask(key, request_of())).error_code == ErrorCode.NOT_COORDINATOR


@pytest.mark.asyncio
async def test_who_waits_is_sent_to_the_next_coordinator(client, coordinator, settle, join_request):
    call = client.send(ApiKey.JOIN_GROUP, 3, join_request())
    await settle()
    coordinator.depose()
    await settle(lambda: client.has_answered(call))

    assert client.answer_of(call).error_code == ErrorCode.NOT_COORDINATOR


@pytest.mark.asyncio
async def test_a_connection_that_breaks_lets_go_of_its_place(
    client, coordinator, settle, join_request
):
    call = client.send(ApiKey.JOIN_GROUP, 3, join_request())
    live = await coordinator.ready()
    await settle()
    assert live.ids() == ["g"]
    call.drop()
    await settle()

    assert client.finished == []
    assert live.get("g") is None or len(live.get("g").roster) == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(5))
async def test_a_member_gives_signs_of_life(stable, ask, version):
    member_id = await stable()
    alive = m.HeartbeatRequest(group_id="g", generation_id=1, member_id=member_id)
    stale = m.HeartbeatRequest(group_id="g", generation_id=0, member_id=member_id)
    stranger = m.HeartbeatRequest(group_id="g", generation_id=1, member_id="x")

    codes = [(await ask(ApiKey.HEARTBEAT, one, version)) for one in (alive, stale, stranger)]

    assert [answer.error_code for answer in codes] == [
        ErrorCode.NONE,
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(6))
async def test_members_leave_each_for_itself(stable, ask, version):
    member_id = await stable()
    members = [m.MemberIdentity(member_id=member_id), m.MemberIdentity(member_id="stranger")]
    request = m.LeaveGroupRequest(group_id="g", member_id=member_id, members=members)

    answer = await ask(ApiKey.LEAVE_GROUP, request, version)

    assert answer.error_code == ErrorCode.NONE
    if version >= 3:
        codes = [row.error_code for row in answer.members]
        assert codes == [ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID]


@pytest.mark.asyncio
async def test_nobody_leaves_a_group_that_is_not_there(ask, coordinator):
    old = await ask(ApiKey.LEAVE_GROUP, m.LeaveGroupRequest(group_id="g", member_id="x"), 2)
    identity = m.MemberIdentity(member_id="x", group_instance_id="i")
    new = await ask(ApiKey.LEAVE_GROUP, m.LeaveGroupRequest(group_id="g", members=[identity]))

    assert old.error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert [row.error_code for row in new.members] == [ErrorCode.UNKNOWN_MEMBER_ID]


# Administration


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(6))
async def test_a_group_is_described_with_its_members(ask, stable, version, subscription):
    member_id = await stable()
    request = m.DescribeGroupsRequest(groups=["g", "g", ""])

    group, bad = (await ask(ApiKey.DESCRIBE_GROUPS, request, version)).groups

    assert (group.group_state, group.protocol_type, group.protocol_data) == (
        "Stable",
        "consumer",
        "range",
    )
    (member,) = group.members
    assert (member.member_id, member.client_id, member.client_host) == (
        member_id,
        "tester",
        "/10.0.0.9",
    )
    assert (member.member_metadata, member.member_assignment) == (subscription, b"part")
    assert bad.error_code == ErrorCode.INVALID_GROUP_ID


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("version", "code"), [(5, ErrorCode.NONE), (6, ErrorCode.GROUP_ID_NOT_FOUND)]
)
async def test_a_group_that_nobody_knows_is_dead(ask, coordinator, version, code):
    request = m.DescribeGroupsRequest(groups=["g"])
    (group,) = (await ask(ApiKey.DESCRIBE_GROUPS, request, version)).groups

    assert (group.error_code, group.group_state) == (code, "Dead")


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(6))
async def test_groups_are_listed_and_filtered(ask, stable, flights, version):
    await stable()
    everything = await ask(ApiKey.LIST_GROUPS, m.ListGroupsRequest(), version)
    states = m.ListGroupsRequest(states_filter=["EMPTY"])
    types = m.ListGroupsRequest(types_filter=["consumer"])

    assert [group.group_id for group in everything.groups] == ["g"]
    assert everything.groups[0].protocol_type == "consumer"
    assert (await ask(ApiKey.LIST_GROUPS, states, 5)).groups == []
    assert (await ask(ApiKey.LIST_GROUPS, types, 5)).groups == []


@pytest.mark.asyncio
async def test_a_group_that_only_commits_is_listed_as_empty(
    ask, coordinator, flights, commit_request
):
    await ask(ApiKey.OFFSET_COMMIT, commit_request((0, 5, None)))

    (group,) = (await ask(ApiKey.LIST_GROUPS, m.ListGroupsRequest())).groups

    assert (group.group_id, group.group_state, group.group_type) == ("g", "Empty", "classic")


@pytest.mark.asyncio
@pytest.mark.parametrize("version", range(3))
async def test_only_groups_without_members_are_deleted(
    ask, stable, flights, version, commit_request, positions
):
    member_id = await stable()
    request = m.DeleteGroupsRequest(groups_names=["g", ""])
    busy = await ask(ApiKey.DELETE_GROUPS, request, version)
    commit = commit_request((0, 5, None), member_id=member_id, generation=1)
    await ask(ApiKey.OFFSET_COMMIT, commit)
    await ask(ApiKey.LEAVE_GROUP, m.LeaveGroupRequest(group_id="g", member_id=member_id), 2)

    gone = await ask(ApiKey.DELETE_GROUPS, m.DeleteGroupsRequest(groups_names=["g"]), version)
    again = await ask(ApiKey.DELETE_GROUPS, m.DeleteGroupsRequest(groups_names=["g"]), version)

    assert [row.error_code for row in busy.results] == [
        ErrorCode.NON_EMPTY_GROUP,
        ErrorCode.INVALID_GROUP_ID,
    ]
    assert [row.error_code for row in gone.results] == [ErrorCode.NONE]
    assert [row.error_code for row in again.results] == [ErrorCode.GROUP_ID_NOT_FOUND]
    assert await positions(9) == (ErrorCode.NONE, [])
