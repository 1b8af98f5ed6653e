"""Three simulated nodes, each with its observer; time is virtual, so a minute takes a moment."""

from types import SimpleNamespace

import pytest

from trimaran.server.lag import LoopLag
from trimaran.server.observing.observer import NodeObserver
from trimaran.sim.liveness import wait_for_topic
from trimaran.sim.report import RunOptions
from trimaran.sim.run import SeedRun


class ObservedRun(SeedRun):
    """A calm run in which a test does what it likes."""

    def __init__(self, seed):
        super().__init__(RunOptions(seed=seed, seconds=5, nodes=3, clients=4, kinds=()))
        self.observers = {}

    async def begin(self):
        for node in self.cluster.nodes:
            self.cluster.start(node)
        await self.until(lambda: all(node.broker is not None for node in self.cluster.nodes))
        for node in self.cluster.nodes:
            self.observe(node)
        await wait_for_topic(self._probe("starter"), 3)

    def observe(self, node):
        self.observers[node.name] = NodeObserver(
            node.broker, lag=LoopLag(), now_s=lambda: self.loop.now_s, wall_ms=node.clock.wall_ms
        )

    def observer_of(self, node):
        return self.observers[node.name]

    @property
    def living(self):
        return [node for node in self.cluster.nodes if node.broker is not None]

    async def pass_time(self, count):
        """Let seconds pass; every living node samples each of them."""
        for _ in range(count):
            await self._rest(1.0)
            for node in self.living:
                await self.observer_of(node).sample()

    async def until(self, condition, limit_s=30.0):
        for _ in range(int(limit_s / 0.01)):
            if condition():
                return
            await self._rest(0.01)
        raise AssertionError("the condition did not come true")

    async def _rest(self, seconds):
        """Let virtual time pass."""
        over = self.loop.create_future()
        self.loop.call_later(seconds, over.set_result, None)
        await over

    def leader(self):
        """Return the node that leads most groups."""
        led = {node.name: 0 for node in self.cluster.nodes}
        for view in self.cluster.views():
            led[view.node] += view.replica.raft.is_leader
        return max(self.living, key=lambda node: led[node.name])


def run_observed(act, seed=1):
    """Run an async function of an ObservedRun; return what it returned."""
    sim = ObservedRun(seed)
    result = SimpleNamespace(value=None)

    async def scenario():
        await sim.begin()
        result.value = await act(sim)

    try:
        sim.loop.run_until_complete(scenario())
    finally:
        sim.loop.close()
    return result.value


@pytest.fixture(scope="session")
def observed():
    """Run an async function of an ObservedRun; return what it returned."""
    return run_observed
