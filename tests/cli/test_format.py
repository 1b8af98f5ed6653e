"""`trimaran format`: the first directories of a cluster, and a new disk for one."""

import json
from functools import partial

import pytest
import yaml

from trimaran.storage.files import RealFiles
from trimaran.storage.identity import read_identity


@pytest.fixture
def settings(tmp_path):
    def write(node_id):
        path = tmp_path / f"node-{node_id}.yaml"
        nodes = [{"id": i, "host": "127.0.0.1", "peer_port": 19000 + i} for i in (1, 2)]
        node = {"id": node_id, "data_directory": str(tmp_path / f"data-{node_id}")}
        path.write_text(yaml.safe_dump({"node": node, "cluster": {"nodes": nodes}}))
        return str(path)

    return write


@pytest.fixture
def run(run):
    return partial(run, "format")


def test_the_second_node_is_formatted_with_the_first_ones_cluster_id(run, settings, tmp_path):
    code, out, _ = run("--config", settings(1), "-o", "json")
    assert code == 0
    cluster_id = json.loads(out)["cluster_id"]
    code, out, _ = run("--config", settings(2), "--cluster-id", cluster_id)
    assert code == 0
    assert "start it with: trimaran node --config" in out
    identity = read_identity(RealFiles(str(tmp_path / "data-2")))
    assert (identity.cluster_id, identity.node_id) == (cluster_id, 2)


def test_joining_needs_the_id_of_the_cluster(run, settings):
    code, _, err = run("--config", settings(1), "--join")
    assert code == 2
    assert "--join needs the cluster's id" in err


def test_a_directory_is_formatted_once(run, settings):
    assert run("--config", settings(1))[0] == 0
    code, _, err = run("--config", settings(1))
    assert code == 2
    assert "is not empty" in err


def test_a_cluster_id_must_look_like_one(run, settings):
    code, _, err = run("--config", settings(1), "--cluster-id", "mine")
    assert code == 2
    assert "expected 22 URL-safe characters, found 'mine'" in err


def test_wrong_settings_are_all_named(run, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("node: {id: 0}\nkafkas: {}\n")
    code, _, err = run("--config", str(path))
    assert code == 2
    assert "node.id" in err
    assert "kafkas" in err
