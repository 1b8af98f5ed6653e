"""One group of the new protocol (KIP-848) in its coordinator's hands, as a state machine.

A member's heartbeat says what it wants and has, the answer what it is to have. The group has an
epoch, bumped whenever what members want, or the topics, change; for each epoch an assignor computes
everybody's target; each member goes there step by step (`reconciliation`), in its own heartbeats.

Nothing is done here: what must leave or be agreed on is put into `effects`. What changes is stored
in one command for each heartbeat; no answer leaves before everything that was changed before it is
in the log. If something cannot be stored the group `is_void`: whoever holds it makes it anew from
the log. Times come from the caller, in ms of any clock that only grows.

Invariants: those of `consumers`; a target's epoch is at most the group's, a member's at most the
target's; a refused request changes nothing. A heartbeat without news costs O(1).
Codes and rules are those of Kafka's GroupMetadataManager. Members that speak the classic protocol
come in through `classic_consumers`.
Does not: keep offsets, or know which replica is leader.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum
from itertools import chain

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.assignors import ASSIGNORS, DEFAULT_ASSIGNOR, Subscriber
from trimaran.groups.commands import StoreConsumers
from trimaran.groups.consumers import NEVER_MS, Consumer, Consumers, said_bytes
from trimaran.groups.hand_over import can_downgrade, downgraded
from trimaran.groups.limits import GROUP_BYTES_MAX
from trimaran.groups.messages import (
    LEAVE_EPOCH,
    LEAVE_FOR_A_WHILE_EPOCH,
    BeatAnswer,
    BeatRequest,
    Change,
    ConsumerEffect,
    Downgrade,
    GroupSettings,
    MemberClaim,
    Reply,
)
from trimaran.groups.parts import NOTHING, Parts
from trimaran.groups.reconciliation import Progress, advanced
from trimaran.groups.stored import MemberState, StoredConsumers, StoredGroup, StoredTopic
from trimaran.groups.topics import Subscriptions, Topics, current_topic

COMMIT_VERSION_MIN = 9
"""Of OffsetCommit: earlier ones do not carry a member's epoch."""


class ConsumerGroupState(Enum):
    """Kafka's names, as ConsumerGroupDescribe and ListGroups show them."""

    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"


class ConsumerGroup:
    """One group, alive on the node that leads its coordinator's Raft group."""

    def __init__(
        self,
        group_id: str,
        *,
        settings: GroupSettings,
        topics: Topics,
        stored: StoredConsumers | None,
        now_ms: int,
        is_new: bool = False,
    ) -> None:
        """Go on from what the log holds: members have a whole session to say that they live.

        `is_new`: the log does not hold `stored` yet; all of it goes there with the first change.
        """
        self.group_id = group_id
        self.settings = settings
        self.topics = topics
        self._subscriptions = Subscriptions(topics)
        self.members = Consumers()
        self.epoch = 0
        self.assignment_epoch = 0
        self.effects: list[ConsumerEffect] = []
        """To be carried out in this order by the caller, who empties the list."""
        self.is_void = False
        """Whether a change could not be stored: what is here is not what the log holds."""
        self.successor: StoredGroup | None = None
        """The classic group that this one has become."""
        self._known: dict[str, StoredTopic] = {}
        """The topics that members want and that are there, by name."""
        self._mark: object = None
        self._changed: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._topics_changed = False
        self._epochs_stored = (0, 0)
        self._held: deque[list[Reply]] = deque()
        """Answers that wait for each change on its way into the log."""
        self._next_ms = NEVER_MS
        """No deadline is before."""
        if stored is not None:
            self._restore(stored, now_ms)
        if is_new:
            self._epochs_stored = (-1, -1)
            self._topics_changed = True
            self._changed = {member.member_id: None for member in self.members}

    def _restore(self, stored: StoredConsumers, now_ms: int) -> None:
        self.epoch = stored.epoch
        self.assignment_epoch = stored.assignment_epoch
        self._epochs_stored = (self.epoch, self.assignment_epoch)
        self._known = {topic.name: topic for topic in stored.topics}
        for one in stored.members:
            member = Consumer.restored(one)
            self.members.add(member)
            self._look_up(member)
            self.seen(member, now_ms=now_ms)
            if member.progress.state is MemberState.UNREVOKED and member.classic is None:
                self._wait_for_revocation(member, now_ms)

    @property
    def state(self) -> ConsumerGroupState:
        """What the group is doing. O(members)."""
        if self.is_empty:
            return ConsumerGroupState.EMPTY
        if self.epoch > self.assignment_epoch:
            return ConsumerGroupState.ASSIGNING
        if all(one.progress.has_reached(self.assignment_epoch) for one in self.members):
            return ConsumerGroupState.STABLE
        return ConsumerGroupState.RECONCILING

    @property
    def assignor(self) -> str:
        """The assignor that most members ask for, the default if nobody does."""
        votes = dict.fromkeys(ASSIGNORS, 0)
        for member in self.members:
            if member.assignor is not None:
                votes[member.assignor] += 1
        if not any(votes.values()):
            return DEFAULT_ASSIGNOR
        return max(votes, key=votes.__getitem__)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in it."""
        return not len(self.members)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known here that the log does not hold."""
        return self.is_empty and not self._held

    @property
    def next_deadline_ms(self) -> int:
        """Before this `tick` has nothing to do; NEVER_MS if nothing is waited for."""
        return NEVER_MS if self.is_empty or self.is_void else self._next_ms

    def subscribed_topics(self) -> Sequence[str]:
        """Return the names of the topics that members want."""
        return list(self._known)

    # Heartbeats

    def beat(self, request: BeatRequest, *, now_ms: int) -> None:
        """Take in a heartbeat: somebody joins, goes on or leaves.

        Raises:
            RequestError: UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, UNRELEASED_INSTANCE_ID,
                FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED.
        """
        if request.epoch in (LEAVE_EPOCH, LEAVE_FOR_A_WHILE_EPOCH):
            self._leave(request, now_ms)
            return
        self.check_room(request.member_id)
        if request.topics is not None or request.pattern is not None:
            self._check_subscription(request)
        if request.instance_id is None:
            member = self._dynamic(request)
        else:
            member = self._static(request, request.instance_id)
        before = member.progress.assigned
        subscription = (member.topics, member.pattern)
        is_news = self.admit(member)
        if member.update(request):
            self._changed[member.member_id] = None
            self.members.name(member, member.instance_id)
        is_news |= subscription != (member.topics, member.pattern)
        self.settle(member, owned=request.owned, is_news=is_news, now_ms=now_ms)
        self.seen(member, now_ms=now_ms)
        tells = request.is_full or member.progress.assigned != before
        answer = BeatAnswer(
            member_id=member.member_id,
            epoch=member.epoch,
            heartbeat_interval_ms=self.settings.heartbeat_interval_ms,
            assigned=member.progress.assigned if tells else None,
        )
        self.finish(Reply(ticket=request.ticket, answer=answer))

    def check_room(self, member_id: str) -> None:
        """Return if somebody with this id may be in. Raises RequestError."""
        most = self.settings.members_max
        if len(self.members) >= most and self.members.get(member_id) is None:
            raise RequestError(
                ErrorCode.GROUP_MAX_SIZE_REACHED, f"group {self.group_id!r} has {most} members"
            )

    def _check_subscription(self, request: BeatRequest) -> None:
        """Return if a member may subscribe so. Raises RequestError."""
        known = self.members.place(request.member_id, request.instance_id)
        topics, pattern = request.topics, request.pattern
        if known is not None:
            topics = known.topics if topics is None else topics
            pattern = known.pattern if pattern is None else pattern
        self.check_bytes(known, said_bytes(topics or (), pattern or ""))

    def check_bytes(self, known: Consumer | None, says: int) -> None:
        """Return if a member, `known` or a new one, may say so much. Raises RequestError.

        Who says no more than before is not refused, whatever the group holds.
        """
        before = 0 if known is None else known.said_bytes
        if says <= before:
            return
        total = sum(one.said_bytes for one in self.members) - before + says
        if total > GROUP_BYTES_MAX:
            raise RequestError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"subscriptions of group {self.group_id!r}: expected at most {GROUP_BYTES_MAX}"
                f" bytes, found {total}",
            )

    def _dynamic(self, request: BeatRequest) -> Consumer:
        member = self.members.get(request.member_id)
        if member is None:
            if request.epoch != 0:
                raise unknown(request.member_id)
            return Consumer(request.member_id, None)
        _judge_epoch(member, request)
        return member

    def _static(self, request: BeatRequest, instance_id: str) -> Consumer:
        known = self.members.of_instance(instance_id)
        if request.epoch != 0:
            if known is None:
                raise unknown(instance_id)
            check_instance(known, request.member_id)
            _judge_epoch(known, request)
            return known
        if known is None:
            same = self.members.get(request.member_id)
            self._check_id(request.member_id, instance_id, same)
            return same or Consumer(request.member_id, instance_id)
        if known.classic is None and known.epoch != LEAVE_FOR_A_WHILE_EPOCH:
            raise RequestError(
                ErrorCode.UNRELEASED_INSTANCE_ID,
                f"instance id {instance_id!r} is in use by member {known.member_id!r}",
            )
        return self.replace(known, request.member_id)

    def _check_id(self, member_id: str, instance_id: str | None, who: Consumer | None) -> None:
        """Return if an instance may have this id: only `who` has it. Raises RequestError."""
        holder = self.members.get(member_id)
        if holder is None or (holder is who and holder.instance_id in (None, instance_id)):
            return
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"member id {member_id!r} is another member's, expected one for {instance_id!r} alone",
        )

    def replace(self, known: Consumer, member_id: str) -> Consumer:
        """Let a static member's next life take its place; return it.

        Raises:
            RequestError: INVALID_REQUEST, another member has that id.
        """
        self._check_id(member_id, known.instance_id, known)
        if known.member_id == member_id:
            self.members.move(known, known.reborn(member_id).progress)
            self._changed[member_id] = None
            return known
        member = known.reborn(member_id)
        self.drop(known)
        self.members.add(member)
        self._changed[member_id] = None
        return member

    def admit(self, member: Consumer) -> bool:
        """Take a member in; return whether it is a new one."""
        if self.members.get(member.member_id) is member:
            return False
        self.members.add(member)
        self._changed[member.member_id] = None
        self._removed.pop(member.member_id, None)
        return True

    def drop(self, member: Consumer) -> None:
        """Let a member go without more ado."""
        self.members.remove(member)
        self._changed.pop(member.member_id, None)
        self._removed[member.member_id] = None

    def changed(self, member: Consumer) -> None:
        """Have a member stored with what comes next."""
        self._changed[member.member_id] = None

    # Epochs, targets, steps

    def settle(self, member: Consumer, *, owned: Parts | None, is_news: bool, now_ms: int) -> None:
        """Bring the group up to what members want now, and `member` a step closer to its target."""
        if is_news:
            self._look_up(member)
        has_new_topics = self._take_topics(is_news=is_news)
        if is_news or has_new_topics:
            self.epoch += 1
        if self.epoch > self.assignment_epoch:
            self._assign()
        self._advance(member, owned, now_ms)

    def _look_up(self, member: Consumer) -> None:
        """Find what a member's subscription means now."""
        member.wanted = self._subscriptions.names(
            named=member.topics, pattern=member.pattern, known=self._known
        )

    def _take_topics(self, *, is_news: bool) -> bool:
        """Take over what the topics are like now; return whether that is a change."""
        has_moved = self.topics.mark is not self._mark
        if not (is_news or has_moved):
            return False
        if has_moved:
            self._mark = self.topics.mark
            for member in self.members:
                self._look_up(member)
        subscriptions = dict.fromkeys(member.wanted for member in self.members)
        wanted = dict.fromkeys(chain.from_iterable(subscriptions))
        found: dict[str, StoredTopic] = {}
        for name in sorted(wanted):
            topic = current_topic(self.topics, name, self._known.get(name))
            if topic is not None:
                found[name] = topic
        if found == self._known:
            return False
        self._known = found
        self._topics_changed = True
        return True

    def _assign(self) -> None:
        """Compute everybody's target for the group's epoch."""
        assign = ASSIGNORS[self.assignor]
        known = self._known
        topic_ids = {
            wanted: frozenset([known[name].topic_id for name in wanted if name in known])
            for wanted in dict.fromkeys(one.wanted for one in self.members)
        }
        subscribers = [
            Subscriber(
                member_id=one.member_id,
                instance_id=one.instance_id,
                topics=topic_ids[one.wanted],
                current=one.target,
            )
            for one in self.members
        ]
        counts = {topic.topic_id: topic.partition_count for topic in known.values()}
        targets = assign(subscribers, counts)
        for member in self.members:
            target = targets[member.member_id]
            if target != member.target:
                member.target = target
                self._changed[member.member_id] = None
        self.assignment_epoch = self.epoch

    def _advance(self, member: Consumer, owned: Parts | None, now_ms: int) -> None:
        progress = advanced(
            member.progress,
            target=member.target,
            target_epoch=self.assignment_epoch,
            owned=owned,
            is_free=lambda part: self.members.owner(part) in (None, member.member_id),
        )
        if progress is member.progress:
            return
        self._move(member, progress)
        member.revoke_end_ms = NEVER_MS
        if progress.state is MemberState.UNREVOKED and member.classic is None:
            self._wait_for_revocation(member, now_ms)

    def _move(self, member: Consumer, progress: Progress) -> None:
        self.members.move(member, progress)
        self._changed[member.member_id] = None

    # Leaving and being missed

    def _leave(self, request: BeatRequest, now_ms: int) -> None:
        if request.instance_id is None:
            member = self.members.get(request.member_id)
            if member is None:
                raise unknown(request.member_id)
        else:
            member = self.members.of_instance(request.instance_id)
            if member is None:
                raise unknown(request.instance_id)
            check_instance(member, request.member_id)
        answer = BeatAnswer(member_id=request.member_id, epoch=request.epoch)
        reply = Reply(ticket=request.ticket, answer=answer)
        if request.epoch == LEAVE_FOR_A_WHILE_EPOCH and request.instance_id is not None:
            away = Progress(
                epoch=LEAVE_FOR_A_WHILE_EPOCH,
                previous_epoch=member.epoch,
                state=member.progress.state,
                assigned=member.progress.assigned,
                revoking=NOTHING,
            )
            self._move(member, away)
            member.revoke_end_ms = NEVER_MS
            self.finish(reply)
        else:
            self.expel(member, reply)

    def expel(self, member: Consumer, reply: Reply | None = None) -> None:
        """Let a member go; what it had is for others. May end this group (`successor`)."""
        if can_downgrade(self.members, leaving=member, policy=self.settings.migration):
            self.become_classic(leaving=member, reply=reply, is_rebalancing=True)
            return
        self.drop(member)
        self.bump()
        self.finish(reply)

    def bump(self) -> None:
        """Note that members went: targets are computed anew with the next heartbeat."""
        self._take_topics(is_news=True)
        self.epoch += 1

    def become_classic(
        self, *, leaving: Consumer | None, reply: Reply | None, is_rebalancing: bool
    ) -> None:
        """Go on as a classic group, without `leaving`."""
        self.successor = downgraded(
            self.group_id,
            [one for one in self.members if one is not leaving],
            generation=self.epoch,
            topics=self.topics,
            is_rebalancing=is_rebalancing,
        )
        then = () if reply is None else (reply,)
        self.effects.append(Downgrade(group=self.successor, then=then))

    def seen(self, member: Consumer, *, now_ms: int) -> None:
        """Begin a member's session anew."""
        session_ms = self.settings.consumer_session_timeout_ms
        if member.classic is not None:
            session_ms = member.classic.session_timeout_ms
        member.session_end_ms = now_ms + session_ms
        self.wait_until(member.session_end_ms)

    def wait_until(self, end_ms: int) -> None:
        """Note a deadline."""
        self._next_ms = min(self._next_ms, end_ms)

    def _wait_for_revocation(self, member: Consumer, now_ms: int) -> None:
        member.revoke_end_ms = now_ms + member.rebalance_timeout_ms
        self.wait_until(member.revoke_end_ms)

    def tick(self, *, now_ms: int) -> None:
        """Expel members that have not been heard of, or not done what they were told, in time."""
        for member in self.members:
            if member.deadline_ms <= now_ms:
                self.expel(member)
                if self.successor is not None:
                    return
        self._next_ms = min((one.deadline_ms for one in self.members), default=NEVER_MS)

    # The log

    def finish(self, reply: Reply | None) -> None:
        """Have what changed stored; let the answer leave once all that it may speak of is."""
        epochs = (self.epoch, self.assignment_epoch)
        is_news = self._changed or self._removed or self._topics_changed
        if not is_news and epochs == self._epochs_stored:
            if reply is not None and self._held:
                self._held[-1].append(reply)
            elif reply is not None:
                self.effects.append(reply)
            return
        changed = [self.members.get(member_id) for member_id in self._changed]
        command = StoreConsumers(
            group_id=self.group_id,
            epoch=self.epoch,
            assignment_epoch=self.assignment_epoch,
            topics=tuple(self._known.values()) if self._topics_changed else None,
            members=tuple(member.stored() for member in changed if member is not None),
            removed=tuple(self._removed),
        )
        self._changed, self._removed, self._topics_changed = {}, {}, False
        self._epochs_stored = epochs
        self._held.append([] if reply is None else [reply])
        self.effects.append(Change(command=command))

    def stored(self, *, done: bool) -> None:
        """The oldest change on its way is in the log, or (not `done`) will not be."""
        replies = self._held.popleft()
        if done and not self.is_void:
            self.effects += replies
            return
        self.is_void = True
        self.effects += [reply.refused(ErrorCode.NOT_COORDINATOR) for reply in replies]

    def give_up(self, error: ErrorCode) -> None:
        """Answer everybody who waits: this is not the place any more."""
        for replies in self._held:
            self.effects += [reply.refused(error) for reply in replies]
            replies.clear()

    # Offsets

    def judge_commit(self, claim: MemberClaim, *, version: int) -> ErrorCode:
        """Return NONE if offsets may be committed under this name."""
        if claim.generation < 0 and self.is_empty:
            return ErrorCode.NONE
        member = self.members.get(claim.member_id)
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if member.classic is None and version < COMMIT_VERSION_MIN:
            return ErrorCode.UNSUPPORTED_VERSION
        return _judge_offsets(member, claim.generation)

    def judge_fetch(self, member_id: str | None, epoch: int) -> ErrorCode:
        """Return NONE if offsets may be told under this name; None: no name."""
        if member_id is None and epoch < 0:
            return ErrorCode.NONE
        member = self.members.get(member_id or "")
        return ErrorCode.UNKNOWN_MEMBER_ID if member is None else _judge_offsets(member, epoch)


def unknown(name: str) -> RequestError:
    """Return the refusal for somebody who is not in the group."""
    return RequestError(ErrorCode.UNKNOWN_MEMBER_ID, f"{name!r} is not in the group")


def check_instance(member: Consumer, member_id: str) -> None:
    """Return if a static member is the one with this id. Raises RequestError."""
    if member.member_id != member_id:
        raise RequestError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"instance id {member.instance_id!r} belongs to member {member.member_id!r},"
            f" not to {member_id!r}",
        )


def _judge_epoch(member: Consumer, request: BeatRequest) -> None:
    """Return if a member comes in its epoch; the answer that told it of the last may be lost."""
    progress = member.progress
    if request.epoch == progress.epoch:
        return
    is_repeated = request.epoch == progress.previous_epoch and request.epoch < progress.epoch
    if is_repeated and request.owned is not None and request.owned <= progress.assigned:
        return
    raise RequestError(
        ErrorCode.FENCED_MEMBER_EPOCH,
        f"member {member.member_id!r} is in epoch {progress.epoch}, not in {request.epoch}",
    )


def _judge_offsets(member: Consumer, epoch: int) -> ErrorCode:
    if epoch == member.epoch:
        return ErrorCode.NONE
    is_new = member.classic is None
    return ErrorCode.STALE_MEMBER_EPOCH if is_new else ErrorCode.ILLEGAL_GENERATION
