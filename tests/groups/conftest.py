"""A group in a test's hands: members that ask, a clock moved by hand, a log that says yes."""

import itertools

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.group import Group
from trimaran.groups.messages import (
    GroupSettings,
    JoinRequest,
    MemberClaim,
    Reply,
    Store,
    SyncRequest,
)
from trimaran.groups.stored import StoredProtocol

RANGE = StoredProtocol("range", b"topics")
STICKY = StoredProtocol("sticky", b"sticky topics")


class Bench:
    """One group; answers by ticket, what was stored in order."""

    def __init__(self, *, stored=None, **settings):
        self.settings = GroupSettings(**({"initial_rebalance_delay_ms": 0} | settings))
        self.now_ms = 1_000_000
        self.group = Group("g", settings=self.settings, stored=stored, now_ms=self.now_ms)
        self.answers = {}
        self.log = []
        self.stores_held = []
        self.holds_stores = False
        self._numbers = itertools.count(1)

    def carry_out(self):
        while self.group.effects:
            effects, self.group.effects = self.group.effects, []
            for effect in effects:
                if isinstance(effect, Reply):
                    assert effect.ticket not in self.answers, "answered twice"
                    self.answers[effect.ticket] = effect.answer
                elif self.holds_stores:
                    self.stores_held.append(effect)
                else:
                    self.store(effect)

    def store(self, store: Store, *, done=True):
        if done:
            self.log.append(store.group)
        self.group.stored(store, done=done, now_ms=self.now_ms)
        self.carry_out()

    def join(self, member_id="", **changes):
        """Return the ticket of a join."""
        ticket = next(self._numbers)
        fields = {
            "fresh_id": f"m{ticket}",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 60_000,
            "protocol_type": "consumer",
            "protocols": (RANGE,),
        }
        request = JoinRequest(ticket=ticket, member_id=member_id, **(fields | changes))
        self.group.join(request, now_ms=self.now_ms)
        self.carry_out()
        return ticket

    def joined(self, member_id="", **changes):
        """Join, be answered at once without an error, and return the answer."""
        answer = self.answers[self.join(member_id, **changes)]
        assert answer.error is ErrorCode.NONE, answer
        return answer

    def sync(self, member_id, *, generation=None, parts=None, **changes):
        """Return the ticket of a sync; `parts` are the assignments a leader brings."""
        ticket = next(self._numbers)
        generation = self.group.generation if generation is None else generation
        instance_id = changes.pop("instance_id", None)
        claim = MemberClaim(member_id=member_id, instance_id=instance_id, generation=generation)
        assignments = list((parts or {}).items())
        self.group.sync(
            SyncRequest(ticket=ticket, claim=claim, assignments=assignments, **changes),
            now_ms=self.now_ms,
        )
        self.carry_out()
        return ticket

    def beat(self, member_id, *, generation=None, instance_id=None):
        generation = self.group.generation if generation is None else generation
        claim = MemberClaim(member_id=member_id, instance_id=instance_id, generation=generation)
        return self.group.heartbeat(claim, now_ms=self.now_ms)

    def leave(self, member_id="", instance_id=None):
        claim = MemberClaim(member_id=member_id, instance_id=instance_id)
        code = self.group.leave(claim, now_ms=self.now_ms)
        self.carry_out()
        return code

    def commit(self, member_id="", *, generation=None, instance_id=None):
        generation = self.group.generation if generation is None else generation
        claim = MemberClaim(member_id=member_id, instance_id=instance_id, generation=generation)
        return self.group.judge_commit(claim, now_ms=self.now_ms)

    def gone(self, ticket):
        self.group.gone(ticket, now_ms=self.now_ms)
        self.carry_out()

    def pass_ms(self, ms):
        """Let time pass, deadline by deadline, as the coordinator's timer does."""
        end_ms = self.now_ms + ms
        for _ in range(1_000):
            due_ms = self.group.next_deadline_ms
            if due_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, due_ms)
            self.group.tick(now_ms=self.now_ms)
            self.carry_out()
            assert self.group.next_deadline_ms > self.now_ms, "a deadline that nothing moves"
        self.now_ms = end_ms

    def stable(self, count=1, **changes):
        """Return the ids of `count` members of a stable group, the leader first."""
        first = self.joined(**changes).member_id
        members = [first]
        while len(members) < count:
            new = self.join(**changes)
            again = [self.join(member, **changes) for member in members]
            assert all(self.answers[ticket].error is ErrorCode.NONE for ticket in again)
            members.append(self.answers[new].member_id)
        leader = self.group.roster.leader
        parts = {member: member.encode() for member in members}
        tickets = [self.sync(member) for member in members if member != leader]
        tickets.append(self.sync(leader, parts=parts))
        assert all(self.answers[ticket].error is ErrorCode.NONE for ticket in tickets)
        return members


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def bench_of():
    return Bench


@pytest.fixture
def range_protocol():
    return RANGE


@pytest.fixture
def sticky_protocol():
    return STICKY
