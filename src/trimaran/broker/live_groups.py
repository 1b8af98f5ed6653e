"""The consumer groups of one coordinator while this node leads it: effects, tickets, time.

A group (`groups.group`) decides; here its answers reach those who hold tickets, what it wants
stored is proposed, and its deadlines become one timer for all groups. After a stall of this node's
own loop members get a moment more: their signs of life lie unread in sockets.

Does not: survive the end of the leadership; the next leader makes its own from the log.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.commands import Command, DeleteGroups, StoreGroup
from trimaran.groups.group import NEVER_MS, Group, GroupState
from trimaran.groups.limits import GROUPS_MAX
from trimaran.groups.messages import (
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
from trimaran.groups.table import GroupTable

log = logging.getLogger(__name__)

LATE_MS = 250
"""A timer that fires later than this was held up by this node, not by members."""
GRACE_S = 0.1
"""How long members get to be heard after that."""


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

    def __init__(self, log_of_groups: Proposer, *, settings: GroupSettings) -> None:
        """Take up every group that the log holds members of."""
        self.settings = settings
        self._log = log_of_groups
        self._loop = asyncio.get_running_loop()
        self._groups: dict[str, Group] = {}
        self._waiting: dict[Ticket, asyncio.Future[JoinAnswer] | asyncio.Future[SyncAnswer]] = {}
        self._stores: dict[str, int] = {}
        """By group: how much of it is on its way into the log."""
        self._tickets = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = NEVER_MS
        self._is_over = False
        for group_id in self._log.table:
            stored = self._log.table.stored(group_id)
            if stored is not None and stored.members:
                self._take_up(group_id)
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
            RequestError: UNKNOWN_MEMBER_ID, GROUP_MAX_SIZE_REACHED.
        """
        if request.member_id and not self.is_known(group_id):
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID, f"no group {group_id!r}")
        future: asyncio.Future[JoinAnswer] = self._loop.create_future()
        self._waiting[request.ticket] = future
        group = self._take_up(group_id)
        group.join(request, now_ms=self._now_ms)
        self._carry_out(group)
        return future

    def sync(self, group_id: str, request: SyncRequest) -> "asyncio.Future[SyncAnswer]":
        """Return the future of the answer.

        Raises:
            RequestError: UNKNOWN_MEMBER_ID.
        """
        group = self._existing(group_id)
        future: asyncio.Future[SyncAnswer] = self._loop.create_future()
        self._waiting[request.ticket] = future
        group.sync(request, now_ms=self._now_ms)
        self._carry_out(group)
        return future

    def gone(self, group_id: str, ticket: Ticket) -> None:
        """Nobody waits for the answer any more: the connection is closed."""
        future = self._waiting.pop(ticket, None)
        if future is not None:
            future.cancel()
        group = self._groups.get(group_id)
        if group is not None and not self._is_over:
            group.gone(ticket, now_ms=self._now_ms)
            self._carry_out(group)

    def heartbeat(self, group_id: str, claim: MemberClaim) -> ErrorCode:
        """Note a sign of life. Raises RequestError UNKNOWN_MEMBER_ID."""
        return self._existing(group_id).heartbeat(claim, now_ms=self._now_ms)

    def leave(self, group_id: str, claims: Sequence[MemberClaim]) -> list[ErrorCode]:
        """Let members go, each for itself. Raises RequestError UNKNOWN_MEMBER_ID."""
        group = self._existing(group_id)
        codes = [group.leave(claim, now_ms=self._now_ms) for claim in claims]
        self._carry_out(group)
        return codes

    def judge_commit(self, group_id: str, claim: MemberClaim) -> ErrorCode:
        """Return NONE if offsets may be committed under this name.

        Raises:
            RequestError: GROUP_MAX_SIZE_REACHED.
        """
        if not self.is_known(group_id) and claim.generation >= 0:
            return ErrorCode.ILLEGAL_GENERATION
        group = self._take_up(group_id)
        code = group.judge_commit(claim, now_ms=self._now_ms)
        self._drop_if_nothing(group)
        return code

    # Groups

    def is_known(self, group_id: str) -> bool:
        """Whether there is such a group: members, members to come, or offsets."""
        return group_id in self._groups or group_id in self._log.table

    def get(self, group_id: str) -> Group | None:
        """Return a group to look at; None if there is none."""
        if not self.is_known(group_id):
            return None
        known = self._groups.get(group_id)
        return known if known is not None else self._restored(group_id)

    def ids(self) -> list[str]:
        """Return the ids of all groups."""
        return list({**dict.fromkeys(self._log.table), **dict.fromkeys(self._groups)})

    async def delete(self, group_id: str) -> None:
        """Delete a group with its offsets.

        Raises:
            RequestError: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP; NOT_COORDINATOR (outcome unknown).
        """
        group = self.get(group_id)
        if group is None:
            raise RequestError(ErrorCode.GROUP_ID_NOT_FOUND, f"no group {group_id!r}")
        if group.state is not GroupState.EMPTY:
            raise RequestError(
                ErrorCode.NON_EMPTY_GROUP, f"group {group_id!r} is {group.state.value}"
            )
        group.delete()
        self._groups.pop(group_id, None)
        await self._log.execute(DeleteGroups((group_id,)))

    def _restored(self, group_id: str) -> Group:
        stored = self._log.table.stored(group_id)
        return Group(group_id, settings=self.settings, stored=stored, now_ms=self._now_ms)

    def _take_up(self, group_id: str) -> Group:
        group = self._groups.get(group_id)
        if group is None:
            if group_id not in self._log.table and len(self._log.table) >= GROUPS_MAX:
                raise RequestError(
                    ErrorCode.GROUP_MAX_SIZE_REACHED,
                    f"expected at most {GROUPS_MAX} groups of one coordinator",
                )
            group = self._groups[group_id] = self._restored(group_id)
        return group

    def _existing(self, group_id: str) -> Group:
        group = self._groups.get(group_id)
        if group is None:
            raise RequestError(ErrorCode.UNKNOWN_MEMBER_ID, f"nobody is in group {group_id!r}")
        return group

    def _drop_if_nothing(self, group: Group) -> None:
        group_id = group.group_id
        is_settled = group.is_idle and group_id not in self._stores
        if is_settled and self._groups.get(group_id) is group:
            del self._groups[group_id]

    # Effects and time

    def _carry_out(self, group: Group) -> None:
        while group.effects:
            effects, group.effects = group.effects, []
            for effect in effects:
                if isinstance(effect, Reply):
                    self._answer(effect)
                else:
                    self._store(group, effect)
        self._drop_if_nothing(group)
        self._wake_at(group.next_deadline_ms)

    def _answer(self, reply: Reply) -> None:
        future = self._waiting.pop(reply.ticket, None)
        if future is not None and not future.done():
            future.set_result(reply.answer)  # type: ignore[arg-type]

    def _store(self, group: Group, store: Store) -> None:
        group_id = group.group_id
        self._stores[group_id] = self._stores.get(group_id, 0) + 1

        def done(committed: bool) -> None:
            if self._is_over:
                return
            self._stores[group_id] -= 1
            if self._stores[group_id] == 0:
                del self._stores[group_id]
            group.stored(store, done=committed, now_ms=self._now_ms)
            self._carry_out(group)

        try:
            self._log.propose(StoreGroup(store.group), done)
        except RequestError as error:
            log.warning("group not stored group=%s reason=%s", group_id, error)
            self._loop.call_soon(done, False)

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
                    self._answer(reply)
        for ticket, future in self._waiting.items():
            if not future.done():
                refusal = RequestError(ErrorCode.NOT_COORDINATOR, f"ticket {ticket} is void")
                future.set_exception(refusal)
        self._waiting.clear()
