"""`trimaran cluster status|health`: who is there, who leads, what is wrong and what to do.

Does not: change anything.
"""

import sys
import time
from typing import Annotated, Any

import typer

from trimaran.cli.exits import FAILED, CommandError
from trimaran.cli.http_client import DEFAULT_HTTP, HttpOption, ask
from trimaran.cli.kafka_client import (
    DEFAULT_BOOTSTRAP,
    TIMEOUT_S,
    BootstrapOption,
    ClusterMetadata,
    TimeoutOption,
    admin,
    cluster_metadata,
)
from trimaran.cli.output import Format, FormatOption, show, show_document
from trimaran.cli.topic import partition_rows

WATCH_INTERVAL_S = 1.0
clusters = typer.Typer(no_args_is_help=True, help="Show how the cluster is.")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.add_typer(clusters, name="cluster")


@clusters.callback()
def _only_with_a_verb() -> None:
    """Show how the cluster is."""


@clusters.command()
def status(
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show nodes and partitions; exit code 1 if any partition has no leader."""
    metadata = cluster_metadata(admin(bootstrap), bootstrap, timeout_s=timeout)
    summary = summary_of(metadata)
    if output is not Format.TABLE:
        show_document(summary, output)
    else:
        show_summary(summary)
    if summary["without_leader"]:
        raise typer.Exit(FAILED)


@clusters.command()
def health(
    watch: Annotated[
        bool, typer.Option("--watch", help="again every second, until Ctrl-C")
    ] = False,
    http: HttpOption = DEFAULT_HTTP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show the state of all nodes and every problem with its advice; exit code 1 unless ok."""
    found = ask(http, "/v1/cluster/health", timeout)
    _show_health(found, output)
    while watch:
        time.sleep(WATCH_INTERVAL_S)
        _look_again(http, timeout, output)
    if found["status"] != "ok":
        raise typer.Exit(FAILED)


def _look_again(http: str, timeout_s: float, form: Format) -> None:
    """Show the health now, or that nobody told it: what is watched for must not end the watch."""
    try:
        found = ask(http, "/v1/cluster/health", timeout_s)
    except CommandError as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
    else:
        _show_health(found, form)


def _show_health(found: dict[str, Any], form: Format) -> None:
    if form is not Format.TABLE:
        show_document(found, form)
        return
    print(
        f"{found['status']}: {found['nodes_up']} of {found['nodes_total']} nodes up,"
        f" {found['partitions_without_leader']} of {found['partitions_total']} partitions without a"
        f" leader, {found['partitions_under_replicated']} lack a replica"
    )
    for node in found["nodes"]:
        if node["state"] != "up":
            print(f"  node {node['node_id']}: {node['state']} ({node['reason']})")
    for problem in found["problems"]:
        print(f"  {problem['severity']}: {problem['what']} -> {problem['advice']}")
    sys.stdout.flush()


def summary_of(metadata: ClusterMetadata) -> dict[str, Any]:
    """Return the cluster as JSON fields."""
    partitions = [
        row for _, topic in sorted(metadata.topics.items()) for row in partition_rows(topic)
    ]
    return {
        "cluster_id": metadata.cluster_id,
        "controller": metadata.controller_id,
        "nodes": [
            {
                "node": node.id,
                "address": f"{node.host}:{node.port}",
                "leads": sum(1 for row in partitions if row["leader"] == node.id),
                "replicas": sum(1 for row in partitions if node.id in row["replicas"]),
            }
            for _, node in sorted(metadata.brokers.items())
        ],
        "topics": len(metadata.topics),
        "partitions": len(partitions),
        "without_leader": [
            f"{row['topic']}-{row['partition']}" for row in partitions if row["leader"] is None
        ],
        "under_replicated": [
            f"{row['topic']}-{row['partition']}"
            for row in partitions
            if len(row["in_sync"]) < len(row["replicas"])
        ],
    }


def show_summary(summary: dict[str, Any]) -> None:
    """Print the summary for a person."""
    print(f"cluster {summary['cluster_id']}, controller {summary['controller']}")
    show(summary["nodes"], columns=["node", "address", "leads", "replicas"], form=Format.TABLE)
    print(f"{summary['topics']} topics, {summary['partitions']} partitions")
    for what, title in (
        ("without_leader", "without a leader"),
        ("under_replicated", "not all replicas in sync"),
    ):
        if summary[what]:
            print(f"{title}: {', '.join(summary[what])}")
