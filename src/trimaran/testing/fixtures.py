"""The pytest plugin: one fixture and its mark.

pytest imports this at every start; nothing of the server is imported before a cluster is wanted.
Does not: share a cluster between tests.
"""

from collections.abc import Iterator

import pytest

from trimaran.testing.cluster import Cluster

NODES = 3


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers", "trimaran(nodes=3): size of the cluster that `trimaran_cluster` gives"
    )


@pytest.fixture
def trimaran_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Give a ready cluster of three nodes, or as many as the mark `trimaran` says."""
    mark = request.node.get_closest_marker("trimaran")
    nodes = mark.kwargs.get("nodes", NODES) if mark is not None else NODES
    with Cluster(nodes=nodes) as cluster:
        yield cluster
