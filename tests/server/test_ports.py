"""Free ports for local clusters."""

import socket

import pytest

from trimaran.server import ports
from trimaran.server.ports import free_ports, is_free


def test_free_ports_differ_are_free_and_lie_below_outgoing_ones():
    found = free_ports(9)
    assert len(set(found)) == 9
    assert all(is_free("127.0.0.1", port) for port in found)
    assert all(15_000 <= port <= 32_000 for port in found)


def test_a_listening_port_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free("127.0.0.1", server.getsockname()[1])


def test_when_nothing_is_free_it_says_so(monkeypatch):
    monkeypatch.setattr(ports, "is_free", lambda host, port: False)
    with pytest.raises(OSError, match="no 2 free ports"):
        free_ports(2)
