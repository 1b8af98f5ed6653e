"""What a worker is told to do and what it answers; travels as JSON between the processes."""

from typing import Literal

import msgspec

Load = Literal["paced", "at_most", "one_in_flight", "noted"]


class Task(msgspec.Struct, kw_only=True, frozen=True):
    """One producer's part of a load."""

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
