"""After the faults: progress with a majority, then every log read in full.

Progress: in each partition most of whose replicas are among the healed nodes, a fresh client gets
one record acknowledged and reads it back, within `PROGRESS_LIMIT_S`. What is not in the majority
stays broken meanwhile.

Does not: heal or break anything (`faults` does).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from trimaran.broker.partition import Partition
from trimaran.errors import CorruptionError
from trimaran.ids import Offset, split_group_id
from trimaran.records.entry import Payload
from trimaran.records.iteration import iterate_records
from trimaran.sim.client import PartitionConsumer, PartitionProducer
from trimaran.sim.cluster import SimCluster, SimNode
from trimaran.sim.crowd import PARTITIONS, TOPIC
from trimaran.sim.history import History, ReadRecord
from trimaran.sim.kafka import KafkaClient, RetryError

PROGRESS_LIMIT_S = 15.0
"""From the moment a majority is healed: nodes start, elect, and answer; clients find them."""
LOOK_S = 0.05
THINK_S = 0.01
READ_BYTES = 1024 * 1024
READ_S = 1.0
"""A read takes at most so long, unless its process has ended meanwhile."""


async def wait_for_topic(client: KafkaClient, node_count: int) -> None:
    """Wait for all nodes, so that the topic has a replica on each, then for its creation."""
    registered = 0
    while True:
        try:
            if registered < node_count:
                registered = await client.broker_count()
            elif await client.partition_count() == PARTITIONS:
                return
        except (OSError, RetryError):
            pass
        await asyncio.sleep(2 * LOOK_S)


async def partitions_with_majority(client: KafkaClient, majority: Sequence[SimNode]) -> list[int]:
    """Return the partitions of which most replicas are in `majority`."""
    numbers = [node.number for node in majority]
    replicas: dict[int, Sequence[int]] = {}
    while len(replicas) < PARTITIONS:
        try:
            replicas = await client.partition_replicas()
        except (OSError, RetryError):
            await asyncio.sleep(LOOK_S)
    return [
        partition
        for partition in sorted(replicas)
        if 2 * sum(node in numbers for node in replicas[partition]) > len(replicas[partition])
    ]


async def make_progress(client: KafkaClient, partition: int) -> None:
    """Get one record acknowledged and read it back."""
    producer = PartitionProducer(client, partition, idempotent=True, think_s=THINK_S, batches_max=1)
    await producer.run()
    sent = producer.last
    assert sent is not None, "a producer ends when its batch is acked"
    if sent.offset < 0:
        return  # a duplicate of a batch whose first answer was lost, too long ago to be placed
    into: list[ReadRecord] = []
    consumer = PartitionConsumer(client, partition, into=into, start=sent.offset)
    consumer.end = sent.offset + 1
    await consumer.run()
    if not into or into[0].value != sent.value:
        client.history.oddities.append(
            f"{client.name}: offset {sent.offset} of partition {partition} is not what was acked"
        )


async def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what no event tells of: the nodes are looked at from outside."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)


async def wait_for_deletions(cluster: SimCluster, gone: Mapping[bytes, str]) -> None:
    """Wait until no node has a replica of a deleted topic."""
    await wait_until(
        lambda: not any(split_group_id(view.replica.group)[0] in gone for view in cluster.views())
    )


async def read_to_end(consumer: PartitionConsumer) -> None:
    """Read from the consumer's position to the end as of now."""
    await consumer.find_end()
    await consumer.run()


async def read_node(
    cluster: SimCluster, node: SimNode, number: int, end: Offset, history: History
) -> None:
    """Read the node's own copy, from wherever on it has committed up to `end`.

    What its disk lost another member has. A node whose disk lies may end over that: the next
    process is read then.
    """
    into = history.final.setdefault((node.name, number), [])
    position = Offset(0)
    while position < end:
        partition = cluster.partition(node, TOPIC, number)
        if partition is None or partition.high_watermark < end:
            await asyncio.sleep(LOOK_S)
            continue
        payloads = await _read(partition, position)
        if payloads is None:
            await asyncio.sleep(LOOK_S)
            continue
        assert payloads, "committed records can be read"
        for payload in payloads:
            for record in iterate_records(payload):
                assert record.value is not None
                into.append(ReadRecord(record.offset, record.value, partition.high_watermark))
                position = Offset(record.offset + 1)


async def _read(partition: Partition, position: Offset) -> Sequence[Payload] | None:
    """Return what is at `position`; None if it is damaged, or nobody answers any more."""
    found = partition.read(position, READ_BYTES)
    if not isinstance(found, asyncio.Future):
        return found
    try:
        async with asyncio.timeout(READ_S):
            return await found
    except (CorruptionError, TimeoutError):
        return None
