"""The new protocol against what clients really read: never two of them one partition."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trimaran.errors import RequestError
from trimaran.groups.consumer_group import ConsumerGroupState
from trimaran.groups.parts import NOTHING

NAMES = st.sampled_from(["one", "two", "three", "four"])


class Clients(RuleBasedStateMachine):
    """Clients read what they were told to, until they are told otherwise or are missed."""

    bench_of = None

    def __init__(self):
        super().__init__()
        self.bench = type(self).bench_of({"a": 7, "b": 2})
        self.reads = {}
        self.epochs = {}
        self.told = {}

    def hear(self, name, answer):
        self.epochs[name] = answer.epoch
        if answer.assigned is not None:
            self.told[name] = answer.assigned

    @rule(name=NAMES, topics=st.sampled_from([("a",), ("b",), ("a", "b")]))
    def join(self, name, topics):
        if name not in self.epochs:
            self.reads[name] = NOTHING
            self.hear(name, self.bench.join(name, topics=topics))

    @rule(name=NAMES, says=st.booleans())
    def beat(self, name, says):
        if name in self.epochs:
            try:
                owned = self.reads[name] if says else None
                self.hear(name, self.bench.beat(name, self.epochs[name], owned=owned))
            except RequestError:
                self.forget(name)

    @rule(name=NAMES)
    def obey(self, name):
        if name in self.epochs:
            self.reads[name] = self.told[name]

    @rule(name=NAMES)
    def leave(self, name):
        if name in self.epochs:
            self.forget(name)
            self.bench.beat(name, -1)

    @rule()
    def take_over(self):
        self.bench.take_over()

    @precondition(lambda self: self.bench.topics.find("a").partition_count < 10)
    @rule()
    def grow(self):
        count = self.bench.topics.find("a").partition_count
        self.bench.topics.grow("a", count + 1)

    @rule()
    def settle_down(self):
        """Everybody beats and obeys for a while: the group comes to rest, all is read."""
        for _ in range(10):
            for name in list(self.epochs):
                self.beat(name, True)
                self.obey(name)
        if self.epochs:
            assert self.bench.group.state is ConsumerGroupState.STABLE
            for name, parts in self.reads.items():
                assert parts == self.bench.group.members.get(name).target

    def forget(self, name):
        for rows in (self.epochs, self.reads, self.told):
            rows.pop(name, None)

    @invariant()
    def nobody_reads_what_another_reads(self):
        every = [part for parts in self.reads.values() for part in sorted(parts)]
        assert len(every) == len(dict.fromkeys(every))


def test_no_partition_is_read_by_two_and_the_group_comes_to_rest(consumers_of):
    from hypothesis.stateful import run_state_machine_as_test

    Clients.bench_of = staticmethod(consumers_of)
    run_state_machine_as_test(
        Clients, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )
    assert Clients.bench_of is not None
