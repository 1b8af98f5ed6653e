"""One connection of a pair of nodes fails and the other does not: signs of life are no proof."""

import asyncio

import pytest
from tests.sim.test_damage import Bench

from trimaran.broker.heartbeats import GIVEN_UP_S
from trimaran.broker.peer_frames import PeerLane

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("seed", [1, 2])
def test_a_leader_whose_data_reaches_nobody_connects_anew(seed):
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)
        leader = bench.leader()
        for peer in leader.broker._consensus.peers.peers.values():
            peer.sessions[PeerLane.BULK]._transport.outgoing.hold()
        begun_s = bench.loop.now_s

        await bench.produce(3)

        assert bench.loop.now_s - begun_s < GIVEN_UP_S + 1.0
        await bench.same_everywhere()

    Bench(seed=seed).run(scenario)


def test_connections_that_are_idle_are_left_alone():
    async def scenario(bench):
        await bench.start()
        await bench.produce(3)
        await bench.same_everywhere()
        sessions = [
            dict(peer.sessions)
            for node in bench.nodes
            for peer in node.broker._consensus.peers.peers.values()
        ]

        await asyncio.sleep(10 * GIVEN_UP_S)

        assert sessions == [
            dict(peer.sessions)
            for node in bench.nodes
            for peer in node.broker._consensus.peers.peers.values()
        ]

    Bench(seed=3).run(scenario)
