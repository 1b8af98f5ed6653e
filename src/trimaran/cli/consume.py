"""`trimaran consume TOPIC`: prints events, of chosen partitions from an offset, or as a group does.

No group is joined and no offset is committed unless --group names one: then what was printed is
committed. Text output is one event a line (`key<TAB>value` with --keys); JSON output is one object
a line with everything a record has.
Does not: decode values; text that is not UTF-8 is shown with replacement characters.
"""

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from trimaran.cli.exits import USAGE, CommandError
from trimaran.cli.kafka_client import (
    DEFAULT_BOOTSTRAP,
    TIMEOUT_S,
    BootstrapOption,
    TimeoutOption,
    admin,
    explain,
    settings,
)
from trimaran.cli.output import Format, FormatOption, exact, readable, show_document
from trimaran.cli.topic import existing_topic

POLL_S = 0.2
BATCH = 500
GROUP_OFFSETS = ("earliest", "latest")
GROUP_CHOOSES = (
    "--group: its members share the partitions and go on where it stands: leave --partition and "
    "--exit-at-end out; --offset is earliest or latest, for what it never read"
)


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.command()(consume)


def consume(
    topic: Annotated[str, typer.Argument(help="name of the topic")],
    partition: Annotated[
        list[int] | None, typer.Option("--partition", "-p", help="repeatable; default: all")
    ] = None,
    offset: Annotated[
        str, typer.Option(help="earliest, latest, an offset, or -N: the last N")
    ] = "earliest",
    count: Annotated[int, typer.Option("--count", "-c", min=0, help="0: no limit")] = 0,
    exit_at_end: Annotated[
        bool, typer.Option("--exit-at-end", "-e", help="stop at the end of every partition")
    ] = False,
    keys: Annotated[bool, typer.Option("--keys", help="print key, tab, value")] = False,
    group: Annotated[
        str | None,
        typer.Option("--group", "-g", help="read as a member of this group, from where it stands"),
    ] = None,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Print the events of a topic; Ctrl-C ends it."""
    start = start_of(offset)
    if group is not None:
        if partition or exit_at_end or offset not in GROUP_OFFSETS:
            raise CommandError(GROUP_CHOOSES, code=USAGE)
        existing_topic(admin(bootstrap), topic, bootstrap, timeout)
        with closing(group_events(bootstrap, topic, group, offset=offset, limit=count)) as read:
            for message in read:
                show_message(message, output, with_key=keys)
        return
    found = existing_topic(admin(bootstrap), topic, bootstrap, timeout)
    chosen = sorted(found.partitions) if not partition else sorted(set(partition))
    for number in chosen:
        if number not in found.partitions:
            raise CommandError(
                f"--partition: {topic} has partitions 0 to {len(found.partitions) - 1}, "
                f"found {number}",
                code=USAGE,
            )
    more = {"group.id": "trimaran-cli", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    more |= {"enable.partition.eof": exit_at_end, "auto.offset.reset": "error"}
    consumer = Consumer(settings(bootstrap, more))
    try:
        consumer.assign(
            [
                TopicPartition(topic, number, start_offset(consumer, topic, number, start, timeout))
                for number in chosen
            ]
        )
        for message in events(consumer, limit=count, ends=len(chosen) if exit_at_end else None):
            show_message(message, output, with_key=keys)
    finally:
        consumer.close()


def group_events(
    bootstrap: str, topic: str, group: str, *, offset: str, limit: int
) -> Generator[Message, None, None]:
    """Yield events as a member of `group`; one is committed once the next is asked for.

    `offset` is where a partition begins that the group never committed.
    """
    more = {"group.id": group, "auto.offset.reset": offset, "fetch.wait.max.ms": 100}
    more |= {"enable.auto.commit": True, "enable.auto.offset.store": False}
    consumer = Consumer(settings(bootstrap, more))
    try:
        consumer.subscribe([topic])
        for message in events(consumer, limit=limit, ends=None):
            yield message
            store(consumer, message)
    finally:
        consumer.close()


def store(consumer: Consumer, message: Message) -> None:
    """Have the offset behind `message` committed, unless its partition was taken away meanwhile."""
    try:
        consumer.store_offsets(message=message)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._STATE:
            raise CommandError(f"not committed: {explain(error)}") from error


def start_of(text: str) -> int:
    """Return the offset meant by `text`: Kafka's markers, or a number; below 0 from the end."""
    markers = {"earliest": OFFSET_BEGINNING, "latest": OFFSET_END}
    if text in markers:
        return markers[text]
    digits = text.removeprefix("-")
    if not digits.isdigit():
        raise CommandError(
            f"--offset: expected earliest, latest, N or -N, found {text!r}", code=USAGE
        )
    # Kafka's own notation for "the last N": OFFSET_TAIL_BASE - N.
    return -2000 - int(digits) if text.startswith("-") else int(text)


def start_offset(
    consumer: Consumer, topic: str, partition: int, start: int, timeout_s: float
) -> int:
    """Return `start`, moved into what the partition holds when it is a number.

    Raises:
        CommandError: the offset is past the end, or nobody answered.
    """
    if start < 0:
        return start
    try:
        low, high = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=timeout_s
        )
    except KafkaException as error:
        raise CommandError(f"{topic}-{partition} does not answer: {explain(error)}") from error
    if start > high:
        raise CommandError(
            f"--offset: {topic}-{partition} holds offsets {low} to {high - 1}, found {start}",
            code=USAGE,
        )
    return max(low, start)


def events(consumer: Consumer, *, limit: int, ends: int | None) -> Iterator[Message]:
    """Yield events until `limit` (0: none) or until `ends` partitions were at their end.

    Raises:
        CommandError: the cluster refused.
    """
    given = 0
    ended: set[int | None] = set()
    while ends is None or len(ended) < ends:
        for message in consumer.consume(BATCH, POLL_S):
            error = message.error()
            if error is None:
                yield message
                given += 1
                if given == limit:
                    return
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            elif not error.retriable():
                raise CommandError(f"consuming ended: {explain(error)}")


def show_message(message: Message, form: Format, *, with_key: bool) -> None:
    """Print one event."""
    if form is not Format.TABLE:
        show_document(fields_of(message), form)
        return
    key = (readable(message.key()) or "") + "\t" if with_key else ""
    sys.stdout.write(f"{key}{readable(message.value()) or ''}\n")
    sys.stdout.flush()


def fields_of(message: Message) -> dict[str, Any]:
    """Return the event as JSON fields; bytes that are no UTF-8 become {"base64": ...}."""
    kind, timestamp_ms = message.timestamp()
    moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC) if kind else None
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp_ms": timestamp_ms if kind else None,
        "time": moment.isoformat(timespec="milliseconds") if moment else None,
        "key": exact(message.key()),
        "value": exact(message.value()),
        "headers": [[header[0], exact(header[1])] for header in message.headers() or []],
    }
