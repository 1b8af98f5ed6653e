"""Whatever a client asks, in any version: an answer or a closed connection, never a node's end.

`TRIMARAN_REQUESTS` multiplies the requests of each run.
"""

import asyncio
import logging
import os
from random import Random

import pytest
from tests.sim.any_request import AnyRequest
from tests.sim.test_damage import Bench

from trimaran.protocol.api import APIS
from trimaran.sim.cluster import KAFKA_PORT
from trimaran.sim.kafka import KafkaConnection
from trimaran.sim.network import HostNetwork

pytestmark = pytest.mark.sim

REQUESTS = 1_200 * int(os.environ.get("TRIMARAN_REQUESTS", "1"))
PATIENCE_S = (0.05, 0.5, 3.0)
"""After which an answer is not waited for any more: the request may ask for a long wait."""


class Failures(logging.Handler):
    """What dispatch says of a handler that raised anything but a refusal."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def failures():
    handler, logger = Failures(), logging.getLogger("trimaran")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Asking:
    """A client that asks anything of any node, each on a connection of its own."""

    def __init__(self, bench, chance):
        self.bench = bench
        self.requests = AnyRequest(chance)
        self.answered = dict.fromkeys(api.name for api in APIS.values())
        self.process = bench.loop.new_process("client", "c")
        self._chance = chance
        self._network = HostNetwork(bench.cluster.network, self.process)
        self._connections = {}

    async def ask(self, count):
        for _ in range(count):
            node = self._chance.choice(self.bench.nodes)
            api, version, request = self.requests.draw()
            try:
                connection = await self._connected(node.name)
                async with asyncio.timeout(self._chance.choice(PATIENCE_S)):
                    answer = await connection.send(api.key, version, request)
            except OSError:  # closed, or too slow
                self._connections.pop(node.name).close()
            else:
                self.answered.pop(api.name, None)
                self.requests.learn(answer)
            assert not self.bench.cluster.failures, f"{request}\n{self.bench.story()}"
            assert not self.bench.loop.failures, f"{request}\n{self.bench.story()}"

    async def _connected(self, host):
        found = self._connections.get(host)
        if found is None or found.closed:
            found = self._connections[host] = KafkaConnection("client")
            await self._network.connect(host, KAFKA_PORT, lambda: found)
        return found


@pytest.mark.parametrize(("nodes", "seed"), [(1, 1), (1, 2), (3, 3)])
def test_any_request_is_answered_or_refused_and_harms_nobody(failures, nodes, seed):
    async def scenario(bench):
        await bench.start()
        asking = Asking(bench, Random(seed))
        await asking.process.start(asking.ask(REQUESTS))

        assert failures.lines == []
        assert list(asking.answered) == [], "APIs of which no request was answered"
        await bench.until(lambda: all(node.is_running for node in bench.nodes))

    Bench(seed=seed, nodes=nodes).run(scenario)
