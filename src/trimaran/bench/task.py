"""What a worker is told to do and what it answers; travels as JSON between the processes."""

from typing import Literal

import msgspec

Load = Literal["paced", "at_most", "one_in_flight", "noted", "consume"]
Keys = Literal["none", "round_robin", "random"]
"""OpenMessaging's NO_KEY, KEY_ROUND_ROBIN and RANDOM_NANO."""

LIBRDKAFKA = "librdkafka"
RAW_KAFKA = "trimaran.bench.raw_producer:RawKafkaProducer"
RAW_KAFKA_CONSUMER = "raw"


class Task(msgspec.Struct, kw_only=True, frozen=True):
    """One producer's or consumer's part of a load."""

    settings: dict[str, str | int | bool]
    """librdkafka's settings, bootstrap servers included."""
    topic: str
    partitions: int
    load: Load
    event_bytes: int
    chunk: int = 1
    """Events that are sent together, to one partition."""
    rate: float | None = None
    """Events per second of this producer; None where the load has no schedule."""
    offset_ns: int = 0
    """How much later than the common start this producer's schedule begins."""
    warm_up_s: float = 0.0
    seconds: float = 0.0
    events_max: int | None = None
    """Where a load without a schedule ends before its time."""
    seed: int = 0
    notes_path: str = ""
    """Where a noted load leaves its columns."""
    client: str = LIBRDKAFKA
    """Or `module:Class` of a `sockets.SocketSender`; for a consumer, `RAW_KAFKA_CONSUMER`."""
    keys: Keys = "none"
    stamped: bool = False
    """Events begin with their intended send time, for the consumers."""
    event_ids: bool = False
    repeated_ids: bool = False
    own_partitions: list[int] = []
    """Those that a consumer reads."""


class Outcome(msgspec.Struct, kw_only=True):
    """One producer's figures over the measured window."""

    offered: int
    answered: int
    unanswered: int
    failed: dict[str, int] = {}
    answers_in_window: int = 0
    event_histogram: str = ""
    chunk_histogram: str = ""
    queue_full: int = 0
    cpu_cores: float = 0.0
    """CPU seconds per second of this process, librdkafka's threads included."""
    batch_events_mean: float = 0.0
    stamped: int = 0
    """Events stamped inside the window: of a producer at least so many that were answered, of a
    consumer those that it read."""
    took_s: float = 0.0
    """From the start to the last event read, where a consumer reads a given number."""
