"""What is still not well after the heal: nodes that are down, members that do not count.

A group is whole when it has one leader and every member is there, undamaged, with its vote, and
counted by that leader. It has caught up when every member has applied what its leader has, and goes
by the settings that its node knows of; and when every node names that leader and no member as out
of sync.

Does not: wait (`liveness` does), or say how long it may take (`run` does).
"""

from collections.abc import Iterator, Mapping, Sequence

from trimaran.broker.partition import Partition
from trimaran.ids import GroupId, split_group_id
from trimaran.sim.cluster import ReplicaView, SimCluster


def nodes_not_up(cluster: SimCluster) -> list[str]:
    """Return which nodes do not run, or are about to end."""
    return [
        f"{node.name} is {'stopping' if node.stopping else 'down'}"
        for node in cluster.nodes
        if node.broker is None or node.stopping
    ]


def not_whole(cluster: SimCluster, given_up: Mapping[bytes, str]) -> list[str]:
    """Return what each group lacks, but for those of the topics that are `given_up`."""
    groups = _members(cluster, given_up)
    lacking = [
        f"group {group.hex()} has no member"
        for group in _expected(cluster)
        if group not in groups and split_group_id(group)[0] not in given_up
    ]
    for group, members in groups.items():
        lacking += [f"group {group.hex()}: {line}" for line in _lacking(members)]
    return lacking


def behind(cluster: SimCluster, given_up: Mapping[bytes, str]) -> list[str]:
    """Return which members have not applied what their leader has, or what their node knows."""
    lines = []
    for group, members in _members(cluster, given_up).items():
        lines += [f"{line} group {group.hex()}" for line in _misnamed(cluster, group, members)]
        due = max(
            (view.replica.applied for view in members if view.replica.raft.is_leader), default=0
        )
        lines += [
            f"{view.node} applied {view.replica.applied} of {due} in group {group.hex()}"
            for view in members
            if view.replica.applied < due
        ]
    return lines + list(_other_settings(cluster))


def _misnamed(cluster: SimCluster, group: GroupId, members: Sequence[ReplicaView]) -> Iterator[str]:
    """Yield which nodes tell clients of another leader, or of members that are out of sync."""
    leaders = [view.replica.raft for view in members if view.replica.raft.is_leader]
    leader = leaders[0].node_id if leaders else None
    for node in cluster.nodes:
        if node.broker is None:
            continue
        named = node.broker.services.leader_hint(group)[0]
        if named != leader:
            yield f"{node.name} names {named}, not {leader}, as the leader of"
        if late := node.broker.services.behind(group):
            yield f"{node.name} names {tuple(late)} as out of sync in"


def _other_settings(cluster: SimCluster) -> Iterator[str]:
    """Yield which partitions go by other settings than their node's image has."""
    images = {
        node.name: node.broker._controller.image
        for node in cluster.nodes
        if node.broker is not None
    }
    for view in cluster.views():
        topic = images[view.node].topic_by_id(split_group_id(view.replica.group)[0])
        machine = view.replica.machine
        if topic is None or not isinstance(machine, Partition):
            continue
        if machine.settings != topic.effective_settings():
            yield f"{view.node} does not go by the settings of {topic.name}/{machine.number}"


def _members(
    cluster: SimCluster, given_up: Mapping[bytes, str]
) -> dict[GroupId, list[ReplicaView]]:
    groups: dict[GroupId, list[ReplicaView]] = {}
    for view in cluster.views():
        group = view.replica.group
        if not view.replica.removed and split_group_id(group)[0] not in given_up:
            groups.setdefault(group, []).append(view)
    return groups


def _expected(cluster: SimCluster) -> dict[GroupId, None]:
    """Return the groups of all topics that any node knows."""
    images = [node.broker._controller.image for node in cluster.nodes if node.broker is not None]
    return {
        topic.group(partition): None
        for image in images
        for topic in image.topics
        for partition in range(len(topic.partitions))
    }


def _lacking(members: Sequence[ReplicaView]) -> Iterator[str]:
    leaders = [view.replica.raft for view in members if view.replica.raft.is_leader]
    if len(leaders) != 1:
        yield f"{len(leaders)} leaders"
        return
    (leader,) = leaders
    if len(members) != len(leader.voters):
        yield f"{len(members)} of {len(leader.voters)} members"
    for view in members:
        raft, damage = view.replica.raft, view.replica.damage
        if damage is not None:
            yield f"{view.node} is damaged: {damage.text}"
        elif not raft.may_vote:
            yield f"{view.node} has no vote"
        elif raft is not leader and not leader.progress[raft.node_id].counts:
            yield f"the leader does not count {view.node}"
