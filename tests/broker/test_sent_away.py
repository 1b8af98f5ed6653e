"""A client that goes on asking a node that knows nothing is sent to the others."""

import asyncio

import pytest

from trimaran.broker.clients import SEND_AWAY_S, Clients


class Transport(asyncio.Transport):
    """As much of one as a session needs that is never written to."""

    def __init__(self):
        super().__init__({"peername": ("10.0.0.7", 4711)})
        self.closed = False

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_write_buffer_size(self):
        return 0

    def close(self):
        self.closed = True


@pytest.fixture
def connection(broker, clock):
    """Return a session of a client, and its transport."""
    session, transport = Clients(broker, loop=clock).session(), Transport()
    session.connection_made(transport)
    return session, transport


@pytest.mark.parametrize(
    ("pauses_s", "closed"), [((), False), ((0.0, 0.3), False), ((0.5, 0.5), True)]
)
def test_who_goes_on_asking_for_a_second_is_sent_away(connection, clock, pauses_s, closed):
    session, transport = connection
    assert SEND_AWAY_S == 1.0

    session.send_away("knows nothing")
    for pause_s in pauses_s:
        clock.advance(pause_s)
        session.send_away("knows nothing")

    assert transport.closed == closed
