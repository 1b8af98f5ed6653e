"""The files under deploy/ say what their formats allow, and what this node reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trimaran.config.loading import load_config
from trimaran.errors import ConfigError

DEPLOY = Path(__file__).parents[2] / "deploy"
TOOLS = Path(sys.executable).parent


def checked(*command: str | Path) -> str:
    """Run a linter; return what it says, after a failure as the test's failure."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_dockerfile_has_no_finding() -> None:
    assert checked(TOOLS / "hadolint", DEPLOY / "container" / "Dockerfile") == ""


def test_compose_file_is_what_its_schema_allows() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    said = checked(TOOLS / "check-jsonschema", *schema, DEPLOY / "container" / "compose.yaml")
    assert "ok" in said


def test_manifest_is_what_kubernetes_takes() -> None:
    manifest = DEPLOY / "kubernetes" / "trimaran.yaml"
    said = checked(TOOLS / "kubernetes-validate", "--strict", manifest)
    assert said.count("passed") == len(list(yaml.safe_load_all(manifest.read_text("utf-8"))))


@pytest.mark.needs("systemd-analyze")
def test_unit_is_what_systemd_takes(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd" / "trimaran.service").read_text("utf-8")
    program = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert program.endswith("trimaran node --config /etc/trimaran/node.yaml")
    copy = tmp_path / "trimaran.service"
    copy.write_text(unit.replace(program, "ExecStart=/bin/true"), encoding="utf-8")
    assert "trimaran.service" not in checked("systemd-analyze", "--man=no", "verify", copy)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_service_of_the_compose_file_is_a_node_of_its_own(number: int) -> None:
    compose = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text("utf-8"))
    service = compose["services"][f"trimaran-{number}"]
    environment = {**service["environment"], "TRIMARAN_CLUSTER_ID": "A" * 22}
    text = (DEPLOY / "container" / "node.yaml").read_text("utf-8")
    config = load_config(text, environment)
    assert config.node.id == number
    assert config.kafka.advertised_host == f"trimaran-{number}"
    published = [entry.split(":")[-1] for entry in service["ports"]]
    assert str(config.kafka.port) in published
    assert str(config.http.port) in published


def test_manifest_configures_as_many_nodes_as_it_starts() -> None:
    parts = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "trimaran.yaml").read_text("utf-8")))
    by_kind = {part["kind"]: part for part in parts}
    text = by_kind["ConfigMap"]["data"]["node.yaml"]
    text = text.replace("REPLACE-with-22-letters", "A" * 22)
    config = load_config(text, {"TRIMARAN_NODE_ID": "3"})
    assert len(config.cluster.nodes) == by_kind["StatefulSet"]["spec"]["replicas"]
    assert config.node.id == 3


def test_a_service_beside_the_manifest_changes_no_setting() -> None:
    parts = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "trimaran.yaml").read_text("utf-8")))
    by_kind = {part["kind"]: part for part in parts}
    text = by_kind["ConfigMap"]["data"]["node.yaml"].replace("REPLACE-with-22-letters", "A" * 22)
    linked = {"TRIMARAN_KAFKA_PORT": "tcp://10.0.0.7:9092"}  # of a Service named trimaran-kafka
    with pytest.raises(ConfigError, match=r"kafka\.port"):
        load_config(text, linked)
    assert by_kind["StatefulSet"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_manifest_does_not_format_an_empty_volume_unasked(tmp_path: Path) -> None:
    parts = yaml.safe_load_all((DEPLOY / "kubernetes" / "trimaran.yaml").read_text("utf-8"))
    stateful = next(part for part in parts if part["kind"] == "StatefulSet")
    (script,) = stateful["spec"]["template"]["spec"]["initContainers"][0]["args"]
    (tmp_path / "format").write_text("no\n", encoding="utf-8")
    local = script.replace("/etc/trimaran", str(tmp_path)).replace("/var/lib", str(tmp_path))
    done = subprocess.run(
        ["/bin/sh", "-ec", local],
        env={**os.environ, "HOSTNAME": "trimaran-2"},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 2
    assert "neither first nor join" in done.stderr
