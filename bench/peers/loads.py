"""The loads of the comparison: the same events, batches and rates for every system.

One partition, stream or queue everywhere, so that nobody's parallelism is compared with anybody's
log. Kafka's protocol is driven twice: by its own client (librdkafka) and by the raw producer; the
others by raw producers of their own protocols, which cost the machine least, and NATS and Redis by
their Python libraries too where these are installed.
"""

import importlib.util
from dataclasses import replace

from bench.peers.peer import Peer
from trimaran.bench.plan import Plan
from trimaran.bench.task import LIBRDKAFKA, RAW_KAFKA
from trimaran.bench.workloads import DRIVER

RATE = 20_000.0
PRODUCERS = 4
BATCH = 64
RAW_CHUNK_BYTES = 65_536


def plans(peer: Peer, *, seconds: float, warm_up_s: float) -> list[Plan]:
    """Return the runs of one system, in order."""
    clients = [peer.sender] if peer.sender else [LIBRDKAFKA, RAW_KAFKA]
    if peer.library and importlib.util.find_spec(peer.library):
        clients.append(peer.library_sender)
    return [
        replace(plan, client=client, topic_settings=dict(peer.topic_settings))
        for name in ("one in flight", "steady", "most 100 B", "most 1 KB")
        for client in clients
        for plan in [_plan(name, client, seconds, warm_up_s)]
    ]


def _plan(name: str, client: str, seconds: float, warm_up_s: float) -> Plan:
    base = Plan(
        scenario=name,
        load="at_most",
        producers=1,
        event_bytes=1_024 if name == "most 1 KB" else 100,
        partitions=1,
        settings=DRIVER,
        warm_up_s=warm_up_s,
        seconds=seconds,
    )
    if name == "one in flight":
        return replace(base, load="one_in_flight", settings={"linger.ms": 0})
    if name == "steady":
        return replace(
            base,
            load="paced",
            rate=RATE,
            producers=PRODUCERS,
            event_bytes=512,
            chunk=BATCH,
            settings={"batch.num.messages": BATCH},
        )
    is_raw = client != LIBRDKAFKA
    return replace(base, chunk=RAW_CHUNK_BYTES // base.event_bytes if is_raw else 1)
