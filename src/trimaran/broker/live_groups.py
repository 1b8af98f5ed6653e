"""The consumer groups of one coordinator while this node leads it: effects, tickets, time.

A group (`groups.group`, `groups.consumer_group`) decides; here its answers reach those who hold
tickets, what it wants stored is proposed, and its deadlines become one timer for all groups. Groups
change their kind here: an empty one becomes what the next member speaks, one with members as the
migration policy has it. What is here and not in the log, as something could not be stored, is made
anew from it as soon as nothing of the group is on its way there. After a stall of this node's own
loop members get a moment more: their signs of life lie unread in sockets.

Does not: survive the end of the leadership; the next leader makes its own from the log.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups import classic_consumers
from trimaran.groups.commands import Command, CommitOffsets, DeleteGroups, StoreGroup
from trimaran.groups.consumer_group import COMMIT_VERSION_MIN, ConsumerGroup
from trimaran.groups.group import NEVER_MS, Group
from trimaran.groups.hand_over import upgraded
from trimaran.groups.limits import GROUPS_MAX
from trimaran.groups.messages import (
    BeatAnswer,
    BeatRequest,
    Change,
    Downgrade,
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
from trimaran.groups.stored import StoredConsumers
from trimaran.groups.table import GroupTable
from trimaran.groups.topics import Topics

log = logging.getLogger(__name__)

LATE_MS = 250
"""A timer that fires later than this was held up by this node, not by members."""
GRACE_S = 0.1
"""How long members get to be heard after that."""


LiveGroup: TypeAlias = Group | ConsumerGroup
_Answer: TypeAlias = JoinAnswer | SyncAnswer | BeatAnswer


class Proposer(Protocol):
    """The coordinator's log."""

    @property
    def table(self) -> GroupTable:
        """What is committed."""

    def propose(self, command: Command, done: Callable[[bool], None]) -> None:
        """Have `command` committed; RequestError if that cannot even begin."""

    async def execute(self, command: Command) -> None:
        """Have `command` committed and applied; RequestError."""


class LiveGroups:
    """All groups of one coordinator."""

    def __init__(self, log_of_groups: Proposer, *, settings: GroupSettings, topics: Topics) -> None:
        """Take up every group that the log holds members of."""
        self.settings = settings
        self._topics = topics
        self._log = log_of_groups
        self._loop = asyncio.get_running_loop()
        self._groups: dict[str, LiveGroup] = {}
        self._waiting: dict[Ticket, asyncio.Future[_Answer]] = {}
        self._stores: dict[str, int] = {}
        """By group: how much of it is on its way into the log."""
        self._tickets = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = NEVER_MS
        self._is_over = False
        for group_id in self._log.table:
            self._take_up_members(group_id)
        self._look()

    @property
    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)

    # What members ask

    def new_ticket(self) -> Ticket:
        """Return a number for one answer that may come later."""
        self._tickets += 1
        return self._tickets

    def join(self, group_id: str, request: JoinRequest) -> "asyncio.Future[JoinAnswer]":
        """Return the future of the answer.

        Raises:
            RequestError: UNKNOWN_MEMBER_ID, GROUP_MAX_SIZE_REACHED, COORDINATOR_NOT_AVAILABLE, and
                what `classic_consumers.join` refuses.
        """
        if request.member_id and not self.is_known(group_id):
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID, f"no group {group_id!r}")
        group = self._take_up(group_id)
        if isinstance(group, ConsumerGroup) and group.is_empty:
            group = self._put(self._classic(group_id))

        def ask() -> None:
            if isinstance(group, ConsumerGroup):
                classic_consumers.join(group, request, now_ms=self._now_ms)
            else:
                group.join(request, now_ms=self._now_ms)

        return self._answer_to(request.ticket, group, ask)

    def sync(self, group_id: str, request: SyncRequest) -> "asyncio.Future[SyncAnswer]":
        """Return the future of the answer.

        Raises:
            RequestError: UNKNOWN_MEMBER_ID, and what `classic_consumers.sync` refuses.
        """
        group = self._existing(group_id)

        def ask() -> None:
            if isinstance(group, ConsumerGroup):
                classic_consumers.sync(group, request, now_ms=self._now_ms)
            else:
                group.sync(request, now_ms=self._now_ms)

        return self._answer_to(request.ticket, group, ask)

    def beat(self, group_id: str, request: BeatRequest) -> "asyncio.Future[BeatAnswer]":
        """Return the future of the answer to a heartbeat of the new protocol.

        Raises:
            RequestError: GROUP_ID_NOT_FOUND, COORDINATOR_NOT_AVAILABLE, and what
                `ConsumerGroup.beat` refuses.
        """
        group = self._consumer_group(group_id, is_join=request.epoch == 0)

        def ask() -> None:
            group.beat(request, now_ms=self._now_ms)
            self._put(group)

        return self._answer_to(request.ticket, group, ask)

    def _answer_to(
        self, ticket: Ticket, group: LiveGroup, ask: Callable[[], None]
    ) -> "asyncio.Future[Any]":
        """Have a group asked something; return the future of the answer."""
        future: asyncio.Future[_Answer] = self._loop.create_future()
        self._waiting[ticket] = future
        try:
            ask()
        except RequestError:
            del self._waiting[ticket]
            self._drop_if_nothing(group)
            raise
        self._carry_out(group)
        return future

    def gone(self, group_id: str, ticket: Ticket) -> None:
        """Nobody waits for the answer any more: the connection is closed."""
        future = self._waiting.pop(ticket, None)
        if future is not None:
            future.cancel()
        group = self._groups.get(group_id)
        if isinstance(group, Group) and not self._is_over:
            group.gone(ticket, now_ms=self._now_ms)
            self._carry_out(group)

    def heartbeat(self, group_id: str, claim: MemberClaim) -> ErrorCode:
        """Note a sign of life. Raises RequestError, UNKNOWN_MEMBER_ID among others."""
        group = self._existing(group_id)
        if isinstance(group, ConsumerGroup):
            code = classic_consumers.heartbeat(group, claim, now_ms=self._now_ms)
            self._wake_at(group.next_deadline_ms)
            return code
        return group.heartbeat(claim, now_ms=self._now_ms)

    def leave(self, group_id: str, claims: Sequence[MemberClaim]) -> list[ErrorCode]:
        """Let members go, each for itself. Raises RequestError UNKNOWN_MEMBER_ID."""
        codes: list[ErrorCode] = []
        while len(codes) < len(claims):
            rest = claims[len(codes) :]
            group = self._existing(group_id)  # a classic one once the last of the others is gone
            if isinstance(group, ConsumerGroup):
                codes.append(classic_consumers.leave(group, rest[0]))
            else:
                codes += group.leave(rest, now_ms=self._now_ms)
            self._carry_out(group)
        return codes

    def judge_commit(self, group_id: str, claim: MemberClaim, *, version: int) -> ErrorCode:
        """Return NONE if offsets may be committed under this name; `version`: of OffsetCommit.

        Raises:
            RequestError: GROUP_MAX_SIZE_REACHED, COORDINATOR_NOT_AVAILABLE.
        """
        if not self.is_known(group_id) and claim.generation >= 0:
            knows_it = version >= COMMIT_VERSION_MIN
            return ErrorCode.GROUP_ID_NOT_FOUND if knows_it else ErrorCode.ILLEGAL_GENERATION
        group = self._take_up(group_id)
        if isinstance(group, ConsumerGroup):
            code = group.judge_commit(claim, version=version)
        else:
            code = group.judge_commit(claim, now_ms=self._now_ms)
        self._drop_if_nothing(group)
        return code

    # Groups

    def is_known(self, group_id: str) -> bool:
        """Whether there is such a group: members, members to come, or offsets."""
        return group_id in self._groups or group_id in self._log.table

    def get(self, group_id: str) -> LiveGroup | None:
        """Return a group to look at; None if there is none."""
        if not self.is_known(group_id):
            return None
        known = self._groups.get(group_id)
        return known if known is not None else self._restored(group_id)

    def ids(self) -> list[str]:
        """Return the ids of all groups."""
        return list({**dict.fromkeys(self._log.table), **dict.fromkeys(self._groups)})

    async def commit(self, command: CommitOffsets) -> None:
        """Have offsets committed; until they are, the group is not deleted as one without any.

        Raises:
            RequestError: as `Coordinator.execute`.
        """
        group_id = command.group_id
        self._began(group_id)
        try:
            await self._log.execute(command)
        finally:
            self._ended(group_id)

    def is_storing(self, group_id: str) -> bool:
        """Whether something of the group is on its way into the log."""
        return group_id in self._stores

    async def delete(self, group_id: str) -> None:
        """Delete a group with its offsets.

        Raises:
            RequestError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP, COORDINATOR_NOT_AVAILABLE;
                NOT_COORDINATOR (outcome unknown).
        """
        group = self.get(group_id)
        if group is None:
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"no group {group_id!r}")
        if not _usable(group).is_empty:
            raise RequestError(
                ErrorCode.NON_EMPTY_GROUP, f"group {group_id!r} is {group.state.value}"
            )
        if isinstance(group, Group):
            group.delete()
        self._groups.pop(group_id, None)
        await self._log.execute(DeleteGroups((group_id,)))

    def _restored(self, group_id: str) -> LiveGroup:
        consumers = self._log.table.consumers(group_id)
        if consumers is not None:
            return self._consumers(group_id, consumers)
        stored = self._log.table.stored(group_id)
        return Group(group_id, settings=self.settings, stored=stored, now_ms=self._now_ms)

    def _classic(self, group_id: str) -> Group:
        return Group(group_id, settings=self.settings, stored=None, now_ms=self._now_ms)

    def _consumers(
        self, group_id: str, stored: StoredConsumers | None, *, is_new: bool = False
    ) -> ConsumerGroup:
        return ConsumerGroup(
            group_id,
            settings=self.settings,
            topics=self._topics,
            stored=stored,
            now_ms=self._now_ms,
            is_new=is_new,
        )

    def _take_up(self, group_id: str) -> LiveGroup:
        group = self._groups.get(group_id)
        if group is None:
            count = max(len(self._log.table), len(self._groups))
            if group_id not in self._log.table and count >= GROUPS_MAX:
                raise RequestError(
                    ErrorCode.GROUP_MAX_SIZE_REACHED,
                    f"expected at most {GROUPS_MAX} groups of one coordinator",
                )
            group = self._groups[group_id] = self._restored(group_id)
        return _usable(group)

    def _take_up_members(self, group_id: str) -> None:
        """Take a group up if the log holds members of it: their sessions begin."""
        stored = self._log.table.stored(group_id)
        consumers = self._log.table.consumers(group_id)
        members = stored.members if stored is not None else ()
        if members or (consumers is not None and consumers.members):
            self._wake_at(self._take_up(group_id).next_deadline_ms)

    def _consumer_group(self, group_id: str, *, is_join: bool) -> ConsumerGroup:
        """Return a group of the new protocol; maybe a new one, in place of a classic one.

        Nothing is changed yet: `_put` does it once the member was let in.
        """
        if not (is_join or self.is_known(group_id)):
            raise _not_found(group_id)
        group = self._take_up(group_id)
        if isinstance(group, ConsumerGroup):
            return group
        try:
            if not is_join:
                raise _not_found(group_id)
            if group.is_empty:
                return self._consumers(group_id, None)
            policy, most = self.settings.migration, self.settings.members_max
            if not policy.upgrades or len(group.roster) > most:
                raise _not_found(group_id)
            return self._consumers(group_id, upgraded(group, topics=self._topics), is_new=True)
        finally:
            self._drop_if_nothing(group)

    def _put(self, group: LiveGroup) -> LiveGroup:
        """Let `group` be the one of its name; who waits for an answer of the other joins anew."""
        before = self._groups.get(group.group_id)
        self._groups[group.group_id] = group
        if isinstance(before, Group) and before is not group:
            before.give_up(ErrorCode.REBALANCE_IN_PROGRESS)
            self._carry_out(before)
        return group

    def _existing(self, group_id: str) -> LiveGroup:
        group = self._groups.get(group_id)
        if group is None:
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID, f"nobody is in group {group_id!r}")
        return _usable(group)

    def _drop_if_nothing(self, group: LiveGroup) -> None:
        """Let go of a group that is nothing beside what the log holds, once that is all there is.

        If the log still has members, of what could not be stored, they are taken up.
        """
        group_id = group.group_id
        is_settled = (group.is_idle or group.is_void) and group_id not in self._stores
        if is_settled and self._groups.get(group_id) is group:
            del self._groups[group_id]
            self._take_up_members(group_id)

    # Effects and time

    def _carry_out(self, group: LiveGroup) -> None:
        while group.effects:
            effects, group.effects = group.effects, []
            for effect in effects:
                match effect:
                    case Reply():
                        self._answer(effect)
                    case Store():
                        assert isinstance(group, Group)
                        self._store(group, effect)
                    case Change():
                        assert isinstance(group, ConsumerGroup)
                        self._change(group, effect)
                    case Downgrade():
                        self._downgrade(group.group_id, effect)
        self._drop_if_nothing(group)
        self._wake_at(group.next_deadline_ms)

    def _answer(self, reply: Reply) -> None:
        future = self._waiting.pop(reply.ticket, None)
        if future is not None and not future.done():
            future.set_result(reply.answer)

    def _store(self, group: Group, store: Store) -> None:
        def done(committed: bool) -> None:
            group.stored(store, done=committed, now_ms=self._now_ms)
            self._carry_out(group)

        self._propose(group, StoreGroup(store.group), done)

    def _change(self, group: ConsumerGroup, change: Change) -> None:
        def done(committed: bool) -> None:
            group.stored(done=committed)
            self._carry_out(group)

        if not self._propose(group, change.command, done):
            group.is_void = True  # at once: nothing that builds on it may be stored

    def _downgrade(self, group_id: str, effect: Downgrade) -> None:
        stored = effect.group
        group = Group(group_id, settings=self.settings, stored=stored, now_ms=self._now_ms)
        self._groups[group_id] = group

        def done(committed: bool) -> None:
            refusal = ErrorCode.NOT_COORDINATOR
            for reply in effect.then:
                self._answer(reply if committed else reply.refused(refusal))
            if not committed:
                group.is_void = True
                group.give_up(refusal)
                self._carry_out(group)

        if not self._propose(group, StoreGroup(stored), done):
            group.is_void = True
        self._carry_out(group)

    def _propose(self, group: LiveGroup, command: Command, done: Callable[[bool], None]) -> bool:
        """Have something of a group stored; `done` is called once, later.

        What a void group wants, and what the log refuses, is not stored: `done` is told so, and
        False is returned.
        """
        group_id = group.group_id
        self._began(group_id)

        def settled(committed: bool) -> None:
            if not self._is_over:
                done(committed)
                self._ended(group_id)

        try:
            if not group.is_void:
                self._log.propose(command, settled)
                return True
        except RequestError as error:
            log.warning("group not stored group=%s reason=%s", group_id, error)
        self._loop.call_soon(settled, False)
        return False

    def _began(self, group_id: str) -> None:
        self._stores[group_id] = self._stores.get(group_id, 0) + 1

    def _ended(self, group_id: str) -> None:
        """Note that something is on its way no more: the log may be all there is of the group."""
        self._stores[group_id] -= 1
        if self._stores[group_id] > 0:
            return
        del self._stores[group_id]
        group = self._groups.get(group_id)
        if group is not None and not self._is_over:
            self._drop_if_nothing(group)

    def _wake_at(self, when_ms: int) -> None:
        if when_ms >= self._timer_ms or self._is_over:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = when_ms
        # In the middle of that millisecond: at its begin the clock may round to the one before.
        self._timer = self._loop.call_at((when_ms + 0.5) / 1000, self._due, when_ms)

    def _due(self, when_ms: int) -> None:
        if self._now_ms - when_ms > LATE_MS:
            self._timer = self._loop.call_later(GRACE_S, self._look)
        else:
            self._look()

    def _look(self) -> None:
        """Let every group do what is due, and come back for the next."""
        self._timer, self._timer_ms = None, NEVER_MS
        now_ms = self._now_ms
        for group in list(self._groups.values()):
            if group.next_deadline_ms <= now_ms:
                group.tick(now_ms=now_ms)
            self._carry_out(group)

    def give_up(self) -> None:
        """Another node leads: send everybody who waits there."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        for group in self._groups.values():
            group.give_up(ErrorCode.NOT_COORDINATOR)
            for effect in group.effects:
                for reply in effect.then if isinstance(effect, Store) else (effect,):
                    assert isinstance(reply, Reply)
                    self._answer(reply)
        for ticket, future in self._waiting.items():
            if not future.done():
                refusal = RequestError(ErrorCode.NOT_COORDINATOR, f"ticket {ticket} is void")
                future.set_exception(refusal)
        self._waiting.clear()


def _usable(group: LiveGroup) -> LiveGroup:
    """Return the group if it stands for what the log holds. Raises RequestError."""
    if group.is_void:
        raise RequestError(
            ErrorCode.COORDINATOR_NOT_AVAILABLE, f"group {group.group_id!r} is read again"
        )
    return group


def _not_found(group_id: str) -> RequestError:
    return RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"no consumer group {group_id!r}")
