"""Random faults of a real cluster, a few at a time, and the end of them.

A node is down only because a step ended it: one that ended by itself fails the round, and what a
start says is believed, unless the disk that the node was begun on was full.
Does not: load the cluster, or judge what it stored.
"""

from collections import Counter

import pytest

from trimaran.server.process import NodeStartError
from trimaran.testing.links import CLIENTS, both_ways
from trimaran.testing.waiting import let_pass

CALM = 0.25
"""Of the steps: nothing is broken."""


class Mix:
    """The faults of one round. Never more than one node is without its data or its power."""

    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance
        self.counts = Counter()
        self.did = []
        self._ended = set()
        """Nodes that this step killed and did not begin again: no others may be down."""
        self._begun = set()
        """Nodes that this step began again, perhaps on a disk that is full."""
        self._full = None
        """The node whose disk is full in this step."""

    def step(self):
        """Put other faults in force for a few seconds, then take them away."""
        seconds = self.chance.uniform(0.5, 4.0)
        if self.chance.random() < CALM:
            self._note("calm", None)
            let_pass(seconds)
            return
        faults = [
            self.kill, self.pause, self.isolate, self.cut_one_way, self.bridge, self.slow_links,
            self.slow_disk, self.full_disk, self.power_of_one, self.power_of_all, self.kill_twice,
        ]  # fmt: skip
        chosen = self.chance.sample(faults, self.chance.choice((1, 1, 2)))
        node = self.chance.choice(self.cluster.nodes)
        for fault in chosen:
            self._note(fault.__name__, node)
            fault(node)
        let_pass(seconds)
        self.heal()

    def heal(self):
        """End what is in force; start what the step ended, and nothing that ended by itself."""
        excused = self._begun & {self._full}
        self.expect_alive(excused)
        for node in self.cluster.nodes:
            self.cluster.power[node].behave()
            if self.cluster.is_running(node):
                self.cluster.resume(node)
        self.cluster.heal()
        try:
            self.cluster.start_all()
        except NodeStartError:  # begun while its disk was full, it ended just now
            if not excused:
                raise
            self._ended.clear()
            self.expect_alive(excused)
            self.cluster.start_all()
        self._ended, self._begun, self._full = set(), set(), None

    def expect_alive(self, excused=()):
        """Fail if a node is down that no step ended: it died by itself. Its log is shown."""
        for node in self.cluster.nodes:
            if not self.cluster.is_running(node) and node not in {*self._ended, *excused}:
                pytest.fail(f"node {node} ended by itself:\n{self.cluster.log(node)[-6_000:]}")

    def kill(self, node):
        if self.cluster.is_running(node):
            self.cluster.kill(node)
            self._ended.add(node)

    def kill_twice(self, node):
        """The one that leads after the first is killed dies too, as soon as it is known."""
        self.kill(node)
        self._begin_ended()  # not ready before what else is broken is healed
        other = self.chance.choice([one for one in self.cluster.nodes if one != node])
        self.kill(other)

    def pause(self, node):
        if self.cluster.is_running(node):
            self.cluster.pause(node)

    def isolate(self, node):
        self.cluster.isolate(node)

    def cut_one_way(self, node):
        others = [CLIENTS, *self.cluster.nodes]
        pairs = both_ways(node, others)
        self.cluster.links.block(pairs[:: self.chance.choice((1, 2))][1:])

    def bridge(self, node):
        other = self.chance.choice([one for one in self.cluster.nodes if one != node])
        self.cluster.links.block(both_ways(node, [other]))

    def slow_links(self, node):
        delay_ms = self.chance.choice((20, 75, 200))
        self.cluster.links.slow(both_ways(node, self.cluster.nodes), delay_ms=delay_ms)

    def slow_disk(self, node):
        self.cluster.power[node].behave(sync_delay_ms=self.chance.choice((50, 500, 2_000)))

    def full_disk(self, node):
        self._full = node
        self.cluster.power[node].behave(write_errno=28)

    def power_of_one(self, node):
        self._cut([node])

    def power_of_all(self, _node):
        self._cut(self.cluster.nodes)
        self._begin_ended()

    def _cut(self, nodes):
        self._ended.update(node for node in nodes if self.cluster.is_running(node))
        self.cluster.cut_power(nodes, self.chance)

    def _begin_ended(self):
        """Start what this step ended, without a wait: before, nothing else may be down."""
        self.expect_alive(self._begun & {self._full})
        self._begun |= self._ended
        self._ended.clear()
        self.cluster.begin_all()

    def _note(self, name, node):
        self.counts[name] += 1
        self.did.append(f"{name} {node or ''}")
