"""W1 to W9: OpenMessaging's workloads, scaled to a machine of two cores, shape kept.

| | shape | from |
|---|---|---|
| W1 | 1 topic, 1 partition, 100 B and 1 KB, rates to the limit | 1-topic-1-partition-* |
| W2 | 1 and 16 partitions, 1 KB, the same rate; then the limit | 1-topic-16-partitions-1kb |
| W3 | 100 partitions, 1 KB, 4 producers and 4 consumers, keyed and not; 50 producers | *-100-* |
| W4 | 10 topics of 3 partitions, 100 B | 1m-10-topics-3-partitions-100b |
| W5 | 64 KB to the limit, without retention and far past it | max-rate-*-64kb |
| W6 | a backlog, drained alone and while producing goes on | backlog-* |
| W7 | unbatched, one in flight | |
| W8 | leaders killed under W1's load at 2,000/s | |
| W9 | 512 B with event ids, dedup off and on | |

Client settings are those of OpenMessaging's Kafka driver: acks=all, linger.ms=1, batches up to
1 MiB. Ordinary consumers read everything while it is produced.
Does not: run them; W6 is `backlog`, W8 is `failover`.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

from trimaran.bench.plan import Plan
from trimaran.bench.task import RAW_KAFKA

DRIVER: dict[str, str | int | bool] = {"linger.ms": 1, "batch.size": 1_048_576}
W1_RATES = (500.0, 2_000.0, 5_000.0, 10_000.0)
W2_RATE = 20_000.0
W3_RATE = 20_000.0
W4_RATE = 10_000.0
W9_RATE = 10_000.0
RETENTION = {"retention.bytes": str(128 << 20), "segment.bytes": str(32 << 20)}
"""W5 stores far more than this within seconds."""
DEDUP = {"event.dedup.enable": "true"}
RAW_CHUNK_BYTES = 262_144
"""What a batch of the raw client holds, about: a quarter of what a broker accepts."""


def plans(name: str, arguments: argparse.Namespace) -> list[Plan]:
    """Return the runs of workload `name` (W1 to W5, W7, W9)."""
    found = _MAKERS[name](arguments)
    return [_with_arguments(plan, name, arguments) for plan in found]


def _with_arguments(plan: Plan, name: str, arguments: argparse.Namespace) -> Plan:
    """Put what the command line says in place of what the workload says."""
    return replace(
        plan,
        scenario=name,
        event_bytes=arguments.size or plan.event_bytes,
        partitions=arguments.partitions or plan.partitions,
        rate=arguments.rate[0] if arguments.rate and plan.rate is not None else plan.rate,
    )


def _base(arguments: argparse.Namespace) -> Plan:
    """One producer, one consumer, one partition, 1 KB, as fast as it goes."""
    return Plan(
        scenario="",
        load="at_most",
        producers=1,
        consumers=1,
        event_bytes=1_024,
        partitions=1,
        settings=DRIVER,
        warm_up_s=arguments.warm_up,
        seconds=arguments.seconds,
    )


def raw(plan: Plan) -> Plan:
    """Return `plan` with the raw client, whose batches have a size of their own; no consumers."""
    chunk = max(1, RAW_CHUNK_BYTES // plan.event_bytes)
    return replace(plan, client=RAW_KAFKA, chunk=chunk, consumers=0, settings={})


def _w1(arguments: argparse.Namespace) -> list[Plan]:
    found = []
    for size in (100, 1_024):
        base = replace(_base(arguments), event_bytes=size)
        found += [replace(base, load="paced", rate=rate) for rate in W1_RATES]
        found += [base, raw(base)]
    return found


def _w2(arguments: argparse.Namespace) -> list[Plan]:
    base = _base(arguments)
    paced = replace(base, load="paced", rate=W2_RATE)
    return [paced, replace(paced, partitions=16), replace(base, partitions=16)]


def _w3(arguments: argparse.Namespace) -> list[Plan]:
    base = replace(
        _base(arguments), load="paced", rate=W3_RATE, partitions=100, producers=4, consumers=4
    )
    return [base, replace(base, keys="random"), replace(base, producers=50)]


def _w4(arguments: argparse.Namespace) -> list[Plan]:
    base = replace(_base(arguments), event_bytes=100, topics=10, partitions=3)
    return [replace(base, load="paced", rate=W4_RATE, producers=10, consumers=10)]


def _w5(arguments: argparse.Namespace) -> list[Plan]:
    base = raw(replace(_base(arguments), event_bytes=65_536))
    past = replace(base, topic_settings=RETENTION, note="past retention")
    return [base, past]


def _w7(arguments: argparse.Namespace) -> list[Plan]:
    base = replace(_base(arguments), event_bytes=100, consumers=0)
    return [replace(base, load="one_in_flight", settings={"linger.ms": 0})]


def _w9(arguments: argparse.Namespace) -> list[Plan]:
    base = replace(
        _base(arguments), load="paced", rate=W9_RATE, event_bytes=512, partitions=4, event_ids=True
    )
    off = replace(base, note="ids, dedup off")
    on = replace(base, note="ids, dedup on", topic_settings=DEDUP)
    limits = [replace(plan, load="at_most", rate=None) for plan in (off, on)]
    return [off, on, *limits]


_MAKERS: dict[str, Callable[[argparse.Namespace], list[Plan]]] = {
    "W1": _w1,
    "W2": _w2,
    "W3": _w3,
    "W4": _w4,
    "W5": _w5,
    "W7": _w7,
    "W9": _w9,
}
