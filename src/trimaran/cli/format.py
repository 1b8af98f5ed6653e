"""`trimaran format`: makes a data directory fit for `trimaran node`.

Does not: start the node, or touch a directory that holds anything.
"""

import re
from pathlib import Path
from typing import Annotated

import typer

from trimaran.cli.exits import USAGE, CommandError
from trimaran.cli.output import Format, FormatOption, show_document
from trimaran.ids import ClusterId
from trimaran.server.found import FormatError, format_node, mint_cluster_id
from trimaran.server.settings import read_config

CLUSTER_ID = re.compile(r"[A-Za-z0-9_-]{22}")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command("format")(format_directory)


def format_directory(
    config: Annotated[Path, typer.Option("--config", help="settings of the node, YAML")],
    cluster_id: Annotated[
        str | None,
        typer.Option(help="of the cluster; default: cluster.id of the settings, else a new one"),
    ] = None,
    join: Annotated[
        bool, typer.Option("--join", help="a new disk for a node of a cluster that exists")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Give the node's data directory its cluster id and a disk id.

    Format the first node, then the others with the cluster id it prints.
    """
    settings = read_config(config)
    chosen = cluster_id or settings.cluster.id
    if chosen is not None and not CLUSTER_ID.fullmatch(chosen):
        raise CommandError(
            f"--cluster-id: expected 22 URL-safe characters, found {chosen!r}", code=USAGE
        )
    if chosen is None and join:
        raise CommandError(
            "--join needs the cluster's id: --cluster-id, or cluster.id in the settings "
            "(`trimaran cluster status` prints it)",
            code=USAGE,
        )
    try:
        identity = format_node(
            settings, cluster_id=ClusterId(chosen) if chosen else mint_cluster_id(), join=join
        )
    except FormatError as error:
        raise CommandError(str(error), code=USAGE) from error
    facts = {
        "node": identity.node_id,
        "cluster_id": identity.cluster_id,
        "disk_id": identity.disk_id.hex(),
        "data": settings.node.data_directory,
    }
    if output is not Format.TABLE:
        show_document(facts, output)
        return
    print(f"formatted {facts['data']} for node {facts['node']} of cluster {facts['cluster_id']}")
    print(f"start it with: trimaran node --config {config}")
