"""Two result files side by side: the median run of each load, and the second by the first.

Loads are matched by scenario, target and their words. Below 5 % a difference of single runs on a
shared machine is noise, so changes are shown and not judged. Runs of different length are compared
and marked: a longer one meets more of what is rare.
Does not: measure.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from trimaran.bench.errors import BenchError
from trimaran.bench.results import Report, Row

Figure = Callable[[Row], float | None]
FIGURES: Mapping[str, Figure] = {
    "answered/s": lambda row: row.answered_per_s,
    "p50": lambda row: row.latency.p50_ms if row.latency else None,
    "p99": lambda row: row.latency.p99_ms if row.latency else None,
    "e2e p99": lambda row: row.end_to_end.p99_ms if row.end_to_end else None,
    "client cores": lambda row: row.client_cores,
    "node cores": lambda row: sum(node.cpu_cores for node in row.nodes) or None,
}
DIFFERENT = "!"
Loads = dict[tuple[str, str, str], Row]


def show_comparison(old: Path, new: Path, console: Console) -> None:
    """Print the comparison. Raises BenchError: a file cannot be read, or no load is in both."""
    before, after = _loads(old), _loads(new)
    common = [key for key in before if key in after]
    if not common:
        raise BenchError(f"no load is in both {old} and {new}")
    table = Table(title="median runs, old > new (new by old)")
    for name in ("scenario", "target", "load"):
        table.add_column(name, overflow="fold")
    for name in ("seconds", *FIGURES):
        table.add_column(name, justify="right")
    lengths = [_lengths(before[key].seconds, after[key].seconds) for key in common]
    for key, length in zip(common, lengths, strict=True):
        figures = (_change(read(before[key]), read(after[key])) for read in FIGURES.values())
        table.add_row(*key, length, *figures)
    if any(length.endswith(DIFFERENT) for length in lengths):
        table.caption = f"{DIFFERENT} runs of different length: their tails are not comparable"
    console.print(table)
    for name, only in (
        ("old", before.keys() - after.keys()),
        ("new", after.keys() - before.keys()),
    ):
        for key in sorted(only):
            console.print(f"only in {name}: {', '.join(key)}", highlight=False)


def _loads(path: Path) -> Loads:
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise BenchError(f"{path}: not a result file of --json ({error})") from error
    return {(row.scenario, row.target, row.load): row for row in report.rows if row.median}


def _lengths(old_s: float | None, new_s: float | None) -> str:
    """Return how long both were measured, marked where that differs or is not known of one."""
    old, new = (f"{seconds:g}" if seconds is not None else "?" for seconds in (old_s, new_s))
    return old if old == new else f"{old} > {new}{DIFFERENT}"


def _change(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return "-"
    ratio = f" ({new / old:.2f})" if old else ""
    return f"{_short(old)} > {_short(new)}{ratio}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}"
