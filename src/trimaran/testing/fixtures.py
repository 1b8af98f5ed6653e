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
    nodes = NODES if mark is None else size_of(mark)
    with Cluster(nodes=nodes) as cluster:
        yield cluster


def size_of(mark: pytest.Mark) -> int:
    """Return how many nodes a mark asks for: `trimaran(nodes=1)`, or shorter `trimaran(1)`.

    The test fails if it says anything else.
    """
    from trimaran.server.places import NODES_MAX

    said = [*mark.args, *mark.kwargs.values()] or [NODES]
    is_understood = len(said) == 1 and mark.kwargs.keys() <= {"nodes"}
    if is_understood and said[0] in range(1, NODES_MAX + 1):
        return int(said[0])
    words = [*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())]
    pytest.fail(
        f"@pytest.mark.trimaran: expected nodes=1 to nodes={NODES_MAX}, "
        f"found trimaran({', '.join(words)})",
        pytrace=False,
    )
