"""The loads of the comparison: the same events, batches and rates for every system.

One partition, stream or queue everywhere, so that nobody's parallelism is compared with anybody's
log. Kafka's protocol is driven twice: by its own client (librdkafka) and by the raw producer; the
others by raw producers of their own protocols, which cost the machine least, and NATS and Redis by
their Python libraries too where these are installed.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace

from bench.peers.peer import NODES, Peer
from bench.peers.senders import PACED_PRODUCERS
from trimaran.bench.plan import Plan
from trimaran.bench.task import LIBRDKAFKA
from trimaran.bench.workloads import DRIVER

ONE_IN_FLIGHT, STEADY, MOST_SMALL, MOST_LARGE = (
    "one in flight",
    "steady",
    "most 100 B",
    "most 1 KB",
)
LOADS = (STEADY, MOST_SMALL, MOST_LARGE, ONE_IN_FLIGHT)
"""In order; the last needs a warm JVM most, as it makes the fewest requests."""
RATE = 20_000.0
BATCH = 64
RAW_KAFKA = "bench.peers.senders:KafkaSender"
WARMING = "warming up"
WARMING_CHUNK = 2
WARMING_RATE = 3_000.0
"""Leaves the processor to the compiler: an unpaced load would starve it."""
CLIENT_NAMES = {"NatsLibrary": "nats-py", "RedisLibrary": "redis-py"}


def plans(
    peer: Peer, *, seconds: float, warm_up_s: float, loads: Sequence[str] = LOADS
) -> list[Plan]:
    """Return the runs of one system, in order."""
    return [
        _plan(name, peer, client, seconds, warm_up_s) for name in loads for client in clients(peer)
    ]


def clients(peer: Peer) -> list[str]:
    """Return what offers a system its events, one after the other."""
    found = [peer.sender] if peer.sender else [LIBRDKAFKA, RAW_KAFKA]
    if peer.library and not library_missing(peer):
        found.append(peer.library_sender)
    return found


def client_name(client: str) -> str:
    """Return what a reader calls a client, given as `module:Class` or as `Class`."""
    name = client.rpartition(":")[2]
    return "raw" if name.endswith("Sender") else CLIENT_NAMES.get(name, name)


def library_missing(peer: Peer) -> str | None:
    """Return what to install for a system's own client; None: it is there, or there is none."""
    if not peer.library or importlib.util.find_spec(peer.library):
        return None
    return f"its own client is left out, pip install {peer.package}"


def warming(peer: Peer, *, seconds: float) -> Plan:
    """Return the load that a system has before it is measured, so that a JVM compiles it.

    Small requests, as it is their number that makes code worth compiling; and a partition for each
    node, as each will lead.
    """
    plan = _plan(STEADY, peer, peer.sender or RAW_KAFKA, seconds, 0.0)
    return replace(
        plan,
        scenario=WARMING,
        load="paced",
        rate=WARMING_RATE,
        chunk=WARMING_CHUNK,
        partitions=NODES,
    )


def _plan(name: str, peer: Peer, client: str, seconds: float, warm_up_s: float) -> Plan:
    base = Plan(
        scenario=name,
        load="at_most",
        producers=1,
        event_bytes=1_024 if name == MOST_LARGE else 100,
        partitions=1,
        settings=DRIVER,
        warm_up_s=warm_up_s,
        seconds=seconds,
        client=client,
        topic_settings=dict(peer.topic_settings),
    )
    if name == ONE_IN_FLIGHT:
        return replace(base, load="one_in_flight", settings={"linger.ms": 0})
    if name == STEADY:
        return replace(
            base,
            load="paced",
            rate=RATE,
            producers=PACED_PRODUCERS,
            event_bytes=512,
            chunk=BATCH,
        )
    is_raw = client != LIBRDKAFKA
    return replace(base, chunk=peer.chunk_bytes // base.event_bytes if is_raw else 1)
