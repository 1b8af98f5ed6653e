"""A real cluster for people's own tests: one process per node, on free ports, on a real disk.

    with Cluster(nodes=3) as cluster:
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers})

With pytest the fixture `trimaran_cluster` gives one, of the size that the mark
`@pytest.mark.trimaran(nodes=1)` says.
"""

import contextlib

from trimaran.testing.cluster import Cluster

with contextlib.suppress(ModuleNotFoundError):  # without pytest there is still `Cluster`
    from trimaran.testing.fixtures import pytest_configure, trimaran_cluster

__all__ = ["Cluster", "pytest_configure", "trimaran_cluster"]
