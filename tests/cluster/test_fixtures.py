"""The fixture gives the cluster that the mark asks for, and refuses what it does not understand."""

import pytest

from trimaran.testing.fixtures import NODES, size_of

mark = pytest.mark.trimaran


@pytest.mark.parametrize(
    ("said", "nodes"), [(mark(nodes=1), 1), (mark(9), 9), (mark, NODES), (mark(), NODES)]
)
def test_the_size_is_said_with_its_name_or_without(said, nodes):
    assert size_of(said.mark) == nodes


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (mark(node=1), "trimaran(node=1)"),
        (mark(1, nodes=3), "trimaran(1, nodes=3)"),
        (mark(0), "trimaran(0)"),
        (mark(10), "trimaran(10)"),
        (mark("3"), "trimaran('3')"),
    ],
)
def test_a_mark_that_says_anything_else_fails_its_test_by_name(said, found):
    with pytest.raises(pytest.fail.Exception) as failed:
        size_of(said.mark)

    assert str(failed.value).endswith(f"expected nodes=1 to nodes=9, found {found}")


@pytest.mark.cluster
@pytest.mark.trimaran(1)
def test_a_marked_test_gets_a_cluster_of_that_size(trimaran_cluster):
    assert trimaran_cluster.nodes == (1,)
    assert trimaran_cluster.is_running(1)
