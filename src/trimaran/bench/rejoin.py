"""A killed node started again on a topic full of events: how long until it counts again.

The topic is filled as fast as one producer can, one node is killed and started again; the clock
runs from the start of its process until a survivor sees it in every in-sync set.
Does not: load the cluster while the node comes back; `failover` does.
"""

import time

from trimaran.bench.crew import Crew
from trimaran.bench.errors import BenchError
from trimaran.bench.failures import ASK_S, PATIENCE_S, all_in_sync, ms_since
from trimaran.bench.filesystem import measure_disk
from trimaran.bench.measure import Progress
from trimaran.bench.plan import ORDINARY
from trimaran.bench.results import Rejoin
from trimaran.bench.target import Nodes, Target, fresh_topic
from trimaran.bench.task import Task

FILL_S_MAX = 600.0
EVENT_BYTES = 1_024


def measure_rejoin(
    target: Target, *, megabytes: float, partitions: int, progress: Progress
) -> Rejoin:
    """Fill a topic with `megabytes` (10**6) of values, kill a node, start it again.

    Raises:
        BenchError: the target's nodes are not ours, or the node does not come back.
    """
    nodes = target.nodes
    if nodes is None or len(nodes.nodes) < 3:
        raise BenchError("rejoin needs a cluster of its own of three nodes: --nodes 3")
    disk = measure_disk(target.disk)
    events = int(megabytes * 1e6 / EVENT_BYTES)
    with fresh_topic(target, partitions=partitions) as topic:
        stored = _fill(target, topic, partitions, events, progress)
        victim, survivor = nodes.nodes[-1], nodes.nodes[0]
        progress("rejoin: kill and start", 1.0)
        nodes.kill(victim)
        begun_ns = time.monotonic_ns()
        nodes.start(victim)
        ready_ms = ms_since(begun_ns)
        wait_in_sync(nodes, topic, survivor)
        in_sync_ms = ms_since(begun_ns)
    return Rejoin(
        target=target.name,
        stored_mb=round(stored * EVENT_BYTES / 1e6, 1),
        ready_ms=ready_ms,
        in_sync_ms=in_sync_ms,
        disk_before=disk,
    )


def _fill(target: Target, topic: str, partitions: int, events: int, progress: Progress) -> int:
    task = Task(
        settings={**ORDINARY, "bootstrap.servers": target.bootstrap},
        topic=topic,
        partitions=partitions,
        load="at_most",
        event_bytes=EVENT_BYTES,
        seconds=FILL_S_MAX,
        events_max=events,
    )
    with Crew([task]) as crew:
        crew.start()
        (outcome,) = crew.outcomes(
            FILL_S_MAX, lambda answered: progress("rejoin: fill", min(1.0, answered / events))
        )
    if outcome.answers_in_window < events:
        raise BenchError(f"filled {outcome.answers_in_window} of {events} events")
    return outcome.answers_in_window


def wait_in_sync(nodes: Nodes, topic: str, survivor: int) -> None:
    """Wait until `survivor` sees all replicas of `topic` in sync. Raises BenchError."""
    end_s = time.monotonic() + PATIENCE_S
    while not all_in_sync(nodes, topic, node=survivor):
        if time.monotonic() > end_s:
            raise BenchError(f"the node was not in sync again within {PATIENCE_S:.0f} s")
        time.sleep(ASK_S)
