"""Questions to one node, put to a broker that stores nothing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimaran.bench.direct import append, log_end
from trimaran.bench.target import Target, fresh_topic, null_broker

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with null_broker(disk=Path()) as broker:
        yield broker


def test_acknowledged_event_moves_the_log_end(target: Target) -> None:
    with fresh_topic(target, partitions=1) as topic:
        before = log_end(target.bootstrap, topic, 0, timeout_s=5.0)
        acknowledged = append(target.bootstrap, topic, 0, b"probe", timeout_s=5.0)
        after = log_end(target.bootstrap, topic, 0, timeout_s=5.0)

    assert acknowledged
    assert (before, after) == (0, 1)


def test_node_that_does_not_lead_vouches_for_nothing(target: Target) -> None:
    with fresh_topic(target, partitions=1) as topic:
        assert log_end(target.bootstrap, topic, 99, timeout_s=5.0) is None
        assert not append(target.bootstrap, topic, 99, b"probe", timeout_s=5.0)


def test_connection_without_an_answer_is_an_os_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(OSError, match="timed out"):
            log_end(address, "t", 0, timeout_s=0.1)
