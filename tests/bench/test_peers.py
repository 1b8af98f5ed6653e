"""The raw producers of other systems count acknowledgements right: whole, cut, failed, in bulk."""

import json
import struct

import pytest
from bench.peers import amqp, loads, nats, rabbitmq_stream, redis, senders
from bench.peers.__main__ import PEERS
from bench.peers.peer import Peer

from trimaran.bench.errors import BenchError
from trimaran.bench.task import Task


class Wire:
    """Stands for a socket; keeps what was sent."""

    def __init__(self):
        self.sent = b""

    def sendall(self, data):
        self.sent += data


def sender(kind, *, connections=1, **attributes):
    """Return a sender that believes to be connected."""

    class Offline(kind):
        def connect(self):
            self.sockets = [Wire() for _ in range(connections)]
            for name, value in attributes.items():
                setattr(self, name, value)

    task = Task(settings={}, topic="t", partitions=1, load="at_most", event_bytes=4, chunk=2)
    return Offline(task, [b"abcd", b"efgh"])


def feed(one, data, *, piece=7, place=0):
    """Give `data` in small pieces, as a network may."""
    buffer = bytearray()
    for at in range(0, len(data), piece):
        buffer += data[at : at + piece]
        del buffer[: one.take(place, buffer)]
    assert not buffer


PIECES = pytest.mark.parametrize("piece", [1, 2, 7, 13, 1_000])


def counted(one, chunks, size):
    """Send chunks and return where each event's outcome lands."""
    outcomes = {number: [] for number in range(chunks)}
    for number in range(chunks):
        one.send_chunk(number, size, lambda error, _message, n=number: outcomes[n].append(error))
    return outcomes


@PIECES
def test_nats_acknowledges_each_event_by_the_chunks_reply_subject(piece: int) -> None:
    tails = [b" 4\r\nabcd\r\n", b" 4\r\nefgh\r\n"]
    one = sender(nats.NatsSender, _tails=tails, _subject=b"PUB t " + nats.INBOX + b".")
    outcomes = counted(one, 3, 2)
    good = json.dumps({"stream": "t", "seq": 1}).encode()
    again = json.dumps({"stream": "t", "seq": 1, "duplicate": False}).encode()
    bad = json.dumps({"error": {"code": 503}, "stream": "t", "seq": 0}).encode()

    answers = [(1, good), (0, good), (0, bad), (1, again), (2, good), (2, good)]
    said = b"INFO {}\r\n" + b"".join(
        b"MSG %b.%d 1 %d\r\n%b\r\n" % (nats.INBOX, number, len(body), body)
        for number, body in answers
    )
    feed(one, said, piece=piece)

    assert outcomes == {0: [None, bad.decode()], 1: [None, None], 2: [None, None]}
    assert not one.open
    assert one.sockets[0].sent.startswith(b"PUB t %b.0 4\r\nabcd\r\nPUB t" % nats.INBOX)


@PIECES
def test_nats_refusal_in_a_header_or_an_empty_answer_is_no_acknowledgement(piece: int) -> None:
    one = sender(nats.NatsSender, _tails=[b" 4\r\nabcd\r\n"], _subject=b"PUB t x.")
    outcomes = counted(one, 1, 3)

    status = b"NATS/1.0 429 Too Many Requests\r\n\r\n"
    good = b'{"stream":"t", "seq":2}'
    said = b"HMSG %b.0 1 %d %d\r\n%b\r\n" % (nats.INBOX, len(status), len(status), status)
    said += b"MSG %b.0 1 0\r\n\r\n" % nats.INBOX
    said += b"MSG %b.0 1 %d\r\n%b\r\n" % (nats.INBOX, len(good), good)
    feed(one, said, piece=piece)

    assert outcomes == {0: ["NATS/1.0 429 Too Many Requests", "an empty answer", None]}
    assert b'"headers": true' in nats.hello(), "without it a refusal has no header"


def test_nats_is_answered_its_ping_between_chunks_never_amid_one() -> None:
    one = sender(nats.NatsSender, _tails=[b" 4\r\nabcd\r\n"], _subject=b"PUB t x.")
    feed(one, b"PING\r\n")

    assert one.sockets[0].sent == b"", "another thread may be writing"
    counted(one, 2, 1)

    assert one.sockets[0].sent == b"PONG\r\nPUB t x.0 4\r\nabcd\r\nPUB t x.1 4\r\nabcd\r\n"


def test_nats_error_line_ends_the_run() -> None:
    one = sender(nats.NatsSender)

    with pytest.raises(BenchError, match="Permissions"):
        feed(one, b"-ERR 'Permissions Violation'\r\n", piece=100)


@pytest.mark.parametrize(
    ("version", "is_measured"),
    [
        ("2.9.25", False),
        ("2.10.0", False),
        ("2.10.22", False),
        ("2.10.23-RC.1", True),
        ("2.10.23", True),
        ("2.11.0", True),
        ("3.0.0", True),
    ],
)
def test_nats_is_called_synced_only_where_its_raft_log_is(version, is_measured, monkeypatch):
    monkeypatch.setattr(nats, "program", lambda: "nats-server")
    monkeypatch.setattr(nats, "_version", lambda: version)

    missing = nats.WITH_SYNC.missing()

    assert (missing is None) == is_measured
    assert missing is None or f"expected 2.10.23 or newer, found {version}" in missing


@PIECES
def test_redis_settles_the_oldest_chunk_with_each_wait(piece: int) -> None:
    adds = [redis.command(b"XADD", b"t", b"*", b"v", b"abcd")]
    wait = redis.command(b"WAIT", b"1", b"10000")
    one = sender(redis.RedisSender, _adds=adds, _wait=wait)
    one.start_empty()
    outcomes = counted(one, 3, 2)

    added = b"$3\r\n1-0\r\n$3\r\n1-1\r\n"
    said = added + b":1\r\n" + b"$3\r\n1-2\r\n-OOM\r\n:1\r\n" + added + b":0\r\n"
    feed(one, said, piece=piece)

    assert outcomes == {
        0: [None, None],
        1: ["-OOM", "-OOM"],
        2: ["no replica answered", "no replica answered"],
    }


def test_redis_chunks_take_turns_on_the_connections() -> None:
    adds = [redis.command(b"XADD", b"t", b"*", b"v", b"abcd")]
    one = sender(redis.RedisSender, connections=2, _adds=adds, _wait=b"W")
    one.start_empty()
    outcomes = counted(one, 3, 1)

    feed(one, b"$3\r\n1-0\r\n:1\r\n", place=1)
    assert outcomes == {0: [], 1: [None], 2: []}
    one.send_chunk(3, 1, lambda error, _message: outcomes[1].append(error))

    assert [wire.sent.count(b"XADD") for wire in one.sockets] == [2, 2]


def test_stream_confirms_name_their_chunk() -> None:
    bodies = [rabbitmq_stream._message(b"abcd")]
    one = sender(rabbitmq_stream.StreamSender, _bodies=bodies)
    outcomes = counted(one, 2, 2)

    ids = [(1 << 20) | 0, (0 << 20) | 1, (0 << 20) | 0, (1 << 20) | 1]
    body = struct.pack(">HHBI4Q", rabbitmq_stream.CONFIRM, 1, 0, 4, *ids)
    feed(one, struct.pack(">I", len(body)) + body)

    assert outcomes == {0: [None, None], 1: [None, None]}
    assert len(one.sockets[0].sent) == 2 * (4 + 4 + 5 + 2 * (8 + 4 + 12))


def test_amqp_confirms_in_bulk_and_out_of_order_count_each_event_once() -> None:
    one = sender(amqp.AmqpSender, _events=[b"event"], _size=1, _settled=0, _early=set())
    outcomes = counted(one, 3, 2)

    def confirm(tag, *, multiple=False, name=amqp.ACK):
        return amqp.method(1, name, struct.pack(">QB", tag, multiple))

    feed(one, confirm(2) + confirm(5, name=amqp.NACK) + confirm(4, multiple=True) + confirm(6))

    assert outcomes == {0: [None, None], 1: [None, None], 2: ["nack", None]}


@pytest.mark.parametrize("peer", PEERS.values(), ids=list(PEERS))
def test_every_system_gets_the_same_events_and_rates(peer: Peer) -> None:
    ours = {
        (plan.scenario, plan.event_bytes, plan.rate, plan.producers, plan.partitions)
        for plan in loads.plans(PEERS["trimaran"], seconds=1, warm_up_s=1)
    }
    theirs = {
        (plan.scenario, plan.event_bytes, plan.rate, plan.producers, plan.partitions)
        for plan in loads.plans(peer, seconds=1, warm_up_s=1)
    }

    assert theirs == ours
    assert peer.durability


def test_sender_takes_no_more_chunks_once_answers_have_ended() -> None:
    one = sender(nats.NatsSender, _tails=[b" 4\r\nabcd\r\n"], _subject=b"PUB t x.")
    one.failure = ConnectionError("gone")

    with pytest.raises(BenchError, match="gone"):
        one.send_chunk(0, 2, lambda _error, _message: None)


@pytest.mark.parametrize(("load", "chunks"), [("at_most", 4_096), ("paced", 1_024)])
def test_all_producers_together_have_one_limit_of_what_is_under_way(load, chunks) -> None:
    task = Task(settings={}, topic="t", partitions=1, load=load, event_bytes=4, chunk=2)

    class Offline(senders.PeerSender):
        def connect(self):
            self.limit()

    assert Offline(task, []).chunks_max == chunks
