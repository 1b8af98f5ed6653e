"""The classic protocol, spoken by members of a group of the new protocol (KIP-848, migration).

JoinGroup is a heartbeat that says everything: its answer names the member's epoch as the generation
and nobody as the leader. SyncGroup asks for what the coordinator assigned. Heartbeat says when to
join again: the group's epoch has moved on, something must be given up, or is there to be taken.
Does not: know about groups that are classic as a whole (`group` does).
"""

from dataclasses import replace

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.consumer_group import ConsumerGroup, check_instance, unknown
from trimaran.groups.consumers import NEVER_MS, Consumer, said_bytes
from trimaran.groups.group import CONSUMER
from trimaran.groups.hand_over import can_downgrade, classic_assignment, parts_of
from trimaran.groups.messages import (
    JoinAnswer,
    JoinRequest,
    MemberClaim,
    Reply,
    SyncAnswer,
    SyncRequest,
)
from trimaran.groups.stored import MemberState, StoredClassic
from trimaran.groups.subscription import Subscription, read_subscription


def join(group: ConsumerGroup, request: JoinRequest, *, now_ms: int) -> None:
    """Take in a classic member, or one that joins again; answered when it is stored.

    Raises:
        RequestError: GROUP_MAX_SIZE_REACHED, INCONSISTENT_GROUP_PROTOCOL, INVALID_REQUEST,
            UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    """
    member_id = request.member_id or request.fresh_id
    group.check_room(member_id)
    subscription = _subscription(group, request)
    known = group.members.place(member_id, request.instance_id)
    group.check_bytes(known, said_bytes(subscription.topics, "", request.protocols))
    if not request.member_id and request.instance_id is None and request.learns_id_first:
        told = JoinAnswer(error=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id)
        group.effects.append(Reply(ticket=request.ticket, answer=told))
        return
    replaced = None if request.member_id else group.members.of_instance(request.instance_id)
    is_last_of_new = replaced is not None and can_downgrade_by(group, replaced)
    member = _member(group, request, member_id)
    is_news = group.admit(member)
    is_news |= member.topics != subscription.topics or bool(member.pattern)
    _update(member, request, subscription)
    group.changed(member)
    group.settle(
        member, owned=parts_of(subscription.owned, group.topics), is_news=is_news, now_ms=now_ms
    )
    group.seen(member, now_ms=now_ms)
    member.join_end_ms = NEVER_MS
    member.sync_end_ms = now_ms + member.rebalance_timeout_ms
    group.wait_until(member.sync_end_ms)
    answer = JoinAnswer(
        generation=member.epoch,
        protocol_type=CONSUMER,
        protocol=request.protocols[0].name,
        member_id=member.member_id,
    )
    reply = Reply(ticket=request.ticket, answer=answer)
    if is_last_of_new:
        in_group = replace(answer, generation=group.epoch)
        group.become_classic(
            leaving=None, reply=replace(reply, answer=in_group), is_rebalancing=False
        )
    else:
        group.finish(reply)


def can_downgrade_by(group: ConsumerGroup, replaced: Consumer) -> bool:
    """Whether all members are classic ones once a static member came back as one."""
    if len(group.members) == 1:
        return replaced.classic is None and group.settings.migration.downgrades
    return can_downgrade(group.members, leaving=replaced, policy=group.settings.migration)


def _subscription(group: ConsumerGroup, request: JoinRequest) -> Subscription:
    offered = [one.name for one in request.protocols]
    classic = [
        {protocol.name: None for protocol in one.classic.protocols}
        for one in group.members
        if one.classic is not None
    ]
    is_common = any(all(name in names for names in classic) for name in offered)
    found = read_subscription(request.protocols[0].metadata)
    if request.protocol_type != CONSUMER or not is_common or found is None:
        raise RequestError(
            ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
            f"protocols of type {request.protocol_type!r} named {offered} do not fit the group",
        )
    if found.problem:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"subscription of {request.member_id or request.fresh_id!r}: {found.problem}",
        )
    return replace(found, topics=tuple(sorted(dict.fromkeys(found.topics))))


def _member(group: ConsumerGroup, request: JoinRequest, member_id: str) -> Consumer:
    if request.instance_id is None:
        return group.members.get(member_id) or Consumer(member_id, None)
    known = group.members.of_instance(request.instance_id)
    if not request.member_id:
        if known is None:
            return Consumer(member_id, request.instance_id)
        return group.replace(known, member_id)
    if known is None:
        raise unknown(request.instance_id)
    check_instance(known, member_id)
    return known


def _update(member: Consumer, request: JoinRequest, subscription: Subscription) -> None:
    member.client_id = request.client_id
    member.client_host = request.client_host
    member.rebalance_timeout_ms = request.rebalance_timeout_ms
    member.topics = subscription.topics
    member.pattern = ""
    member.classic = StoredClassic(request.session_timeout_ms, request.protocols)
    member.revoke_end_ms = NEVER_MS


def sync(group: ConsumerGroup, request: SyncRequest, *, now_ms: int) -> None:
    """Tell a classic member what it has.

    Raises:
        RequestError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION,
            INCONSISTENT_GROUP_PROTOCOL, REBALANCE_IN_PROGRESS.
    """
    member = _judged(group, request.claim)
    assert member.classic is not None
    protocol = member.classic.protocols[0].name
    if request.protocol_type not in (None, CONSUMER) or request.protocol not in (None, protocol):
        raise RequestError(
            ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
            f"expected {CONSUMER!r} and {protocol!r}, found {request.protocol_type!r} and"
            f" {request.protocol!r}",
        )
    is_behind = group.epoch > member.epoch
    if is_behind and member.progress.state is not MemberState.UNREVOKED:
        _wait_for_join(group, member, now_ms)
        raise RequestError(ErrorCode.REBALANCE_IN_PROGRESS, "the group has moved on")
    member.sync_end_ms = NEVER_MS
    group.seen(member, now_ms=now_ms)
    answer = SyncAnswer(
        protocol_type=request.protocol_type,
        protocol=request.protocol,
        assignment=classic_assignment(member, group.topics),
    )
    group.finish(Reply(ticket=request.ticket, answer=answer))


def heartbeat(group: ConsumerGroup, claim: MemberClaim, *, now_ms: int) -> ErrorCode:
    """Note that a classic member lives; the code tells it whether to join again.

    Raises:
        RequestError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION.
    """
    member = _judged(group, claim)
    group.seen(member, now_ms=now_ms)
    state = member.progress.state
    is_behind = member.epoch < group.epoch or state is MemberState.UNREVOKED
    if is_behind or (state is MemberState.UNRELEASED and _has_free(group, member)):
        _wait_for_join(group, member, now_ms)
        return ErrorCode.REBALANCE_IN_PROGRESS
    return ErrorCode.NONE


def leave(group: ConsumerGroup, claim: MemberClaim) -> ErrorCode:
    """Let a classic member go; or somebody names its instance id alone."""
    try:
        member = _claimed(group, claim, needs_id=bool(claim.member_id))
    except RequestError as error:
        return error.code
    group.expel(member)
    return ErrorCode.NONE


def _has_free(group: ConsumerGroup, member: Consumer) -> bool:
    """Whether all that a member still lacks is there to be taken."""
    missing = member.target - member.progress.assigned
    return not any(group.members.owner(part) for part in sorted(missing))


def _wait_for_join(group: ConsumerGroup, member: Consumer, now_ms: int) -> None:
    if member.join_end_ms == NEVER_MS:
        member.join_end_ms = now_ms + member.rebalance_timeout_ms
        group.wait_until(member.join_end_ms)


def _judged(group: ConsumerGroup, claim: MemberClaim) -> Consumer:
    member = _claimed(group, claim, needs_id=True)
    if claim.generation != member.epoch:
        raise RequestError(
            ErrorCode.ILLEGAL_GENERATION,
            f"member {member.member_id!r} is in {member.epoch}, not in {claim.generation}",
        )
    return member


def _claimed(group: ConsumerGroup, claim: MemberClaim, *, needs_id: bool) -> Consumer:
    if claim.instance_id is None:
        member = group.members.get(claim.member_id)
    else:
        member = group.members.of_instance(claim.instance_id)
        if member is not None and needs_id:
            check_instance(member, claim.member_id)
    if member is None or member.classic is None:
        raise unknown(claim.instance_id or claim.member_id)
    return member
