"""One raw connection to a broker, and what it answered, as plain data that can be compared.

What differs between any two clusters is masked: ids that are drawn, ports, texts of errors, leader
epochs, times.
Does not: know what a right answer is.
"""

import contextlib
import dataclasses
import itertools
import socket
import struct

from trimaran.errors import ErrorCode
from trimaran.protocol.client_codec import decode_response, encode_request
from trimaran.protocol.codec import RequestHeader

ANSWER_S = 20.0
MASKED = {
    "topic_id", "cluster_id", "host", "port", "error_message", "leader_epoch", "current_leader",
    "log_append_time_ms", "throttle_time_ms", "client_host", "log_dir", "total_bytes", "rack",
    "usable_bytes", "partition_size", "last_timestamp", "producer_id", "session_id", "message",
    "node_endpoints", "batch_index_error_message", "documentation", "controller_id",
    "member_metadata", "member_assignment", "topic_authorized_operations", "correlation_id",
    "replica_directory_id", "log_end_offset", "cluster_authorized_operations", "timestamp",
    "authorized_operations", "last_fetch_timestamp", "last_caught_up_timestamp",
}  # fmt: skip
SORTED_BY = ("name", "topic", "key", "partition_index", "partition", "resource_name", "group_id")
CLOSED = "connection closed"


class Talk:
    """A conversation with one broker: `notes` has every answer by the step's name."""

    def __init__(self, address):
        host, port = address.split(":")
        self.address = (host, int(port))
        self.numbers = itertools.count(1)
        self.notes = {}
        self.members = {}
        self.connection = None

    def connect(self):
        self.connection = socket.create_connection(self.address, ANSWER_S)
        return self.connection

    def exchange(self, frame):
        """Send a frame, return the answer's bytes without their size."""
        connection = self.connection or self.connect()
        connection.sendall(frame)
        size = self.exactly(4)
        return self.exactly(struct.unpack(">i", size)[0])

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            if not part:
                raise ConnectionError(CLOSED)
            data += part
        return data

    def ask(self, api_key, version, message):
        """Return the decoded answer."""
        header = RequestHeader(
            api_key=api_key,
            api_version=version,
            correlation_id=next(self.numbers),
            client_id="oracle",
        )
        answer = self.exchange(encode_request(header, message))
        correlation_id, body = decode_response(api_key, version, answer)
        assert correlation_id == header.correlation_id
        return body

    def step(self, name, api_key, version, message):
        """Ask and note; a connection that is closed instead is noted as that. Returns the body."""
        assert name not in self.notes, f"two steps are called {name}"
        try:
            body = self.ask(api_key, version, message)
        except (ConnectionError, TimeoutError):
            self.hang_up()
            self.notes[name] = CLOSED
            return None
        self.notes[name] = self.plain(body)
        return body

    def raw(self, name, frame, decode):
        """Send bytes that no codec of ours would make."""
        try:
            self.notes[name] = decode(self.exchange(frame))
        except (ConnectionError, TimeoutError):
            self.hang_up()
            self.notes[name] = CLOSED

    def hang_up(self):
        with contextlib.suppress(OSError):
            self.connection.close()
        self.connection = None

    def member(self, member_id):
        """Return a name for a member id that was drawn: the first is member 1."""
        if member_id:
            self.members.setdefault(member_id, f"member {len(self.members) + 1}")
        return self.members.get(member_id, member_id)

    def plain(self, value, name=""):
        """Return `value` as data that compares equal if nothing but masked things differs."""
        if dataclasses.is_dataclass(value):
            return {
                field.name: self.plain(getattr(value, field.name), field.name)
                for field in dataclasses.fields(value)
                if field.name not in MASKED
            }
        if hasattr(value, "__slots__"):
            return {
                field: self.plain(getattr(value, field), field)
                for field in value.__slots__
                if field not in MASKED
            }
        if isinstance(value, list | tuple) and name != "records":
            return sort([self.plain(one, name) for one in value])
        return self.leaf(value, name)

    def leaf(self, value, name):
        if name == "records":
            data = b"".join(bytes(one) for one in value or ())
            return f"{len(data)} bytes"
        if name == "leader" and isinstance(value, str):
            return self.member(value)
        if name == "member_id":
            return self.member(value)
        if name.endswith("error_code"):
            return error_name(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).hex()
        return value


def sort(rows):
    for key in SORTED_BY:
        if rows and all(isinstance(row, dict) and row.get(key) is not None for row in rows):
            return sorted(rows, key=lambda row: (str(type(row[key])), row[key]))
    return rows


def error_name(code):
    try:
        return ErrorCode(code).name
    except ValueError:
        return f"error {code}"


def flat(value, path=""):
    """Return plain data as {path: leaf}."""
    if isinstance(value, dict):
        rows = {}
        for key, one in value.items():
            rows |= flat(one, f"{path}.{key}" if path else key)
        return rows
    if isinstance(value, list):
        rows = {f"{path}[]": len(value)}
        for number, one in enumerate(value):
            rows |= flat(one, f"{path}[{number}]")
        return rows
    return {path: value}
