"""The numbers and names that must not be mixed up.

*index* always counts Raft entries, *offset* always counts events, *position* always counts bytes.
Does not: know anything about what the numbers address.
"""

from typing import NewType

NodeId = NewType("NodeId", int)
"""A broker, 1 to 2**31 - 1; Kafka's broker id on the wire."""

DiskId = NewType("DiskId", bytes)
"""16 random bytes, minted when a data directory is formatted; a wiped disk is another voter."""

BootId = NewType("BootId", int)
"""64 random bits, minted at each process start; tells answers of an earlier life apart."""

ClusterId = NewType("ClusterId", str)
"""22 characters, URL-safe base64 of 16 random bytes, as Kafka writes cluster ids."""

Term = NewType("Term", int)
"""Raft's term, from 0 (no election yet). Kafka sees it as the leader epoch."""

Index = NewType("Index", int)
"""A position in a group's Raft log, from 1; 0 is "before the first entry"."""

Offset = NewType("Offset", int)
"""An event in a partition, from 0, as Kafka numbers it."""

TopicId = NewType("TopicId", bytes)
"""16 bytes of a random UUID; a re-created topic has another."""

GroupId = NewType("GroupId", bytes)
"""One Raft group, 20 bytes: topic id, then the partition as a big-endian u32."""

GROUP_ID_BYTES = 20
TOPIC_ID_BYTES = 16

METADATA_TOPIC_ID = TopicId(bytes(15) + b"\x01")
GROUPS_TOPIC_ID = TopicId(bytes(15) + b"\x02")
"""The topic whose partitions are coordinators: Raft groups of consumer groups' state."""


def group_id(topic_id: TopicId, partition: int) -> GroupId:
    """Return the id of the group that replicates one partition."""
    assert len(topic_id) == TOPIC_ID_BYTES
    assert partition >= 0
    return GroupId(topic_id + partition.to_bytes(4, "big"))


def split_group_id(group: GroupId) -> tuple[TopicId, int]:
    """Return the topic id and partition number that `group` was made of."""
    assert len(group) == GROUP_ID_BYTES
    return TopicId(group[:TOPIC_ID_BYTES]), int.from_bytes(group[TOPIC_ID_BYTES:], "big")


def group_name(group: GroupId) -> str:
    """Return `group` as people and directories read it: `<topic id in hex>-<partition>`."""
    topic_id, partition = split_group_id(group)
    return f"{topic_id.hex()}-{partition}"


METADATA_GROUP = group_id(METADATA_TOPIC_ID, 0)
"""The group that replicates nodes, topics, settings and producer-id blocks."""
