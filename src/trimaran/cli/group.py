"""`trimaran group list|describe|reset-offsets|delete`.

Does not: run a consumer. Offsets of a group with members are theirs: they are not reset.
"""

from typing import Annotated, Any

import typer
from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaException,
    TopicPartition,
)

from trimaran.cli.exits import USAGE, CommandError
from trimaran.cli.group_offsets import Position, offsets_at, parse_position
from trimaran.cli.kafka_client import (
    DEFAULT_BOOTSTRAP,
    TIMEOUT_S,
    AdminClient,
    BootstrapOption,
    TimeoutOption,
    admin,
    cluster_metadata,
    explain,
)
from trimaran.cli.output import Format, FormatOption, show
from trimaran.cli.topic import finish, say

Name = Annotated[str, typer.Argument(help="name of the group")]
groups = typer.Typer(no_args_is_help=True, help="List and describe groups, move their offsets.")


def register(app: typer.Typer) -> None:
    """Add the noun."""
    app.add_typer(groups, name="group")


@groups.command("list")
def list_groups(
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """List the groups with their states."""
    client = admin(bootstrap)
    cluster_metadata(client, bootstrap, timeout_s=timeout)
    future = client.list_consumer_groups(request_timeout=timeout)
    finish(future, "the groups are not known", timeout)
    found = sorted(future.result().valid, key=lambda listing: str(listing.group_id))
    rows = [
        {"group": one.group_id, "state": state_of(one), "type": one.type.name.lower()}
        for one in found
    ]
    show(rows, columns=["group", "state", "type"], form=output)


@groups.command()
def describe(
    name: Name,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show where a group stands in each partition, how far behind, and who reads it."""
    client = admin(bootstrap)
    readers = {
        (part.topic, part.partition): member.member_id
        for member in described(client, name, timeout).members
        for part in member.assignment.topic_partitions
    }
    committed = committed_offsets(client, name, timeout)
    known = sorted({*committed, *readers})
    ends = offsets_at(client, known, Position("latest"), timeout)
    rows = [
        {
            "topic": topic,
            "partition": partition,
            "committed": committed.get((topic, partition)),
            "end": ends[topic, partition],
            "lag": lag_of(committed.get((topic, partition)), ends[topic, partition]),
            "member": readers.get((topic, partition)),
        }
        for topic, partition in known
    ]
    columns = ["topic", "partition", "committed", "end", "lag", "member"]
    show(rows, columns=columns, form=output)


@groups.command("reset-offsets")
def reset_offsets(
    name: Name,
    topic: Annotated[str, typer.Option(help="name of the topic")],
    to: Annotated[
        str, typer.Option(help="earliest, latest, OFFSET, +N, -N, or a time: 2026-01-31T12:00")
    ],
    partition: Annotated[list[int] | None, typer.Option(min=0, help="default: all")] = None,
    execute: Annotated[bool, typer.Option("--execute", help="without it: only show")] = False,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Move a group's offsets in a topic; shows what would happen unless --execute is given."""
    position = parse_position(to)
    client = admin(bootstrap)
    metadata = cluster_metadata(client, bootstrap, timeout_s=timeout)
    if topic not in metadata.topics:
        raise CommandError(f"there is no topic {topic!r}: `trimaran topic list` shows them")
    there = sorted(metadata.topics[topic].partitions)
    if unknown := sorted(set(partition or []) - set(there)):
        text = f"--partition: topic {topic!r} has {there[0]} to {there[-1]}, found {unknown[0]}"
        raise CommandError(text, code=USAGE)
    must_have_no_members(described(client, name, timeout))
    parts = [(topic, number) for number in partition or there]
    before = committed_offsets(client, name, timeout)
    after = offsets_at(client, parts, position, timeout, before=before)
    if execute:
        _store(client, name, after, timeout)
    rows = [
        {"topic": part[0], "partition": part[1], "before": before.get(part), "after": after[part]}
        for part in parts
    ]
    show(rows, columns=["topic", "partition", "before", "after"], form=output)
    if not execute and output is Format.TABLE:
        print("nothing was changed: add --execute")


@groups.command()
def delete(
    name: Name,
    bootstrap: BootstrapOption = DEFAULT_BOOTSTRAP,
    timeout: TimeoutOption = TIMEOUT_S,
    output: FormatOption = Format.TABLE,
) -> None:
    """Delete a group that has no members, with its offsets."""
    client = admin(bootstrap)  # answers come while it lives
    done = client.delete_consumer_groups([name], request_timeout=timeout)
    finish(done[name], f"group {name!r} was not deleted", timeout)
    say(f"deleted group {name}", {"deleted": name}, output)


def state_of(listing: Any) -> str:  # noqa: ANN401  untyped client
    """Return the group's state; `rebalancing` for the two that the client has no name for.

    Those are Assigning and Reconciling of the new protocol (KIP-848).
    """
    if listing.state is ConsumerGroupState.UNKNOWN and listing.type is ConsumerGroupType.CONSUMER:
        return "rebalancing"
    return str(listing.state.name.lower())


def described(client: AdminClient, name: str, timeout_s: float) -> Any:  # noqa: ANN401  untyped client
    """Return the group. Raises CommandError: there is none of that name."""
    future = client.describe_consumer_groups([name], request_timeout=timeout_s)[name]
    finish(future, f"group {name!r} is not known", timeout_s)
    found = future.result()
    # Unknown is what the client makes of a state that only the new protocol has.
    if found.state is ConsumerGroupState.DEAD:
        raise CommandError(
            f"there is no group {name!r}: `trimaran group list` shows those there are"
        )
    return found


def must_have_no_members(group: Any) -> None:  # noqa: ANN401  untyped client
    """Refuse to move what members would commit over. Raises CommandError."""
    if group.members:
        hosts = ", ".join(f"{one.client_id} at {one.host}" for one in group.members[:3])
        raise CommandError(
            f"group {group.group_id!r} has {len(group.members)} members ({hosts}): stop them first,"
            " they would commit over it"
        )


def committed_offsets(
    client: AdminClient, name: str, timeout_s: float
) -> dict[tuple[str, int], int]:
    """Return what the group has committed, by topic and partition. Raises CommandError."""
    asked = [ConsumerGroupTopicPartitions(name)]
    future = client.list_consumer_group_offsets(asked, request_timeout=timeout_s)[name]
    finish(future, f"the offsets of group {name!r} are not known", timeout_s)
    parts = future.result().topic_partitions
    return {(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}


def lag_of(committed: int | None, end: int) -> int | None:
    """Return the events not consumed yet; None while nothing is committed."""
    return None if committed is None else max(0, end - committed)


def _store(
    client: AdminClient, name: str, offsets: dict[tuple[str, int], int], timeout_s: float
) -> None:
    parts = [TopicPartition(topic, number, at) for (topic, number), at in offsets.items()]
    wanted = [ConsumerGroupTopicPartitions(name, parts)]
    future = client.alter_consumer_group_offsets(wanted, request_timeout=timeout_s)[name]
    finish(future, f"the offsets of group {name!r} were not moved", timeout_s)
    for part in future.result().topic_partitions:
        if part.error is not None:
            text = explain(KafkaException(part.error))
            raise CommandError(f"{part.topic}-{part.partition} was not moved: {text}")
