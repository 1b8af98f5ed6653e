"""A node that must not start says why and exits with 2, before it touches anything."""

import os
import shutil
from dataclasses import replace

import pytest
import yaml

from trimaran.ids import ClusterId, NodeId
from trimaran.server.found import FormatError, format_node, mint_cluster_id
from trimaran.server.main import main
from trimaran.server.running import DirectoryLock
from trimaran.server.settings import read_config
from trimaran.storage.files import RealFiles
from trimaran.storage.identity import encode_identity, read_identity


@pytest.fixture
def settings(tmp_path):
    def write(node_id=1, **sections):
        path = tmp_path / "node.yaml"
        nodes = [{"id": 1, "host": "127.0.0.1", "peer_port": 19001}]
        nodes += [{"id": 2, "host": "127.0.0.1", "peer_port": 19002}]
        content = {
            "node": {"id": node_id, "data_directory": str(tmp_path / "data")},
            "cluster": {"nodes": nodes},
        }
        path.write_text(yaml.safe_dump(content | sections))
        return path

    return write


@pytest.fixture
def start(caplog):
    def start_with(path):
        code = main(["--config", str(path)])
        return code, caplog.text

    return start_with


@pytest.fixture(autouse=True)
def set_ups(monkeypatch):
    """How logging was set up, in order; the tests' own logging stays as it is."""
    calls = []
    monkeypatch.setattr("trimaran.server.main.set_up_logging", lambda **how: calls.append(how))
    return calls


def test_logging_is_set_up_as_the_settings_say(settings, start, set_ups):
    start(settings(logging={"level": "debug", "format": "json"}))

    assert set_ups[-1] == {"level": "debug", "as_json": True, "node": 1}


def test_the_command_line_goes_before_the_settings(settings, set_ups):
    path = settings(logging={"level": "debug", "format": "json"})

    main(["--config", str(path), "--log-level", "error", "--log-format", "console"])

    assert set_ups == [{"level": "error", "as_json": False, "node": node} for node in (None, 1)]


def test_every_problem_of_the_settings_is_named_with_its_path(settings, start):
    path = settings(kafka={"port": 70_000, "hots": "x"}, journal={"file_bytes": "big"})
    code, text = start(path)
    assert code == 2
    for field in ("kafka.port", "kafka.hots", "journal.file_bytes"):
        assert field in text
    assert str(path) in text


def test_settings_that_are_not_there_are_named(tmp_path, start):
    code, text = start(tmp_path / "missing.yaml")
    assert code == 2
    assert "missing.yaml: cannot be read as settings" in text


def test_an_unformatted_directory_is_never_founded(settings, start, tmp_path):
    code, text = start(settings())
    assert code == 2
    assert "was never formatted: `trimaran format" in text
    assert not (tmp_path / "data").exists()


def test_the_directory_of_another_node_is_refused(settings, start):
    format_node(read_config(settings()), cluster_id=mint_cluster_id())
    code, text = start(settings(node_id=2))
    assert code == 2
    assert "belongs to node 1, this is node 2" in text


def test_the_directory_of_another_cluster_is_refused(settings, start):
    format_node(read_config(settings()), cluster_id=mint_cluster_id())
    other = str(mint_cluster_id())
    nodes = [{"id": 1, "host": "127.0.0.1", "peer_port": 19001}]
    code, text = start(settings(cluster={"id": other, "nodes": nodes}))
    assert code == 2
    assert "belongs to cluster" in text
    assert other in text


def test_a_damaged_identity_is_refused(settings, start, tmp_path):
    format_node(read_config(settings()), cluster_id=mint_cluster_id())
    identity = tmp_path / "data" / "identity"
    content = bytearray(identity.read_bytes())
    content[-1] ^= 1
    identity.write_bytes(content)
    code, text = start(settings())
    assert code == 2
    assert "cannot be used" in text


def test_a_directory_of_a_newer_format_is_refused_and_stays_as_it_is(settings, start, tmp_path):
    own = format_node(read_config(settings()), cluster_id=mint_cluster_id())
    newer = replace(own, format_version=own.format_version + 1)
    identity = tmp_path / "data" / "identity"
    identity.write_bytes(encode_identity(newer))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    code, text = start(settings())
    assert code == 2
    assert f"format version {newer.format_version}, this program reads version 1" in text
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before


def test_a_directory_in_use_is_refused(settings, start, tmp_path):
    format_node(read_config(settings()), cluster_id=mint_cluster_id())
    lock = DirectoryLock(tmp_path / "data")
    code, text = start(settings())
    lock.release()
    assert code == 2
    assert f"in use by process {os.getpid()}" in text


def test_format_writes_an_identity_with_a_fresh_disk(settings, tmp_path):
    config = read_config(settings())
    cluster_id = mint_cluster_id()
    first = format_node(config, cluster_id=cluster_id)
    assert read_identity(RealFiles(str(tmp_path / "data"))) == first
    assert (first.cluster_id, first.node_id) == (cluster_id, NodeId(1))
    shutil.rmtree(tmp_path / "data")
    assert format_node(config, cluster_id=cluster_id).disk_id != first.disk_id


def test_format_never_touches_a_directory_that_holds_anything(settings, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    with pytest.raises(FormatError, match="is not empty"):
        format_node(read_config(settings()), cluster_id=mint_cluster_id())
    assert sorted(os.listdir(tmp_path / "data")) == ["precious"]


def test_format_refuses_another_cluster_than_the_settings_name(settings):
    nodes = [{"id": 1, "host": "127.0.0.1", "peer_port": 19001}]
    config = read_config(settings(cluster={"id": "A" * 22, "nodes": nodes}))
    with pytest.raises(FormatError, match=r"cluster\.id is A{22} in the settings but B{22}"):
        format_node(config, cluster_id=ClusterId("B" * 22))


def test_a_failure_without_words_is_told_by_its_name(settings, start, monkeypatch):
    def fail(config, launch):
        raise TimeoutError

    monkeypatch.setattr("trimaran.server.main.run_node", fail)
    code, told = start(settings())
    assert code == 1
    assert "node failed: TimeoutError" in told
