"""Bad bytes at the ports of real nodes: refused as Kafka does, one line logged, nobody else hurt.

Beside every piece of nonsense an ordinary producer goes on; in the end it has lost nothing, the
refused batches are in no log, and the nodes hold no more descriptors than before.
"""

import contextlib
import itertools
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from trimaran.broker.peer_frames import Hello, PeerLane, write_hello
from trimaran.errors import ErrorCode
from trimaran.ids import BootId, ClusterId, DiskId, NodeId
from trimaran.protocol.api import ApiKey
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import RequestHeader
from trimaran.protocol.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    TopicProduceData,
)
from trimaran.records.batch import CRC_START, renew_crc
from trimaran.records.building import build_batch
from trimaran.records.checksum import crc32c
from trimaran.records.iteration import Record
from trimaran.testing.waiting import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.clients]

WAIT_S = 10.0
MOVES_MAX = 5
"""How often a leader may hand over during one test."""
ESTABLISHED, CLOSING = "01", "08"
"""States in Linux's table of sockets; CLOSING: the other side has closed, this one has not."""
PRODUCE_VERSION = 9
"""The first with tagged fields."""
UNKNOWN_TAG = b"\x01\x63\x04what"
"""One tagged field, tag 99, 4 bytes."""
API_VERSIONS = struct.pack(">ihhih", 10, ApiKey.API_VERSIONS, 0, 1, -1)


def header(api_key, version, body=b""):
    content = struct.pack(">hhih", api_key, version, 7, -1) + body
    return struct.pack(">i", len(content)) + content


KAFKA_GARBAGE = {
    "a web browser": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000001fc0303") + bytes(64),
    "a negative length": struct.pack(">i", -1),
    "a length of 2 GB": struct.pack(">i", 2**31 - 1),
    "one byte more than socket.request.max.bytes": struct.pack(">i", (100 << 20) + 1),
    "an empty frame": struct.pack(">i", 0),
    "an unknown API": header(999, 0),
    "a version from the future": header(ApiKey.FETCH, 99),
    "a version that was given up": header(ApiKey.PRODUCE, 2),
    "an array of two billion topics": header(ApiKey.METADATA, 1, b"\x7f\xff\xff\xff"),
    "a body that is cut": header(ApiKey.PRODUCE, 7, b"\xff\xff\x00\x01"),
    "a peer's greeting": b"".join(
        write_hello(
            Hello(
                lane=PeerLane.CONTROL,
                node_id=NodeId(1),
                boot_id=BootId(1),
                disk_id=DiskId(bytes(16)),
                cluster_id=ClusterId("A" * 22),
            )
        )
    ),
}


def converse(address, *parts):
    """Send `parts`, each after an answer to the one before; return what comes back, and our name.

    After the last one the other side is to close.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), WAIT_S) as connection:
        name = connection.getsockname()
        answer = b""
        for part in parts[:-1]:
            connection.sendall(part)
            answer += connection.recv(65_536)
        connection.sendall(parts[-1])
        with contextlib.suppress(ConnectionResetError):  # it closed with bytes of ours unread
            while piece := connection.recv(65_536):
                answer += piece
        return answer, f"{name[0]}:{name[1]}"


def new_lines(cluster, node, before, words):
    """Return the lines of a node's log since `before` that have all `words`, once one is there."""

    def found():
        lines = cluster.log(node)[before:].splitlines()
        return [line for line in lines if all(word in line for word in words)]

    return wait_until(found, f"a line of node {node} with {words}", within_s=WAIT_S)


@pytest.fixture
def bystander(cluster, new_topic, libraries, readers, all_there):
    """An ordinary producer beside the test, which must not notice anything."""
    topic = new_topic(cluster.bootstrap_servers)
    load = libraries["confluent"](cluster.bootstrap_servers, topic)
    load.rate = 500
    load.start()
    load.wait_for_more(100)
    yield load
    load.wait_for_more(100)
    load.finish()
    assert not load.failed
    all_there(load, {"reader": readers["confluent"](cluster.bootstrap_servers, topic)})


def test_garbage_at_the_kafka_port_closes_its_connection_with_one_line(cluster, bystander):
    node = cluster.nodes[0]
    origins = []
    for what, data in KAFKA_GARBAGE.items():
        before = len(cluster.log(node))
        answer, origin = converse(cluster.address(node), API_VERSIONS, data)
        origins.append(origin)
        length, correlation_id, error = struct.unpack(">iih", answer[:10])
        assert (correlation_id, error) == (1, 0), what
        assert len(answer) == 4 + length, f"{what} was answered"
        lines = new_lines(cluster, node, before, [f"closed peer={origin} reason="])
        assert len(lines) == 1, lines
        print(f"{what}: {lines[0]}")
    bystander.wait_for_more(50)
    wait_until(lambda: not still_open(origins), "its end of each is closed", within_s=WAIT_S)


def still_open(origins):
    """Return which of our addresses a socket of this machine is still connected to."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    peers = {int(row[2].rpartition(":")[2], 16) for row in rows if row[3] in (ESTABLISHED, CLOSING)}
    return [one for one in origins if int(one.rpartition(":")[2]) in peers]


def whole():
    return build_batch([Record(value=b"bad %d" % n, timestamp_ms=0) for n in range(3)])


def altered(position, layout, value, *, right_crc=True):
    batch = whole()
    struct.pack_into(layout, batch, position, value)
    if right_crc:
        renew_crc(batch)
    return batch


BAD_BATCHES = {
    "a wrong CRC": (altered(CRC_START - 4, ">I", 1, right_crc=False), "CORRUPT_MESSAGE"),
    "a changed value": (altered(70, "B", 0xFF, right_crc=False), "CORRUPT_MESSAGE"),
    "a length one too long": (altered(8, ">i", len(whole()) - 11), "INVALID_RECORD"),
    "a length one too short": (altered(8, ">i", len(whole()) - 13), "INVALID_RECORD"),
    "a negative length": (altered(8, ">i", -1), "INVALID_RECORD"),
    "a count of 2": (altered(57, ">i", 2), "INVALID_RECORD"),
    "a negative count": (altered(57, ">i", -1), "INVALID_RECORD"),
    "magic 1": (altered(16, "B", 1), "INVALID_RECORD"),
    "magic 9": (altered(16, "B", 9), "CORRUPT_MESSAGE"),
    "two batches": (whole() + whole(), "INVALID_RECORD"),
    "half a header": (whole()[:30], "INVALID_RECORD"),
    "nothing": (bytearray(), "INVALID_RECORD"),
    "a base offset": (altered(0, ">q", 5), "INVALID_RECORD"),
    "a control batch": (altered(21, ">h", 0x20), "INVALID_RECORD"),
    "more than max.message.bytes": (
        build_batch([Record(value=bytes(1_100_000), timestamp_ms=0)]),
        "MESSAGE_TOO_LARGE",
    ),
}


class Connection:
    """Produces by hand, one request after the other on one connection."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), WAIT_S)
        self.stream = self.socket.makefile("rb")
        self.numbers = itertools.count(1)

    def close(self):
        self.stream.close()
        self.socket.close()

    @property
    def origin(self):
        return "{}:{}".format(*self.socket.getsockname())

    def produce(self, topic, partition, batch, *, change=bytes):
        """Return (error code, base offset); `change` is applied to the frame without its size."""
        request = ProduceRequest(
            transactional_id=None,
            acks=-1,
            timeout_ms=10_000,
            topic_data=(
                TopicProduceData(topic, (PartitionProduceData(partition, memoryview(batch)),)),
            ),
        )
        number = next(self.numbers)
        head = RequestHeader(
            api_key=ApiKey.PRODUCE,
            api_version=PRODUCE_VERSION,
            correlation_id=number,
            client_id="x",
        )
        frame = change(encode_request(head, request)[4:])
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        (length,) = struct.unpack(">i", self.stream.read(4))
        correlation_id, answer = decode_response(
            ApiKey.PRODUCE, PRODUCE_VERSION, self.stream.read(length)
        )
        assert correlation_id == number
        (outcome,) = answer.responses[0].partition_responses
        return ErrorCode(outcome.error_code).name, outcome.base_offset


class Leader:
    """A connection to the leader of partition 0, which may hand over meanwhile."""

    def __init__(self, cluster, topic):
        self.cluster, self.topic = cluster, topic
        self.connect()

    def connect(self):
        self.node = self.cluster.leader(self.topic, 0)
        self.connection = Connection(self.cluster.address(self.node))

    def close(self):
        self.connection.close()

    def produce(self, batch, *, topic=None, partition=0, **more):
        """Return (error code, base offset) of whoever leads; `logged` is how long its log was."""
        for _ in range(MOVES_MAX):
            self.logged = len(self.cluster.log(self.node))
            outcome = self.connection.produce(topic or self.topic, partition, batch, **more)
            if outcome[0] != "NOT_LEADER_OR_FOLLOWER":
                return outcome
            self.close()
            self.connect()
        raise AssertionError(f"{self.topic}: the leader moved {MOVES_MAX} times")


def with_unknown_tagged_fields(frame):
    """Put a field that nobody knows into the header and behind the body's last field."""
    head_end = 8 + 2 + 1
    assert frame[head_end : head_end + 1] == frame[-1:] == b"\0"
    return frame[:head_end] + UNKNOWN_TAG + frame[head_end + 1 : -1] + UNKNOWN_TAG


def test_bad_batches_get_kafkas_error_and_are_in_no_log(cluster, bystander, new_topic, stored_logs):
    topic = new_topic(cluster.bootstrap_servers, partitions=1, suffix="-bad")
    with contextlib.closing(Leader(cluster, topic)) as leader:
        assert leader.produce(whole()) == ("NONE", 0)
        for what, (batch, error) in BAD_BATCHES.items():
            assert leader.produce(batch) == (error, -1), what
            words = [leader.connection.origin, error, f"{topic}-0"]
            lines = new_lines(cluster, leader.node, leader.logged, words)
            assert len(lines) == 1, lines
            print(f"{what}: {lines[0]}")
        for place in (("no such topic!", 0), ("never-made", 0), (topic, 7)):
            outcome = leader.produce(whole(), topic=place[0], partition=place[1])
            assert outcome == ("UNKNOWN_TOPIC_OR_PARTITION", -1)
        changed = leader.produce(whole(), change=with_unknown_tagged_fields)
        assert changed == ("NONE", 3), "unknown tagged fields are skipped"
    bystander.wait_for_more(50)
    assert all(cluster.is_running(number) for number in cluster.nodes)
    for name, records in stored_logs(cluster, topic).items():
        assert [r.value for r in records] == [b"bad %d" % n for n in range(3)] * 2, name


def peer_frame(kind, body):
    crc = crc32c(bytes((kind,)) + body)
    return struct.pack(">II", 5 + len(body), crc) + bytes((kind,)) + body


def greeting(cluster_id, **changes):
    known = {"lane": PeerLane.CONTROL, "node_id": NodeId(2), "boot_id": BootId(9)}
    fields = known | {"disk_id": DiskId(bytes(16)), "cluster_id": ClusterId(cluster_id)} | changes
    return b"".join(write_hello(Hello(**fields)))


def test_garbage_at_the_peer_port_closes_its_connection_with_one_line(cluster, bystander):
    file = json.loads((cluster.directory / "cluster" / "cluster.json").read_text())
    (peer_port,) = [row["peer"] for row in file["nodes"] if row["id"] == 1]
    peer_port = int(str(peer_port).rpartition(":")[2])
    own = cluster_id_of(cluster)
    hello = greeting(own)
    garbage = {
        "a Kafka client": (API_VERSIONS, "peer frame"),
        "a web browser": (b"GET / HTTP/1.1\r\n\r\n", "1195725856"),
        "a frame without type": (struct.pack(">I", 4) + bytes(4), "4"),
        "a frame that is too long": (struct.pack(">I", (64 << 20) + 1), str((64 << 20) + 1)),
        "a wrong CRC": (hello[:4] + bytes(4) + hello[8:], "checksum"),
        "an unknown type": (peer_frame(200, b""), "200"),
        "another protocol": (peer_frame(1, b"KAFK" + hello[13:]), "KAFK"),
        "a newer version": (peer_frame(1, b"TRIM\x00\x02" + hello[15:]), "version"),
        "no greeting first": (peer_frame(6, bytes(4)), "expected Hello"),
        "another cluster": (greeting("B" * 22), "B" * 22),
        "an unknown node": (greeting(own, node_id=NodeId(9)), "node id 9"),
        "the node itself": (greeting(own, node_id=NodeId(1)), "node id 1"),
    }
    for what, (data, word) in garbage.items():
        before = len(cluster.log(1))
        _, origin = converse(f"127.0.0.1:{peer_port}", data)
        words = ["peer connection closed", origin.rpartition(":")[2]]
        lines = new_lines(cluster, 1, before, words)
        assert len(lines) == 1, lines
        assert word in lines[0], f"{what}: {lines[0]}"
        print(f"{what}: {lines[0]}")
    assert "peer disconnected" not in cluster.log(1)[before:]
    bystander.wait_for_more(50)


def cluster_id_of(cluster):
    command = [sys.executable, "-m", "trimaran", "cluster", "status", "-o", "json"]
    command += ["--bootstrap", cluster.bootstrap_servers]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["cluster_id"]
