"""The conversation about consumer groups and their offsets. See `__main__`."""

import time

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    LeaveGroupRequest,
    ListGroupsRequest,
    MemberIdentity,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)

GROUP = "readers"
READY_S = 30.0
SUBSCRIPTION = b"\0\1\0\0\0\1\0\7grouped\xff\xff\xff\xff\0\0\0\0"
ASSIGNMENT = b"\0\1\0\0\0\1\0\7grouped\0\0\0\1\0\0\0\0\xff\xff\xff\xff"
RANGE = (("range", SUBSCRIPTION),)


def join(talk, name, *, member="", group=GROUP, instance=None, session_ms=30_000, kind="consumer",
         protocols=RANGE, version=7):  # fmt: skip
    request = JoinGroupRequest(
        group_id=group,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=10_000,
        member_id=member,
        group_instance_id=instance,
        protocol_type=kind,
        protocols=[
            JoinGroupRequestProtocol(name=protocol, metadata=data) for protocol, data in protocols
        ],
    )
    return talk.step(f"join: {name}", ApiKey.JOIN_GROUP, version, request)


def sync(talk, name, *, member, generation, group=GROUP, assignments=(), instance=None,
         protocol="range", kind="consumer"):  # fmt: skip
    request = SyncGroupRequest(
        group_id=group,
        generation_id=generation,
        member_id=member,
        group_instance_id=instance,
        protocol_type=kind,
        protocol_name=protocol,
        assignments=[
            SyncGroupRequestAssignment(member_id=one, assignment=ASSIGNMENT) for one in assignments
        ],
    )
    return talk.step(f"sync: {name}", ApiKey.SYNC_GROUP, 5, request)


def beat(talk, name, *, member, generation, group=GROUP, instance=None):
    request = HeartbeatRequest(
        group_id=group, generation_id=generation, member_id=member, group_instance_id=instance
    )
    talk.step(f"heartbeat: {name}", ApiKey.HEARTBEAT, 4, request)


def commit(talk, name, *, member="", generation=-1, group=GROUP, topic="grouped", partition=0,
           offset=3, metadata="", instance=None, version=8):  # fmt: skip
    part = OffsetCommitRequestPartition(
        partition_index=partition, committed_offset=offset, committed_metadata=metadata
    )
    request = OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member,
        group_instance_id=instance,
        topics=[OffsetCommitRequestTopic(name=topic, partitions=[part])],
    )
    talk.step(f"commit: {name}", ApiKey.OFFSET_COMMIT, version, request)


def fetch(talk, name, *, group=GROUP, topics=(("grouped", [0]),), version=8):
    if version < 8:
        rows = [OffsetFetchRequestTopic(name=one, partition_indexes=list(p)) for one, p in topics]
        request = OffsetFetchRequest(group_id=group, topics=rows)
    else:
        rows = None
        if topics is not None:
            rows = [
                OffsetFetchRequestTopics(name=one, partition_indexes=list(p)) for one, p in topics
            ]
        request = OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id=group, topics=rows)])
    talk.step(f"committed: {name}", ApiKey.OFFSET_FETCH, version, request)


def describe(talk, name, *groups, version=5):
    request = DescribeGroupsRequest(groups=list(groups))
    talk.step(f"describe group: {name}", ApiKey.DESCRIBE_GROUPS, version, request)


def leave(talk, name, *, member="", instance=None, group=GROUP):
    identity = MemberIdentity(member_id=member, group_instance_id=instance)
    request = LeaveGroupRequest(group_id=group, members=[identity])
    talk.step(f"leave: {name}", ApiKey.LEAVE_GROUP, 5, request)


def delete(talk, name, *groups):
    request = DeleteGroupsRequest(groups_names=list(groups))
    talk.step(f"delete group: {name}", ApiKey.DELETE_GROUPS, 2, request)


def finding(talk):
    topic = CreatableTopic(name="grouped", num_partitions=2, replication_factor=1)
    talk.ask(ApiKey.CREATE_TOPICS, 7, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=[GROUP])
    deadline = time.monotonic() + READY_S
    while talk.ask(ApiKey.FIND_COORDINATOR, 4, request).coordinators[0].error_code:
        assert time.monotonic() < deadline
    talk.step("coordinator: of a group", ApiKey.FIND_COORDINATOR, 4, request)
    one = FindCoordinatorRequest(key=GROUP)
    talk.step("coordinator: version 2", ApiKey.FIND_COORDINATOR, 2, one)
    unknown = FindCoordinatorRequest(key_type=9, coordinator_keys=[GROUP])
    talk.step("coordinator: of kind 9", ApiKey.FIND_COORDINATOR, 4, unknown)
    empty = FindCoordinatorRequest(key_type=0, coordinator_keys=[""])
    talk.step("coordinator: of no name", ApiKey.FIND_COORDINATOR, 4, empty)
    until_loaded = JoinGroupRequest(
        group_id="warm", session_timeout_ms=10_000, member_id="x", protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=b"")],
    )  # fmt: skip
    while talk.ask(ApiKey.JOIN_GROUP, 5, until_loaded).error_code in (14, 15, 16):
        assert time.monotonic() < deadline


def strangers(talk):
    join(talk, "an unknown member", member="nobody")
    join(talk, "a group without a name", group="")
    join(talk, "a session that is too short", session_ms=1)
    join(talk, "a session that is too long", session_ms=100_000_000)
    join(talk, "no protocol", protocols=())
    join(talk, "no protocol type", kind="")
    sync(talk, "an unknown group", member="nobody", generation=1, group="missing")
    beat(talk, "an unknown group", member="nobody", generation=1, group="missing")
    leave(talk, "an unknown group", member="nobody", group="missing")
    commit(talk, "an unknown group with a generation", generation=3, group="missing")
    commit(talk, "an unknown group with a member", member="nobody", group="missing")
    fetch(talk, "of an unknown group", group="missing")
    fetch(talk, "of an unknown group, everything", group="missing", topics=None)
    fetch(talk, "of an unknown group, version 5", group="missing", version=5)
    describe(talk, "unknown", "missing")
    delete(talk, "unknown", "missing")
    delete(talk, "without a name", "")


def one_member(talk):
    first = join(talk, "a new member")
    first = join(talk, "the new member with its id", member=first.member_id)
    me, generation = first.member_id, first.generation_id
    describe(talk, "before the assignment", GROUP)
    beat(talk, "before the assignment", member=me, generation=generation)
    commit(talk, "before the assignment", member=me, generation=generation)
    sync(talk, "a wrong generation", member=me, generation=generation + 5, assignments=[me])
    sync(talk, "an unknown member", member="nobody", generation=generation)
    sync(talk, "a wrong protocol", member=me, generation=generation, protocol="sticky")
    sync(talk, "a wrong type", member=me, generation=generation, kind="connect")
    sync(talk, "good", member=me, generation=generation, assignments=[me])
    sync(talk, "again", member=me, generation=generation)
    describe(talk, "stable", GROUP)
    describe(talk, "stable, version 2", GROUP, version=2)
    beat(talk, "good", member=me, generation=generation)
    beat(talk, "a wrong generation", member=me, generation=generation + 5)
    beat(talk, "an old generation", member=me, generation=generation - 1)
    beat(talk, "an unknown member", member="nobody", generation=generation)
    commit(talk, "good", member=me, generation=generation)
    commit(talk, "a wrong generation", member=me, generation=generation + 1)
    commit(talk, "a stranger", member="nobody", generation=generation)
    commit(talk, "nobody, while there are members")
    commit(talk, "an unknown topic", member=me, generation=generation, topic="missing")
    commit(talk, "an unknown partition", member=me, generation=generation, partition=9)
    commit(talk, "5,000 bytes of words", member=me, generation=generation, metadata="x" * 5_000)
    commit(talk, "some words", member=me, generation=generation, partition=1, metadata="words")
    commit(talk, "backwards", member=me, generation=generation, offset=1)
    commit(talk, "a negative offset", member=me, generation=generation, partition=1, offset=-7)
    fetch(talk, "good")
    fetch(talk, "everything", topics=None)
    fetch(talk, "an unknown topic", topics=(("missing", [0]),))
    fetch(talk, "an unknown partition", topics=(("grouped", [0, 9]),))
    fetch(talk, "version 3", version=3)
    join(talk, "another kind of member", member="", kind="connect", version=3)
    other = (("sticky", SUBSCRIPTION),)
    join(talk, "another protocol", member="", protocols=other, version=3)
    delete(talk, "with members", GROUP)
    parts = [OffsetDeleteRequestPartition(partition_index=0)]
    for topic in ("grouped", "missing"):
        topics = [OffsetDeleteRequestTopic(name=topic, partitions=parts)]
        request = OffsetDeleteRequest(group_id=GROUP, topics=topics)
        talk.step(f"delete offsets: {topic}, read", ApiKey.OFFSET_DELETE, 0, request)
    listing(talk)
    leave(talk, "an unknown member", member="nobody")
    leave(talk, "an unknown instance", instance="nobody")
    leave(talk, "good", member=me)
    leave(talk, "again", member=me)
    describe(talk, "empty", GROUP)
    commit(talk, "nobody, while there are no members", offset=2)
    commit(talk, "a generation without members", member=me, generation=generation)


def listing(talk):
    for name, version, states in (
        ("all", 4, ()),
        ("stable", 4, ("Stable",)),
        ("empty", 4, ("Empty",)),
        ("unknown state", 4, ("Asleep",)),
        ("version 2", 2, ()),
    ):
        request = ListGroupsRequest(states_filter=list(states))
        talk.step(f"list groups: {name}", ApiKey.LIST_GROUPS, version, request)


def ending(talk):
    parts = [OffsetDeleteRequestPartition(partition_index=number) for number in (0, 9)]
    topics = [OffsetDeleteRequestTopic(name="grouped", partitions=parts)]
    for group in (GROUP, "missing", ""):
        request = OffsetDeleteRequest(group_id=group, topics=topics)
        talk.step(f"delete offsets: of {group!r}", ApiKey.OFFSET_DELETE, 0, request)
    fetch(talk, "after they were deleted", topics=None)
    delete(talk, "good", GROUP)
    delete(talk, "again", GROUP)
    describe(talk, "deleted", GROUP)


def static_members(talk):
    group = "static"

    def joined(name, member="", instance="one"):
        return join(talk, name, member=member, instance=instance, group=group)

    first = joined("a static member")
    old, generation = first.member_id, first.generation_id
    sync(talk, "a static member", member=old, generation=generation, assignments=[old],
         group=group, instance="one")  # fmt: skip
    again = joined("a static member, started again")
    new, generation = again.member_id, again.generation_id
    describe(talk, "with a static member", group)
    fenced = {"member": old, "generation": generation, "group": group, "instance": "one"}
    beat(talk, "a fenced member", **fenced)
    sync(talk, "a fenced member", **fenced)
    commit(talk, "a fenced member", **fenced)
    joined("a fenced member", member=old)
    leave(talk, "a fenced member", member=old, instance="one", group=group)
    beat(talk, "a static member", member=new, generation=generation, group=group, instance="one")
    beat(talk, "an unknown instance", member=new, generation=generation, group=group, instance="x")
    leave(talk, "a static member by its instance", instance="one", group=group)
    describe(talk, "whose static member left", group)


SCRIPT = (finding, strangers, one_member, ending, static_members)
