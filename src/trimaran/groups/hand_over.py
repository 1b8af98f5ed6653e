"""Groups with members go from one protocol to the other (KIP-848, "Online migration").

A classic group becomes one of the new protocol when the first member comes that speaks it, and a
classic one again when the last such member is gone; members that stay keep what they have.
Does not: decide when; nor serve classic members meanwhile (`classic_consumers` does).
"""

from collections.abc import Iterable, Sequence

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.commands import OffsetKey
from trimaran.groups.consumers import Consumer, Consumers
from trimaran.groups.group import CONSUMER, Group
from trimaran.groups.messages import MigrationPolicy
from trimaran.groups.parts import NOTHING, Parts, by_topic
from trimaran.groups.roster import Member
from trimaran.groups.stored import (
    MemberState,
    StoredClassic,
    StoredConsumer,
    StoredConsumers,
    StoredGroup,
    StoredMember,
)
from trimaran.groups.subscription import (
    TopicPartitions,
    read_assignment,
    read_subscription,
    write_assignment,
)
from trimaran.groups.topics import Topics


def can_downgrade(members: Consumers, *, leaving: Consumer, policy: MigrationPolicy) -> bool:
    """Whether without `leaving` only classic members are left."""
    others = [one for one in members if one is not leaving]
    is_last = leaving.classic is None and all(one.classic is not None for one in others)
    return bool(others) and is_last and policy.downgrades


def upgraded(group: Group, *, topics: Topics) -> StoredConsumers:
    """Return a classic group with members as one of the new protocol.

    Raises:
        RequestError: GROUP_ID_NOT_FOUND, as Kafka says when a group cannot be upgraded.
    """
    roster = group.roster
    if roster.protocol_type != CONSUMER:
        raise _cannot(group, f"its members are of protocol type {roster.protocol_type!r}")
    told = {member.member_id: _told(group, member, topics) for member in roster}
    given = NOTHING.union(*(told[one.member_id] for one in roster if one.has_synced))
    taken: set[OffsetKey] = set()
    members = []
    for member in roster:
        parts = told[member.member_id]
        if not member.has_synced:
            parts -= given  # it joined a generation in which others have that
        if not taken.isdisjoint(parts):
            raise _cannot(group, "a partition has two readers")
        taken |= parts
        members.append(_consumer(group, member, parts))
    return StoredConsumers(
        epoch=group.generation,
        assignment_epoch=group.generation,
        topics=(),
        members=tuple(members),
    )


def _told(group: Group, member: Member, topics: Topics) -> Parts:
    """Return what a member may be reading: a plan that it was not told of does not count."""
    assignment = read_assignment(member.told)
    if assignment is None:
        raise _cannot(group, f"member {member.member_id!r} has no readable part")
    return parts_of(assignment, topics)


def _consumer(group: Group, member: Member, parts: Parts) -> StoredConsumer:
    protocol = group.roster.protocol or member.protocols[0].name
    subscription = read_subscription(member.metadata(protocol) or member.protocols[0].metadata)
    if subscription is None:
        raise _cannot(group, f"member {member.member_id!r} has no readable subscription")
    if subscription.problem:
        raise _cannot(group, f"member {member.member_id!r}: {subscription.problem}")
    has = by_topic(parts)
    return StoredConsumer(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=None,
        client_id=member.client_id,
        client_host=member.client_host,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        topics=tuple(sorted(dict.fromkeys(subscription.topics))),
        pattern="",
        assignor=None,
        classic=StoredClassic(member.session_timeout_ms, member.protocols),
        epoch=group.generation,
        previous_epoch=group.generation,
        state=MemberState.STABLE,
        assigned=has,
        revoking=(),
        target=has,
    )


def _cannot(group: Group, why: str) -> RequestError:
    return RequestError(
        ErrorCode.GROUP_ID_NOT_FOUND,
        f"group {group.group_id!r} is not a consumer group and cannot become one: {why}",
    )


def downgraded(
    group_id: str,
    members: Sequence[Consumer],
    *,
    generation: int,
    topics: Topics,
    is_rebalancing: bool,
) -> StoredGroup:
    """Return members that all speak the classic protocol as a classic group."""
    return StoredGroup(
        group_id=group_id,
        generation=generation,
        protocol_type=CONSUMER,
        protocol=common_protocol(members),
        leader=members[0].member_id,
        members=tuple(_member(one, topics) for one in members),
        is_rebalancing=is_rebalancing,
    )


def _member(member: Consumer, topics: Topics) -> StoredMember:
    assert member.classic is not None
    return StoredMember(
        member_id=member.member_id,
        instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        session_timeout_ms=member.classic.session_timeout_ms,
        rebalance_timeout_ms=member.rebalance_timeout_ms,
        protocols=member.classic.protocols,
        assignment=classic_assignment(member, topics),
    )


def common_protocol(members: Iterable[Consumer]) -> str | None:
    """Return the first assignor that all classic members offer; None if there is none."""
    common: dict[str, None] | None = None
    for member in members:
        if member.classic is None:
            continue
        names = {one.name: None for one in member.classic.protocols}
        common = names if common is None else {name: None for name in common if name in names}
    return next(iter(common or ()), None)


def classic_assignment(member: Consumer, topics: Topics) -> bytes:
    """Return what a classic member has, as it reads it from a SyncGroup."""
    assert member.classic is not None
    subscription = read_subscription(member.classic.protocols[0].metadata)
    named = [
        (topics.name_of(topic_id), numbers)
        for topic_id, numbers in by_topic(member.progress.assigned)
    ]
    known = tuple((name, numbers) for name, numbers in named if name is not None)
    return write_assignment(0 if subscription is None else subscription.version, known)


def parts_of(named: TopicPartitions, topics: Topics) -> Parts:
    """Return partitions of topics by name; those of unknown topics are left out."""
    found = [(topics.find(name), numbers) for name, numbers in named]
    return frozenset(
        (topic.topic_id, number)
        for topic, numbers in found
        if topic is not None
        for number in numbers
    )
