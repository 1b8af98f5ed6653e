import asyncio
import struct

import pytest

from trimaran.broker.clients import REQUESTS_PER_TURN, Clients
from trimaran.broker.parking import HELD_BACK_S
from trimaran.ids import NodeId
from trimaran.protocol.api import ApiKey

NOBODY = -1


class FakeTransport(asyncio.Transport):
    """Collects what is written; pauses its protocol's writing when told."""

    def __init__(self, peername=("10.0.0.7", 4711)):
        super().__init__({"peername": peername})
        self.written = bytearray()
        self.write_count = 0
        self.is_paused = False
        self.closed = False
        self.aborted = False
        self.limits = None
        self.unsent_bytes = 0

    def set_write_buffer_limits(self, high=None, low=None):
        self.limits = (high, low)

    def get_write_buffer_size(self):
        return self.unsent_bytes

    def writelines(self, buffers):
        assert not self.closed
        self.write_count += 1
        for buffer in buffers:
            self.written += buffer

    def pause_reading(self):
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self):
        assert self.is_paused
        self.is_paused = False

    def close(self):
        self.closed = True

    def abort(self):
        self.closed = self.aborted = True

    @property
    def answers(self):
        """The correlation ids of the answers written, in order."""
        ids, data = [], bytes(self.written)
        while data:
            (size, correlation_id) = struct.unpack_from(">ii", data)
            ids.append(correlation_id)
            data = data[4 + size :]
        return ids


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def frame(key, version, correlation_id, body=b"", *, client_id="c"):
    request = struct.pack(">hhi", key, version, correlation_id) + text(client_id) + body
    return struct.pack(">i", len(request)) + request


def api_versions(correlation_id):
    return frame(ApiKey.API_VERSIONS, 0, correlation_id)


def produce(correlation_id, batch, *, acks=-1, topic="flights"):
    partition = struct.pack(">iii", 1, 0, len(batch)) + bytes(batch)
    body = struct.pack(">hhii", -1, acks, 30_000, 1) + text(topic) + partition
    return frame(ApiKey.PRODUCE, 7, correlation_id, body)


def fetch(correlation_id, offset, *, topic="flights", max_wait_ms=500):
    limits = struct.pack(">iiiib", NOBODY, max_wait_ms, 1, 1 << 20, 0)
    partition = struct.pack(">iiqi", 1, 0, offset, 1 << 20)
    body = limits + struct.pack(">i", 1) + text(topic) + partition
    return frame(ApiKey.FETCH, 4, correlation_id, body)


def metadata(correlation_id, *topics):
    body = struct.pack(">i", len(topics)) + b"".join(text(topic) for topic in topics)
    return frame(ApiKey.METADATA, 1, correlation_id, body)


@pytest.fixture
def clients(broker, clock):
    return Clients(broker, loop=clock)


@pytest.fixture
def connect(clients):
    """Return a function that opens a session; returns it with its transport."""

    def open_session():
        session, transport = clients.session(), FakeTransport()
        session.connection_made(transport)
        return session, transport

    return open_session


@pytest.fixture
def flights(broker):
    broker.add_topic("flights")
    return broker.partition("flights", 0)


def test_requests_in_one_read_are_answered_in_one_write(connect):
    session, transport = connect()

    session.data_received(api_versions(1) + api_versions(2))

    assert transport.answers == [1, 2]
    assert transport.write_count == 1


def test_a_request_may_arrive_byte_by_byte(connect):
    session, transport = connect()

    for byte in api_versions(7):
        session.data_received(bytes([byte]))

    assert transport.answers == [7]


def test_answers_leave_in_the_order_of_requests(connect, flights, batch, clock):
    flights.auto_commit = False
    session, transport = connect()
    session.data_received(produce(1, batch()) + api_versions(2) + api_versions(3))
    assert transport.answers == []

    flights.commit()
    clock.turn()

    assert transport.answers == [1, 2, 3]


def test_answers_of_one_turn_leave_in_one_write(connect, flights, batch, clock):
    flights.auto_commit = False
    session, transport = connect()
    for number in range(5):
        session.data_received(produce(number, batch()))

    flights.commit()
    clock.turn()

    assert transport.answers == [0, 1, 2, 3, 4]
    assert transport.write_count == 1


def test_acks_0_gets_no_answer_and_holds_nobody_up(connect, flights, batch, clients):
    session, transport = connect()

    session.data_received(produce(1, batch(), acks=0) + api_versions(2))

    assert transport.answers == [2]
    assert session.open_count == 0
    assert flights.log_end == 1


def test_a_failed_acks_0_closes_the_connection_after_earlier_answers(connect, batch, caplog):
    session, transport = connect()

    session.data_received(api_versions(1) + produce(2, batch(), acks=0, topic="unknown"))

    assert transport.answers == [1]
    assert transport.closed
    assert "closed peer=10.0.0.7:4711 reason=acks=0 and UNKNOWN_TOPIC_OR_PARTITION" in caplog.text


def test_an_answer_ready_behind_a_long_poll_ends_it_unless_it_names_nodes_alone(
    connect, flights, clock
):
    session, transport = connect()
    session.data_received(fetch(1, 0) + metadata(2))
    clock.turn()
    assert transport.answers == []

    session.data_received(api_versions(3))
    clock.turn()

    assert transport.answers == [1, 2, 3]


def test_a_connection_has_one_fetch_under_way_however_many_it_sends(connect, flights, batch, clock):
    session, transport = connect()
    session.data_received(fetch(1, 0) + fetch(2, 1) + api_versions(3))
    assert session.open_count == 1
    assert transport.is_paused

    flights.fill(1)
    clock.turn()
    assert transport.answers == [1, 2, 3], "the second ends because an answer is ready behind it"
    assert session.open_count == 0
    assert not transport.is_paused


def test_an_answer_behind_a_parked_metadata_is_not_held_back_for_long(connect, flights, clock):
    flights.depose(leader=None, lost_at=clock.now_s)
    session, transport = connect()
    session.data_received(metadata(1, "flights"))
    assert transport.answers == []

    session.data_received(api_versions(2))
    clock.advance(HELD_BACK_S + 0.01)

    assert transport.answers == [1, 2]


def test_a_parked_metadata_is_answered_when_the_leader_is_there(broker, connect, flights, clock):
    flights.depose(leader=None, lost_at=clock.now_s)
    session, transport = connect()
    session.data_received(metadata(1, "flights"))

    flights.depose(leader=NodeId(2))
    clock.turn()

    assert transport.answers == [1]


def test_the_socket_is_not_read_while_too_many_requests_wait(
    broker, connect, flights, batch, clock
):
    broker.set(inflight_requests_max=3)
    flights.auto_commit = False
    session, transport = connect()

    session.data_received(b"".join(produce(number, batch()) for number in range(5)))
    assert transport.is_paused
    assert flights.log_end == 3, "what was read too much waits as frames"

    flights.commit()
    clock.turn()
    flights.commit()
    clock.turn()

    assert transport.answers == [0, 1, 2, 3, 4]
    assert not transport.is_paused


def test_the_socket_is_not_read_while_too_many_bytes_wait(broker, connect, flights, batch, clock):
    broker.set(inflight_bytes_max=1000)
    flights.auto_commit = False
    session, transport = connect()

    session.data_received(produce(1, batch(size=600)))
    assert not transport.is_paused
    session.data_received(produce(2, batch(size=600)))
    assert transport.is_paused

    flights.commit()
    clock.turn()

    assert transport.answers == [1, 2]
    assert not transport.is_paused


def opened(clients):
    session, transport = clients.session(), FakeTransport()
    session.connection_made(transport)
    return session, transport


@pytest.fixture
def small(broker, clock):
    """The clients of a node that holds 1,000 bytes of requests of all connections."""
    broker.set(node_inflight_bytes_max=1_000)
    return Clients(broker, loop=clock)


def test_no_socket_is_read_while_the_node_holds_too_many_bytes_of_requests(
    small, flights, batch, clock
):
    flights.auto_commit = False
    (one, first), (other, second), (_, idle) = opened(small), opened(small), opened(small)

    one.data_received(produce(1, batch(size=400)))
    assert not idle.is_paused
    other.data_received(produce(2, batch(size=600)))
    assert [first.is_paused, second.is_paused, idle.is_paused] == [True] * 3
    _, late = opened(small)
    assert late.is_paused
    flights.commit()
    clock.turn()

    assert (first.answers, second.answers) == ([1], [2])
    assert not any(each.is_paused for each in (first, second, idle, late))
    assert small.statistics().request_bytes == 0


def test_a_request_that_has_begun_is_read_to_its_end_whatever_the_node_holds(
    small, flights, batch, clock
):
    flights.auto_commit = False
    request = produce(1, batch(size=5_000))
    (one, first), (_, second) = opened(small), opened(small)

    one.data_received(request[:100])
    assert not first.is_paused
    assert second.is_paused, "what was announced counts at once"
    one.data_received(request[100:])
    assert first.is_paused
    flights.commit()
    clock.turn()

    assert first.answers == [1]
    assert not first.is_paused
    assert not second.is_paused


def test_what_a_closed_connection_held_is_room_for_others(small, flights, batch, clock):
    flights.auto_commit = False
    (one, _), (_, second) = opened(small), opened(small)
    one.data_received(produce(1, batch(size=600)) + produce(2, batch(size=600))[:100])
    assert second.is_paused

    one.connection_lost(None)
    clock.turn()

    assert not second.is_paused
    assert small.statistics().request_bytes == 0


def test_a_request_with_acks_0_holds_nothing_once_it_is_appended(small, flights, batch):
    session, transport = opened(small)

    for number in range(5):
        session.data_received(produce(number, batch(size=600), acks=0))

    assert not transport.is_paused
    assert small.statistics().request_bytes == 0


def test_the_socket_is_not_read_while_the_client_takes_no_answers(connect, clock):
    session, transport = connect()

    session.pause_writing()
    assert transport.is_paused
    session.data_received(api_versions(1))  # was on its way already
    assert transport.answers == []
    session.resume_writing()
    clock.turn()

    assert transport.answers == [1]
    assert not transport.is_paused


def test_a_client_that_takes_no_answers_for_long_is_closed(broker, connect, clock, caplog):
    session, transport = connect()
    session.pause_writing()

    clock.advance(broker.kafka.slow_client_s * 0.9)
    assert not transport.closed
    clock.advance(broker.kafka.slow_client_s * 0.4)

    assert transport.aborted
    assert "takes no answers for 30.0 s" in caplog.text


def test_a_busy_node_reads_no_socket(clients, connect, clock):
    session, transport = connect()

    clients.pause()
    assert transport.is_paused
    session.data_received(api_versions(1))
    clock.turn()
    assert transport.answers == []
    clients.resume()
    clock.turn()

    assert transport.answers == [1]
    assert not transport.is_paused


def test_a_long_pipeline_leaves_turns_to_others(connect, clock):
    session, transport = connect()
    count = 3 * REQUESTS_PER_TURN + 1

    session.data_received(b"".join(api_versions(number) for number in range(count)))
    assert len(transport.answers) == REQUESTS_PER_TURN
    clock.turn()

    assert transport.answers == list(range(count))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "frame"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "frame"),
        (b"\xff\xff\xff\xff", "-1"),
        (b"\x06\x40\x00\x01", "104857601"),
        (struct.pack(">i", 0), "no Kafka request"),
        (struct.pack(">i", 3) + b"abc", "no Kafka request"),
        (frame(999, 0, 1), "999"),
        (frame(ApiKey.PRODUCE, 2, 1), "version 2"),
        (frame(ApiKey.FETCH, 99, 1), "version 99"),
        (frame(ApiKey.METADATA, 1, 1, b"\x7f\xff\xff\xff"), "no Kafka request"),
        (frame(ApiKey.PRODUCE, 7, 1, b"garbage"), "no Kafka request"),
        (frame(ApiKey.CREATE_TOPICS, 5, 1, b"\xff" * 20), "no Kafka request"),
    ],
)
def test_garbage_closes_its_connection_with_one_line(connect, caplog, data, word):
    session, transport = connect()
    other, others_transport = connect()

    session.data_received(data)
    other.data_received(api_versions(1))

    assert transport.closed
    assert transport.answers == []
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("closed peer=10.0.0.7:4711 reason=")
    assert word in record.message
    assert others_transport.answers == [1]


def test_what_stands_before_garbage_is_answered_and_nothing_after_it_is_taken(
    connect, flights, batch, clock
):
    flights.auto_commit = False
    session, transport = connect()

    session.data_received(produce(1, batch()) + api_versions(2) + struct.pack(">i", -5))
    session.data_received(produce(3, batch()))
    assert not transport.closed
    flights.commit()
    clock.turn()
    session.data_received(produce(4, batch()))

    assert transport.answers == [1, 2]
    assert transport.closed
    assert len(flights.batches) == 1


def test_an_unknown_version_of_api_versions_is_answered_and_stays_connected(connect):
    session, transport = connect()

    session.data_received(frame(ApiKey.API_VERSIONS, 77, 1) + api_versions(2))

    assert transport.answers == [1, 2]
    assert transport.written[8:10] == b"\x00\x23", "error 35"
    assert not transport.closed


def test_an_incomplete_request_closes_its_connection(broker, connect, clock, caplog):
    session, transport = connect()
    session.data_received(api_versions(1)[:-3])

    clock.advance(broker.kafka.request_receive_s * 0.9)
    assert not transport.closed
    clock.advance(broker.kafka.request_receive_s * 0.4)

    assert transport.closed
    assert "not complete within 30.0 s" in caplog.text


def test_trickling_bytes_do_not_extend_the_time_of_a_request(broker, connect, clock):
    session, transport = connect()
    data = api_versions(1)
    for byte in data[:10]:
        session.data_received(bytes([byte]))
        clock.advance(broker.kafka.request_receive_s / 7)

    assert transport.closed


def test_an_idle_connection_is_closed(broker, connect, clock, caplog):
    broker.set(idle_timeout_s=60.0)
    session, transport = connect()
    session.data_received(api_versions(1))

    clock.advance(59)
    assert not transport.closed
    clock.advance(20)

    assert transport.closed
    assert "idle for 60.0 s" in caplog.text


def test_a_connection_that_waits_for_an_answer_is_not_idle(broker, connect, flights, batch, clock):
    broker.set(idle_timeout_s=1.0)
    flights.auto_commit = False
    session, transport = connect()
    session.data_received(produce(1, batch()))

    clock.advance(20)

    assert not transport.closed


def test_connections_above_the_limit_are_closed(broker, connect, clients, caplog):
    broker.set(connections_max=2)
    first, second, third = connect(), connect(), connect()

    assert [transport.closed for _, transport in (first, second, third)] == [False, False, True]
    assert "more than 2 connections" in caplog.text


def test_connections_above_the_limit_of_an_address_are_closed(broker, connect, clients, caplog):
    broker.set(connections_max_per_address=2)
    first, second, third = connect(), connect(), connect()
    neighbour = clients.session(), FakeTransport(("10.0.0.8", 4711))
    neighbour[0].connection_made(neighbour[1])

    assert [transport.closed for _, transport in (first, second, third)] == [False, False, True]
    assert not neighbour[1].closed
    assert "more than 2 connections from 10.0.0.7" in caplog.text

    third[0].connection_lost(None)
    first[0].connection_lost(None)
    _, again = connect()
    assert not again.closed


def test_a_lost_connection_lets_go_of_everything(clients, connect, flights, batch, clock):
    flights.auto_commit = False
    session, _ = connect()
    session.data_received(produce(1, batch()) + fetch(2, 0))

    session.connection_lost(None)
    flights.commit()
    clock.turn()

    statistics = clients.statistics()
    assert (statistics.connections, statistics.deadlines) == (0, 0)
    assert flights.watchers == {}


def test_stopping_answers_what_is_parked_and_closes(clients, connect, flights, clock):
    session, transport = connect()
    session.data_received(fetch(1, 0))

    clients.stop()

    assert transport.answers == [1]
    assert transport.closed
    assert len(clients.parts._kept) == 0


def test_statistics_count_what_happened(clients, connect, flights, batch):
    flights.auto_commit = False
    session, _ = connect()
    bad, _ = connect()
    session.data_received(api_versions(1) + produce(2, batch()))
    session.data_received(produce(3, b"x" * 61))
    bad.data_received(b"\xff\xff\xff\xff")
    bad.connection_lost(None)

    statistics = clients.statistics()

    assert statistics.connections == 1
    assert statistics.accepted_count == 2
    assert statistics.closed_by_us_count == 1
    assert statistics.requests_count == 3
    assert statistics.requests_open == 1
    assert statistics.refused_count == 1


@pytest.mark.asyncio
async def test_a_session_works_on_a_real_loop(broker, flights, batch):
    loop = asyncio.get_running_loop()
    clients = Clients(broker, loop=loop)
    server = await loop.create_server(clients.session, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(api_versions(1) + produce(2, batch()) + fetch(3, 0) + metadata(4, "flights"))
    answers = []
    for _ in range(4):
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answers.append(await reader.readexactly(size))

    assert [struct.unpack_from(">i", answer)[0] for answer in answers] == [1, 2, 3, 4]
    assert flights.batches[0][2] in answers[2]
    clients.stop()
    assert await reader.read() == b""
    writer.close()
    server.close()
    await server.wait_closed()
