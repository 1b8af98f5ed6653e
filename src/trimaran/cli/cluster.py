"""`trimaran cluster status`: who is there, who leads, what lacks a leader or a replica.

Does not: change anything.
"""

from typing import Any

import typer

from trimaran.cli.exits import FAILED
from trimaran.cli.kafka_client import (
    DEFAULT_BOOTSTRAP,
    TIMEOUT_S,
    BootstrapOption,
    ClusterMetadata,
    TimeoutOption,
    admin,
    cluster_metadata,
)
from trimaran.cli.output import Format, FormatOption, show, show_json
from trimaran.cli.topic import partition_rows

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
    output: FormatOption = Format.TEXT,
) -> None:
    """Show nodes and partitions; exit code 1 if any partition has no leader."""
    metadata = cluster_metadata(admin(bootstrap), bootstrap, timeout_s=timeout)
    summary = summary_of(metadata)
    if output is Format.JSON:
        show_json(summary)
    else:
        show_summary(summary)
    if summary["without_leader"]:
        raise typer.Exit(FAILED)


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
    show(summary["nodes"], columns=["node", "address", "leads", "replicas"], form=Format.TEXT)
    print(f"{summary['topics']} topics, {summary['partitions']} partitions")
    for what, title in (
        ("without_leader", "without a leader"),
        ("under_replicated", "not all replicas in sync"),
    ):
        if summary[what]:
            print(f"{title}: {', '.join(summary[what])}")
