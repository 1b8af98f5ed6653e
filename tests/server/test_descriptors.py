"""Clients get what a node's own files leave of the limit, and a shell's small limit is raised."""

import logging
import resource

import pytest

from trimaran.config import NodeConfig
from trimaran.server.descriptors import (
    HTTP_SPARE,
    OWN_COUNT,
    UNLIMITED,
    raise_descriptor_limit,
    within_descriptors,
)
from trimaran.server.network import BACKLOG

NODES = [{"id": number, "host": "127.0.0.1", "peer_port": 9_000 + number} for number in (1, 2, 3)]
CONFIG = NodeConfig.model_validate(
    {"node": {"id": 1, "data_directory": "data"}, "cluster": {"nodes": NODES}}
)


@pytest.fixture
def limits():
    """Put the process's limit back."""
    kept = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield kept
    resource.setrlimit(resource.RLIMIT_NOFILE, kept)


def held(config):
    """Return how many descriptors are held at most, a burst of clients included."""
    clients = config.kafka.connections_max + config.http.connections_max + HTTP_SPARE
    return 2 * config.storage.open_files_max + clients + BACKLOG


def test_the_soft_limit_is_raised_to_the_hard_one(limits):
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    limit = raise_descriptor_limit()

    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    assert limit == (UNLIMITED if hard == resource.RLIM_INFINITY else hard)


def test_a_limit_that_the_system_does_not_raise_holds(limits, monkeypatch):
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))

    def refuse(what, values):
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        assert raise_descriptor_limit() == 256


def test_settings_that_fit_stay_as_they_are_and_nothing_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        assert within_descriptors(CONFIG, 65_536) == CONFIG

    assert caplog.messages == []


@pytest.mark.parametrize("limit", [2_048, 3_000, 4_096, 10_000])
def test_clients_get_what_is_left_and_one_line_says_so(caplog, limit):
    with caplog.at_level(logging.WARNING):
        config = within_descriptors(CONFIG, limit)

    assert held(config) < limit
    assert 0 < config.kafka.connections_max < CONFIG.kafka.connections_max
    (line,) = caplog.messages
    assert f"kafka.connections_max={config.kafka.connections_max} (set: 10000)" in line


def test_a_tiny_limit_leaves_clients_their_part():
    config = within_descriptors(CONFIG, 1_024)

    assert (config.storage.open_files_max, config.kafka.connections_max) == (128, 128)
    assert config.http.connections_max == 256
    assert held(config) - BACKLOG + OWN_COUNT < 1_024


def test_where_http_is_off_nothing_is_set_aside_for_it():
    without = CONFIG.model_copy(update={"http": CONFIG.http.model_copy(update={"enabled": False})})

    found = [within_descriptors(config, 4_096).kafka for config in (without, CONFIG)]

    most = CONFIG.http.connections_max + HTTP_SPARE
    assert found[0].connections_max - found[1].connections_max == most
