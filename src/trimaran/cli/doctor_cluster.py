"""What `trimaran doctor` finds out about a node's ports and about a running cluster.

Does not: log in to other machines: it sees what a client sees.
"""

import socket
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from trimaran.cli.cluster import summary_of
from trimaran.cli.doctor_checks import Finding, Severity
from trimaran.cli.exits import CommandError
from trimaran.cli.http_client import ask
from trimaran.cli.kafka_client import ClusterMetadata, admin, cluster_metadata
from trimaran.config import NodeConfig

CONNECT_TIMEOUT_S = 3.0
CLOCKS_APART_MS = 2_000
"""The nodes are asked at the same time, and have a second to answer."""


def port_findings(settings: NodeConfig) -> list[Finding]:
    """Return whether the ports of this node's settings can be listened on."""
    peer = next(node for node in settings.cluster.nodes if node.id == settings.node.id)
    wanted = [
        ("kafka.port", settings.kafka.host, settings.kafka.port),
        ("http.port", settings.http.host, settings.http.port),
        ("cluster.nodes, peer_port", peer.host, peer.peer_port),
    ]
    findings = [_port(field, host, port) for field, host, port in wanted if port]
    others = [node for node in settings.cluster.nodes if node is not peer]
    findings += [
        _reachable(f"node {node.id}, peer port", node.host, node.peer_port) for node in others
    ]
    return findings


def cluster_findings(bootstrap: str, timeout_s: float) -> list[Finding]:
    """Return what a client at `bootstrap` would meet: addresses, quorum, replicas."""
    try:
        metadata = cluster_metadata(admin(bootstrap), bootstrap, timeout_s=timeout_s)
    except CommandError as error:
        found = str(error).splitlines()[0]
        return [Finding("cluster", Severity.FAIL, found, "start it: `trimaran up`")]
    findings = [
        _reachable(f"node {number}, advertised", str(broker.host), broker.port)
        for number, broker in sorted(metadata.brokers.items())
    ]
    return [*findings, *_quorum(metadata)]


def node_findings(http: str, timeout_s: float) -> list[Finding]:
    """Return whether all nodes answer, run one version, and agree on the time."""
    try:
        rows = ask(http, "/v1/nodes?limit=1000", timeout_s)["items"]
    except CommandError as error:
        advice = "versions and clocks are not compared: --http names a node's HTTP port"
        return [Finding("nodes", Severity.FAIL, str(error).splitlines()[0], advice)]
    facts = {row["node_id"]: row["facts"] for row in rows if row["facts"] is not None}
    return [
        _answering(rows, facts),
        judge_versions({node: told["version"] for node, told in facts.items()}),
        judge_clocks({node: told["at_ms"] for node, told in facts.items()}),
    ]


def _answering(rows: list[dict[str, Any]], facts: Mapping[int, Any]) -> Finding:
    silent = [f"node {row['node_id']}" for row in rows if row["node_id"] not in facts]
    if silent:
        advice = "start them, or see their logs: `trimaran cluster health` says how they are"
        return Finding("nodes", Severity.WARN, f"no answer from {', '.join(silent)}", advice)
    return Finding("nodes", Severity.OK, f"{len(rows)} answer")


def judge_versions(version_of: Mapping[int, str]) -> Finding:
    """Return whether all nodes run the same version."""
    by_version: dict[str, list[str]] = {}
    for node, version in version_of.items():
        by_version.setdefault(version, []).append(str(node))
    if len(by_version) <= 1:
        return Finding("versions", Severity.OK, f"all nodes run {', '.join(by_version) or '?'}")
    found = "; ".join(f"{one} on {', '.join(nodes)}" for one, nodes in by_version.items())
    return Finding("versions", Severity.WARN, found, "finish the upgrade: restart the others")


def judge_clocks(at_ms_of: Mapping[int, int]) -> Finding:
    """Return whether clocks, read within a second, agree."""
    spread_ms = max(at_ms_of.values(), default=0) - min(at_ms_of.values(), default=0)
    if spread_ms <= CLOCKS_APART_MS:
        return Finding("clocks", Severity.OK, f"at most {CLOCKS_APART_MS / 1000:g} s apart")
    advice = "run an NTP client on each: log time is the median of the nodes' clocks"
    first, last = min(at_ms_of, key=at_ms_of.__getitem__), max(at_ms_of, key=at_ms_of.__getitem__)
    found = f"node {first} is {spread_ms / 1000:.1f} s behind node {last}"
    return Finding("clocks", Severity.WARN, found, advice)


def _quorum(metadata: ClusterMetadata) -> list[Finding]:
    summary = summary_of(metadata)
    leaderless, lagging = summary["without_leader"], summary["under_replicated"]
    total = f"{summary['partitions']} partitions"
    findings = []
    if leaderless:
        advice = "a majority of their replicas is away: start those nodes"
        found = f"{len(leaderless)} of {total} without a leader: {_some(leaderless)}"
        findings.append(Finding("quorum", Severity.FAIL, found, advice))
    else:
        findings.append(Finding("quorum", Severity.OK, f"{total}, each with a leader"))
    if lagging:
        advice = "a node is away or catches up: `trimaran cluster status` shows which"
        found = f"{len(lagging)} of {total} lack a replica: {_some(lagging)}"
        findings.append(Finding("replicas", Severity.WARN, found, advice))
    else:
        findings.append(Finding("replicas", Severity.OK, "all in sync"))
    if metadata.controller_id < 0:
        advice = "topics cannot be created until a majority of the nodes is there"
        findings.append(Finding("controller", Severity.FAIL, "there is none", advice))
    return findings


def _some(names: list[str], at_most: int = 3) -> str:
    return ", ".join(names[:at_most]) + (" ..." if len(names) > at_most else "")


def _port(field: str, host: str, port: int) -> Finding:
    """Try to listen where the node will."""
    where = f"{host}:{port}"
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with closing(socket.socket(family, socket.SOCK_STREAM)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        advice = f"if that is not the node itself, set another {field}"
        return Finding(field, Severity.WARN, f"{where}: {error.strerror or error}", advice)
    return Finding(field, Severity.OK, f"{where} is free")


def _reachable(what: str, host: str, port: int) -> Finding:
    where = f"{host}:{port}"
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        advice = "is it up, does the name resolve here, is the port open? clients need this address"
        return Finding(what, Severity.FAIL, f"{where}: {error.strerror or error}", advice)
    return Finding(what, Severity.OK, f"{where} answers")
