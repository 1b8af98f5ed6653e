"""A comparison as a table in Markdown and as plots (SVG)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median

from bench.peers.loads import (
    LOADS,
    MOST_LARGE,
    MOST_SMALL,
    ONE_IN_FLIGHT,
    STEADY,
    client_name,
)
from bench.peers.results import Comparison
from trimaran.bench.results import Row

SUSTAINED = 0.99
"""Of the offered rate: below it, latencies only show how long the run was."""
CLIENT_CORES = 0.9
"""Of a load without a schedule: from here on it may be the client that is measured."""
OURS = "trimaran"
AIMS = (
    (MOST_SMALL, "kafka", 1.0),
    (MOST_LARGE, "kafka", 0.8),
    (MOST_LARGE, "kafka-fsync", 1.0),
    (ONE_IN_FLIGHT, "kafka-fsync", 1.0),
    (ONE_IN_FLIGHT, "nats-fsync", 1.0),
)
"""Load, other system, and how many times its rate ours shall be."""

BAR_HEIGHT, BAR_GAP, BAR_WIDTH = 18, 6, 380
LABEL_WIDTH = 220
PLOT_WIDTH = 780
COLOURS = {"ours": "#2a6", "synced": "#567", "not synced": "#bbb"}

Group = tuple[str, str, str]
"""Load, system, client."""
Figure = Callable[[Row], float]


def grouped(comparison: Comparison) -> dict[Group, list[Row]]:
    """Return the runs of each load, system and client, over all rounds."""
    systems = [one.name for one in comparison.systems]
    found: dict[Group, list[Row]] = {}
    for row in comparison.rows:
        group = (row.scenario, row.target, client_name(row.client))
        found.setdefault(group, []).append(row)
    return dict(
        sorted(found.items(), key=lambda one: (LOADS.index(one[0][0]), systems.index(one[0][1])))
    )


def markdown(comparison: Comparison) -> str:
    """Return the tables: each figure the median of its rounds, with the lowest and highest."""
    machine = comparison.machine
    words = machine.command.partition("peers")[2]
    lines = [
        f"{machine.date[:16]}, commit {machine.commit}, {machine.processor} "
        f"({machine.cores} cores, {machine.memory_gb} GB), {comparison.file_system}, "
        f"{machine.kernel}, Python {machine.python}, librdkafka {machine.librdkafka}; load of the "
        f"machine before: {machine.load_before}; `python -m bench.peers{words}`",
        "",
        *(["**Interrupted**: not all rounds were run.", ""] if comparison.interrupted else []),
        *_figures(comparison),
        "",
        f"Median of {comparison.rounds} rounds (lowest to highest). *x of y/s*: the offered rate "
        "was not reached, so its latencies only say how long the run was. †: the client used "
        f"{CLIENT_CORES} of a core or more and may be the limit. Latencies are from each event's "
        "intended send time, its wait for the 63 others of its batch included (up to 12.8 ms); "
        "*batch* is from the moment its batch was due. *Node MB*: the highest RSS of a node. "
        "*Fdatasync* is the disk's own, before each run.",
        "",
        "| system | version | an acknowledgement means |",
        "|---|---|---|",
        *(f"| {one.name} | {one.version} | {one.durability} |" for one in comparison.systems),
        *_aims(comparison),
    ]
    if comparison.left_out:
        lines += ["", "Left out:", "", *(f"- {one}" for one in comparison.left_out)]
    if comparison.failures:
        lines += ["", "Failed:", "", *(f"- {one.in_words}" for one in comparison.failures)]
    return "\n".join(lines)


def _figures(comparison: Comparison) -> list[str]:
    names = (
        "load", "system", "synced before", "client", "runs", "events/s", "MB/s", "p50 ms", "p99 ms",
        "p99.9 ms", "batch p50 ms", "batch p99 ms", "node cores", "node MB", "client cores",
        "fdatasync p99 ms", "failed",
    )  # fmt: skip
    synced = {one.name: one.synced for one in comparison.systems}
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for (load, system, client), rows in grouped(comparison).items():
        cells = [
            load,
            system,
            synced.get(system, ""),
            client,
            str(len(rows)),
            _rate(rows),
            _range([row.mb_per_s for row in rows], 1),
            *(
                _range([getattr(row.latency, name) for row in rows if row.latency], 2)
                for name in ("p50_ms", "p99_ms", "p999_ms")
            ),
            *(
                _range([getattr(row.batch_latency, name) for row in rows if row.batch_latency], 2)
                for name in ("p50_ms", "p99_ms")
            ),
            _range([sum(node.cpu_cores for node in row.nodes) for row in rows], 2),
            _range([max((node.rss_max_mb for node in row.nodes), default=0) for row in rows], 0),
            _range([row.client_cores for row in rows], 2),
            _range([row.disk_before.fdatasync_p99_ms for row in rows], 1),
            str(sum(sum(row.failed.values()) + row.unanswered for row in rows)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _rate(rows: list[Row]) -> str:
    """Return the rate, marked where it is not what it should be."""
    shown = _range([row.answered_per_s for row in rows], 0)
    offered = rows[0].offered_per_s
    if offered and min(row.answered_per_s for row in rows) < SUSTAINED * offered:
        shown += f" of {offered:,.0f}/s"
    if offered is None and median(row.client_cores for row in rows) >= CLIENT_CORES:
        shown += " †"
    return shown


def _aims(comparison: Comparison) -> list[str]:
    """Return how ours stands to others where an aim is set, by the same client."""
    found = grouped(comparison)
    lines = []
    for load, other, factor in AIMS:
        for client in ("librdkafka", "raw"):
            ours, theirs = found.get((load, OURS, client)), found.get((load, other, client))
            if not ours or not theirs:
                continue
            ratio = median(row.answered_per_s for row in ours) / (
                median(row.answered_per_s for row in theirs) or 1.0
            )
            verdict = "met" if ratio >= factor else "**not met**"
            lines.append(
                f"| {load}: at least {factor} x {other} | {client} | {ratio:.2f} x | {verdict} |"
            )
    return ["", "| aim, events/s | client | is | |", "|---|---|---|---|", *lines] if lines else []


def _range(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    shown = f"{median(values):,.{digits}f}"
    if len(values) > 1:
        shown += f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    return shown


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    colour: str
    values: list[float]


def plots(comparison: Comparison, directory: Path) -> None:
    """Write one picture for each load: a bar for each system and client."""
    found = grouped(comparison)
    synced = {one.name: one.synced != "no" for one in comparison.systems}
    for load in LOADS:
        unit, figure = _FIGURES[load]
        bars = [
            _Bar(f"{system}, {client}", _colour(system, synced), [figure(row) for row in rows])
            for (name, system, client), rows in found.items()
            if name == load
        ]
        if bars:
            name = re.sub(r"\W+", "-", load)
            (directory / f"{name}.svg").write_text(_svg(f"{load}: {unit}", bars))


def _p50(row: Row) -> float:
    return row.latency.p50_ms if row.latency else 0.0


def _batch_p99(row: Row) -> float:
    return row.batch_latency.p99_ms if row.batch_latency else 0.0


def _answered(row: Row) -> float:
    return row.answered_per_s


_FIGURES: dict[str, tuple[str, Figure]] = {
    ONE_IN_FLIGHT: ("p50, ms (less is better)", _p50),
    STEADY: ("batch p99, ms (less is better)", _batch_p99),
    MOST_SMALL: ("events/s (more is better)", _answered),
    MOST_LARGE: ("events/s (more is better)", _answered),
}
"""What is plotted of each load."""


def _colour(system: str, synced: dict[str, bool]) -> str:
    if system == OURS:
        return COLOURS["ours"]
    return COLOURS["synced" if synced.get(system) else "not synced"]


def _svg(title: str, bars: list[_Bar]) -> str:
    highest = max(max(bar.values) for bar in bars) or 1.0
    step = BAR_HEIGHT + BAR_GAP
    parts = [
        f'<rect width="{PLOT_WIDTH}" height="{58 + len(bars) * step}" fill="#fff"/>'
        f'<text x="4" y="16" font-weight="bold">{escape(title)}</text>'
    ]
    for at, bar in enumerate(bars):
        parts.append(_svg_bar(bar, 28 + at * step, BAR_WIDTH / highest))
    below = 28 + len(bars) * step
    parts.append(
        f'<text x="4" y="{below + 14}" fill="#444">Dark: synced to a disk before the '
        "acknowledgement; light grey: not. Lines: lowest to highest round.</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{PLOT_WIDTH}" height="{below + 30}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )


def _svg_bar(bar: _Bar, y: int, scale: float) -> str:
    value = median(bar.values)
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    left, right = (LABEL_WIDTH + scale * edge for edge in (min(bar.values), max(bar.values)))
    middle = y + BAR_HEIGHT // 2
    return (
        f'<text x="4" y="{y + 13}">{escape(bar.label)}</text>'
        f'<rect x="{LABEL_WIDTH}" y="{y}" width="{max(1.0, scale * value):.1f}" '
        f'height="{BAR_HEIGHT}" fill="{bar.colour}"/>'
        f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="#000"/>'
        f'<text x="{right + 6:.1f}" y="{y + 13}">{shown}</text>'
    )
