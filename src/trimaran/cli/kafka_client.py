"""How the nouns reach a cluster: confluent-kafka, with errors that say what to do next.

Does not: keep connections between commands.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicMetadata,
)

from trimaran.cli.contexts import address_or_context
from trimaran.cli.exits import USAGE, CommandError

__all__ = [
    "AdminClient",
    "AlterConfigOpType",
    "ClusterMetadata",
    "ConfigEntry",
    "ConfigResource",
    "NewPartitions",
    "NewTopic",
    "OffsetSpec",
    "ResourceType",
    "TopicMetadata",
]

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
TIMEOUT_S = 10.0
QUIET: dict[str, Any] = {"log_level": 0, "error_cb": lambda _error: None}
"""librdkafka would write each refused connection to standard error; we say it once."""

BootstrapOption = Annotated[
    str,
    typer.Option(
        *("--bootstrap", "-b"),
        envvar="TRIMARAN_BOOTSTRAP",
        callback=address_or_context,
        help="HOST:PORT[,HOST:PORT...] of the cluster",
    ),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, help="seconds to wait for an answer")
]


def settings(bootstrap: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return client settings for `bootstrap`, checked, with `more` of them.

    Raises:
        CommandError: an address is not HOST:PORT.
    """
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            raise CommandError(
                f"--bootstrap: expected HOST:PORT[,HOST:PORT...], found {address!r}", code=USAGE
            )
    return {"bootstrap.servers": bootstrap, **QUIET, **(more or {})}


def admin(bootstrap: str) -> AdminClient:
    """Return an administration client; it connects on first use."""
    return AdminClient(settings(bootstrap))


def cluster_metadata(
    client: AdminClient, bootstrap: str, *, timeout_s: float, topic: str | None = None
) -> ClusterMetadata:
    """Return nodes and topics (all, or the one asked for).

    Raises:
        CommandError: nobody answered in time.
    """
    try:
        if topic is None:
            return client.list_topics(timeout=timeout_s)
        return client.list_topics(topic, timeout=timeout_s)
    except KafkaException as error:
        raise unreachable(bootstrap, timeout_s, error) from error


def unreachable(bootstrap: str, timeout_s: float, error: KafkaException) -> CommandError:
    """Return the error for a cluster that does not answer."""
    return CommandError(
        f"no node at {bootstrap} answered within {timeout_s:g} s ({explain(error)})\n"
        f"is the cluster up? `trimaran up` starts one; --bootstrap names another"
    )


def explain(error: KafkaException | KafkaError) -> str:
    """Return Kafka's name of an error and its text."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return f"{inner.name()}: {inner.str()}" if isinstance(inner, KafkaError) else str(inner)
