"""Counts events by key with Quix Streams: `BOOTSTRAP NAME STATE_DIRECTORY`.

Reads topic NAME, writes NAME-counted; the state's changelog topic is the framework's own.
"""

import sys

from quixstreams import Application

bootstrap, name, directory = sys.argv[1:]
app = Application(
    broker_address=bootstrap,
    consumer_group=f"{name}-group",
    auto_offset_reset="earliest",
    state_dir=directory,
    commit_interval=0.2,
    consumer_extra_config={"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500},
)
events = app.topic(name, key_deserializer="str", value_deserializer="str")
counted = app.topic(f"{name}-counted", key_serializer="str", value_serializer="str")


def count(_value, state):
    total = state.get("total", 0) + 1
    state.set("total", total)
    return str(total)


app.dataframe(events).apply(count, stateful=True).to_topic(counted)
app.run()
