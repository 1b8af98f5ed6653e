"""`trimaran top`: nodes and topics as they are now, redrawn every second.

Does not: keep history (the dashboard does).
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trimaran.cli.exits import CommandError
from trimaran.cli.http_client import DEFAULT_HTTP, HttpOption, ask, ask_list
from trimaran.cli.kafka_client import TIMEOUT_S, TimeoutOption

TOPICS_SHOWN = 15
MIB = 1_048_576
NODE_COLUMNS = (
    *("node", "state", "leads", "behind", "in/s", "out/s"),
    *("fsync p99", "loop lag", "cpu", "MiB"),
)


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command("top")(top)


def top(
    http: HttpOption = DEFAULT_HTTP,
    interval: Annotated[float, typer.Option(min=0.2, help="seconds between two looks")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="print one table and end")] = False,
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """Watch nodes, rates, lag and fsync times in the terminal; Ctrl-C ends it."""
    console = Console()
    if once or not console.is_terminal:
        console.print(look(http, timeout))
        return
    shown = look(http, timeout)
    with Live(shown, console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            try:
                shown = look(http, timeout)
            except CommandError as error:  # its node may be the one that died: look on
                first = str(error).splitlines()[0]
                live.update(Group(Text(first, style="red"), shown), refresh=True)
            else:
                live.update(shown, refresh=True)


def look(http: str, timeout_s: float) -> Group:
    """Ask once; return the two tables. Raises CommandError when nobody answers."""
    cluster = ask(http, "/v1/cluster", timeout_s)
    nodes = ask(http, "/v1/nodes", timeout_s)["items"]
    topics = ask_list(http, "/v1/topics", timeout_s)["items"]
    title = Text(
        f"cluster {cluster['cluster_id']}   controller {cluster['controller_id']}   "
        f"{cluster['topics_total']} topics   {cluster['partitions_total']} partitions"
    )
    return Group(title, "", node_table(nodes), "", topic_table(topics))


def node_table(nodes: list[dict[str, Any]]) -> Table:
    """Return a row for each node; dashes where it does not answer."""
    table = narrow_table(NODE_COLUMNS, left=("node", "state"))
    for node in nodes:
        facts = node["facts"] or {}
        now = facts.get("series") or {}
        rss = facts.get("rss_bytes")
        table.add_row(
            str(node["node_id"]) + (" *" if node["is_controller"] else ""),
            Text(node["state"], style="green" if node["state"] == "up" else "red"),
            str(node["leaders"]),
            number(behind(node["node_id"], nodes)),
            number(now.get("events_in_per_s")),
            number(now.get("events_out_per_s")),
            number(now.get("fsync_p99_ms"), " ms", 2),
            number(now.get("loop_lag_ms"), " ms", 1),
            number(facts.get("cpu_percent"), " %"),
            number(None if rss is None else rss / MIB),
        )
    return table


def topic_table(topics: list[dict[str, Any]]) -> Table:
    """Return the busiest topics with the worst lag of their groups."""
    busiest = sorted(topics, key=lambda topic: -(topic["events_in_per_s"] or 0))
    columns = ("topic", "partitions", "events/s", "size", "worst lag")
    table = narrow_table(columns, left=("topic",))
    for topic in busiest[:TOPICS_SHOWN]:
        size = topic["size_bytes"]
        table.add_row(
            topic["name"],
            str(topic["partitions"]),
            number(topic["events_in_per_s"]),
            number(None if size is None else size / MIB, " MiB", 1),
            number(topic["worst_lag_s"], " s", 1),
        )
    return table


def narrow_table(columns: Sequence[str], *, left: Sequence[str]) -> Table:
    """Return an empty table that fits a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    return table


def behind(node_id: int, nodes: list[dict[str, Any]]) -> float | None:
    """Return the events that leaders have and this node has not; None if no leader told."""
    name = f"peer/{node_id}/lag_events"
    told = [((node["facts"] or {}).get("series") or {}).get(name) for node in nodes]
    known = [lag for lag in told if lag is not None]
    return sum(known) if known else None


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """Return a number with its unit, or a dash."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"
