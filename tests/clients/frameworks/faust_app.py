"""Counts events by key with Faust: `BOOTSTRAP NAME STATE_DIRECTORY`.

Reads topic NAME, writes NAME-counted; the table's changelog topic is the framework's own.
"""

import sys

import faust

bootstrap, name, directory = sys.argv[1:]
app = faust.App(
    f"{name}-group",
    broker=[f"kafka://{one}" for one in bootstrap.split(",")],
    store="memory://",
    datadir=directory,
    version=1,
    topic_partitions=2,
    topic_replication_factor=3,
    topic_disable_leader=True,
    broker_commit_interval=0.2,
    broker_session_timeout=6,
    broker_heartbeat_interval=1,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    key_serializer="raw",
    value_serializer="raw",
)
events = app.topic(name, key_type=bytes, value_type=bytes)
counted = app.topic(f"{name}-counted", key_type=bytes, value_type=bytes)
totals = app.Table("totals", default=int, partitions=2, key_type=str, value_type=int)


@app.agent(events)
async def count(stream):
    async for key, _value in stream.items():  # noqa: PERF102 - no keys() there
        word = key.decode()
        totals[word] += 1
        await counted.send(key=key, value=str(totals[word]).encode())


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "--without-web", "-l", "info"]
    app.main()
