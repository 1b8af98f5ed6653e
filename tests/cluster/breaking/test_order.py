"""No acknowledgement leaves before the sync that covers it: seen in the nodes' own system calls.

One strace holds all threads of all three nodes, so that its lines are one order of what happened: a
thread goes on after a system call only when strace has written its end. Two rules are checked:
a follower's AppendAnswer names only entries that this node had synced before the answer began to be
sent; and a Produce answer with acks=all begins to be sent when two nodes had synced its records.
TRIMARAN_TRACED_EVENTS makes it longer.
"""

import os
import re
import shutil
import subprocess
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trimaran.broker.peer_frames import FrameBuffer, Messages, read_frame
from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import encode_request
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.raft.messages import AppendAnswer
from trimaran.records.building import build_batch
from trimaran.records.iteration import Record
from trimaran.testing import Cluster
from trimaran.testing.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.needs("strace")]

EVENTS = int(os.environ.get("TRIMARAN_TRACED_EVENTS", "60"))
CONNECTIONS = 3
WAIT_S = 60.0
CALLS = "write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,fdatasync,fsync"
PRODUCE_VERSION = 7

UNDER_WAY = ("<unfinished ...>", "<detached ...>")
"""Ends the line of a call that had begun when another thread's line, or the tracer's end, came."""
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_BEGUN = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)$")
_TARGET = re.compile(r"^(?P<fd>\d+)<(?P<what>[^\[>]*(?:\[[^\]]*\])?[^>]*)>")
_RESULT = re.compile(r"\) += (?P<value>-?\d+)[^()]*(?:\([^()]*\))?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(slots=True)
class Call:
    """One system call: when it began and ended, in lines; what it was about."""

    pid: int
    name: str
    target: str
    data: bytes
    begun: int
    ended: int = -1


@dataclass(slots=True)
class Trace:
    """The calls of all nodes in one order."""

    calls: list = field(default_factory=list)

    @classmethod
    def parse(cls, lines):
        trace, open_calls = cls(), {}
        for number, line in enumerate(lines):
            found = _LINE.match(line)
            if found is None:
                continue
            pid, rest = int(found["pid"]), found["rest"]
            if rest.startswith("<..."):
                call = open_calls.pop(pid, None)
                if call is not None:
                    finish(call, rest, number)
                continue
            begun = _BEGUN.match(rest)
            if begun is None:
                continue
            target = _TARGET.match(begun["arguments"])
            data = b"".join(bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(rest))
            what = unescaped(target["what"]) if target else ""
            call = Call(pid, begun["name"], what, data, number)
            trace.calls.append(call)
            if rest.endswith(UNDER_WAY):
                open_calls[pid] = call
            else:
                finish(call, rest, number)
        return trace


def unescaped(what):
    """Return a path that strace wrote in hexadecimal, or a socket's two ends as they are."""
    if not what.startswith("\\x"):
        return what
    return bytes.fromhex(what.replace("\\x", "")).decode()


def finish(call, rest, number):
    """Note the end of a call that succeeded, and how much of its data it took."""
    if rest.endswith(UNDER_WAY):
        return
    result = _RESULT.search(rest)
    if result is None or int(result["value"]) < 0:
        call.data = b""
        return
    call.ended = number
    if call.data:
        call.data = call.data[: int(result["value"])]


def durable_at(trace, node_of, markers):
    """Return (node, marker) -> the line after which that node's journal had it on its disk."""
    written, durable = defaultdict(dict), {}
    for call in trace.calls:
        node = node_of.get(call.pid)
        if call.name.startswith("pwrite") and ".journal" in call.target:
            for marker in markers:
                if call.data and marker in call.data:
                    written[node].setdefault(marker, call)
    for call in trace.calls:
        if call.name in ("fdatasync", "fsync") and ".journal" in call.target and call.ended >= 0:
            node = node_of.get(call.pid)
            for marker, write in written[node].items():
                covers = write.target == call.target and -1 < write.ended <= call.begun
                if covers and call.ended < durable.get((node, marker), 1 << 60):
                    durable[node, marker] = call.ended
    return durable


def violations(trace, *, node_of, durable, places, answers, peer_ports):
    """Return every acknowledgement that left too early, as text; and how many were looked at."""
    found, answers_seen, acks_seen = [], 0, 0
    for (node, target), calls in by_socket(trace, node_of).items():
        local, remote = ports(target)
        if remote in answers:
            for marker, call in zip(answers[remote], calls, strict=False):
                answers_seen += 1
                ready = [n for n in (1, 2, 3) if durable.get((n, marker), 1 << 60) < call.begun]
                if len(ready) < 2:
                    found.append(f"line {call.begun}: answer for {marker} with {ready} synced")
        elif local in peer_ports or remote in peer_ports:
            for call, group, index in append_answers(calls):
                acks_seen += 1
                for marker, (its_group, its_index) in places.items():
                    named = its_group == group and its_index <= index
                    if named and durable.get((node, marker), 1 << 60) >= call.begun:
                        found.append(f"line {call.begun}: node {node} acknowledges {index}")
    return found, answers_seen, acks_seen


def by_socket(trace, node_of):
    sent = defaultdict(list)
    for call in trace.calls:
        if call.target.startswith("TCP") and call.data:
            sent[node_of.get(call.pid), call.target].append(call)
    return sent


def ports(target):
    return tuple(int(port) for port in re.findall(r":(\d+)(?=->|\])", target)[:2])


def append_answers(calls):
    """Yield (call, group, index) for every success of a follower on one connection."""
    buffer = FrameBuffer()
    for call in calls:
        for frame in buffer.feed(call.data):
            decoded = read_frame(frame)
            for group, message in decoded.messages if isinstance(decoded, Messages) else ():
                if isinstance(message, AppendAnswer) and message.success:
                    yield call, group, message.index


class Asker(threading.Thread):
    """One connection to the leader that has one request on its way; knows its own port."""

    def __init__(self, address, topic, markers):
        super().__init__(daemon=True)
        import socket

        host, _, port = address.rpartition(":")
        self.connection = socket.create_connection((host, int(port)), WAIT_S)
        self.port = self.connection.getsockname()[1]
        self.topic, self.markers = topic, markers
        self.errors = []

    def run(self):
        with self.connection, self.connection.makefile("rb") as stream:
            for number, marker in enumerate(self.markers):
                batch = memoryview(build_batch([Record(value=marker, timestamp_ms=0)]))
                data = TopicProduceData(self.topic, (PartitionProduceData(0, batch),))
                request = ProduceRequest(
                    transactional_id=None, acks=-1, timeout_ms=20_000, topic_data=(data,)
                )
                header = RequestHeader(
                    api_key=ApiKey.PRODUCE,
                    api_version=PRODUCE_VERSION,
                    correlation_id=number,
                    client_id="order",
                )
                self.connection.sendall(encode_request(header, request))
                length = int.from_bytes(stream.read(4), "big")
                if len(stream.read(length)) < length:
                    self.errors.append(number)
                    return


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """Three nodes, EVENTS acknowledged records, and every call of the nodes meanwhile."""
    output = tmp_path_factory.mktemp("trace") / "strace"
    with Cluster(nodes=3) as cluster:
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0})
        admin.create_topics([NewTopic("order", 1, 3)])["order"].result(20)
        leader = cluster.leader("order", 0)
        pids = [word for node in cluster.nodes for word in ("-p", str(cluster.pid(node)))]
        command = [shutil.which("strace"), "-f", "-yy", "-xx", "-s", "100000", "-e"]
        tracer = subprocess.Popen(
            [*command, f"trace={CALLS}", "-o", str(output), *pids], stderr=subprocess.PIPE
        )
        wait_attached(cluster)
        node_of = {
            int(thread): node
            for node in cluster.nodes
            for thread in os.listdir(f"/proc/{cluster.pid(node)}/task")
        }
        markers = [b"marker-%06d-%s" % (n, os.urandom(8).hex().encode()) for n in range(EVENTS)]
        askers = [
            Asker(cluster.address(leader), "order", markers[n::CONNECTIONS])
            for n in range(CONNECTIONS)
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(WAIT_S + EVENTS / 2)
            assert not asker.is_alive()
            assert not asker.errors
        tracer.terminate()
        tracer.communicate(timeout=WAIT_S)
        peer_ports = {place.peer_port for place in cluster._local.nodes.values()}
        node_of |= {
            int(thread): node
            for node in cluster.nodes
            for thread in os.listdir(f"/proc/{cluster.pid(node)}/task")
        }
        for node in cluster.nodes:
            cluster.kill(node)
        places = places_of(markers, cluster.data(leader))
    with output.open() as lines:
        trace = Trace.parse(lines)
    answers = {asker.port: asker.markers for asker in askers}
    return {
        "trace": trace,
        "node_of": node_of,
        "places": places,
        "answers": answers,
        "peer_ports": peer_ports,
        "markers": markers,
    }


def wait_attached(cluster):
    """Wait until every thread of every node has a tracer."""

    def all_attached():
        states = [
            Path(f"/proc/{cluster.pid(node)}/task/{thread}/status").read_text()
            for node in cluster.nodes
            for thread in os.listdir(f"/proc/{cluster.pid(node)}/task")
        ]
        return all("TracerPid:\t0\n" not in state for state in states)

    wait_until(all_attached, "strace attached: may this user trace them?", within_s=WAIT_S)


def places_of(markers, data):
    """Return marker -> (group, index), as a node's own log has it."""
    from trimaran.storage.files import RealFiles
    from trimaran.storage.verify import DataDirectory

    found = {}
    directory = DataDirectory(RealFiles(str(data), read_only=True))
    for group in directory.groups():
        for entry in directory.entries(group.group):
            for marker in markers:
                if marker in bytes(entry.payload):
                    found[marker] = (group.group, entry.index)
    directory.close()
    return found


def test_no_acknowledgement_leaves_before_the_sync_that_covers_it(traced):
    durable = durable_at(traced["trace"], traced["node_of"], traced["markers"])
    rest = {name: traced[name] for name in ("node_of", "places", "answers", "peer_ports")}
    found, answers_seen, acks_seen = violations(traced["trace"], durable=durable, **rest)
    print(f"{answers_seen} answers, {acks_seen} acknowledgements of followers")
    assert found == []
    assert answers_seen == EVENTS
    assert acks_seen >= EVENTS // 2
    assert len(traced["places"]) == EVENTS


def test_a_call_under_way_when_the_tracer_goes_has_begun():
    sent = r'write(7<TCP:[127.0.0.1:9092->127.0.0.1:5]>, "\x6f\x6b", 2'

    trace = Trace.parse([f"11 {sent} <detached ...>", f"12 {sent}) = 1", f"13 {sent}) = -1 EPIPE"])

    assert [call.data for call in trace.calls] == [b"ok", b"o", b""]
    assert [call.ended for call in trace.calls] == [-1, 1, -1]


def test_a_sync_that_came_late_would_be_seen(traced):
    """The same calls, but every sync of two nodes ended when all was over."""
    trace = Trace(
        [Call(c.pid, c.name, c.target, c.data, c.begun, c.ended) for c in traced["trace"].calls]
    )
    last = max(call.begun for call in trace.calls)
    for call in trace.calls:
        if call.name in ("fdatasync", "fsync") and traced["node_of"].get(call.pid) in (1, 2):
            call.ended = last + 1
    durable = durable_at(trace, traced["node_of"], traced["markers"])
    rest = {name: traced[name] for name in ("node_of", "places", "answers", "peer_ports")}
    found, _, _ = violations(trace, durable=durable, **rest)
    assert sum("answer for" in text for text in found) == EVENTS
    assert any("acknowledges" in text for text in found)
