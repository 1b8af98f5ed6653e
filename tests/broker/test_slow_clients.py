import pytest
from tests.broker.test_clients import FakeTransport, api_versions, produce

from trimaran.broker.clients import Clients

MANY_BYTES = 50_000_000


class FullTransport(FakeTransport):
    """One whose kernel takes nothing until the test says that the client did."""

    def writelines(self, buffers):
        before = len(self.written)
        super().writelines(buffers)
        self.unsent_bytes += len(self.written) - before


@pytest.fixture
def flights(broker):
    broker.add_topic("flights")
    return broker.partition("flights", 0)


@pytest.fixture
def connected(broker, clock):
    """Return a session and its transport."""
    broker.set(slow_client_s=2.0)
    session, transport = Clients(broker, loop=clock).session(), FullTransport()
    session.connection_made(transport)
    return session, transport


@pytest.fixture
def paused(connected):
    """The same, with an answer of many bytes that the client has yet to take."""
    session, transport = connected
    transport.unsent_bytes = MANY_BYTES
    session.pause_writing()
    return session, transport


def test_a_client_that_takes_its_answers_slowly_stays_until_it_takes_nothing(broker, paused, clock):
    _, transport = paused

    for _ in range(10):
        transport.unsent_bytes -= 1_000
        clock.advance(broker.kafka.slow_client_s * 0.9)
    assert not transport.closed
    clock.advance(broker.kafka.slow_client_s * 0.7)

    assert transport.aborted


def test_what_was_taken_counts_also_when_as_much_was_added(
    broker, connected, clock, flights, batch
):
    session, transport = connected
    flights.auto_commit = False
    for number in range(10):
        session.data_received(produce(number, batch()))
    session.pause_writing()

    for number in range(10):
        flights.pendings.pop(0).finish()
        clock.turn()
        assert transport.answers == list(range(number + 1))
        transport.unsent_bytes = 0
        clock.advance(broker.kafka.slow_client_s * 0.9)

    assert not transport.closed


def test_what_is_added_does_not_count_as_taken(broker, connected, clock, flights, batch):
    session, transport = connected
    flights.auto_commit = False
    session.data_received(produce(1, batch()) + produce(2, batch()))
    session.pause_writing()

    for pending in flights.pendings:
        clock.advance(broker.kafka.slow_client_s * 0.45)
        assert not transport.closed
        pending.finish()
    clock.advance(broker.kafka.slow_client_s * 0.4)

    assert transport.answers == [1, 2]
    assert transport.aborted


def test_a_closed_connection_that_does_not_drain_is_aborted(broker, connected, clock):
    session, transport = connected
    session.data_received(b"\x7f\xff\xff\xff")
    assert transport.closed
    assert not transport.aborted

    clock.advance(broker.kafka.slow_client_s * 1.3)

    assert transport.aborted


def test_a_closed_connection_that_drains_slowly_sends_all_it_has(broker, connected, clock):
    session, transport = connected
    session.data_received(api_versions(1) + b"\x7f\xff\xff\xff")
    assert transport.closed

    while transport.unsent_bytes > 0:
        transport.unsent_bytes -= 1
        clock.advance(broker.kafka.slow_client_s * 0.5)

    assert transport.answers == [1]
    assert not transport.aborted


def test_a_closed_connection_that_stops_draining_near_its_end_is_aborted(broker, paused, clock):
    session, transport = paused
    session.close("the test says so")

    clock.advance(broker.kafka.slow_client_s * 0.5)
    transport.unsent_bytes = 10
    session.resume_writing()
    clock.advance(broker.kafka.slow_client_s * 1.5)

    assert transport.aborted
