"""`trimaran produce TOPIC`: one event for each line of standard input.

However it ends, by a line that cannot be sent or by Ctrl-C too, it waits for what was sent before
and says what became of it.
Does not: read binary values; a line is UTF-8 text without its line break.
"""

import sys
from dataclasses import dataclass, field
from typing import Annotated

import typer
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from trimaran.cli.exits import USAGE, CommandError
from trimaran.cli.kafka_client import (
    DEFAULT_BOOTSTRAP,
    TIMEOUT_S,
    BootstrapOption,
    TimeoutOption,
    admin,
    cluster_metadata,
    explain,
    settings,
)
from trimaran.cli.output import Format, FormatOption, show_document

ACKS = ("all", "1", "0")
QUEUE_WAIT_S = 0.1


@dataclass(slots=True)
class Reports:
    """What became of the events; `delivered` is the producer's callback."""

    acked: int = 0
    failed: int = 0
    first_error: str = ""
    offsets: dict[int, int] = field(default_factory=dict)
    """Last acknowledged offset by partition."""

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """Count one delivery report."""
        if error is not None:
            self.failed += 1
            self.first_error = self.first_error or explain(error)
            return
        self.acked += 1
        partition, offset = message.partition(), message.offset()
        if partition is not None and offset is not None:
            self.offsets[partition] = offset


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(produce)


def produce(
    topic: Annotated[str, typer.Argument(help="name of the topic")],
    key: Annotated[str | None, typer.Option("--key", "-k", help="key of every event")] = None,
    key_separator: Annotated[
        str, typer.Option("--key-separator", "-K", help="text between key and value of a line")
    ] = "",
    partition: Annotated[int, typer.Option(min=-1, help="-1: chosen by the key")] = -1,
    acks: Annotated[str, typer.Option(help="all, 1 or 0; less than all may lose events")] = "all",
    header: Annotated[list[str] | None, typer.Option(help="NAME=TEXT, repeatable")] = None,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Send each line of standard input as an event, acknowledged by a majority unless told else."""
    if acks not in ACKS:
        raise CommandError(f"--acks: expected {', '.join(ACKS)}, found {acks!r}", code=USAGE)
    if key is not None and key_separator:
        raise CommandError("--key and --key-separator both say the key: give one", code=USAGE)
    headers = [header_of(text) for text in header or []]
    cluster_metadata(admin(bootstrap), bootstrap, timeout_s=timeout)
    more = {"acks": acks, "enable.idempotence": acks == "all", "linger.ms": 5}
    more |= {"message.timeout.ms": int(timeout * 1000), "partitioner": "murmur2_random"}
    producer = Producer(settings(bootstrap, more))
    reports = Reports()
    try:
        for number, line in enumerate(sys.stdin.buffer, 1):
            own, value = split_line(line.rstrip(b"\r\n"), key_separator.encode())
            chosen = own if key is None else key.encode()
            try:
                send(producer, topic, chosen, value, partition, headers, reports)
            except KafkaException as error:
                refused = f"line {number} was not sent, nor any after it"
                raise CommandError(f"{refused}: {explain(error)}") from error
    finally:
        settle(producer, reports, output)
    if reports.failed:
        raise CommandError(f"{reports.failed} events failed, the first: {reports.first_error}")


def settle(producer: Producer, reports: Reports, output: Format) -> None:
    """Wait for what was sent and tell what became of it, as far as that is known by Ctrl-C."""
    try:
        producer.flush()
    finally:
        told = {"acked": reports.acked, "failed": reports.failed}
        if len(producer):
            told["unknown"] = len(producer)
        if output is not Format.TABLE:
            show_document(told | {"last": reports.offsets}, output)
        else:
            print(*(f"{name} {count}" for name, count in told.items()))


def send(
    producer: Producer,
    topic: str,
    key: bytes | None,
    value: bytes,
    partition: int,
    headers: list[tuple[str, bytes]],
    reports: Reports,
) -> None:
    """Queue one event, waiting while the client's queue is full.

    Raises:
        KafkaException: the client refuses it.
    """
    while True:
        try:
            producer.produce(topic, value, key, partition, reports.delivered, headers=list(headers))
        except BufferError:
            producer.poll(QUEUE_WAIT_S)
        else:
            producer.poll(0)
            return


def split_line(line: bytes, separator: bytes) -> tuple[bytes | None, bytes]:
    """Return key and value; no separator asked for, or none in the line: no key."""
    if not separator:
        return None, line
    key, found, value = line.partition(separator)
    return (key, value) if found else (None, line)


def header_of(text: str) -> tuple[str, bytes]:
    """Split NAME=TEXT. Raises CommandError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandError(f"--header: expected NAME=TEXT, found {text!r}", code=USAGE)
    return name, value.encode()
