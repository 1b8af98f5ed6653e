"""Puts events into a librdkafka producer: plain ones, keyed ones, stamped ones, ones with ids.

A stamp is the event's intended send time (monotonic ns, 8 bytes, big-endian) at the start of its
value: a consumer on the same machine knows from it how long the event was on its way. Keys are
10,000 random ones of 7 bytes, as OpenMessaging's, and then the client's partitioner chooses.
Does not: decide when an event is sent (`loads`).
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimaran.bench.accounting import Window
from trimaran.bench.task import Keys

QUEUE_FULL_WAIT_NS = 1_000_000
KEY_COUNT = 10_000
KEY_BYTES = 7
STAMP_BYTES = 8
ID_HEADER = "event-id"
REPEATED_AFTER_CHUNKS = 16
"""Of the same partition: by then the first copy is stored."""
ANY_PARTITION = -1
"""The client's partitioner chooses."""

Delivered = Callable[[Any, Any], None]
Wait = Callable[[int], None]
Headers = list[tuple[str, str | bytes | None]]


class Reports(Protocol):
    """What brings delivery reports."""

    def poll(self, timeout: float) -> int:
        """Call the callbacks of what was delivered meanwhile, waiting up to `timeout` seconds."""

    def flush(self, timeout: float) -> int:
        """Wait for all delivery reports, up to `timeout` seconds; return how many are missing."""


class Client(Reports, Protocol):
    """What is used of confluent-kafka's Producer."""

    def produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        partition: int,
        on_delivery: Delivered,
        /,
        *,
        headers: Headers = ...,
    ) -> None:
        """Queue one event. Raises BufferError if the client's queue is full."""


class Offering(Protocol):
    """Where a load puts its events."""

    wait: Wait
    queue_full: int

    @property
    def client(self) -> Reports:
        """What brings the reports of the events sent here."""

    def send_chunk(self, number: int, size: int, delivered: Delivered) -> None:
        """Send the events of chunk `number`; `delivered` is called once for each."""


def sleep_ns(duration_ns: int) -> None:
    """Sleep; the kernel adds about 60 microseconds, which count as latency."""
    time.sleep(duration_ns / 1_000_000_000)


@dataclass(slots=True)
class Stamps:
    """From an event's number to the time it begins with."""

    window: Window
    time_ns: Callable[[int], int]
    in_window: int = 0
    """How many stamps so far lie inside the window."""

    def __call__(self, event: int) -> int:
        """Return the stamp of `event`, to be asked once for each."""
        stamp_ns = self.time_ns(event)
        self.in_window += stamp_ns in self.window
        return stamp_ns


@dataclass(slots=True, kw_only=True)
class Sender(Offering):
    """Puts events of one topic into a client, waiting where its queue is full."""

    client: Client
    topic: str
    payloads: list[bytes]
    partitions: int
    wait: Wait = field(default=sleep_ns)
    queue_full: int = 0
    """How often the client's queue was full: the load was more than it could hold."""
    keys: list[bytes] = field(default_factory=list)
    keys_in_turn: bool = True
    stamp_ns: Callable[[int], int] | None = None
    """From an event's number to its intended send time; None: no stamps."""
    id_prefix: bytes = b""
    """Begins every event id of this sender; empty: no ids."""
    repeats_ids: bool = False
    """Every second event has the id of the one before it `REPEATED_AFTER_CHUNKS` ago."""

    @property
    def is_plain(self) -> bool:
        """Whether an event is nothing but one of the payloads."""
        return not self.keys and self.stamp_ns is None and not self.id_prefix

    def send_chunk(self, number: int, size: int, delivered: Delivered) -> None:
        """Send `size` events: to one partition so that they can share a batch, or by their keys."""
        partition = number % self.partitions
        if not self.is_plain:
            for event in range(number * size, (number + 1) * size):
                self._send_dressed(event, self._named(event, size), partition, delivered)
            return
        produce, topic, payloads = self.client.produce, self.topic, self.payloads
        count = len(payloads)
        for event in range(number * size, (number + 1) * size):
            try:
                produce(topic, payloads[event % count], None, partition, delivered)
            except BufferError:
                self.send(payloads[event % count], partition, delivered)

    def send(
        self,
        payload: bytes,
        partition: int,
        delivered: Delivered,
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Send one event, however long the client's queue stays full."""
        while True:
            try:
                if headers is None:
                    self.client.produce(self.topic, payload, key, partition, delivered)
                else:
                    produce = self.client.produce
                    produce(self.topic, payload, key, partition, delivered, headers=headers)
            except BufferError:
                self.queue_full += 1
                self.wait(QUEUE_FULL_WAIT_NS)
            else:
                return

    def _named(self, event: int, size: int) -> int:
        """Return the number that is the id of `event`, which is in a chunk of `size`."""
        if not self.repeats_ids or event % 2 == 0:
            return event
        first = event - 1 - REPEATED_AFTER_CHUNKS * self.partitions * size
        return first if first >= 0 else event

    def _send_dressed(self, event: int, name: int, partition: int, delivered: Delivered) -> None:
        payload = self.payloads[event % len(self.payloads)]
        if self.stamp_ns is not None:
            stamp = self.stamp_ns(event).to_bytes(STAMP_BYTES, "big")
            payload = stamp + payload[STAMP_BYTES:]
        key = None
        if self.keys:
            at = event if self.keys_in_turn else time.monotonic_ns()
            key, partition = self.keys[at % len(self.keys)], ANY_PARTITION
        headers: Headers | None = None
        if self.id_prefix:
            headers = [(ID_HEADER, self.id_prefix + b"%d" % name)]
        self.send(payload, partition, delivered, key=key, headers=headers)


def make_keys(kind: Keys) -> list[bytes]:
    """Return the keys of a load, the same ones for each producer; none for events without."""
    generator = random.Random(0)
    return [] if kind == "none" else [generator.randbytes(KEY_BYTES) for _ in range(KEY_COUNT)]
