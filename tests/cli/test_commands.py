"""The command line without a cluster: help, usage errors, exit codes."""

import json
import socket
import subprocess
import sys

import pytest

from trimaran import __version__
from trimaran.cli.main import NOUNS


def test_help_names_every_noun(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(noun in out for noun in NOUNS)


def test_the_version_is_told(run):
    assert run("--version") == (0, f"trimaran {__version__}\n", "")


@pytest.mark.parametrize("noun", [noun for noun in NOUNS if noun != "bench"])
def test_every_noun_has_help(run, noun):
    code, out, _ = run(noun, "--help")
    assert code == 0
    assert "Usage: trimaran" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nonsense"], "nonsense"),
        (["topic", "create"], "name"),
        (["topic", "create", "x", "--config", "novalue"], "expected KEY=VALUE, found 'novalue'"),
        (["topic", "list", "--bootstrap", "nowhere"], "expected HOST:PORT"),
        (["topic", "list", "--bootstrap", "host:99999"], "expected HOST:PORT"),
        (["produce", "t", "--acks", "2"], "expected all, 1, 0, found '2'"),
        (["produce", "t", "--header", "x"], "expected NAME=TEXT, found 'x'"),
        (["consume", "t", "--offset", "soon"], "expected earliest, latest, N or -N, found 'soon'"),
        (["up", "-n", "0"], "1"),
        (["up", "-n", "10"], "9"),
        (["topic", "list", "-o", "xml"], "xml"),
        (["verify", "/nonexistent"], "/nonexistent is not a directory"),
        (["verify", ".", "--topic", "t"], "--topic chooses what --dump prints"),
        (["node"], "--config"),
        (["node", "--config", "x", "--log-level", "loud"], "loud"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(run, words, says):
    code, out, err = run(*words)
    assert code == 2
    assert says.lower() in " ".join((out + err).split()).lower()


def test_a_cluster_that_does_not_answer_is_named_with_what_to_do(run):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    code, _, err = run("cluster", "status", "--bootstrap", address, "--timeout", "0.3")
    assert code == 1
    assert f"no node at {address} answered within 0.3 s" in err
    assert "`trimaran up`" in err


def test_down_without_a_cluster_says_how_to_found_one(run, tmp_path):
    code, _, err = run("down", "--data", str(tmp_path))
    assert code == 1
    assert "holds no cluster.json" in err
    assert "trimaran up --data" in err


def test_up_founds_nothing_beside_node_directories_without_a_cluster_file(run, tmp_path):
    (tmp_path / "node-2").mkdir()
    code, _, err = run("up", "--data", str(tmp_path))
    assert code == 1
    assert "has no cluster.json but holds node-2" in err
    assert not (tmp_path / "cluster.json").exists()


def test_up_names_the_port_in_use_and_its_option(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("up", "--data", str(tmp_path / "d"), "--kafka-port", str(port))
    assert code == 1
    assert f"port {port} on 127.0.0.1 is in use" in err
    assert "--kafka-port" in err
    assert not (tmp_path / "d").exists()


def test_up_does_not_start_a_cluster_under_another_shape(run, tmp_path):
    nodes = [
        {"id": i, "pid": None, "kafka": 9091 + i, "http": 8079 + i, "peer": 10091 + i}
        | {"data": str(tmp_path / f"node-{i}"), "command": []}
        for i in (1, 2, 3)
    ]
    (tmp_path / "cluster.json").write_text(json.dumps({"bootstrap": "", "nodes": nodes}))
    code, _, err = run("up", "--data", str(tmp_path), "-n", "1")
    assert code == 2
    assert "holds a cluster of 3 nodes from Kafka port 9092" in err


def test_a_foreign_cluster_file_is_refused(run, tmp_path):
    (tmp_path / "cluster.json").write_text('{"nodes": 3}')
    code, _, err = run("down", "--data", str(tmp_path))
    assert code == 1
    assert "is not a cluster file" in err


def test_asserts_are_not_optional():
    ended = subprocess.run(
        [sys.executable, "-O", "-m", "trimaran", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "-O" in ended.stderr


def test_the_node_command_does_not_load_the_command_line_library():
    program = (
        "import sys\nfrom trimaran.cli.main import main\n"
        "try:\n    main(['node', '--config', '/nonexistent'])\n"
        "except SystemExit as ended:\n    print(ended.code)\n"
        "print(sorted({'typer', 'rich', 'confluent_kafka', 'kio'} & set(sys.modules)))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "2\n[]\n"
