"""The checker of metadata images: what nodes hold after the same entries is the same."""

from types import SimpleNamespace

import pytest

from trimaran.broker.controller import Controller
from trimaran.ids import METADATA_GROUP
from trimaran.metadata.image import Image
from trimaran.sim.checkers import Evidence, MetadataEqual
from trimaran.sim.cluster import SimCluster
from trimaran.sim.report import RunOptions
from trimaran.sim.run import SeedRun

pytestmark = pytest.mark.sim


def view(node, applied, *, image_at=None):
    machine = object.__new__(Controller)
    machine.image = Image()
    machine.image.applied_index = applied if image_at is None else image_at
    return Evidence(
        node,
        1,
        METADATA_GROUP,
        SimpleNamespace(),
        SimpleNamespace(machine=machine, applied=applied),
    )


def test_images_that_differ_after_the_same_entry_are_seen():
    checker = MetadataEqual()

    assert list(checker.step([view("a", 3), view("b", 2), view("b", 3)])) == []
    assert list(checker.step([view("c", 3, image_at=2)])) == [
        "the images after entry 3 differ between a and c"
    ]


def test_a_node_that_forgets_the_settings_of_a_topic_is_noticed(monkeypatch):
    run = SeedRun(RunOptions(seed=1, seconds=2, kinds=()))
    put = Image._put_topic

    def forget(image, topic):
        if image_of(run.cluster, "node-3") is image:
            topic = type(topic)(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=topic.partitions,
                settings={},
            )
        put(image, topic)

    monkeypatch.setattr(Image, "_put_topic", forget)
    report = run.execute(trace_lines=10)
    run.loop.close()

    assert any(line.startswith("MetadataEqual: the images after") for line in report.violations)


def image_of(cluster: SimCluster, name):
    """Return the image of a node that runs."""
    for node in cluster.nodes:
        if node.name == name and node.broker is not None:
            return node.broker._controller.image
    return None
