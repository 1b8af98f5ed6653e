"""One consumer group in its coordinator's hands: the classic protocol as a state machine.

    EMPTY          nobody is in it; offsets may be
    PREPARING      members are waited for: until all have joined, or the time is over
    COMPLETING     everybody knows the generation; the leader's assignment is waited for
    STABLE         everybody has its part
    DEAD           deleted; whoever still asks is sent away

Nothing is done here: what must leave or be agreed on is put into `effects`. Times come from the
caller in ms of any clock that only grows, and so does the hint that one has passed (`tick`).

Invariants: a ticket is answered once; a generation is given to members only after all of the
previous one have joined or are out; a member gets a part only after the log holds all parts.
Rules are those of Kafka's classic coordinator (KIP-62, 134, 345, 394, 814).
Does not: keep offsets, or know which replica is leader.
"""

from collections.abc import Sequence
from enum import Enum

from trimaran.errors import ErrorCode
from trimaran.groups.limits import GROUP_BYTES_MAX
from trimaran.groups.messages import (
    Effect,
    GroupSettings,
    JoinAnswer,
    JoinRequest,
    MemberClaim,
    Reply,
    Store,
    SyncAnswer,
    SyncRequest,
    Ticket,
)
from trimaran.groups.roster import Member, Roster
from trimaran.groups.stored import StoredGroup
from trimaran.groups.subscription import subscribed_topics

CONSUMER = "consumer"
NEVER_MS = 1 << 62


class GroupState(Enum):
    """Kafka's names, as DescribeGroups and ListGroups show them."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class Group:
    """One group, alive on the node that leads its coordinator's Raft group."""

    __slots__ = (
        "_initial_end_ms",
        "_is_storing",
        "_joined_in_delay",
        "_phase_end_ms",
        "_settings",
        "effects",
        "generation",
        "group_id",
        "is_void",
        "roster",
        "state",
    )

    def __init__(
        self, group_id: str, *, settings: GroupSettings, stored: StoredGroup | None, now_ms: int
    ) -> None:
        """Go on from what the log holds: members have a whole session to say that they live."""
        self.group_id = group_id
        self._settings = settings
        self.generation = 0 if stored is None else stored.generation
        self.roster = Roster() if stored is None else Roster.restored(stored, now_ms=now_ms)
        self.state = GroupState.STABLE if len(self.roster) else GroupState.EMPTY
        self.effects: list[Effect] = []
        """To be carried out in this order by the caller, who empties the list."""
        self.is_void = False
        """Whether the log does not hold what this group began with."""
        self._phase_end_ms = NEVER_MS
        """Until when members are waited for (PREPARING), or their SyncGroup (later)."""
        self._initial_end_ms: int | None = None
        """While the first members of an empty group gather: until when at most."""
        self._joined_in_delay = False
        self._is_storing = False
        """Whether the assignment is on its way into the log."""
        if stored is not None and stored.is_rebalancing and len(self.roster):
            self._prepare(now_ms)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in it."""
        return self.state is GroupState.EMPTY

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known here that the log does not hold."""
        return self.state in (GroupState.EMPTY, GroupState.DEAD) and not self.roster.pending

    @property
    def next_deadline_ms(self) -> int:
        """When `tick` has something to do, NEVER_MS if nothing is waited for."""
        ends = [self._phase_end_ms, *self.roster.pending.values()]
        ends += [member.deadline_ms for member in self.roster if not member.is_waiting]
        return min(ends)

    # Joining

    def join(self, request: JoinRequest, *, now_ms: int) -> None:
        """Take in a new member, or one that joins again."""
        if self.state is GroupState.DEAD:
            self._refuse_join(request, ErrorCode.COORDINATOR_NOT_AVAILABLE)
        elif not request.member_id:
            self._join_new(request, now_ms)
        elif request.member_id in self.roster.pending and request.instance_id is None:
            self._join_pending(request, now_ms)
        else:
            self._join_again(request, now_ms)

    def _refuse_join(self, request: JoinRequest, error: ErrorCode, member_id: str = "") -> None:
        answer = JoinAnswer(error=error, member_id=member_id or request.member_id)
        self.effects.append(Reply(ticket=request.ticket, answer=answer))

    def _join_new(self, request: JoinRequest, now_ms: int) -> None:
        known = self.roster.of_instance(request.instance_id)
        if not self._fits(request, besides=known):
            self._refuse_join(request, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        elif self._is_too_much(request, besides=known) or (known is None and self._is_full):
            self._refuse_join(request, ErrorCode.GROUP_MAX_SIZE_REACHED)
        elif known is not None:
            self._join_static(request, known, now_ms)
        elif request.instance_id is None and request.learns_id_first:
            self.roster.pending[request.fresh_id] = now_ms + request.session_timeout_ms
            self._refuse_join(request, ErrorCode.MEMBER_ID_REQUIRED, request.fresh_id)
        else:
            self._add(request, request.fresh_id, now_ms)

    def _join_pending(self, request: JoinRequest, now_ms: int) -> None:
        if not self._fits(request, besides=None):
            self._refuse_join(request, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        elif self._is_too_much(request, besides=None):
            self._refuse_join(request, ErrorCode.GROUP_MAX_SIZE_REACHED)
        else:
            self._add(request, request.member_id, now_ms)
            return
        del self.roster.pending[request.member_id]  # the others need not wait for it
        self._complete_if_all_joined(now_ms)

    def _join_again(self, request: JoinRequest, now_ms: int) -> None:
        claim = MemberClaim(member_id=request.member_id, instance_id=request.instance_id)
        error = self.roster.judge(claim)
        if error is not ErrorCode.NONE:
            self._refuse_join(request, error)
            return
        member = self._member(request.member_id)
        if not self._fits(request, besides=member):
            self._refuse_join(request, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
            return
        if self._is_too_much(request, besides=member):
            self._refuse_join(request, ErrorCode.GROUP_MAX_SIZE_REACHED)
            return
        is_same = member.protocols == request.protocols
        is_leader = member.member_id == self.roster.leader
        member.update(request)
        member.seen(now_ms=now_ms)
        if self.state is GroupState.COMPLETING and is_same:
            self._answer_join(member, request.ticket)  # it did not get its answer
        elif self.state is GroupState.STABLE and is_same and not is_leader:
            self._answer_join(member, request.ticket)
        else:
            self._wait_for_others(member, request.ticket, now_ms)

    def _join_static(self, request: JoinRequest, known: Member, now_ms: int) -> None:
        """A static member starts its next life: the old one is fenced off from now on."""
        led_before = self.roster.leader
        member = Member.joining(request, request.fresh_id, now_ms=now_ms)
        member.assignment, member.told = known.assignment, known.told
        self.roster.replace(known, member)
        self._answer_waiting(known, ErrorCode.FENCED_INSTANCE_ID)
        is_settled = self.state is GroupState.STABLE
        if not is_settled or self.roster.choose_protocol() != self.roster.protocol:
            self._wait_for_others(member, request.ticket, now_ms)
            return
        is_leader = self.roster.leader == member.member_id
        skips = is_leader and request.may_skip_assignment
        answer = JoinAnswer(
            generation=self.generation,
            protocol_type=self.roster.protocol_type,
            protocol=self.roster.protocol,
            # A client that cannot skip must not think that it leads, or it would assign again.
            leader=(self.roster.leader if skips or not is_leader else led_before) or "",
            member_id=member.member_id,
            members=self.roster.joined_members() if skips else (),
            skip_assignment=skips,
        )
        reply = Reply(ticket=request.ticket, answer=answer)
        self.effects.append(Store(group=self._stored(), then=(reply,)))

    def _fits(self, request: JoinRequest, *, besides: Member | None) -> bool:
        return self.roster.accepts(request.protocol_type, request.protocols, besides=besides)

    @property
    def _is_full(self) -> bool:
        return len(self.roster) + len(self.roster.pending) >= self._settings.members_max

    def _is_too_much(self, request: JoinRequest, *, besides: Member | None) -> bool:
        added = sum(len(one.metadata) for one in request.protocols)
        return self.roster.bytes_besides(besides) + added > GROUP_BYTES_MAX

    def _add(self, request: JoinRequest, member_id: str, now_ms: int) -> None:
        if len(self.roster) == 0:
            self.roster.protocol_type = request.protocol_type
        member = Member.joining(request, member_id, now_ms=now_ms)
        member.is_nameless = not (request.member_id or request.instance_id)
        self.roster.add(member)
        if self._initial_end_ms is not None:
            self._joined_in_delay = True
        self._wait_for_others(member, request.ticket, now_ms)

    def _wait_for_others(self, member: Member, ticket: Ticket, now_ms: int) -> None:
        """The member has joined the next generation: it hears of it when everybody has."""
        self._answer_waiting(member, ErrorCode.REBALANCE_IN_PROGRESS)
        member.join_ticket = ticket
        if self.state is GroupState.PREPARING:
            self._complete_if_all_joined(now_ms)
        else:
            self._prepare(now_ms)

    def _answer_waiting(self, member: Member, error: ErrorCode) -> None:
        """Answer what the member asked before, if it still waits."""
        if member.join_ticket is not None:
            answer = JoinAnswer(error=error, member_id=member.member_id)
            self.effects.append(Reply(ticket=member.join_ticket, answer=answer))
            member.join_ticket = None
        if member.sync_ticket is not None:
            self._answer_sync(member, error)

    # Rebalances

    def _prepare(self, now_ms: int) -> None:
        """Ask everybody to join again."""
        for member in self.roster:
            if member.sync_ticket is not None:
                self._answer_sync(member, ErrorCode.REBALANCE_IN_PROGRESS)
                member.seen(now_ms=now_ms)
        self._is_storing = False
        timeout_ms = self.roster.rebalance_timeout_ms
        delay_ms = min(self._settings.initial_rebalance_delay_ms, timeout_ms)
        if self.state is GroupState.EMPTY and delay_ms > 0:
            self._initial_end_ms = now_ms + timeout_ms
            self._joined_in_delay = False
            self._phase_end_ms = now_ms + delay_ms
        else:
            self._phase_end_ms = now_ms + timeout_ms
        self.state = GroupState.PREPARING
        self._complete_if_all_joined(now_ms)

    def _complete_if_all_joined(self, now_ms: int) -> None:
        if self.state is not GroupState.PREPARING:
            return
        is_gathering = self._initial_end_ms is not None and len(self.roster) > 0
        if self.roster.has_all_joined and not is_gathering:
            self._complete(now_ms)

    def _join_time_over(self, now_ms: int) -> None:
        """Go on without those who have not joined, unless more of an empty group just came."""
        if self._initial_end_ms is not None and self._joined_in_delay:
            self._joined_in_delay = False
            delay_ms = self._settings.initial_rebalance_delay_ms
            end_ms = min(now_ms + delay_ms, self._initial_end_ms)
            if end_ms > now_ms:
                self._phase_end_ms = end_ms
                return
        for member in self.roster:
            if member.join_ticket is None and member.instance_id is None:
                self.roster.remove(member.member_id)
        if len(self.roster) and all(member.join_ticket is None for member in self.roster):
            # Only static members are left, and none has joined: their sessions decide.
            self._phase_end_ms = now_ms + self.roster.rebalance_timeout_ms
            return
        self._complete(now_ms)

    def _complete(self, now_ms: int) -> None:
        """Begin the next generation with those who are there."""
        self._initial_end_ms = None
        self.generation += 1
        roster = self.roster
        roster.protocol = roster.choose_protocol()
        if len(roster) == 0:
            self.state = GroupState.EMPTY
            self._phase_end_ms = NEVER_MS
            self.effects.append(Store(group=self._stored()))
            return
        leader = None if roster.leader is None else roster.get(roster.leader)
        if leader is None or leader.join_ticket is None:
            first = next(member for member in roster if member.join_ticket is not None)
            roster.leader = first.member_id
        self.state = GroupState.COMPLETING
        self._phase_end_ms = now_ms + roster.rebalance_timeout_ms
        for member in roster:
            member.has_synced = False
            if member.join_ticket is not None:
                self._answer_join(member, member.join_ticket)
                member.join_ticket = None
                member.is_nameless = False
                member.seen(now_ms=now_ms)

    def _answer_join(self, member: Member, ticket: Ticket) -> None:
        roster = self.roster
        is_leader = roster.leader == member.member_id
        answer = JoinAnswer(
            generation=self.generation,
            protocol_type=roster.protocol_type,
            protocol=roster.protocol,
            leader=roster.leader or "",
            member_id=member.member_id,
            members=roster.joined_members() if is_leader else (),
        )
        self.effects.append(Reply(ticket=ticket, answer=answer))

    # Assignments

    def sync(self, request: SyncRequest, *, now_ms: int) -> None:
        """Give a member its part, or wait until the leader has brought it."""
        error = self._judge_sync(request)
        if error is not ErrorCode.NONE:
            self.effects.append(Reply(ticket=request.ticket, answer=SyncAnswer(error=error)))
            return
        member = self._member(request.claim.member_id)
        self._answer_waiting(member, ErrorCode.REBALANCE_IN_PROGRESS)
        member.sync_ticket = request.ticket
        member.seen(now_ms=now_ms)
        if self.state is GroupState.STABLE:
            self._answer_sync(member, ErrorCode.NONE)
        elif member.member_id == self.roster.leader and not self._is_storing:
            self._is_storing = True
            brought = dict(request.assignments)
            for one in self.roster:
                one.assignment = brought.get(one.member_id, b"")
            self.effects.append(Store(group=self._stored()))

    def _judge_sync(self, request: SyncRequest) -> ErrorCode:
        error = self._judge(request.claim)
        if error is not ErrorCode.NONE:
            return error
        if request.protocol_type not in (None, self.roster.protocol_type):
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        if request.protocol not in (None, self.roster.protocol):
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        if self.state is GroupState.PREPARING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def _answer_sync(self, member: Member, error: ErrorCode) -> None:
        assert member.sync_ticket is not None
        answer = SyncAnswer(error=error)
        if error is ErrorCode.NONE:
            answer = SyncAnswer(
                protocol_type=self.roster.protocol_type,
                protocol=self.roster.protocol,
                assignment=member.assignment,
            )
            member.told = member.assignment
            member.has_synced = True
        self.effects.append(Reply(ticket=member.sync_ticket, answer=answer))
        member.sync_ticket = None

    def stored(self, store: Store, *, done: bool, now_ms: int) -> None:
        """What was to be stored is in the log, or (not `done`) will not be."""
        for reply in store.then:
            failed = JoinAnswer(error=ErrorCode.NOT_COORDINATOR)
            self.effects.append(reply if done else Reply(ticket=reply.ticket, answer=failed))
        is_current = store.group.generation == self.generation
        if self.state is not GroupState.COMPLETING or not is_current or not self._is_storing:
            return
        self._is_storing = False
        if done:
            self.state = GroupState.STABLE
        for member in self.roster:
            if not done:
                member.assignment = b""
            if member.sync_ticket is not None:
                error = ErrorCode.NONE if done else ErrorCode.NOT_COORDINATOR
                self._answer_sync(member, error)
                member.seen(now_ms=now_ms)

    # Signs of life, and their absence

    def heartbeat(self, claim: MemberClaim, *, now_ms: int) -> ErrorCode:
        """Note that a member lives; the error tells it to join again."""
        error = self._judge(claim)
        if error is not ErrorCode.NONE:
            return error
        self._member(claim.member_id).seen(now_ms=now_ms)
        if self.state is GroupState.PREPARING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        return ErrorCode.NONE

    def leave(self, claims: Sequence[MemberClaim], *, now_ms: int) -> list[ErrorCode]:
        """Let members go, each judged for itself, all of them stored as gone at once."""
        going: dict[str, Member] = {}
        codes = [self._judge_leave(claim, going) for claim in claims]
        self._remove(*going.values(), now_ms=now_ms)
        self._complete_if_all_joined(now_ms)
        return codes

    def _judge_leave(self, claim: MemberClaim, going: dict[str, Member]) -> ErrorCode:
        """Add a member to `going`: it says so itself, or somebody names its instance id alone.

        Who only has an id is forgotten.
        """
        if self.state is GroupState.DEAD:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        if self.roster.pending.pop(claim.member_id, None) is not None:
            return ErrorCode.NONE
        if claim.member_id:
            error = self.roster.judge(claim)
            if error is not ErrorCode.NONE:
                return error
            member = self.roster.get(claim.member_id)
        else:
            member = self.roster.of_instance(claim.instance_id)
        if member is None or member.member_id in going:
            return ErrorCode.UNKNOWN_MEMBER_ID
        going[member.member_id] = member
        return ErrorCode.NONE

    def gone(self, ticket: Ticket, *, now_ms: int) -> None:
        """Who waited with `ticket` is not there any more; it may come back within its session."""
        for member in self.roster:
            if member.join_ticket == ticket:
                member.join_ticket = None
                member.seen(now_ms=now_ms)
                if member.is_nameless:
                    self._remove(member, now_ms=now_ms)
            elif member.sync_ticket == ticket:
                member.sync_ticket = None
                member.seen(now_ms=now_ms)

    def tick(self, *, now_ms: int) -> None:
        """Do what is due: members that gave no sign of life go, waits end."""
        for member_id, end_ms in list(self.roster.pending.items()):
            if end_ms <= now_ms:
                del self.roster.pending[member_id]
        self._remove(
            *(one for one in self.roster if one.deadline_ms <= now_ms and not one.is_waiting),
            now_ms=now_ms,
        )
        self._complete_if_all_joined(now_ms)
        if self._phase_end_ms > now_ms:
            return
        if self.state is GroupState.PREPARING:
            self._join_time_over(now_ms)
        elif self._is_storing:
            self._phase_end_ms = now_ms + self.roster.rebalance_timeout_ms
        else:
            self._sync_time_over(now_ms)

    def _sync_time_over(self, now_ms: int) -> None:
        """Go on without those who know their generation but never asked for their part."""
        self._phase_end_ms = NEVER_MS
        self._remove(
            *(one for one in self.roster if one.sync_ticket is None and not one.has_synced),
            now_ms=now_ms,
        )

    def give_up(self, error: ErrorCode) -> None:
        """Answer everybody who waits: this is not the place any more."""
        for member in self.roster:
            self._answer_waiting(member, error)

    def delete(self) -> None:
        """The group is gone from the log."""
        assert len(self.roster) == 0
        self.roster.pending.clear()
        self.state = GroupState.DEAD

    def _remove(self, *members: Member, now_ms: int) -> None:
        """Let members go, all at once: what is left of the group is stored once."""
        if not members:
            return
        for member in members:
            self._answer_waiting(member, ErrorCode.UNKNOWN_MEMBER_ID)
            self.roster.remove(member.member_id)
        if len(self.roster):  # or the next coordinator would wait for it
            self.effects.append(Store(group=self._stored(is_rebalancing=True)))
        if self.state is GroupState.PREPARING:
            self._complete_if_all_joined(now_ms)
        elif self.state in (GroupState.STABLE, GroupState.COMPLETING):
            self._prepare(now_ms)

    # Offsets

    def judge_commit(self, claim: MemberClaim, *, now_ms: int) -> ErrorCode:
        """Return NONE if offsets may be committed under this name; it counts as a sign of life."""
        if self.state is GroupState.DEAD:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        if claim.generation < 0 and self.state is GroupState.EMPTY:
            return ErrorCode.NONE  # somebody who assigns partitions itself, or an administrator
        error = self._judge(claim)
        if error is not ErrorCode.NONE:
            return error
        if self.state is GroupState.COMPLETING:
            return ErrorCode.REBALANCE_IN_PROGRESS
        self._member(claim.member_id).seen(now_ms=now_ms)
        return ErrorCode.NONE

    def subscribed_topics(self) -> Sequence[str] | None:
        """Return the topics that members want; None if that cannot be told."""
        if self.roster.protocol_type != CONSUMER:
            return None if len(self.roster) else ()
        topics: dict[str, None] = {}
        for member in self.roster:
            found = subscribed_topics(member.metadata(self.roster.protocol))
            if found is None:
                return None
            topics |= dict.fromkeys(found)
        return list(topics)

    def _judge(self, claim: MemberClaim) -> ErrorCode:
        """Return NONE if this is a member of the current generation."""
        if self.state is GroupState.DEAD:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        error = self.roster.judge(claim)
        if error is ErrorCode.NONE and claim.generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        return error

    def _member(self, member_id: str) -> Member:
        member = self.roster.get(member_id)
        assert member is not None
        return member

    def _stored(self, *, is_rebalancing: bool = False) -> StoredGroup:
        return self.roster.stored(self.group_id, self.generation, is_rebalancing=is_rebalancing)
