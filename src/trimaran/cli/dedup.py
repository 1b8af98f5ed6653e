"""`trimaran dedup stats TOPIC`: how full the event-id window is, and what it caught.

Does not: change settings (`trimaran topic alter` does).
"""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from trimaran.cli.http_client import DEFAULT_HTTP, HttpOption, ask
from trimaran.cli.kafka_client import TIMEOUT_S, TimeoutOption
from trimaran.cli.output import Format, FormatOption, show, show_document

MIB = 1_048_576
dedups = typer.Typer(no_args_is_help=True, help="Show what event ids are remembered.")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.add_typer(dedups, name="dedup")


@dedups.callback()
def _only_with_a_verb() -> None:
    """Show what event ids are remembered."""


@dedups.command()
def stats(
    topic: Annotated[str, typer.Argument(help="name of the topic")],
    http: HttpOption = DEFAULT_HTTP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show ids, memory, hits and the effective window of each partition."""
    found = ask(http, f"/v1/topics/{quote(topic, safe='')}/dedup", timeout)
    if output is not Format.TABLE:
        show_document(found, output)
        return
    if not found["enabled"]:
        print(f"event.dedup.enable is off for topic {topic}; switch it on with")
        print(f"  trimaran topic alter {topic} --config event.dedup.enable=true")
        return
    print(
        f"{topic}: header {found['header']}, window {found['window_ms'] / 1_000:,.0f} s,"
        f" at most {found['max_ids']:,} ids a partition; {found['ids']:,} ids in"
        f" {found['memory_bytes'] / MIB:,.1f} MiB, {found['hits']:,} duplicates"
    )
    rows = [_row(one) for one in found["partitions"]]
    columns = ["partition", "node", "ids", "effective_window_s", "hits", "evicted"]
    show(rows, columns=columns, form=output)
    for one in found["partitions"]:
        if one["cut_short"]:
            print(
                f"warning: partition {one['partition']}: the count ends the window early: raise"
                " event.dedup.max.ids or send less"
            )


def _row(one: dict[str, Any]) -> dict[str, Any]:
    window_ms = one["effective_window_ms"]
    return {
        "partition": one["partition"],
        "node": one["node_id"],
        "ids": one["ids"],
        "effective_window_s": None if window_ms is None else round(window_ms / 1_000, 1),
        "hits": one["hits"],
        "evicted": one["evicted"],
    }
