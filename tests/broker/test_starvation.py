"""Silence counts later where the one who judges, or is judged, gets too little processor time."""

import asyncio

import pytest
from tests.broker.test_heartbeats import leading

from trimaran.broker.peer_frames import Heartbeat
from trimaran.broker.starvation import OVER_S, PATIENCE_S, SETTLED_S, WINDOW_S
from trimaran.config.replication import ReplicationSection

USUAL_S = ReplicationSection().election_timeout_min_ms / 1000
TICK_S = ReplicationSection().heartbeat_ms / 1000


class Ticks:
    """A node that hears nothing from the other member, tick by tick."""

    def __init__(self, monkeypatch):
        self.bench = leading()
        self.silent = []
        self.bench.owner.peer_silent = self.silent.append
        self.loop = asyncio.get_running_loop()
        self.now_s = self.loop.time()
        monkeypatch.setattr(self.loop, "time", lambda: self.now_s)
        self.bench.heartbeats.start()
        for _ in range(int(SETTLED_S / TICK_S) + 1):
            self.heard()
            self.tick()

    def tick(self, late_s=0.0):
        """Run the next tick so late; return what was sent."""
        self.bench.heartbeats.stop()
        self.now_s = self.bench.heartbeats._due_s + late_s
        self.bench.heartbeats._tick()
        self.bench.heartbeats.stop()
        return self.bench.peer.beats[-1]

    def heard(self, *, is_starved=False):
        beat = Heartbeat(1, 0, True, (), (), is_starved=is_starved)
        self.bench.heartbeats.receive(self.bench.peer, beat)

    def until_silent_s(self):
        """Let time pass until the other member counts as silent; return how long that took."""
        begun_s = self.now_s
        while not self.silent:
            assert self.now_s - begun_s < 5
            self.tick()
        return self.now_s - begun_s


@pytest.mark.asyncio
async def test_a_node_that_is_late_again_and_again_says_so_and_is_patient(monkeypatch):
    ticks = Ticks(monkeypatch)
    assert not any(ticks.tick(0.05).is_starved for _ in range(2))

    assert ticks.tick(0.05).is_starved
    ticks.heard()
    assert USUAL_S + PATIENCE_S < ticks.until_silent_s() < USUAL_S + PATIENCE_S + 2 * TICK_S


@pytest.mark.asyncio
async def test_a_node_that_is_late_because_it_loads_is_not_starved(monkeypatch):
    bench = leading()
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    monkeypatch.setattr(loop, "time", lambda: begun_s)
    bench.heartbeats.start()
    for _ in range(3):
        late_s = bench.heartbeats._due_s + 0.05
        monkeypatch.setattr(loop, "time", lambda late_s=late_s: late_s)
        bench.heartbeats._tick()
    bench.heartbeats.stop()

    assert not bench.peer.beats[-1].is_starved


@pytest.mark.asyncio
async def test_a_node_that_says_it_is_late_is_given_time_by_those_that_are_not(monkeypatch):
    ticks = Ticks(monkeypatch)

    ticks.heard(is_starved=True)

    assert USUAL_S + PATIENCE_S < ticks.until_silent_s() < USUAL_S + PATIENCE_S + 2 * TICK_S


@pytest.mark.asyncio
async def test_one_long_stall_makes_nobody_patient(monkeypatch):
    ticks = Ticks(monkeypatch)
    assert not ticks.tick(1.5).is_starved
    assert not ticks.tick(0.03).is_starved

    ticks.heard()

    assert USUAL_S < ticks.until_silent_s() < USUAL_S + 2 * TICK_S


@pytest.mark.asyncio
async def test_a_node_that_runs_on_time_for_a_while_is_as_strict_as_before(monkeypatch):
    ticks = Ticks(monkeypatch)
    for _ in range(3):
        ticks.tick(0.05)
    for _ in range(int(WINDOW_S / TICK_S)):
        ticks.heard()
        beat = ticks.tick()
    assert beat.is_starved, "busy machines have calm moments"

    for _ in range(int(OVER_S / TICK_S)):
        ticks.heard()
        beat = ticks.tick()
    assert not beat.is_starved
    assert ticks.until_silent_s() < USUAL_S + 2 * TICK_S


@pytest.mark.asyncio
async def test_a_starved_leader_is_given_time_to_hear_its_majority(monkeypatch):
    ticks = Ticks(monkeypatch)
    lost = []
    ticks.bench.owner.majority_silent = lost.append
    ticks.heard(is_starved=True)
    ticks.bench.answer()
    begun_s = ticks.now_s

    while not lost:
        assert ticks.now_s - begun_s < 5
        ticks.tick()

    quorum_lost_s = ReplicationSection().quorum_lost_ms / 1000
    assert ticks.now_s - begun_s > quorum_lost_s + PATIENCE_S
