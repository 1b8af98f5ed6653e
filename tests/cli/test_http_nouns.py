"""Nouns that ask the REST API: health, leaderships; and what they say when nobody answers."""

import json
import socket
import tarfile

import pytest
from confluent_kafka import Producer

from trimaran.cli.bundle import without_secrets
from trimaran.cli.http_client import problem_text
from trimaran.testing import Cluster


def test_problem_document_names_field_and_what_is_allowed() -> None:
    body = {"detail": "no such node", "errors": [{"field": "to", "detail": "9", "allowed": "1"}]}
    assert problem_text(json.dumps(body).encode(), 422) == "no such node\nto: 9 (allowed: 1)"
    assert problem_text(b"<html>", 502) == "HTTP 502"


def test_nobody_there_says_what_to_do(run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, _, err = run("cluster", "health", "--http", f"127.0.0.1:{port}")
    assert code == 1
    assert "--http names another" in err
    assert run("cluster", "health", "--http", "nowhere")[0] == 2


@pytest.fixture(scope="module")
def cluster():
    with Cluster(nodes=3) as running:
        producer = Producer({"bootstrap.servers": running.bootstrap_servers})
        producer.produce("events", b"1", partition=0)
        assert producer.flush(10) == 0
        yield running


def http_of(cluster: Cluster) -> str:
    return cluster.http_address(1)


def test_health_of_a_whole_cluster_is_ok(run, cluster) -> None:
    code, out, _ = run("cluster", "health", "--http", http_of(cluster))
    assert code == 0
    assert out.startswith("ok: 3 of 3 nodes up")


def test_leadership_goes_where_it_is_sent(run, cluster) -> None:
    address = http_of(cluster)
    for node in (2, 3):
        words = ("leader", "transfer", "events", "0", "--to", str(node), "--http", address)
        code, out, err = run(*words, "-o", "json")
        assert code == 0, err
        assert json.loads(out)["to"] == node


def test_unknown_topic_is_refused_with_its_name(run, cluster) -> None:
    words = ("leader", "transfer", "nothing", "0", "--to", "2", "--http", http_of(cluster))
    code, _, err = run(*words)
    assert code == 1
    assert "nothing" in err


def test_top_shows_every_node_and_topic(run, cluster) -> None:
    code, out, err = run("top", "--once", "--http", http_of(cluster))
    assert code == 0, err
    assert out.count(" up ") == 3
    assert "events" in out


def test_dedup_that_is_off_names_the_command_that_switches_it_on(run, cluster) -> None:
    code, out, _ = run("dedup", "stats", "events", "--http", http_of(cluster))
    assert code == 0
    assert "trimaran topic alter events --config event.dedup.enable=true" in out


def test_bundle_holds_each_node_and_no_secret(run, cluster, tmp_path) -> None:
    settings = tmp_path / "node.yaml"
    settings.write_text("http:\n  api_token: hunter2\n  port: 1\n", encoding="utf-8")
    target = tmp_path / "bundle.tar.gz"
    words = ("bundle", str(target), "--config", str(settings), "--http", http_of(cluster))
    code, out, _ = run(*words)
    assert code == 0, out
    with tarfile.open(target) as archive:
        names = archive.getnames()
        texts = [archive.extractfile(name).read() for name in names]
    assert all(f"trimaran-bundle/node-{node}/metrics.txt" in names for node in (1, 2, 3))
    assert not any(b"hunter2" in text for text in texts)


def test_only_the_values_of_secrets_are_removed() -> None:
    assert without_secrets("a: 1\npassword: x\n") == "a: 1\npassword: (removed)\n"
