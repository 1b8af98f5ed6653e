"""Raw results as a table in Markdown and as plots (SVG)."""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from statistics import median

from trimaran.bench.results import Report, Row

BAR_HEIGHT, BAR_GAP, BAR_WIDTH = 18, 6, 420
LABEL_WIDTH = 230
PLOT_WIDTH = 780

Group = tuple[str, str, str]
"""Load, system, client."""


def grouped(report: Report) -> dict[Group, list[Row]]:
    """Return the runs of each load, system and client, over all rounds."""
    found: dict[Group, list[Row]] = {}
    for row in report.rows:
        client = row.client
        if client.endswith(("Sender", "Producer")):
            client = "raw"
        found.setdefault((row.scenario, row.target, client), []).append(row)
    return dict(sorted(found.items(), key=lambda one: list(_LOADS).index(one[0][0])))


_LOADS = {
    "one in flight": "p50",
    "steady": "p99",
    "most 100 B": "rate",
    "most 1 KB": "rate",
}
"""What is plotted of each load."""


def markdown(report: Report, durability: Mapping[str, str]) -> str:
    """Return the table: each figure the median of its rounds, with the lowest and highest."""
    machine = report.machine
    lines = [
        f"{machine.date[:10]}, commit {machine.commit}, {machine.processor} "
        f"({machine.cores} cores), {report.file_system}, {machine.kernel}; `python -m bench.peers"
        f"{machine.command.partition('peers')[2]}`",
        "",
        "| load | system | client | events/s | MB/s | p50 ms | p99 ms | p99.9 ms | node cores | "
        "client cores | failed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (load, system, client), rows in grouped(report).items():
        cells = [
            load,
            system,
            client,
            _range([row.answered_per_s for row in rows], 0),
            _range([row.mb_per_s for row in rows], 1),
            *(
                _range([getattr(row.latency, name) for row in rows if row.latency], 2)
                for name in ("p50_ms", "p99_ms", "p999_ms")
            ),
            _range([sum(node.cpu_cores for node in row.nodes) for row in rows], 2),
            _range([row.client_cores for row in rows], 2),
            str(sum(sum(row.failed.values()) + row.unanswered for row in rows)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| system | an acknowledgement means |", "|---|---|"]
    seen = dict.fromkeys(row.target for row in report.rows)
    lines += [f"| {name} | {durability.get(name, '')} |" for name in seen]
    return "\n".join(lines)


def _range(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    shown = f"{median(values):,.{digits}f}"
    if len(values) > 1:
        shown += f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    return shown


def plots(report: Report, directory: Path) -> None:
    """Write one picture for each load: a bar for each system and client."""
    found = grouped(report)
    for load, figure in _LOADS.items():
        bars: list[tuple[str, float]] = []
        for (name, system, client), rows in found.items():
            values = [_figure(row, figure) for row in rows]
            if name == load and values:
                bars.append((f"{system}, {client}", median(values)))
        if bars:
            name = re.sub(r"\W+", "-", load)
            unit = "events/s" if figure == "rate" else f"{figure}, ms"
            (directory / f"{name}.svg").write_text(_svg(f"{load}: {unit}", bars))


def _figure(row: Row, figure: str) -> float:
    if figure == "rate" or row.latency is None:
        return row.answered_per_s
    return row.latency.p50_ms if figure == "p50" else row.latency.p99_ms


def _svg(title: str, bars: list[tuple[str, float]]) -> str:
    highest = max(value for _, value in bars) or 1.0
    step = BAR_HEIGHT + BAR_GAP
    parts = [f'<text x="4" y="16" font-weight="bold">{escape(title)}</text>']
    for at, (label, value) in enumerate(bars):
        y = 28 + at * step
        width = max(1.0, BAR_WIDTH * value / highest)
        shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        parts.append(
            f'<text x="4" y="{y + 13}">{escape(label)}</text>'
            f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" '
            f'fill="{"#2a6" if label.startswith("trimaran") else "#888"}"/>'
            f'<text x="{LABEL_WIDTH + width + 6:.1f}" y="{y + 13}">{shown}</text>'
        )
    height = 34 + len(bars) * step
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{PLOT_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )
