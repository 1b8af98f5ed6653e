"""What a coordinator's log stands for: the same on every replica, and back from its bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.errors import CorruptionError, ProtocolError
from trimaran.groups.commands import (
    CommitOffsets,
    DeleteGroups,
    DeleteOffsets,
    ExpireOffsets,
    StoreGroup,
    decode_command,
    encode_command,
)
from trimaran.groups.expiry import expired
from trimaran.groups.location import location
from trimaran.groups.stored import CommittedOffset, StoredGroup, StoredMember, StoredProtocol
from trimaran.groups.table import GroupTable
from trimaran.ids import TopicId

A = TopicId(b"A" * 16)
B = TopicId(b"B" * 16)
NAMES = {A: "a", B: "b"}


def at(offset, *, topic=A, partition=0, text=""):
    return CommittedOffset(
        topic_id=topic, partition=partition, offset=offset, leader_epoch=1, metadata=text
    )


def group(name="g", *, generation=1, members=()):
    return StoredGroup(
        group_id=name,
        generation=generation,
        protocol_type="consumer",
        protocol="range",
        leader=None,
        members=members,
    )


def member(name):
    return StoredMember(
        member_id=name,
        instance_id=None,
        client_id="c",
        client_host="/h",
        session_timeout_ms=1,
        rebalance_timeout_ms=2,
        protocols=(StoredProtocol("range", b"x"),),
        assignment=b"y",
    )


def table_of(*commands, time_ms=1_000):
    table = GroupTable()
    for number, command in enumerate(commands):
        table.apply(command, log_time_ms=time_ms + number)
    return table


def test_the_last_commit_of_a_partition_counts():
    table = table_of(CommitOffsets("g", (at(5), at(7, partition=1))), CommitOffsets("g", (at(3),)))

    assert table.position("g", (A, 0)) == at(3)
    assert table.position("g", (A, 1)) == at(7, partition=1)
    assert table.position("g", (B, 0)) is None
    assert table.position("h", (A, 0)) is None
    assert table.position_count("g") == 2


def test_a_rebalance_leaves_offsets_as_they_are():
    table = table_of(CommitOffsets("g", (at(5),)), StoreGroup(group(members=(member("m"),))))

    assert table.position("g", (A, 0)) == at(5)
    assert table.stored("g").members[0].member_id == "m"


def test_deletions_take_what_they_name():
    commit = CommitOffsets("g", (at(5), at(6, topic=B)))
    assert list(table_of(commit, DeleteOffsets("g", ((A, 0),))).positions("g")) != []
    table = table_of(commit, DeleteOffsets("g", ((A, 0), (A, 9))), DeleteOffsets("h", ((A, 0),)))

    assert [one.committed for one in table.positions("g")] == [at(6, topic=B)]
    assert "h" not in table
    assert len(table_of(commit, DeleteGroups(("g", "h")))) == 0


def test_a_commit_that_came_before_its_expiry_stays():
    table = GroupTable()
    table.apply(CommitOffsets("g", (at(1), at(2, topic=B))), log_time_ms=100)
    table.apply(CommitOffsets("g", (at(9),)), log_time_ms=500)
    table.apply(ExpireOffsets("g", 400, ((A, 0), (B, 0))), log_time_ms=501)

    assert [one.committed for one in table.positions("g")] == [at(9)]


names = st.text(min_size=1, max_size=3)
offsets = st.builds(
    at,
    st.integers(-1, 2**63 - 1),
    topic=st.sampled_from([A, B]),
    partition=st.integers(0, 3),
    text=st.text(max_size=3),
)
commands = st.one_of(
    st.builds(CommitOffsets, names, st.lists(offsets, max_size=4).map(tuple)),
    st.builds(
        StoreGroup,
        st.builds(
            group,
            names,
            generation=st.integers(0, 2**31 - 1),
            members=st.lists(names.map(member), max_size=3).map(tuple),
        ),
    ),
    st.builds(DeleteOffsets, names, st.just(((A, 0), (B, 1)))),
    st.builds(ExpireOffsets, names, st.integers(0, 2_000), st.just(((A, 0),))),
    st.builds(DeleteGroups, st.lists(names, max_size=2).map(tuple)),
)


@given(st.lists(commands, max_size=20))
def test_any_log_gives_the_same_bytes_and_comes_back_from_them(log):
    table = GroupTable()
    stepwise = GroupTable()
    for number, command in enumerate(log):
        assert decode_command(encode_command(command)) == command
        table.apply(command, log_time_ms=number)
        stepwise.apply(command, log_time_ms=number)
        stepwise.encode()

    data = table.encode()

    assert stepwise.encode() == data
    assert GroupTable.decode(data).encode() == data
    assert GroupTable.decode(data).digest() == table.digest()


@given(st.data())
def test_bytes_that_no_table_writes_are_found_out(data):
    table = table_of(CommitOffsets("g", (at(5),)), StoreGroup(group(members=(member("m"),))))
    good = table.encode()
    position = data.draw(st.integers(0, len(good) - 1))
    changed = good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :]
    try:
        back = GroupTable.decode(changed)
    except CorruptionError:
        return

    assert back.encode() == changed, "another table, as its own bytes say"


@pytest.mark.parametrize(
    "data", [b"", b"\x03\x00\x00\x00\x00", b"\x01\x00\x00\x00\x01", b"\x01" * 9]
)
def test_snapshots_of_another_kind_are_refused(data):
    with pytest.raises(CorruptionError):
        GroupTable.decode(data)


@pytest.mark.parametrize(
    "payload", [b"", b"\x02\x91", b"\x01", b"\x01\x91\xa1x", b"\x01\x93\xa6commit\xa0\x90"]
)
def test_commands_of_another_kind_are_refused(payload):
    with pytest.raises(ProtocolError):
        decode_command(payload)


@pytest.mark.parametrize(
    "command",
    [
        CommitOffsets("", ()),
        CommitOffsets("g", (at(1, partition=-1),)),
        CommitOffsets("g", (at(2**64),)),
    ],
)
def test_what_nobody_could_apply_is_not_proposed(command):
    with pytest.raises(ProtocolError):
        encode_command(command)


def test_groups_are_spread_over_coordinators_and_never_move():
    places = [location(f"group-{number}", 8) for number in range(800)]

    assert min(places.count(number) for number in range(8)) > 60
    assert [location(name, 8) for name in ("orders", "ünï", "")] == [6, 2, 0]


# Expiry

DAY_MS = 86_400_000


def expire(table, *, now_ms, subscribed=(), is_idle=True, deleted=()):
    return expired(
        table,
        "g",
        topic_name=NAMES.get,
        was_deleted=lambda topic_id: topic_id in deleted,
        subscribed=subscribed,
        is_idle=is_idle,
        now_ms=now_ms,
        retention_ms=DAY_MS,
    )


def test_offsets_of_a_deleted_topic_go_at_once():
    table = table_of(CommitOffsets("g", (at(1), at(2, topic=B))))

    assert expire(table, now_ms=2_000, deleted=(B,)) == DeleteOffsets("g", ((B, 0),))


def test_a_group_without_members_keeps_offsets_for_the_retention_time():
    table = table_of(CommitOffsets("g", (at(1),)), StoreGroup(group()))

    assert expire(table, now_ms=1_001 + DAY_MS) is None
    command = expire(table, now_ms=1_002 + DAY_MS)
    assert command == ExpireOffsets("g", 1_002, ((A, 0),))
    table.apply(command, log_time_ms=1_002 + DAY_MS)
    assert expire(table, now_ms=1_003 + DAY_MS) == DeleteGroups(("g",))


def test_a_group_with_members_keeps_the_offsets_of_what_it_reads():
    table = table_of(CommitOffsets("g", (at(1), at(2, topic=B))))
    later_ms = 2 * DAY_MS

    assert expire(table, now_ms=later_ms, is_idle=False, subscribed=("a", "b")) is None
    assert expire(table, now_ms=later_ms, is_idle=False, subscribed=None) is None
    found = expire(table, now_ms=later_ms, is_idle=False, subscribed=("a",))
    assert found == ExpireOffsets("g", DAY_MS, ((B, 0),))


def test_offsets_of_a_topic_that_this_node_has_not_heard_of_are_kept():
    table = table_of(CommitOffsets("g", (at(1, topic=TopicId(b"?" * 16)),)))

    assert expire(table, now_ms=10 * DAY_MS, subscribed=("a",), is_idle=False) is None
