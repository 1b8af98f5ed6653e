"""After the heal all must be well again, under load: what never comes back is noticed."""

import asyncio

import pytest

from trimaran.broker.coordinator import Coordinator
from trimaran.broker.node import Broker
from trimaran.broker.partition import Partition
from trimaran.broker.readmission import Readmission
from trimaran.broker.replica import Replica
from trimaran.ids import NodeId, Term
from trimaran.sim.report import RunOptions
from trimaran.sim.run import SeedRun, run_seed
from trimaran.sim.wholeness import behind, not_whole

pytestmark = pytest.mark.sim


def lies_of_liveness(seed, *, kinds=(), seconds=8):
    report = run_seed(seed, seconds=seconds, kinds=kinds)
    assert report.lies == ()
    return report.violations


def test_a_member_that_never_gets_its_vote_back_is_noticed(monkeypatch):
    monkeypatch.setattr(Readmission, "receive", lambda *_arguments: None)

    (line, *_) = lies_of_liveness(11, kinds=("wiped disk",))
    assert "node-1 is damaged: a new disk" in line


def test_a_node_that_never_ends_when_asked_to_is_noticed(monkeypatch):
    async def hang(_broker):
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(Broker, "stop", hang)

    assert lies_of_liveness(7) == ("liveness: node-1 is stopping 30.0 s after all was healed",)


@pytest.mark.parametrize(("topic", "seed"), [("ids", 7), ("", 10)])
def test_a_group_whose_followers_apply_nothing_is_noticed(monkeypatch, topic, seed):
    """Of one topic, or the coordinators of consumer groups, which have no topic's name."""
    commit = Replica._commit

    def ignored(replica, index):
        machine = replica.machine
        is_meant = isinstance(machine, Partition if topic else Coordinator)
        if replica.raft.is_leader or not is_meant or getattr(machine, "topic", "") != topic:
            commit(replica, index)

    monkeypatch.setattr(Replica, "_commit", ignored)

    found = lies_of_liveness(seed, seconds=2)
    assert found
    assert all(" applied 0 of " in line for line in found)


def test_consumer_groups_that_no_second_coordinator_serves_are_noticed(monkeypatch):
    begin = Coordinator._begin

    def only_the_first(coordinator):
        if coordinator._raft.term == 1:
            begin(coordinator)

    monkeypatch.setattr(Coordinator, "_begin", only_the_first)

    found = lies_of_liveness(10, kinds=("kill all",))
    assert any("no group of the new protocol committed an offset" in line for line in found)


def test_what_a_group_lacks_is_named():
    run = SeedRun(RunOptions(seed=1, seconds=1, kinds=()))
    assert run.execute(trace_lines=1).passed
    assert not_whole(run.cluster, {}) == []
    replicas = (view.replica for view in run.cluster.views())
    first = next(one for one in replicas if isinstance(one.machine, Partition))
    name = f"group {first.group.hex()}"

    first.raft.may_vote = False
    assert not_whole(run.cluster, {}) == [f"{name}: node-1 has no vote"]
    for node in run.cluster.nodes:
        node.broker._consensus.groups.remove(first.group)
    assert not_whole(run.cluster, {}) == [f"{name} has no member"]
    assert not_whole(run.cluster, {first.group[:16]: "gone"}) == []
    run.loop.close()


def test_who_names_another_leader_or_a_replica_out_of_sync_is_named():
    run = SeedRun(RunOptions(seed=1, seconds=1, kinds=()))
    assert run.execute(trace_lines=1).passed
    assert behind(run.cluster, {}) == []
    leaders = (view for view in run.cluster.views() if view.replica.raft.is_leader)
    group = next(view.replica.group for view in leaders if view.node != "node-1")
    node = run.cluster.nodes[0].broker
    leader, term = node.services.leader_hint(group)

    node._consensus.in_sync.take([(group, term, (NodeId(9),))])
    assert behind(run.cluster, {}) == [f"node-1 names (9,) as out of sync in group {group.hex()}"]
    node._consensus.leaders.note(group, Term(term + 1), None, now_s=0.0)
    assert behind(run.cluster, {}) == [
        f"node-1 names None, not {leader}, as the leader of group {group.hex()}"
    ]
    run.loop.close()
