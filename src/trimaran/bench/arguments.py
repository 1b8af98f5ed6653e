"""The command line of `trimaran bench`, checked before anything is started.

Does not: do anything with them.
"""

import argparse
from pathlib import Path

WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "W8", "W9")
"""Described in `workloads`."""
SCENARIOS = (
    "throughput", "single", "latency", "failover", "rejoin", "compaction", "growth", "all",
    *WORKLOADS, "workloads",
)  # fmt: skip
SECONDS = 60.0
WARM_UP_S = 10.0
NODES_MAX = 9
EVENT_BYTES_MAX = 1_000_000

FLOOR_RATES = {1: 82_000, 3: 70_000}
"""Offered events per second unless told otherwise: the targets of docs/performance.md."""


def parser() -> argparse.ArgumentParser:
    """Return the parser; wrong arguments end with a message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="trimaran bench",
        description="Open-loop load with latencies from the intended send times, on a cluster of "
        "its own or on any Kafka-protocol target.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "scenario", nargs="?", choices=SCENARIOS, default="throughput", type=_scenario,
        help="what to measure; W1 to W9 are OpenMessaging's workloads scaled down, `workloads` all",
    )  # fmt: skip
    parser.add_argument(
        "--workload", type=Path, metavar="FILE", help="an OpenMessaging workload file, as it is"
    )
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar=("OLD", "NEW"),
        help="show two result files (--json) side by side and measure nothing",
    )  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--nodes", type=_counts, default=None, metavar="N,...",
        help="start local clusters of so many nodes, one after the other (default: 1,3)",
    )  # fmt: skip
    where.add_argument("--bootstrap", metavar="HOST:PORT", help="measure what runs there")
    where.add_argument(
        "--null", action="store_true", help="a broker that stores nothing: the client's own limit"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("."), metavar="DIR",
        help="where local clusters store their data, and whose disk is measured; no tmpfs",
    )  # fmt: skip
    parser.add_argument(
        "--rate", type=_rates, default=None, metavar="R,...",
        help="events/s, one for all or one for each of --nodes (default: "
        + ", ".join(f"{rate} on {nodes}" for nodes, rate in FLOOR_RATES.items()) + ")",
    )  # fmt: skip
    parser.add_argument("--producers", type=_positive, default=4, help="producer processes")
    parser.add_argument("--batch", type=_positive, default=64, help="events in a client batch")
    parser.add_argument("--size", type=_size, default=None, help="bytes of an event's value")
    parser.add_argument("--partitions", type=_positive, default=None, help="of the topic")
    parser.add_argument("--seconds", type=_seconds, help=f"measured time of a run ({SECONDS:.0f})")
    parser.add_argument("--warm-up", type=_seconds, help=f"seconds before that ({WARM_UP_S:.0f})")
    parser.add_argument("--repeats", type=_positive, default=3, help="runs; the median counts")
    parser.add_argument("--kills", type=_positive, default=20, help="leaders killed (failover)")
    parser.add_argument("--freezes", type=_zero_or_more, default=10, help="leaders frozen")
    parser.add_argument("--acks", choices=("all", "1", "0"), default="all", help="for failover")
    parser.add_argument(
        "--megabytes", type=_positive, default=1_000, help="stored for rejoin, compaction, W6"
    )
    parser.add_argument(
        "--events", type=_events, default=[100_000, 1_000_000, 10_000_000], metavar="N,...",
        help="stored for growth, one after the other; above 10,000,000 with retention",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser


def _scenario(text: str) -> str:
    return text.upper() if text.upper() in WORKLOADS else text


def _counts(text: str) -> list[int]:
    counts = [_positive(part) for part in text.split(",")]
    if max(counts) > NODES_MAX:
        raise argparse.ArgumentTypeError(f"at most {NODES_MAX} nodes, not {max(counts)}")
    return counts


def _events(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _rates(text: str) -> list[float]:
    return [_seconds(part) for part in text.split(",")]


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def _positive(text: str) -> int:
    value = _zero_or_more(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text!r}")
    return value


def _zero_or_more(text: str) -> int:
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


def _size(text: str) -> int:
    value = _positive(text)
    if not 8 <= value <= EVENT_BYTES_MAX:
        raise argparse.ArgumentTypeError(f"expected 8 to {EVENT_BYTES_MAX} bytes, found {text}")
    return value
