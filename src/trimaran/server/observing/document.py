"""`docs/metrics.md`, made of the catalogue: `python -m trimaran.server.observing.document`.

Does not: write the file where it is not told to.
"""

import sys
from pathlib import Path

from trimaran.broker.counters import BYTES, COUNTS, SECONDS
from trimaran.broker.happenings import HAPPENINGS_MAX
from trimaran.broker.incidents import INCIDENTS_MAX
from trimaran.server.observing.catalogue import METRICS, PROCESS_METRICS
from trimaran.server.observing.groups import GROUPS_MAX, OTHER, TOPICS_MAX
from trimaran.server.observing.rings import BYTES_MAX
from trimaran.server.observing.rings import SECONDS as HISTORY_SECONDS
from trimaran.server.observing.series import (
    NODE_SERIES,
    PARTITION_SERIES,
    PEER_SERIES,
    TOPIC_SERIES,
)

INTRODUCTION = f"""# Metrics

What a node tells of itself: to Prometheus on `/metrics` of its HTTP port, and to the dashboard and
the REST API from an hour of memory. This page is made of the code
(`python -m trimaran.server.observing.document docs/metrics.md`), and a test compares them.

Every node tells its own part; sums over the cluster are sums over nodes. What concerns a partition
is counted by its leader. A Grafana dashboard is in `deploy/grafana/trimaran.json`, alerts are in
`deploy/prometheus/alerts.yml`; a test checks that both use only what stands here.

## How many series

- The first {TOPICS_MAX} topics have series of their own; all others together are `{OTHER}`.
- The first {GROUPS_MAX} Raft groups of a node have series of their own: the metadata group
  (`topic="__metadata"`), then the others in the order in which the node took them up.
  `trimaran_raft_groups_without_series` says how many have none; the counts and sums above them
  cover all groups always.
- Nothing is labelled with a client, a consumer group, a producer or an event id.
- Counters of topics and gauges of groups are as of the last second.

Histograms have these upper bounds:

- durations: {", ".join(f"{bound:g}" for bound in SECONDS)} s
- counts: {", ".join(map(str, COUNTS))}
- sizes: {", ".join(map(str, BYTES))} B

## Where a produce request's time goes

One batch of each journal round is followed: the first that was proposed for it, so `queue` is the
longest of its round. The four stages add up to `trimaran_produce_duration_seconds`:

| stage | from | to |
|---|---|---|
| `queue` | the batch is proposed | its journal round is handed to the disk |
| `disk` | that | the own sync is over; 0 if a majority of others held the batch before |
| `network` | that | committed: what followers and their disks made it wait beyond the own |
| `answer` | committed | the answers of that turn were handed to their sockets |

`trimaran_replication_duration_seconds` is the whole time from sending to majority, and
`trimaran_peer_round_trip_seconds` what of it the way to a node and its event loop cost.
"""


def text() -> str:
    """Return the page."""
    lines = [INTRODUCTION]
    for heading, metrics in METRICS.items():
        lines += [f"## {heading}\n", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        for metric in metrics:
            labels = ", ".join(f"`{label}`" for label in metric.labels)
            lines.append(f"| `{metric.told_name}` | {metric.kind} | {labels} | {metric.help} |")
        lines.append("")
    lines += ["## The process (Linux)\n", "| metric | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in PROCESS_METRICS]
    lines += ["", _history()]
    return "\n".join(lines)


def _history() -> str:
    rows = []
    for prefix, series in (
        ("", NODE_SERIES),
        ("topic/NAME/", TOPIC_SERIES),
        ("partition/TOPIC/NUMBER/", PARTITION_SERIES),
        ("peer/ID/", PEER_SERIES),
    ):
        rows += [f"| `{prefix}{name}` | {unit} | {meaning} |" for name, unit, meaning in series]
    return f"""## The last hour, in memory

{HISTORY_SECONDS} values of each series, one a second, in arrays that take at most
{BYTES_MAX >> 20} MiB whatever happens (a plain series takes 14.4 kB, one of offsets 28.8 kB); a
series that there is no room for is left out. Latencies have a value only in seconds in which
something happened. Topics and partitions are those that have metrics of their own.

| series | unit | meaning |
|---|---|---|
{chr(10).join(rows)}

Beside them the newest {INCIDENTS_MAX} failovers and {HAPPENINGS_MAX} happenings are kept (see
[failover.md](failover.md)).
"""


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
