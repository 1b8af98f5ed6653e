"""Local clusters on disk: what is founded, what is refused, what other programs read."""

import json
import sys

import pytest

from trimaran.server import local, places
from trimaran.server.local import found_cluster, load_cluster
from trimaran.server.places import ClusterDirectoryError, is_memory_file_system
from trimaran.server.settings import read_config
from trimaran.storage.files import RealFiles
from trimaran.storage.identity import read_identity


def test_founding_formats_every_node_for_one_cluster(tmp_path):
    cluster = found_cluster(tmp_path / "c", count=3)
    identities = [read_identity(RealFiles(str(node.data))) for node in cluster.nodes.values()]
    assert [identity.node_id for identity in identities] == [1, 2, 3]
    assert len({identity.cluster_id for identity in identities}) == 1
    assert len({identity.disk_id for identity in identities}) == 3


def test_the_settings_of_each_node_name_all_nodes_and_its_own_ports(tmp_path):
    cluster = found_cluster(tmp_path / "c", count=3)
    for node in cluster.nodes.values():
        config = read_config(node.settings_path)
        assert config.node.id == node.node_id
        assert config.kafka.port == node.kafka_port
        assert [other.id for other in config.cluster.nodes] == [1, 2, 3]
        assert [other.peer_port for other in config.cluster.nodes] == [
            other.peer_port for other in cluster.nodes.values()
        ]


def test_the_cluster_file_says_who_is_where_and_how_to_start_them(tmp_path):
    cluster = found_cluster(tmp_path / "c", count=2)
    content = json.loads((tmp_path / "c" / "cluster.json").read_text())
    assert set(content) == {"bootstrap", "nodes"}
    assert content["bootstrap"] == cluster.bootstrap
    for node, place in zip(content["nodes"], cluster.nodes.values(), strict=True):
        assert set(node) == {"id", "pid", "kafka", "http", "peer", "data", "command"}
        assert node["pid"] is None
        assert node["kafka"] == place.kafka_port
        assert node["command"][:4] == [sys.executable, "-m", "trimaran", "node"]
        assert node["command"][5] == str(tmp_path / "c" / f"node-{place.node_id}.yaml")


def test_fixed_ports_count_up_by_node(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "is_free", lambda host, port: True)
    cluster = found_cluster(tmp_path / "c", count=3, kafka_port=9092, http_port=8080)
    nodes = list(cluster.nodes.values())
    assert [node.kafka_port for node in nodes] == [9092, 9093, 9094]
    assert [node.http_port for node in nodes] == [8080, 8081, 8082]
    assert len({node.peer_port for node in nodes}) == 3


def test_a_founded_cluster_is_loaded_as_it_was(tmp_path):
    founded = found_cluster(tmp_path / "c", count=3)
    assert load_cluster(tmp_path / "c").nodes == founded.nodes


def test_a_lost_cluster_file_beside_node_data_founds_nothing(tmp_path):
    founded = found_cluster(tmp_path / "c", count=1)
    (tmp_path / "c" / "cluster.json").unlink()
    before = founded.nodes[1].settings_path.read_text()
    with pytest.raises(ClusterDirectoryError, match="holds node-1"):
        found_cluster(tmp_path / "c", count=1)
    assert founded.nodes[1].settings_path.read_text() == before


def test_memory_file_systems_are_told_from_disks(tmp_path):
    assert not is_memory_file_system("/")
    assert is_memory_file_system("/dev/shm")


def test_the_dashboards_line_says_when_its_page_is_not_there(tmp_path, monkeypatch):
    cluster = found_cluster(tmp_path / "c", count=1)
    there, missing = tmp_path / "index.html", tmp_path / "nothing.html"
    there.touch()
    monkeypatch.setattr(local, "DASHBOARD_PAGE", there)
    assert cluster.dashboard_line == f"dashboard: {cluster.dashboard}"
    monkeypatch.setattr(local, "DASHBOARD_PAGE", missing)
    assert "make dashboard" in cluster.dashboard_line
