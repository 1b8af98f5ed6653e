"""The raw producers of other systems count acknowledgements right: whole, cut, failed, in bulk."""

import json
import struct

import pytest
from bench.peers import amqp, loads, nats, rabbitmq_stream, redis
from bench.peers.__main__ import PEERS
from bench.peers.peer import Peer
from bench.peers.report import grouped, markdown, plots

from trimaran.bench.errors import BenchError
from trimaran.bench.filesystem import DiskFigures
from trimaran.bench.machine import describe
from trimaran.bench.results import Report, Row
from trimaran.bench.task import Task


class Wire:
    """Stands for a socket; keeps what was sent."""

    def __init__(self):
        self.sent = b""

    def sendall(self, data):
        self.sent += data


def sender(kind, **attributes):
    """Return a sender that believes to be connected."""

    class Offline(kind):
        def connect(self):
            self.sockets = [Wire()]
            for name, value in attributes.items():
                setattr(self, name, value)

    task = Task(settings={}, topic="t", partitions=1, load="at_most", event_bytes=4, chunk=2)
    return Offline(task, [b"abcd", b"efgh"])


def feed(one, data, *, piece=7):
    """Give `data` in small pieces, as a network may."""
    buffer = bytearray()
    for at in range(0, len(data), piece):
        buffer += data[at : at + piece]
        del buffer[: one.take(0, buffer)]
    assert not buffer


def counted(one, chunks, size):
    """Send chunks and return where each event's outcome lands."""
    outcomes = {number: [] for number in range(chunks)}
    for number in range(chunks):
        one.send_chunk(number, size, lambda error, _message, n=number: outcomes[n].append(error))
    return outcomes


def test_nats_acknowledges_each_event_by_the_chunks_reply_subject() -> None:
    tails = [b" 4\r\nabcd\r\n", b" 4\r\nefgh\r\n"]
    one = sender(nats.NatsSender, _tails=tails, _subject=b"PUB t " + nats.INBOX + b".")
    outcomes = counted(one, 2, 2)
    good = json.dumps({"stream": "t", "seq": 1}).encode()
    bad = json.dumps({"error": {"code": 503}}).encode()

    answers = [(1, good), (0, good), (0, bad), (1, good)]
    said = b"PING\r\n" + b"".join(
        b"MSG %b.%d 1 %d\r\n%b\r\n" % (nats.INBOX, number, len(body), body)
        for number, body in answers
    )
    feed(one, said)

    assert outcomes == {0: [None, bad.decode()], 1: [None, None]}
    assert not one.open
    assert one.sockets[0].sent.startswith(b"PUB t %b.0 4\r\nabcd\r\nPUB t" % nats.INBOX)
    assert one.sockets[0].sent.endswith(b"PONG\r\n")


def test_nats_error_line_ends_the_run() -> None:
    one = sender(nats.NatsSender)

    with pytest.raises(BenchError, match="Permissions"):
        feed(one, b"-ERR 'Permissions Violation'\r\n", piece=100)


def test_redis_settles_the_oldest_chunk_with_each_wait() -> None:
    adds = [redis.command(b"XADD", b"t", b"*", b"v", b"abcd")]
    wait = redis.command(b"WAIT", b"1", b"10000")
    one = sender(redis.RedisSender, _adds=adds, _wait=wait, _sent=[])
    outcomes = counted(one, 3, 2)

    added = b"$3\r\n1-0\r\n$3\r\n1-1\r\n"
    feed(one, added + b":1\r\n" + b"$3\r\n1-2\r\n-OOM\r\n:1\r\n" + added + b":0\r\n")

    assert outcomes == {
        0: [None, None],
        1: ["-OOM", "-OOM"],
        2: ["no replica answered", "no replica answered"],
    }


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


def test_table_and_plots_are_made_from_the_rows(tmp_path) -> None:
    disk = DiskFigures(fdatasync_p50_ms=0.1, fdatasync_p99_ms=0.2, sequential_mb_per_s=1_000.0)
    rows = [
        Row(
            scenario=plan.scenario, target="trimaran", load=plan.in_words, offered_per_s=None,
            answered_per_s=1_000.0 * number, mb_per_s=1.0, failed={}, unanswered=0, latency=None,
            batch_latency=None, batch_events_mean=1.0, client_cores=0.1, queue_full=0, nodes=[],
            disk_before=disk, disk_after=disk, repeat=number, client=plan.client.rpartition(":")[2],
        )
        for number in (1, 2, 3)
        for plan in loads.plans(PEERS["trimaran"], seconds=1, warm_up_s=1)
    ]  # fmt: skip
    report = Report(machine=describe(["peers"]), file_system="ext4", rows=rows)

    text = markdown(report, {"trimaran": "synced"})
    plots(report, tmp_path)

    assert len(grouped(report)) == 8, "four loads, by two clients"
    assert "| most 100 B | trimaran | raw | 2,000 (1,000 to 3,000) |" in text
    assert "| trimaran | synced |" in text
    assert "2,000" in (tmp_path / "most-100-B.svg").read_text()


def test_sender_takes_no_more_chunks_once_answers_have_ended() -> None:
    one = sender(nats.NatsSender, _tails=[b" 4\r\nabcd\r\n"], _subject=b"PUB t x.")
    one.failure = ConnectionError("gone")

    with pytest.raises(BenchError, match="gone"):
        one.send_chunk(0, 2, lambda _error, _message: None)
