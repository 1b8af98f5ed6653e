"""What each scenario runs: the plans behind the names on the command line.

*throughput*: the steady rates of docs/performance.md, client batches of a fixed size, several
producers; beside it one producer with the same rate. *single*: one producer, small events, linger
5 ms, as fast as it goes. *latency*: one event in flight. *failover*, *rejoin*, *compaction*: see
those modules.
Does not: run them.
"""

import argparse

from trimaran.bench import workloads
from trimaran.bench.arguments import FLOOR_RATES, SECONDS, WARM_UP_S, WORKLOADS
from trimaran.bench.errors import BenchError
from trimaran.bench.failures import FailoverPlan
from trimaran.bench.openmessaging import read_workload
from trimaran.bench.plan import Plan

PARTITIONS = 4
"""As many as a topic gets by default."""

PACED_PARTITIONS = 24
"""librdkafka's idempotent producer has one request a partition under way (it takes five *events* in
flight for five requests): with p partitions and batches of b, n producers cannot offer more than
n p b events a round trip, and spin while they try. The null broker's topics have four."""

COMPACTED_PARTITIONS = 3

FAILOVER_PARTITIONS = 3
"""One leader on each node."""

FAILOVER_RATE = 2_000.0
BACKLOG_RATE = 5_000.0
GROWTH_PARTITIONS = 1
AT_MOST_ASSUMED = 1_000_000
AT_MOST_BYTES_ASSUMED = 200e6
"""What a load without a schedule is assumed to reach a second, for the space it needs."""

OURS = ("failover", "rejoin", "compaction", "all", "W8", "workloads")
"""Scenarios that kill nodes."""

COPIES = 2
"""Every node writes an event to its journal and to a segment."""


def names(arguments: argparse.Namespace) -> list[str]:
    """Return the scenarios to run, in order."""
    if arguments.workload is not None:
        return ["workload"]
    if arguments.scenario == "workloads":
        return list(WORKLOADS)
    if arguments.scenario != "all":
        return [arguments.scenario]
    return ["throughput", "single", "latency", "failover", "rejoin"]


def settle(arguments: argparse.Namespace) -> None:
    """Read the workload file, if there is one, and put defaults where nothing was said.

    Raises:
        BenchError: the file cannot be used.
    """
    if arguments.workload is not None:
        arguments.plan = read_workload(
            arguments.workload, seconds=arguments.seconds, warm_up_s=arguments.warm_up
        )
    arguments.seconds = arguments.seconds or SECONDS
    arguments.warm_up = arguments.warm_up or WARM_UP_S


def node_counts(scenario: str, arguments: argparse.Namespace) -> list[int]:
    """Return the sizes of the local clusters to measure one after the other."""
    if arguments.nodes is not None:
        return list(arguments.nodes)
    return [1, 3] if scenario == "throughput" else [3]


def check(arguments: argparse.Namespace) -> None:
    """Raise BenchError for arguments that do not go together."""
    rates, counts = arguments.rate, node_counts(arguments.scenario, arguments)
    if rates is not None and len(rates) not in (1, len(counts)):
        raise BenchError(f"--rate: expected 1 or {len(counts)} numbers, found {len(rates)}")
    ours = arguments.bootstrap is None and not arguments.null
    if arguments.scenario in OURS and not ours:
        raise BenchError(f"{arguments.scenario} starts and fails nodes of its own: use --nodes")
    if arguments.scenario in ("failover", "W8") and min(counts) < 3:
        raise BenchError("failover needs at least three nodes: --nodes 3")


def plans(scenario: str, arguments: argparse.Namespace, *, at: int, nodes: int) -> list[Plan]:
    """Return the runs of a load scenario against the target at place `at` of `nodes` nodes."""
    if scenario == "workload":
        return [arguments.plan]
    if scenario in WORKLOADS:
        return workloads.plans(scenario, arguments)
    common = {"warm_up_s": arguments.warm_up, "seconds": arguments.seconds}
    if scenario == "single":
        return [
            Plan(
                scenario=scenario,
                load="at_most",
                producers=1,
                event_bytes=arguments.size or 100,
                partitions=arguments.partitions or PARTITIONS,
                settings={"linger.ms": 5},
                **common,
            )
        ]
    if scenario == "latency":
        return [
            Plan(
                scenario=scenario,
                load="one_in_flight",
                producers=1,
                event_bytes=arguments.size or 100,
                partitions=arguments.partitions or 1,
                settings={"linger.ms": 0},
                **common,
            )
        ]
    assert scenario == "throughput"
    counts = sorted({arguments.producers, 1}, reverse=True)
    return [
        Plan(
            scenario=scenario,
            load="paced",
            producers=producers,
            event_bytes=arguments.size or 512,
            partitions=arguments.partitions or (PARTITIONS if arguments.null else PACED_PARTITIONS),
            rate=rate(arguments, at=at, nodes=nodes),
            chunk=arguments.batch,
            settings={"batch.num.messages": arguments.batch},
            **common,
        )
        for producers in counts
    ]


def backlog_plan(arguments: argparse.Namespace) -> Plan:
    """Return the load beside which a backlog is drained (W6)."""
    return Plan(
        scenario="W6",
        load="paced",
        producers=1,
        event_bytes=arguments.size or 1_024,
        partitions=arguments.partitions or 1,
        rate=arguments.rate[0] if arguments.rate else BACKLOG_RATE,
        settings=workloads.DRIVER,
        warm_up_s=arguments.warm_up,
        seconds=arguments.seconds,
    )


def compaction_plan(arguments: argparse.Namespace, *, nodes: int) -> Plan:
    """Return the load beside which compaction runs: half of the steady rate."""
    return Plan(
        scenario="compaction",
        load="paced",
        producers=arguments.producers,
        event_bytes=arguments.size or 512,
        partitions=arguments.partitions or PACED_PARTITIONS,
        rate=arguments.rate[0] if arguments.rate else rate(arguments, at=0, nodes=nodes) / 2,
        chunk=arguments.batch,
        settings={"batch.num.messages": arguments.batch},
        warm_up_s=arguments.warm_up,
        seconds=arguments.seconds,
    )


def rate(arguments: argparse.Namespace, *, at: int, nodes: int) -> float:
    """Return the rate offered to the target at place `at` of the invocation."""
    given: list[float] | None = arguments.rate
    if given is None:
        return float(FLOOR_RATES.get(nodes, FLOOR_RATES[3]))
    return given[at] if len(given) > 1 else given[0]


def failover_plans(arguments: argparse.Namespace) -> list[FailoverPlan]:
    """Return the series of kills and, unless there are none, of freezes."""
    series = [("kill", arguments.kills), ("freeze", arguments.freezes)]
    return [
        FailoverPlan(
            manner=manner,
            count=count,
            rate=arguments.rate[0] if arguments.rate else FAILOVER_RATE,
            event_bytes=arguments.size or 100,
            partitions=arguments.partitions or FAILOVER_PARTITIONS,
            acks=arguments.acks,
        )
        for manner, count in series
        if count
    ]


def bytes_needed(plan: Plan, nodes: int) -> int:
    """Return about how much disk one run of `plan` takes on `nodes` nodes of one machine."""
    per_second = plan.rate or 10_000
    if plan.load == "at_most":
        per_second = min(AT_MOST_ASSUMED, AT_MOST_BYTES_ASSUMED / plan.event_bytes)
    return round(per_second * plan.total_s * plan.event_bytes * min(nodes, 3) * COPIES)
