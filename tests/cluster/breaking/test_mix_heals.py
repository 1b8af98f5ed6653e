"""The random mix starts again what it ended itself, and nothing else."""

from random import Random

import pytest

from tests.cluster.breaking.mix import Mix
from trimaran.server.process import NodeStartError


class Disk:
    def behave(self, **_kwargs):
        pass


class FakeCluster:
    """Three nodes, and which of them run."""

    nodes = (1, 2, 3)

    def __init__(self):
        self.power = {node: Disk() for node in self.nodes}
        self.alive = set(self.nodes)
        self.end_in_start = set()
        """Nodes that end in the next start of all, or have been begun and end during it."""

    def is_running(self, node):
        return node in self.alive

    def kill(self, node):
        self.alive.remove(node)

    def cut_power(self, nodes, _chance):
        self.alive -= set(nodes)

    def resume(self, _node):
        pass

    def heal(self):
        pass

    def begin_all(self):
        self.alive = set(self.nodes)

    def start_all(self):
        self.begin_all()
        if self.end_in_start:
            self.alive -= self.end_in_start
            self.end_in_start = set()
            raise NodeStartError("a node ended")

    def log(self, node):
        return f"what node {node} said last"


@pytest.fixture
def cluster():
    return FakeCluster()


@pytest.fixture
def mix(cluster):
    return Mix(cluster, Random(1))


@pytest.mark.parametrize("fault", ["kill", "kill_twice", "power_of_one", "power_of_all"])
def test_what_a_step_ended_is_started_again(cluster, mix, fault):
    getattr(mix, fault)(2)

    mix.heal()

    assert cluster.alive == {1, 2, 3}


def test_a_node_that_ended_by_itself_fails_the_round_with_its_log(cluster, mix):
    mix.kill(2)
    cluster.alive.remove(3)

    with pytest.raises(pytest.fail.Exception, match="node 3 ended by itself:\nwhat node 3 said"):
        mix.heal()


def test_a_node_that_ended_before_it_could_be_killed_ended_by_itself(cluster, mix):
    cluster.alive.remove(2)
    mix.kill(2)

    with pytest.raises(pytest.fail.Exception, match="node 2 ended by itself"):
        mix.heal()


@pytest.mark.parametrize("fault", ["kill_twice", "power_of_all"])
def test_a_fault_that_begins_nodes_again_hides_none_that_ended_by_itself(cluster, mix, fault):
    cluster.alive.remove(3)

    with pytest.raises(pytest.fail.Exception, match="node 3 ended by itself"):
        getattr(mix, fault)(2)


def test_what_one_step_ended_may_not_be_down_in_the_next(cluster, mix):
    mix.kill(2)
    mix.heal()
    cluster.alive.remove(2)

    with pytest.raises(pytest.fail.Exception, match="node 2 ended by itself"):
        mix.heal()


def test_a_start_that_fails_is_excused_on_a_full_disk(cluster, mix):
    mix.power_of_all(2)
    mix.full_disk(2)
    cluster.end_in_start = {2}

    mix.heal()

    assert cluster.alive == {1, 2, 3}


def test_a_start_that_fails_on_a_sound_disk_fails_the_round(cluster, mix):
    mix.power_of_all(2)
    cluster.end_in_start = {2}

    with pytest.raises(NodeStartError):
        mix.heal()


def test_a_full_disk_excuses_no_other_nodes_start(cluster, mix):
    mix.power_of_all(2)
    mix.full_disk(2)
    cluster.end_in_start = {2, 3}

    with pytest.raises(pytest.fail.Exception, match="node 3 ended by itself"):
        mix.heal()
