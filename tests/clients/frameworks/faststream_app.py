"""Counts events by key with FastStream: `BOOTSTRAP NAME STATE_DIRECTORY`.

Reads topic NAME, writes NAME-counted. FastStream keeps no state: this application writes its own to
the compacted topic NAME-changelog, and reads that to its end before it begins.
"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition
from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

bootstrap, name, _ = sys.argv[1:]
changelog = f"{name}-changelog"
broker = KafkaBroker(bootstrap.split(","))
app = FastStream(broker)
totals = {}


@app.on_startup
async def restore():
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    places = [TopicPartition(changelog, number) for number in (0, 1)]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    ends = await consumer.end_offsets(places)
    while any([await consumer.position(one) < ends[one] for one in places]):
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            totals.update({one.key: int(one.value) for one in batch})
    await consumer.stop()


@broker.subscriber(
    name, group_id=f"{name}-group", auto_offset_reset="earliest", session_timeout_ms=6_000
)
async def count(_body: str, message: KafkaMessage):
    key = message.raw_message.key
    totals[key] = totals.get(key, 0) + 1
    value = str(totals[key]).encode()
    await broker.publish(value, changelog, key=key)
    await broker.publish(value, f"{name}-counted", key=key)


if __name__ == "__main__":
    asyncio.run(app.run())
