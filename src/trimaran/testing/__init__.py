"""A real cluster for people's own tests: one process per node, on free ports, on a real disk.

    with Cluster(nodes=3) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})

With pytest the fixture `trimaran_cluster` gives one, of the size that the mark
`@pytest.mark.trimaran(nodes=1)` says.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from trimaran.testing.cluster import Cluster

with contextlib.suppress(ModuleNotFoundError):  # without pytest there is still `Cluster`
    from trimaran.testing.fixtures import pytest_configure, trimaran_cluster

if TYPE_CHECKING:
    from trimaran.testing.breakable import BreakableCluster


def breakable_cluster(nodes: int, *, directory: Path) -> "BreakableCluster":
    """Return a cluster whose links can be cut: `trimaran.testing.breakable` has all its options."""
    from trimaran.testing.breakable import BreakableCluster  # only when one is wanted

    return BreakableCluster(nodes, directory=directory, links=True)


__all__ = ["Cluster", "breakable_cluster", "pytest_configure", "trimaran_cluster"]
