"""`trimaran topic create|list|describe|alter|delete`.

Does not: move replicas.
"""

from concurrent.futures import Future
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException

from trimaran.cli.exits import USAGE, CommandError
from trimaran.cli.kafka_client import (
    DEFAULT_BOOTSTRAP,
    TIMEOUT_S,
    AdminClient,
    AlterConfigOpType,
    BootstrapOption,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
    TimeoutOption,
    TopicMetadata,
    admin,
    cluster_metadata,
    explain,
)
from trimaran.cli.output import Format, FormatOption, show, show_document

Name = Annotated[str, typer.Argument(help="name of the topic")]
topics = typer.Typer(no_args_is_help=True, help="Create, list, describe, alter and delete topics.")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.add_typer(topics, name="topic")


@topics.command()
def create(
    name: Name,
    partitions: Annotated[int, typer.Option(min=-1, help="-1: the cluster's default")] = -1,
    replication_factor: Annotated[int, typer.Option(min=-1, help="-1: the default")] = -1,
    config: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, repeatable")] = None,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Create a topic."""
    fresh = NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        config=dict(key_and_value(text) for text in config or []),
    )
    client = admin(bootstrap)
    done = client.create_topics([fresh], operation_timeout=timeout, request_timeout=timeout)
    finish(done[name], f"topic {name!r} was not created", timeout)
    say(f"created topic {name}", {"created": name}, output)


@topics.command("list")
def list_topics(
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """List the topics with their partitions and replicas."""
    metadata = cluster_metadata(admin(bootstrap), bootstrap, timeout_s=timeout)
    rows = [
        {
            "topic": name,
            "partitions": len(topic.partitions),
            "replicas": max((len(p.replicas) for p in topic.partitions.values()), default=0),
        }
        for name, topic in sorted(metadata.topics.items())
    ]
    show(rows, columns=["topic", "partitions", "replicas"], form=output)


@topics.command()
def describe(
    name: Name,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show the partitions of a topic (leader, replicas, who is in sync) and what is set on it."""
    client = admin(bootstrap)
    rows = partition_rows(existing_topic(client, name, bootstrap, timeout))
    own = own_settings(client, name, timeout)
    if output is not Format.TABLE:
        show_document({"topic": name, "partitions": rows, "settings": own}, output)
        return
    show(rows, columns=["partition", "leader", "replicas", "in_sync"], form=output)
    for setting, value in own.items():
        print(f"{setting} = {value}")


@topics.command()
def alter(
    name: Name,
    config: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, repeatable")] = None,
    unset: Annotated[list[str] | None, typer.Option(help="KEY, back to its default")] = None,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="how many the topic shall have; it only grows")
    ] = None,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Change settings of a topic, or give it more partitions; at once, without a restart."""
    changes = [(*key_and_value(text), AlterConfigOpType.SET) for text in config or []]
    changes += [(key, "", AlterConfigOpType.DELETE) for key in unset or []]
    if not changes and partitions is None:
        raise CommandError("nothing to change: see `trimaran topic alter --help`", code=USAGE)
    client = admin(bootstrap)
    if changes:
        entries = [
            ConfigEntry(key, value, incremental_operation=operation)
            for key, value, operation in changes
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        altered = client.incremental_alter_configs([resource], request_timeout=timeout)
        finish(altered[resource], f"topic {name!r} was not altered", timeout)
    if partitions is not None:
        wanted = [NewPartitions(name, partitions)]
        grown = client.create_partitions(wanted, operation_timeout=timeout, request_timeout=timeout)
        finish(grown[name], f"topic {name!r} has no more partitions than before", timeout)
    say(f"altered topic {name}", {"altered": name}, output)


@topics.command()
def delete(
    name: Name,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Delete a topic and everything in it."""
    client = admin(bootstrap)
    done = client.delete_topics([name], operation_timeout=timeout, request_timeout=timeout)
    finish(done[name], f"topic {name!r} was not deleted", timeout)
    say(f"deleted topic {name}", {"deleted": name}, output)


def partition_rows(topic: TopicMetadata) -> list[dict[str, Any]]:
    """Return a row for each partition; leader None while there is none."""
    return [
        {
            "topic": topic.topic,
            "partition": number,
            "leader": None if partition.leader < 0 else partition.leader,
            "replicas": list(partition.replicas),
            "in_sync": list(partition.isrs),
        }
        for number, partition in sorted(topic.partitions.items())
    ]


def own_settings(client: AdminClient, name: str, timeout_s: float) -> dict[str, str]:
    """Return what was set on the topic itself. Raises CommandError."""
    resource = ConfigResource(ResourceType.TOPIC, name)
    future = client.describe_configs([resource], request_timeout=timeout_s)[resource]
    finish(future, f"the settings of topic {name!r} are not known", timeout_s)
    found = future.result()
    return {
        key: entry.value
        for key, entry in sorted(found.items())
        if not entry.is_default and not entry.is_read_only
    }


def existing_topic(
    client: AdminClient, name: str, bootstrap: str, timeout_s: float
) -> TopicMetadata:
    """Return the topic; asking for all of them, since asking for one may create it.

    Raises:
        CommandError: there is none of that name.
    """
    metadata = cluster_metadata(client, bootstrap, timeout_s=timeout_s)
    if name not in metadata.topics:
        raise CommandError(
            f"there is no topic {name!r}: `trimaran topic list` shows those there are"
        )
    return metadata.topics[name]


def key_and_value(text: str) -> tuple[str, str]:
    """Split KEY=VALUE. Raises CommandError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise CommandError(f"--config: expected KEY=VALUE, found {text!r}", code=USAGE)
    return key, value


def finish(future: "Future[Any]", failure: str, timeout_s: float) -> None:
    """Wait for an administration request. Raises CommandError with what the cluster said."""
    try:
        future.result(timeout_s + 1.0)
    except KafkaException as error:
        raise CommandError(f"{failure}: {explain(error)}") from error
    except TimeoutError as error:
        raise CommandError(f"{failure}: no answer within {timeout_s:g} s") from error


def say(text: str, value: object, form: Format) -> None:
    """Print one line, as text or as JSON."""
    if form is not Format.TABLE:
        show_document(value, form)
    else:
        print(text)
