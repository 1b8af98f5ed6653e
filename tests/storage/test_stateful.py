"""Random lives of a node's storage on a simulated disk, against a model of a few dictionaries.

Each step may be the process's last: it ends between or inside the step's disk calls, with or
without a power cut that loses what was not synced. What comes back must be the model before or
after that step, never less and never something else.
"""

from dataclasses import dataclass, replace
from random import Random
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from trimaran.ids import Index, NodeId, Term
from trimaran.records.entry import HardState
from trimaran.sim.disk import Disk
from trimaran.sim.files import ProcessEnded, SimFile, SimFiles
from trimaran.sim.trace import EventLog
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import DamageKind
from trimaran.storage.formatting import format_store
from trimaran.storage.journal import LiveGroup, RoundContent
from trimaran.storage.recovery import open_store
from trimaran.storage.verify import verify_store


@dataclass(frozen=True)
class Group:
    """One group in the model."""

    hard_state: HardState
    bound: int = 0
    log: tuple = ()

    @property
    def last_term(self):
        return self.log[-1].term if self.log else 0


STRICT = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


GROUPS = st.sampled_from([0, 1])
COUNTS = st.integers(1, 4)
SIZES = st.sampled_from([70, 300, 1500])
FUSES = st.sampled_from([None] * 24 + list(range(13)))


class Life(RuleBasedStateMachine):
    """A node; the test makes a subclass with its own `kit` and `torn_sectors`."""

    kit: ClassVar[SimpleNamespace]
    torn_sectors: ClassVar[float]

    @initialize(seed=st.integers(0, 2**32 - 1))
    def start(self, seed):
        self.chance = Random(seed)
        self.disk = Disk("disk", self.chance, EventLog(lambda: 0.0))
        self.disk.conditions.torn_sectors = self.torn_sectors
        self.files = SimFiles(self.disk, who="node")
        format_store(self.files, self.kit.IDENTITY)
        self.model = {}
        self.damaged = False
        self.open()

    def groups(self):
        return self.kit.GROUP, self.kit.OTHER

    def open(self):
        self.store = open_store(self.files, identity=self.kit.IDENTITY, settings=self.kit.SMALL)

    def step(self, action, after, fuse):
        """Do `action`, which leads from the model to `after`, or end inside it."""
        before = self.model
        self.files.fuse = fuse
        try:
            action()
            self.model = after
            self.files.fuse = None
        except ProcessEnded:
            self.end(power_cut=self.chance.random() < 0.7)
            found = self.found()
            if self.damaged:
                return
            assert found in (before, after)
            self.model = found

    def end(self, *, power_cut):
        self.files.detach()
        if power_cut:
            self.disk.cut_power()
        self.files = SimFiles(self.disk, who="node again")
        self.open()
        kinds = [
            group.damage.kind for group in self.store.groups.values() if group.damage is not None
        ]
        if self.store.damage:
            assert self.torn_sectors
            assert set(kinds) <= {DamageKind.UNCERTAIN}
            self.damaged = True

    def found(self):
        """Return what the store holds, as a model."""
        result = {}
        for group, recovered in self.store.groups.items():
            log = []
            while len(log) < recovered.boundary.position.index:
                log += recovered.log.plan_read_index(Index(len(log) + 1), 500).run()
            assert len(log) == recovered.boundary.position.index == recovered.log.last_index
            result[group] = Group(recovered.hard_state, len(log), (*log, *recovered.entries))
        return result

    def round(self, **fields):
        write = self.store.journal.plan_round(RoundContent(**fields))
        write.run()
        write.finish()

    def with_group(self, group, **changes):
        return {**self.model, group: replace(self.model[group], **changes)}

    @rule(which=GROUPS, fuse=FUSES)
    def add(self, which, fuse):
        group = self.groups()[which]
        if group in self.model or self.damaged:
            return
        boundary = Boundary(group=group, voters=(NodeId(1),))
        state = HardState(term=Term(0), vote=None)

        def action():
            work = self.store.plan_add_group(boundary)
            work.run()
            work.finish()
            self.round(boundaries=[boundary])

        after = dict(sorted({**self.model, group: Group(state)}.items()))
        self.step(action, after, fuse)

    @rule(which=GROUPS, count=COUNTS, size=SIZES, back=st.integers(0, 3), fuse=FUSES)
    def append(self, which, count, size, back, fuse):
        """Append entries of a new term, replacing the last few that are not flushed."""
        group = self.groups()[which]
        if group not in self.model or self.damaged:
            return
        held = self.model[group]
        kept = held.log[: max(held.bound, len(held.log) - back)]
        term = max(held.last_term, held.hard_state.term) + (1 if back else 0) or 1
        entries = [
            self.kit.records(len(kept) + 1 + at, term=term, size=size) for at in range(count)
        ]
        previous = Term(kept[-1].term if kept else 0)
        after = self.with_group(group, log=(*kept, *entries))
        self.step(lambda: self.round(entries=[(group, previous, entries)]), after, fuse)

    @rule(which=GROUPS, vote=st.integers(1, 3), fuse=FUSES)
    def vote(self, which, vote, fuse):
        group = self.groups()[which]
        if group not in self.model or self.damaged:
            return
        held = self.model[group]
        state = HardState(
            term=Term(max(held.hard_state.term, held.last_term) + 1), vote=NodeId(vote)
        )
        after = self.with_group(group, hard_state=state)
        self.step(lambda: self.round(hard_states=[(group, state)]), after, fuse)

    @rule(which=GROUPS, count=COUNTS, fuse=FUSES)
    def flush(self, which, count, fuse):
        group = self.groups()[which]
        if group not in self.model or self.damaged:
            return
        held = self.model[group]
        entries = held.log[held.bound : held.bound + count]
        if not entries:
            return

        def action():
            recovered = self.store.groups[group]
            write = recovered.log.plan_append(entries)
            write.run()
            write.finish()
            sync = recovered.log.plan_sync()
            sync.run()
            sync.finish()
            boundary = replace(recovered.boundary, position=recovered.log.synced_position)
            self.round(boundaries=[boundary])
            recovered.boundary = boundary

        self.step(action, self.with_group(group, bound=held.bound + len(entries)), fuse)

    @rule(copies=st.sampled_from(["all", "last", "none"]), fuse=FUSES)
    def rollover(self, copies, fuse):
        if self.damaged or self.store.journal.file_count > 4:
            return
        live = [
            LiveGroup(
                group=group,
                hard_state=held.hard_state,
                boundary=self.store.groups[group].boundary,
                entries=self.copied(held, copies),
            )
            for group, held in self.model.items()
        ]

        def action():
            write = self.store.journal.plan_rollover(live)
            write.run()
            write.finish()

        self.step(action, self.model, fuse)

    def copied(self, held, copies):
        above = held.log[held.bound :]
        return {"all": above, "last": above[-1:], "none": ()}[copies]

    @rule(fuse=FUSES)
    def release(self, fuse):
        if not self.damaged:
            self.step(lambda: self.store.journal.release().run(), self.model, fuse)

    @rule(which=GROUPS, short=st.integers(0, 2), fuse=FUSES)
    def turn_over(self, which, short, fuse):
        """The way on which old files go while only the log's end was copied."""
        group = self.groups()[which]
        if group not in self.model or self.damaged:
            return
        self.append(which, 3, 70, 0, None)
        self.rollover("last", None)
        self.append(which, 1, 70, 0, None)
        held = self.model[group]
        self.flush(which, len(held.log) - held.bound - short, None)
        self.release(fuse)

    @rule(which=GROUPS, fuse=FUSES)
    def remove(self, which, fuse):
        group = self.groups()[which]
        if group not in self.model or self.damaged:
            return

        def action():
            self.round(removed=[group])
            self.store.plan_remove_group(group).run()

        after = {other: held for other, held in self.model.items() if other != group}
        self.step(action, after, fuse)

    @rule(power_cut=st.booleans())
    def restart(self, power_cut):
        if not self.damaged:
            self.end(power_cut=power_cut)

    @precondition(lambda self: not self.damaged)
    @invariant()
    def what_is_stored_is_what_was_acknowledged(self):
        stored = {
            group: found.boundary.position.index for group, found in self.store.groups.items()
        }
        assert stored == {group: held.bound for group, held in self.model.items()}

    def teardown(self):
        if hasattr(self, "store") and not self.damaged:
            self.end(power_cut=True)
            if not self.damaged:
                assert self.found() == self.model
                assert verify_store(self.files) == []


@pytest.mark.parametrize("torn_sectors", [0.0, 0.3])
def test_no_life_of_a_node_loses_what_was_synced(kit, torn_sectors, monkeypatch):
    if not torn_sectors:
        # A killed write stops between sectors; only then is a torn round always told from damage.
        monkeypatch.setattr(
            SimFile,
            "_draw_part",
            lambda file, position, size: file._files.disk.chance.randint(0, size // 512) * 512,
        )
    life = type("Life", (Life,), {"kit": kit, "torn_sectors": torn_sectors})
    run_state_machine_as_test(life, settings=STRICT)
