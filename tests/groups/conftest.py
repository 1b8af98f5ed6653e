"""A group in a test's hands: members that ask, a clock moved by hand, a log that says yes."""

import itertools

import pytest

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups import classic_consumers
from trimaran.groups.consumer_group import ConsumerGroup
from trimaran.groups.group import Group
from trimaran.groups.hand_over import upgraded
from trimaran.groups.messages import (
    BeatRequest,
    Change,
    Downgrade,
    GroupSettings,
    JoinRequest,
    MemberClaim,
    Reply,
    Store,
    SyncRequest,
)
from trimaran.groups.parts import NOTHING
from trimaran.groups.stored import StoredProtocol, StoredTopic
from trimaran.groups.table import GroupTable

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
        (code,) = self.leave_all(MemberClaim(member_id=member_id, instance_id=instance_id))
        return code

    def leave_all(self, *claims):
        """Return the codes of claims that leave in one request."""
        codes = self.group.leave(claims, now_ms=self.now_ms)
        self.carry_out()
        return codes

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


class FakeTopics:
    """Topics that come, grow and go; a pattern fits what begins with it."""

    def __init__(self, counts):
        self._topics = {}
        self._deleted = set()
        self._made = 0
        self.mark = object()
        for name, count in counts.items():
            self.create(name, count)

    def create(self, name, count):
        self._made += 1
        topic_id = name[:1].encode() * 15 + bytes([self._made])
        self._topics[name] = StoredTopic(name, topic_id, count)
        self.mark = object()

    def grow(self, name, count):
        self._topics[name] = StoredTopic(name, self._topics[name].topic_id, count)
        self.mark = object()

    def delete(self, name):
        self._deleted.add(self._topics.pop(name).topic_id)
        self.mark = object()

    def forget(self, name):
        """Be a node that has not heard of it yet; return what brings it back."""
        topic = self._topics.pop(name)
        self.mark = object()
        return lambda: self._topics.update({name: topic})

    def names(self):
        return sorted(self._topics)

    def find(self, name):
        return self._topics.get(name)

    def name_of(self, topic_id):
        return next((one.name for one in self._topics.values() if one.topic_id == topic_id), None)

    def is_deleted(self, topic_id):
        return topic_id in self._deleted

    def fits(self, pattern, name):
        return name.startswith(pattern)


class ConsumerBench:
    """A group of the new protocol, and its log: a table that every change is applied to."""

    def __init__(self, topics=None, **settings):
        self.topics = FakeTopics({"a": 6} if topics is None else topics)
        self.settings = GroupSettings(**({"initial_rebalance_delay_ms": 0} | settings))
        self.now_ms = 1_000_000
        self.table = GroupTable()
        self.changes = []
        self.holds_changes = False
        self.held = []
        self.answers = {}
        self.classic = None
        self.group = None
        self.take_over()
        self._numbers = itertools.count(1)

    def take_over(self):
        """Be the next coordinator: it knows what the log holds."""
        self.held.clear()
        self.group = ConsumerGroup(
            "g",
            settings=self.settings,
            topics=self.topics,
            stored=self.table.consumers("g"),
            now_ms=self.now_ms,
        )

    def carry_out(self):
        while self.group.effects:
            effects, self.group.effects = self.group.effects, []
            for effect in effects:
                if isinstance(effect, Reply):
                    assert effect.ticket not in self.answers, "answered twice"
                    self.answers[effect.ticket] = effect.answer
                elif isinstance(effect, Change):
                    self.changes.append(effect.command)
                    self.held.append(effect.command)
                    if not self.holds_changes:
                        self.store()
                else:
                    self.become_classic(effect)

    def become_classic(self, effect: Downgrade):
        self.classic = effect
        for reply in effect.then:
            self.answers[reply.ticket] = reply.answer

    def store(self, *, done=True):
        """Have the oldest change on its way agreed on, or not."""
        command = self.held.pop(0)
        if done:
            self.table.apply(command, log_time_ms=self.now_ms)
        self.group.stored(done=done)
        self.carry_out()

    def send(self, member_id, epoch, **changes):
        """Return the ticket of a heartbeat."""
        ticket = next(self._numbers)
        request = BeatRequest(ticket=ticket, member_id=member_id, epoch=epoch, **changes)
        self.group.beat(request, now_ms=self.now_ms)
        self.carry_out()
        return ticket

    def beat(self, member_id, epoch, **changes):
        """Return the answer of a heartbeat."""
        return self.answers[self.send(member_id, epoch, **changes)]

    def join(self, member_id, *, topics=("a",), **changes):
        """Join, and return the answer."""
        fields = {"rebalance_timeout_ms": 30_000, "owned": NOTHING} | changes
        return self.beat(member_id, 0, topics=topics, **fields)

    def code_of(self, member_id, epoch, **changes):
        """Return the code with which a heartbeat is refused."""
        before = (self.group.epoch, len(self.group.members))
        with pytest.raises(RequestError) as caught:
            self.send(member_id, epoch, **changes)
        assert (self.group.epoch, len(self.group.members)) == before
        return caught.value.code

    def classic_join(self, member_id="", *, subscription, **changes):
        """Return the answer of a JoinGroup."""
        ticket = next(self._numbers)
        fields = {
            "fresh_id": f"c{ticket}",
            "session_timeout_ms": 10_000,
            "rebalance_timeout_ms": 60_000,
            "protocol_type": "consumer",
            "protocols": (StoredProtocol("range", subscription),),
        }
        request = JoinRequest(ticket=ticket, member_id=member_id, **(fields | changes))
        classic_consumers.join(self.group, request, now_ms=self.now_ms)
        self.carry_out()
        return self.answers[ticket]

    def classic_sync(self, member_id, generation):
        ticket = next(self._numbers)
        claim = MemberClaim(member_id=member_id, generation=generation)
        request = SyncRequest(ticket=ticket, claim=claim)
        classic_consumers.sync(self.group, request, now_ms=self.now_ms)
        self.carry_out()
        return self.answers[ticket]

    def upgrade(self, group):
        """Be the group that a classic one has become."""
        self.group = ConsumerGroup(
            "g",
            settings=self.settings,
            topics=self.topics,
            stored=upgraded(group, topics=self.topics),
            now_ms=self.now_ms,
            is_new=True,
        )

    def pass_ms(self, ms):
        """Let time pass, deadline by deadline, as the coordinator's timer does."""
        end_ms = self.now_ms + ms
        while self.group.next_deadline_ms <= end_ms:
            self.now_ms = max(self.now_ms, self.group.next_deadline_ms)
            self.group.tick(now_ms=self.now_ms)
            self.carry_out()
            if self.classic is not None:
                break
            assert self.group.next_deadline_ms > self.now_ms, "a deadline that nothing moves"
        self.now_ms = end_ms

    def numbers(self, parts, topic="a"):
        """Return the numbers of a topic's partitions among `parts`."""
        topic_id = self.topics.find(topic).topic_id
        return sorted(number for found, number in parts if found == topic_id)

    def parts(self, *numbers, topic="a"):
        topic_id = self.topics.find(topic).topic_id
        return frozenset((topic_id, number) for number in numbers)


@pytest.fixture
def consumers():
    """A group of the new protocol, one topic "a" of 6 partitions."""
    return ConsumerBench()


@pytest.fixture
def consumers_of():
    return ConsumerBench


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
