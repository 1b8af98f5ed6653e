"""What Kafka lets a topic be called and where its replicas may be. Pure checks.

Kafka: org.apache.kafka.common.internals.Topic and ReplicationControlManager.
Does not: look at settings (`topic_settings` does).
"""

import re
from collections.abc import Container, Sequence

from trimaran.errors import ErrorCode, RequestError
from trimaran.ids import GROUPS_TOPIC_ID, METADATA_TOPIC_ID, NodeId, TopicId
from trimaran.metadata.limits import (
    REPLICAS_MAX,
    TOPIC_NAME_CHARACTERS_MAX,
    TOPIC_PARTITIONS_MAX,
)

_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]+")
_RESERVED_ID_PREFIX = METADATA_TOPIC_ID[:15]

GROUPS_TOPIC = "__consumer_offsets"
"""Kafka's name for where consumer groups are kept: clients know it as not the user's."""
METADATA_TOPIC = "__cluster_metadata"
"""Kafka's name for the log of its controllers, which nobody may create."""


def check_topic_name(name: str) -> None:
    """Return if a topic may have this name.

    Raises:
        RequestError: INVALID_TOPIC_EXCEPTION.
    """
    if not name:
        found = "the empty name"
    elif name in {".", ".."}:
        found = f"{name!r}"
    elif len(name) > TOPIC_NAME_CHARACTERS_MAX:
        found = f"{len(name)} characters"
    elif not _LEGAL_NAME.fullmatch(name):
        found = f"{name!r}"
    else:
        return
    raise RequestError(
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        f"topic name: expected 1 to {TOPIC_NAME_CHARACTERS_MAX} of a-z A-Z 0-9 . _ -,"
        f" but not '.' or '..'; found {found}",
    )


def collision_key(name: str) -> str:
    """Return what two topic names must not share: Kafka's metric names make '_' of '.'."""
    return name.replace(".", "_")


def check_topic_id(topic_id: TopicId, name: str) -> None:
    """Return if a topic of this name may have this id.

    Raises:
        RequestError: INVALID_REQUEST, ids that begin with 15 zero bytes are our own;
            INVALID_TOPIC_EXCEPTION for the name that goes with one of them.
    """
    if (name, topic_id) == (GROUPS_TOPIC, GROUPS_TOPIC_ID):
        return
    if name == GROUPS_TOPIC:
        raise RequestError(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"topic {name!r} is made with the first group"
        )
    if topic_id[:15] == _RESERVED_ID_PREFIX:
        raise RequestError(
            ErrorCode.INVALID_REQUEST, f"topic id {topic_id.hex()} is reserved for internal groups"
        )


def check_assignments(
    assignments: Sequence[Sequence[NodeId]], known: Container[NodeId], *, replication_factor: int
) -> None:
    """Return if new partitions may be placed like this.

    Args:
        assignments: replicas of each new partition.
        known: the nodes that have registered.
        replication_factor: what each partition must have.

    Raises:
        RequestError: INVALID_PARTITIONS for none or too many, INVALID_REPLICATION_FACTOR for more
            replicas than allowed, INVALID_REPLICA_ASSIGNMENT for the rest.
    """
    if not assignments:
        raise RequestError(ErrorCode.INVALID_PARTITIONS, "expected at least 1 partition, found 0")
    if len(assignments) > TOPIC_PARTITIONS_MAX:
        raise RequestError(
            ErrorCode.INVALID_PARTITIONS,
            f"expected at most {TOPIC_PARTITIONS_MAX} partitions, found {len(assignments)}",
        )
    if replication_factor > REPLICAS_MAX:
        raise RequestError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"expected at most {REPLICAS_MAX} replicas, found {replication_factor}",
        )
    for number, replicas in enumerate(assignments):
        problem = _assignment_problem(replicas, known, replication_factor)
        if problem is not None:
            raise RequestError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"new partition {number}, replicas {list(replicas[:REPLICAS_MAX])}: {problem}",
            )


def _assignment_problem(
    replicas: Sequence[NodeId], known: Container[NodeId], replication_factor: int
) -> str | None:
    if not replicas:
        return "expected at least one replica"
    if len(replicas) != replication_factor:
        return f"expected {replication_factor} replicas as for the topic's other partitions"
    if len(set(replicas)) != len(replicas):
        return "expected each node once"
    unknown = [node for node in replicas if node not in known]
    if unknown:
        return f"expected registered nodes, found {unknown}"
    return None
