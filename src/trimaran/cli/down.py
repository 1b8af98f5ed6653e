"""`trimaran down`: stops the nodes of a local cluster; their data stays.

Does not: delete anything.
"""

import typer

from trimaran.cli.up import DATA, DataOption
from trimaran.server.local import load_cluster


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(down)


def down(data: DataOption = DATA) -> None:
    """Stop every node of the cluster in --data, leaderships moved away first."""
    cluster = load_cluster(data)
    stopped = cluster.stop_strangers()
    cluster.forbid_control()
    cluster.write_file()
    if stopped:
        print(f"stopped nodes {', '.join(str(node_id) for node_id in stopped)}")
    else:
        print("no node was running")
