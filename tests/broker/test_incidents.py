"""Failovers as records: one for a node that died, however many groups it led."""

import asyncio
from types import SimpleNamespace

import pytest

from trimaran.broker.happenings import HappeningKind, Happenings
from trimaran.broker.incidents import ACK_WAIT_S, Cause, Incidents, PhaseName
from trimaran.ids import NodeId, Term, TopicId, group_id
from trimaran.raft.ready import Role

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)


class Bench:
    """Node 2 of three, with groups that node 1 leads, and time moved by hand."""

    def __init__(self, group_count=3, kept_max=200):
        self.now_s = 100.0
        self.happenings = Happenings(wall_ms=lambda: 5_000_000)
        self.incidents = Incidents(
            node_id=TWO,
            now_s=lambda: self.now_s,
            wall_ms=lambda: 5_000_000,
            happenings=self.happenings,
            kept_max=kept_max,
        )
        self.replicas = [
            SimpleNamespace(
                group=group_id(TopicId(b"t" * 16), number),
                raft=SimpleNamespace(term=Term(4), leader=ONE),
            )
            for number in range(group_count)
        ]

    def wait(self, ms):
        self.now_s += ms / 1000

    def lose(self, node=ONE, cause=Cause.CONNECTION_BROKE, heard_ago_s=0.01):
        if cause is not Cause.STEPPED_DOWN:
            self.incidents.peer_lost(node, cause, heard_ago_s=heard_ago_s)
        for replica in self.replicas:
            if replica.raft.leader == node:
                replica.raft.leader = None
                self.incidents.leader_lost(replica, node)

    def change(self, replica, role, leader=None, term=5):
        replica.raft.term, replica.raft.leader = Term(term), leader
        self.incidents.role_changed(replica, role)

    def win(self, replica, term=5):
        self.change(replica, Role.PRE_CANDIDATE)
        self.wait(1)
        self.change(replica, Role.CANDIDATE)
        self.wait(2)
        self.change(replica, Role.LEADER, leader=TWO, term=term)
        self.wait(3)
        self.incidents.committed(replica)

    def only(self):
        (incident,) = self.incidents.all()
        return incident


@pytest.fixture
def bench():
    return Bench()


def last_ms(incident):
    return {phase.name: round(phase.last_ms) for phase in incident.phases}


@pytest.mark.asyncio
async def test_a_node_that_dies_is_one_incident_with_the_times_of_its_last_group(bench):
    bench.incidents.appended(ONE)
    bench.wait(20)
    bench.lose()
    for replica in bench.replicas[:2]:
        bench.win(replica)
        bench.wait(4)
        bench.incidents.acknowledged(replica.group)
    other = bench.replicas[2]
    bench.change(other, Role.FOLLOWER, leader=THREE, term=6)
    bench.wait(5)
    bench.incidents.committed(other)

    incident = bench.only()
    assert last_ms(incident) == {
        PhaseName.DETECTED: 20,
        PhaseName.PRE_VOTE: 30,
        PhaseName.VOTE: 31,
        PhaseName.ELECTED: 40,
        PhaseName.FIRST_COMMIT: 45,
        PhaseName.FIRST_ACK: 40,
    }
    assert (incident.group_count, incident.won_count) == (3, 2)
    assert (incident.old_term, incident.term) == (4, 6)
    assert incident.new_leaders == (TWO, THREE)
    assert incident.cause is Cause.CONNECTION_BROKE
    assert incident.had_traffic
    assert incident.is_settled
    assert incident.is_over
    assert incident.time_ms == 5_000_000 - 20
    (told,) = bench.happenings.since(0)
    assert (told.kind, told.incident, told.node) == (HappeningKind.INCIDENT, incident.number, ONE)


@pytest.mark.asyncio
async def test_without_entries_it_begins_with_the_last_sign_of_life(bench):
    bench.incidents.appended(ONE)
    bench.wait(5_000)
    bench.lose(cause=Cause.SILENT, heard_ago_s=0.15)

    incident = bench.only()
    assert not incident.had_traffic
    assert last_ms(incident) == {PhaseName.DETECTED: 150}
    assert incident.total_ms is None
    assert not incident.is_settled


@pytest.mark.asyncio
async def test_a_leader_that_is_heard_again_in_its_term_was_not_lost(bench):
    bench.lose(cause=Cause.SILENT)
    for replica in bench.replicas:
        bench.change(replica, Role.FOLLOWER, leader=ONE, term=4)

    assert bench.incidents.all() == []
    assert not bench.incidents.is_open
    assert bench.happenings.since(0) == ()


@pytest.mark.asyncio
async def test_a_second_loss_of_the_same_node_is_another_incident(bench):
    bench.lose()
    for replica in bench.replicas:
        bench.win(replica)
    for replica in bench.replicas:
        replica.raft.leader = ONE
    bench.incidents.peer_back(ONE)
    bench.lose(cause=Cause.STEPPED_DOWN)

    first, second = bench.incidents.all()
    assert first.is_over
    assert not second.is_over
    assert second.cause is Cause.STEPPED_DOWN
    assert second.number == first.number + 1


@pytest.mark.asyncio
async def test_a_successor_that_dies_as_well_takes_its_groups_into_its_own_incident(bench):
    bench.lose()
    moved, *others = bench.replicas
    bench.change(moved, Role.FOLLOWER, leader=THREE, term=5)
    bench.lose(THREE, cause=Cause.SILENT)
    for replica in others:
        bench.win(replica)
        bench.incidents.acknowledged(replica.group)

    first, second = bench.incidents.all()
    assert (first.lost_node, first.group_count, first.is_over) == (ONE, 2, True)
    assert (second.lost_node, second.group_count, second.is_over) == (THREE, 1, False)


@pytest.mark.asyncio
async def test_a_campaign_that_is_repeated_counts_from_its_last_try(bench):
    bench.replicas = bench.replicas[:1]
    (replica,) = bench.replicas
    bench.lose()
    bench.change(replica, Role.PRE_CANDIDATE)
    bench.change(replica, Role.FOLLOWER)
    bench.wait(100)
    bench.win(replica)

    times = last_ms(bench.only())
    assert times[PhaseName.PRE_VOTE] == 110
    assert times[PhaseName.VOTE] == 111


@pytest.mark.asyncio
async def test_a_deleted_group_is_waited_for_no_more(bench):
    bench.lose()
    for replica in bench.replicas[1:]:
        bench.win(replica)
    assert not bench.only().is_settled
    bench.incidents.group_removed(bench.replicas[0].group)

    assert bench.only().is_settled
    assert bench.only().group_count == 2


@pytest.mark.asyncio
async def test_only_so_many_are_kept():
    bench = Bench(group_count=1, kept_max=3)
    for term in range(5, 15, 2):
        bench.replicas[0].raft.leader = ONE
        bench.lose()
        bench.change(bench.replicas[0], Role.LEADER, leader=TWO, term=term)
        bench.incidents.committed(bench.replicas[0])
        bench.incidents.acknowledged(bench.replicas[0].group)

    assert [one.number for one in bench.incidents.all()] == [3, 4, 5]


@pytest.mark.asyncio
async def test_without_clients_it_is_over_after_a_while(bench, monkeypatch):
    delays = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda *call: delays.append(call))
    bench.lose()
    for replica in bench.replicas:
        bench.win(replica)
    assert bench.only().is_settled
    assert not bench.only().is_over

    ((delay_s, callback, *arguments),) = delays
    callback(*arguments)

    assert delay_s == ACK_WAIT_S
    assert bench.only().is_over
    assert not bench.incidents.is_open
    callback(*arguments)
    assert bench.only().is_over


@pytest.mark.asyncio
async def test_while_groups_have_no_successor_it_stays_open(bench, monkeypatch):
    delays = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda *call: delays.append(call))
    bench.lose()
    _, callback, *arguments = delays[0]
    callback(*arguments)

    assert len(delays) == 2
    assert not bench.only().is_over
    assert bench.incidents.is_open


@pytest.mark.asyncio
async def test_watchers_are_told_once_a_turn(bench):
    calls = []
    handle = bench.incidents.watch(lambda: calls.append(1))
    bench.lose()
    for replica in bench.replicas:
        bench.win(replica)
    assert calls == []
    await asyncio.sleep(0)
    assert calls == [1]
    bench.incidents.unwatch(handle)
    bench.incidents.acknowledged(bench.replicas[0].group)
    await asyncio.sleep(0)
    assert calls == [1]


def test_a_leader_that_was_this_node_or_nobody_is_no_incident(bench):
    bench.incidents.leader_lost(bench.replicas[0], TWO)
    bench.incidents.leader_lost(bench.replicas[0], None)

    assert bench.incidents.all() == []
