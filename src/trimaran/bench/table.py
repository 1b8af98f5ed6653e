"""The report as a person reads it: tables on the terminal, one line for each run.

Does not: round what JSON keeps.
"""

from rich.console import Console
from rich.table import Table

from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.results import CompactionCost, Drain, Failover, Growth, Rejoin, Report, Row

LOAD_WIDTH = 36


def show(report: Report, console: Console) -> None:
    """Print every table that has lines, and the machine below them."""
    if report.rows:
        console.print(_rows_table(report.rows))
    for failover in report.failovers:
        console.print(_failover_table(failover))
    if report.rejoins:
        console.print(_rejoin_table(report.rejoins))
    if report.compactions:
        console.print(_compaction_table(report.compactions))
    if report.drains:
        console.print(_drains_table(report.drains))
    if report.growths:
        console.print(_growths_table(report.growths))
    machine = report.machine
    console.print(
        f"{machine.date}  trimaran {machine.trimaran} {machine.commit}, Python "
        f"{machine.python}, librdkafka {machine.librdkafka}\n{machine.processor}, "
        f"{machine.cores} cores, {machine.memory_gb} GB, {machine.kernel}, data on "
        f"{report.file_system}; load before {machine.load_before}\n{machine.command}",
        highlight=False,
    )


def _rows_table(rows: list[Row]) -> Table:
    table = Table(title="latency in ms from each event's intended send time; * median run")
    for name, width in (("scenario", 8), ("target", 7), ("load", LOAD_WIDTH)):
        table.add_column(name, overflow="fold", min_width=width)
    for name in (
        "answered/s", "MB/s", "p50", "p95", "p99", "p99.9", "max", "batch p99", "e2e p50",
        "e2e p99", "read/s", "not read", "per batch", "failed", "client cores", "node cores",
        "RSS max MB", "fdatasync", "disk MB/s",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in rows:
        latency = row.latency
        shown = ["-"] * 5
        if latency is not None:
            values = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.p999_ms)
            shown = [f"{value:.2f}" for value in (*values, latency.max_ms)]
        table.add_row(
            row.scenario + (" *" if row.median else ""),
            row.target,
            row.load,
            f"{row.answered_per_s:,.0f}",
            f"{row.mb_per_s:.1f}",
            *shown,
            f"{row.batch_latency.p99_ms:.2f}" if row.batch_latency is not None else "-",
            *_end_to_end(row),
            f"{row.batch_events_mean:.1f}",
            f"{sum(row.failed.values()) + row.unanswered}",
            f"{row.client_cores:.2f}",
            " ".join(f"{node.cpu_cores:.2f}" for node in row.nodes) or "-",
            " ".join(f"{node.rss_max_mb:.0f}" for node in row.nodes) or "-",
            _syncs(row.disk_before),
            f"{row.disk_before.sequential_mb_per_s:.0f}"
            + (" disk-limited" if row.disk_limited else ""),
        )
    return table


def _end_to_end(row: Row) -> tuple[str, ...]:
    if row.consumed_per_s is None:
        return ("-",) * 4
    found = row.end_to_end
    times = (f"{found.p50_ms:.2f}", f"{found.p99_ms:.2f}") if found is not None else ("-", "-")
    return *times, f"{row.consumed_per_s:,.0f}", f"{row.not_read}"


def _failover_table(failover: Failover) -> Table:
    words = {"kill": "killed with SIGKILL", "freeze": "frozen with SIGSTOP", "cut": "cut off"}
    table = Table(
        title=f"leaders {words[failover.manner]}, acks={failover.acks}, {failover.rate:,.0f}/s, "
        f"{failover.target}; gap median {failover.gap_median_ms} ms, max {failover.gap_max_ms} ms",
        caption=f"offered {failover.offered} answered {failover.answered} lost {failover.lost} "
        f"duplicated {failover.duplicated} out of order {failover.out_of_order}; "
        f"fdatasync {_syncs(failover.disk_before)}",
    )
    for name in (
        "node", "partitions", "gap ms", "usual gap ms", "survivor's Metadata ms", "first ack ms",
        "stale answers", "in sync again ms",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for kill in failover.kills:
        table.add_row(
            str(kill.victim),
            ",".join(map(str, kill.partitions)),
            f"{kill.gap_ms:.1f}",
            f"{kill.usual_gap_ms:.1f}",
            _optional(kill.metadata_ms),
            _optional(kill.first_ack_ms),
            str(kill.stale_answers) if failover.manner == "freeze" else "-",
            _optional(kill.rejoin_ms),
        )
    return table


def _rejoin_table(rejoins: list[Rejoin]) -> Table:
    table = Table(title="a killed node started again on what it had stored")
    for name in ("target", "stored MB", "ready ms", "in sync ms", "fdatasync"):
        table.add_column(name, justify="right")
    for rejoin in rejoins:
        table.add_row(
            rejoin.target,
            f"{rejoin.stored_mb:.0f}",
            f"{rejoin.ready_ms:.0f}",
            f"{rejoin.in_sync_ms:.0f}",
            _syncs(rejoin.disk_before),
        )
    return table


def _compaction_table(costs: list[CompactionCost]) -> Table:
    table = Table(title="a load alone, and beside compaction; latency in ms")
    for name in ("target", "load"):
        table.add_column(name, overflow="fold")
    for name in (
        "stored MB", "left MB", "took s", "p50", "p50 beside", "p99", "p99 beside", "times",
        "beside all along", "fdatasync",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for cost in costs:
        table.add_row(
            cost.target,
            cost.load,
            f"{cost.stored_mb:.0f}",
            f"{cost.left_mb:.0f}",
            f"{cost.took_s:.0f}",
            f"{cost.alone.p50_ms:.2f}",
            f"{cost.beside.p50_ms:.2f}",
            f"{cost.alone.p99_ms:.2f}",
            f"{cost.beside.p99_ms:.2f}",
            f"{cost.beside.p99_ms / max(cost.alone.p99_ms, 1e-3):.2f}",
            "yes" if cost.ran_throughout else "no",
            _syncs(cost.disk_before),
        )
    return table


def _drains_table(drains: list[Drain]) -> Table:
    table = Table(title="a backlog read by the raw consumer, alone and beside a load")
    for name in ("target", "load"):
        table.add_column(name, overflow="fold")
    for name in (
        "stored MB", "MB/s", "MB/s beside", "p50", "p50 beside", "p99", "p99 beside", "fdatasync"
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for drain in drains:
        table.add_row(
            drain.target,
            drain.load,
            f"{drain.stored_mb:.0f}",
            f"{drain.drain_mb_per_s:.0f}",
            f"{drain.drain_beside_mb_per_s:.0f}",
            f"{drain.alone.p50_ms:.2f}",
            f"{drain.beside.p50_ms:.2f}",
            f"{drain.alone.p99_ms:.2f}",
            f"{drain.beside.p99_ms:.2f}",
            _syncs(drain.disk_before),
        )
    return table


def _growths_table(growths: list[Growth]) -> Table:
    table = Table(title="as many events as fast as they are taken, by the raw producer")
    for name in (
        "target", "events", "bytes", "retention", "took s", "events/s", "node CPU us/event",
        "RSS MB", "RSS max MB", "fdatasync",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for one in growths:
        table.add_row(
            one.target,
            f"{one.events:,}",
            str(one.event_bytes),
            "yes" if one.has_retention else "no",
            f"{one.took_s:.1f}",
            f"{one.events_per_s:,}",
            f"{one.node_cpu_us_per_event:.2f}",
            " ".join(f"{node.rss_mb:.0f}" for node in one.nodes),
            " ".join(f"{node.rss_max_mb:.0f}" for node in one.nodes),
            _syncs(one.disk_before),
        )
    return table


def _syncs(disk: DiskFigures) -> str:
    return f"{disk.fdatasync_p50_ms:.2f}/{disk.fdatasync_p99_ms:.2f}"


def _optional(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
