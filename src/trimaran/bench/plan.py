"""What one run of a load does, and the tasks it gives to the processes that do it.

Does not: run anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trimaran.bench.schedule import shares
from trimaran.bench.task import LIBRDKAFKA, Keys, Load, Task

ORDINARY: dict[str, str | int | bool] = {"acks": "all", "enable.idempotence": True, "log_level": 2}
"""The ordinary producer: every other setting is librdkafka's default."""

CONSUMER: dict[str, str | int | bool] = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "max.partition.fetch.bytes": 10_485_760,
    "fetch.message.max.bytes": 10_485_760,
    "log_level": 2,
}
"""The consumer of OpenMessaging's Kafka driver."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run does."""

    scenario: str
    load: Load
    producers: int
    """Of all topics together."""
    event_bytes: int
    partitions: int
    """Of each topic."""
    warm_up_s: float
    seconds: float
    rate: float | None = None
    """All producers together, events per second."""
    chunk: int = 1
    settings: dict[str, str | int | bool]
    """Client settings beside `ORDINARY`."""
    topics: int = 1
    consumers: int = 0
    """Processes that read while the load lasts, of all topics together; each event is read once."""
    keys: Keys = "none"
    event_ids: bool = False
    """Each event has an id of its own in its header `event-id`."""
    repeated_ids: bool = False
    """Every other event has the id of one that was sent a while before."""
    topic_settings: dict[str, str] = field(default_factory=dict)
    client: str = LIBRDKAFKA
    """Of the producers: see `Task.client`."""
    note: str = ""
    """What else is special, in words."""

    @property
    def total_s(self) -> float:
        """How long the load lasts, warm-up included."""
        return self.warm_up_s + self.seconds

    @property
    def in_words(self) -> str:
        """The load as one reads it."""
        words = [_counted(self.producers, "producer")]
        if self.consumers:
            words.append(_counted(self.consumers, "consumer"))
        words.append(f"{self.event_bytes} B")
        if self.topics > 1:
            words.append(_counted(self.topics, "topic") + " of")
        words.append(_counted(self.partitions, "partition"))
        if self.chunk > 1:
            words.append(f"batches of {self.chunk}")
        words.append(_RATE_WORDS[self.load].format(rate=self.rate or 0))
        if self.keys != "none":
            words.append("keyed")
        if self.note:
            words.append(self.note)
        if self.client != LIBRDKAFKA:
            words.append(self.client.rpartition(":")[2])
        return ", ".join(words).replace(" of, ", " of ")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"


_RATE_WORDS: dict[Load, str] = {
    "paced": "{rate:,.0f}/s",
    "at_most": "as fast as it takes them",
    "one_in_flight": "one in flight",
    "noted": "{rate:,.0f}/s, numbered",
    "consume": "read",
}


def producer_tasks(plan: Plan, bootstrap: str, topics: Sequence[str]) -> list[Task]:
    """Return one task for each producer; producers take the topics in turn."""
    offsets = [0] * plan.producers
    if plan.rate is not None:
        schedules = shares(rate=plan.rate, producers=plan.producers, chunk=plan.chunk, start_ns=0)
        offsets = [schedule.start_ns for schedule in schedules]
    return [
        Task(
            settings=_settings(ORDINARY, plan.settings, bootstrap),
            topic=topics[number % len(topics)],
            partitions=plan.partitions,
            load=plan.load,
            event_bytes=plan.event_bytes,
            chunk=plan.chunk,
            rate=plan.rate / plan.producers if plan.rate is not None else None,
            offset_ns=offset_ns,
            warm_up_s=plan.warm_up_s,
            seconds=plan.seconds,
            seed=number,
            client=plan.client,
            keys=plan.keys,
            stamped=plan.consumers > 0,
            event_ids=plan.event_ids,
            repeated_ids=plan.repeated_ids,
        )
        for number, offset_ns in enumerate(offsets)
    ]


def consumer_tasks(plan: Plan, bootstrap: str, topics: Sequence[str]) -> list[Task]:
    """Return one task for each consumer; those of a topic share its partitions."""
    each = max(1, plan.consumers // len(topics))
    return [
        Task(
            settings=_settings(CONSUMER, {"group.id": f"{topic}-readers"}, bootstrap),
            topic=topic,
            partitions=plan.partitions,
            load="consume",
            event_bytes=plan.event_bytes,
            warm_up_s=plan.warm_up_s,
            seconds=plan.seconds,
            own_partitions=list(range(number, plan.partitions, each)),
        )
        for topic in topics
        for number in range(min(each, plan.partitions) if plan.consumers else 0)
    ]


def _settings(
    ordinary: Mapping[str, str | int | bool], own: Mapping[str, str | int | bool], bootstrap: str
) -> dict[str, str | int | bool]:
    return {**ordinary, **own, "bootstrap.servers": bootstrap}
