"""What is judged of processes: why they ended, and that their event loops wait for no disk."""

import pytest

from trimaran.broker.node import Broker
from trimaran.errors import CorruptionError, StorageError
from trimaran.sim.cluster import NodeFailure
from trimaran.sim.report import RunOptions
from trimaran.sim.run import SeedRun

pytestmark = pytest.mark.sim

SYNC = StorageError("journal/1: sync failed: Input/output error")


def judged(*ends, failed_syncs):
    """Return which of `ends` (numbers of nodes, errors) are violations."""
    run = SeedRun(RunOptions(seed=1, kinds=()))
    for number, count in failed_syncs.items():
        run.cluster.nodes[number - 1].disk.counts["failed sync"] = count
    for number, error in ends:
        failure = NodeFailure(node=f"node-{number}", at_s=1.0, error=error, at_start=False)
        run.cluster.failures.append(failure)
    run._judge_processes()
    run.loop.close()
    return [line.split(" ")[0] for line in run.violations]


def test_a_failed_sync_may_end_the_process_of_its_node_once():
    assert judged((2, SYNC), failed_syncs={2: 1}) == []
    assert judged((2, SYNC), (2, SYNC), failed_syncs={2: 2}) == []
    assert judged((2, SYNC), (2, SYNC), failed_syncs={2: 1}) == ["node-2"]


def test_a_failed_sync_excuses_no_end_of_another_node():
    assert judged((1, SYNC), failed_syncs={2: 1}) == ["node-1"]


@pytest.mark.parametrize(
    "error",
    [
        StorageError("groups/x/1.segment: open failed: No such file"),
        CorruptionError("groups/x/1.segment", 0, "the checksum does not match"),
    ],
)
def test_a_failed_sync_excuses_no_other_error(error):
    assert judged((2, error), failed_syncs={2: 1}) == ["node-2"]


def test_a_disk_call_on_the_event_loop_is_a_violation_of_living_nodes_too(monkeypatch):
    run = SeedRun(RunOptions(seed=1, seconds=1, kinds=()))
    serve = Broker.run_until_failed

    async def look_first(broker):
        node = next(node for node in run.cluster.nodes if node.broker is broker)
        if node.name == "node-2":
            node.files.exists("journal")
        await serve(broker)

    monkeypatch.setattr(Broker, "run_until_failed", look_first)
    report = run.execute(trace_lines=10)
    run.loop.close()

    line = "disk call on an event loop, which waits for it: exists journal"
    assert report.violations == (line,)
    assert report.blocking_calls == ("exists journal",)
