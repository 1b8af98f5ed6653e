"""Topics of systems with Kafka's protocol: held by every node, with the settings asked for."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from bench.peers.peer import NODES
from trimaran.bench.errors import BenchError
from trimaran.bench.target import Target, fresh_topic

BATCH_BYTES = 900_000
"""What a raw producer sends at a time where it may: nearly what librdkafka's batches may have. A
Kafka broker answers a connection's requests one by one, so small ones would make the round trip the
limit."""
REPLICAS_S = 15.0
ASK_S = 0.1


def with_proof(target: Target) -> Target:
    """Return the target whose topics are looked at before they are used."""

    @contextlib.contextmanager
    def opened(partitions: int, settings: Mapping[str, str]) -> Iterator[str]:
        with fresh_topic(target, partitions=partitions, settings=settings) as name:
            _require_replicas(target.admin(), name)
            _require_settings(target.admin(), name, settings)
            yield name

    return replace(target, open_topic=opened)


def _require_replicas(admin: AdminClient, topic: str) -> None:
    """Raise BenchError if not every node is in sync soon."""
    end_s = time.monotonic() + REPLICAS_S
    found: list[tuple[list[int], list[int]]] = []
    while time.monotonic() < end_s:
        with contextlib.suppress(KafkaException):
            partitions = admin.list_topics(topic, timeout=REPLICAS_S).topics[topic].partitions
            found = [(list(one.replicas), list(one.isrs)) for one in partitions.values()]
            if all(len(held) == NODES == len(in_sync) for held, in_sync in found):
                return
        time.sleep(ASK_S)
    raise BenchError(f"{topic} is not in sync on {NODES} nodes: replicas and in-sync sets {found}")


def _require_settings(admin: AdminClient, topic: str, settings: Mapping[str, str]) -> None:
    """Raise BenchError if the topic has other settings than it was made with."""
    if not settings:
        return
    asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
    found = admin.describe_configs([asked])[asked].result(timeout=REPLICAS_S)
    for name, value in settings.items():
        if found[name].value != value:
            raise BenchError(f"{topic} has {name}={found[name].value}, not {value}")
