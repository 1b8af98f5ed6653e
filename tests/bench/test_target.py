"""A target that dies in the middle of a measurement ends it with an error or not at all."""

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from trimaran.bench import target as target_module
from trimaran.bench.target import Target, fresh_topic


class DyingAdmin:
    """Creates a topic with leaders; what it is asked to delete it never answers."""

    def __init__(self):
        self.deleting = []

    def create_topics(self, topics):
        created = Future()
        created.set_result(None)
        return {topic.topic: created for topic in topics}

    def list_topics(self, topic, *, timeout):
        partitions = {0: SimpleNamespace(leader=1)}
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def delete_topics(self, names):
        self.deleting += names
        return {name: Future() for name in names}


@pytest.fixture
def admin(monkeypatch):
    admin = DyingAdmin()
    monkeypatch.setattr(Target, "admin", lambda target: admin)
    monkeypatch.setattr(target_module, "CONNECT_S", 0.05)
    return admin


def test_a_cluster_that_dies_while_it_deletes_the_topic_does_not_hold_the_measurement(admin):
    target = Target(name="t", bootstrap="nowhere:1", disk=Path(), node_count=1)

    with fresh_topic(target, partitions=1) as topic:
        assert admin.deleting == []

    assert admin.deleting == [topic]
