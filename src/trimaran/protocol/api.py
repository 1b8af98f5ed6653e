"""THE table: every Kafka API this broker answers, in which versions, by which handler.

The dispatcher, the codec, the ApiVersions answer and docs/protocol.md are all made from `APIS`. To
support another API is one row here, its messages, a handler, and golden bytes; to raise a version
is one number.

Does not: decode anything (`codec`), nor name more than what works (design.md section 1).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class ApiKey(IntEnum):
    """Kafka's numbers for the APIs in the table (ApiKeys.java)."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    ALTER_REPLICA_LOG_DIRS = 34
    DESCRIBE_LOG_DIRS = 35
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42
    ELECT_LEADERS = 43
    INCREMENTAL_ALTER_CONFIGS = 44
    ALTER_PARTITION_REASSIGNMENTS = 45
    LIST_PARTITION_REASSIGNMENTS = 46
    OFFSET_DELETE = 47
    DESCRIBE_QUORUM = 55
    DESCRIBE_CLUSTER = 60
    DESCRIBE_PRODUCERS = 61
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69
    LIST_CONFIG_RESOURCES = 74
    DESCRIBE_TOPIC_PARTITIONS = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One API: what we advertise, what we accept, and who answers."""

    key: ApiKey
    name: str
    """Kafka's name; messages are called `<name>Request` and `<name>Response`."""
    min_version: int
    """Lowest version in the ApiVersions answer."""
    max_version: int
    flexible_from: int
    """From this version on: compact lengths and tagged fields (KIP-482)."""
    handler: str
    """Module in broker/handlers."""
    accepted_from: int | None = None
    """Lowest version we decode, where that is above what is advertised; None: `min_version`."""
    note: str = ""

    @property
    def lowest(self) -> int:
        """Lowest version that is decoded."""
        return self.min_version if self.accepted_from is None else self.accepted_from

    def accepts(self, version: int) -> bool:
        """Whether requests of `version` are decoded."""
        return self.lowest <= version <= self.max_version


_ROWS: Final = (
    Api(
        key=ApiKey.PRODUCE,
        name="Produce",
        min_version=0,
        max_version=11,
        accepted_from=3,
        flexible_from=9,
        handler="produce",
        note="3 and up are accepted; 0 is advertised because librdkafka before 2.11.1 "
        "otherwise never compresses (KAFKA-18659)",
    ),
    Api(
        key=ApiKey.FETCH,
        name="Fetch",
        min_version=4,
        max_version=17,
        flexible_from=12,
        handler="fetch",
        note="with fetch sessions (KIP-227), from followers by rack (KIP-392)",
    ),
    Api(
        key=ApiKey.LIST_OFFSETS,
        name="ListOffsets",
        min_version=1,
        max_version=11,
        flexible_from=6,
        handler="list_offsets",
    ),
    Api(
        key=ApiKey.METADATA,
        name="Metadata",
        min_version=0,
        max_version=12,
        flexible_from=9,
        handler="metadata",
    ),
    Api(
        key=ApiKey.OFFSET_COMMIT,
        name="OffsetCommit",
        min_version=2,
        max_version=9,
        flexible_from=8,
        handler="offset_commit",
    ),
    Api(
        key=ApiKey.OFFSET_FETCH,
        name="OffsetFetch",
        min_version=1,
        max_version=9,
        flexible_from=6,
        handler="offset_fetch",
    ),
    Api(
        key=ApiKey.FIND_COORDINATOR,
        name="FindCoordinator",
        min_version=0,
        max_version=6,
        flexible_from=3,
        handler="find_coordinator",
    ),
    Api(
        key=ApiKey.JOIN_GROUP,
        name="JoinGroup",
        min_version=0,
        max_version=9,
        flexible_from=6,
        handler="join_group",
    ),
    Api(
        key=ApiKey.HEARTBEAT,
        name="Heartbeat",
        min_version=0,
        max_version=4,
        flexible_from=4,
        handler="heartbeat",
    ),
    Api(
        key=ApiKey.LEAVE_GROUP,
        name="LeaveGroup",
        min_version=0,
        max_version=5,
        flexible_from=4,
        handler="leave_group",
    ),
    Api(
        key=ApiKey.SYNC_GROUP,
        name="SyncGroup",
        min_version=0,
        max_version=5,
        flexible_from=4,
        handler="sync_group",
    ),
    Api(
        key=ApiKey.DESCRIBE_GROUPS,
        name="DescribeGroups",
        min_version=0,
        max_version=6,
        flexible_from=5,
        handler="describe_groups",
    ),
    Api(
        key=ApiKey.LIST_GROUPS,
        name="ListGroups",
        min_version=0,
        max_version=5,
        flexible_from=3,
        handler="list_groups",
    ),
    Api(
        key=ApiKey.API_VERSIONS,
        name="ApiVersions",
        min_version=0,
        max_version=4,
        flexible_from=3,
        handler="api_versions",
        note="the answer's header is never flexible; an unknown version is answered with "
        "error 35 in version 0",
    ),
    Api(
        key=ApiKey.CREATE_TOPICS,
        name="CreateTopics",
        min_version=2,
        max_version=7,
        flexible_from=5,
        handler="create_topics",
    ),
    Api(
        key=ApiKey.DELETE_TOPICS,
        name="DeleteTopics",
        min_version=1,
        max_version=6,
        flexible_from=4,
        handler="delete_topics",
    ),
    Api(
        key=ApiKey.DELETE_RECORDS,
        name="DeleteRecords",
        min_version=0,
        max_version=2,
        flexible_from=2,
        handler="delete_records",
    ),
    Api(
        key=ApiKey.INIT_PRODUCER_ID,
        name="InitProducerId",
        min_version=0,
        max_version=4,
        flexible_from=2,
        handler="init_producer_id",
        note="a transactional id is refused",
    ),
    Api(
        key=ApiKey.OFFSET_FOR_LEADER_EPOCH,
        name="OffsetForLeaderEpoch",
        min_version=2,
        max_version=4,
        flexible_from=4,
        handler="offset_for_leader_epoch",
    ),
    Api(
        key=ApiKey.DESCRIBE_CONFIGS,
        name="DescribeConfigs",
        min_version=1,
        max_version=4,
        flexible_from=4,
        handler="describe_configs",
    ),
    Api(
        key=ApiKey.ALTER_CONFIGS,
        name="AlterConfigs",
        min_version=0,
        max_version=2,
        flexible_from=2,
        handler="alter_configs",
    ),
    Api(
        key=ApiKey.ALTER_REPLICA_LOG_DIRS,
        name="AlterReplicaLogDirs",
        min_version=1,
        max_version=2,
        flexible_from=2,
        handler="alter_replica_log_dirs",
        note="there is one directory",
    ),
    Api(
        key=ApiKey.DESCRIBE_LOG_DIRS,
        name="DescribeLogDirs",
        min_version=1,
        max_version=4,
        flexible_from=2,
        handler="describe_log_dirs",
    ),
    Api(
        key=ApiKey.CREATE_PARTITIONS,
        name="CreatePartitions",
        min_version=0,
        max_version=3,
        flexible_from=2,
        handler="create_partitions",
    ),
    Api(
        key=ApiKey.DELETE_GROUPS,
        name="DeleteGroups",
        min_version=0,
        max_version=2,
        flexible_from=2,
        handler="delete_groups",
    ),
    Api(
        key=ApiKey.ELECT_LEADERS,
        name="ElectLeaders",
        min_version=0,
        max_version=2,
        flexible_from=2,
        handler="elect_leaders",
        note="preferred replicas only: nobody who lacks events is ever elected",
    ),
    Api(
        key=ApiKey.INCREMENTAL_ALTER_CONFIGS,
        name="IncrementalAlterConfigs",
        min_version=0,
        max_version=1,
        flexible_from=1,
        handler="incremental_alter_configs",
    ),
    Api(
        key=ApiKey.ALTER_PARTITION_REASSIGNMENTS,
        name="AlterPartitionReassignments",
        min_version=0,
        max_version=1,
        flexible_from=0,
        handler="alter_partition_reassignments",
        note="replicas do not move yet",
    ),
    Api(
        key=ApiKey.LIST_PARTITION_REASSIGNMENTS,
        name="ListPartitionReassignments",
        min_version=0,
        max_version=0,
        flexible_from=0,
        handler="list_partition_reassignments",
    ),
    Api(
        key=ApiKey.OFFSET_DELETE,
        name="OffsetDelete",
        min_version=0,
        max_version=0,
        flexible_from=1,
        handler="offset_delete",
        note="never flexible",
    ),
    Api(
        key=ApiKey.DESCRIBE_QUORUM,
        name="DescribeQuorum",
        min_version=0,
        max_version=2,
        flexible_from=0,
        handler="describe_quorum",
    ),
    Api(
        key=ApiKey.DESCRIBE_CLUSTER,
        name="DescribeCluster",
        min_version=0,
        max_version=1,
        flexible_from=0,
        handler="describe_cluster",
    ),
    Api(
        key=ApiKey.DESCRIBE_PRODUCERS,
        name="DescribeProducers",
        min_version=0,
        max_version=0,
        flexible_from=0,
        handler="describe_producers",
    ),
    Api(
        key=ApiKey.CONSUMER_GROUP_HEARTBEAT,
        name="ConsumerGroupHeartbeat",
        min_version=0,
        max_version=1,
        flexible_from=0,
        handler="consumer_group_heartbeat",
        note="the new protocol (KIP-848)",
    ),
    Api(
        key=ApiKey.CONSUMER_GROUP_DESCRIBE,
        name="ConsumerGroupDescribe",
        min_version=0,
        max_version=1,
        flexible_from=0,
        handler="consumer_group_describe",
    ),
    Api(
        key=ApiKey.LIST_CONFIG_RESOURCES,
        name="ListConfigResources",
        min_version=0,
        max_version=1,
        flexible_from=0,
        handler="list_config_resources",
    ),
    Api(
        key=ApiKey.DESCRIBE_TOPIC_PARTITIONS,
        name="DescribeTopicPartitions",
        min_version=0,
        max_version=0,
        flexible_from=0,
        handler="describe_topic_partitions",
    ),
)

APIS: Final[dict[int, Api]] = {row.key: row for row in _ROWS}
"""By API key, ascending; looked up with ints from the wire."""


def markdown_table() -> str:
    """Return the table as docs/protocol.md shows it, between its markers."""
    lines = [
        "| API | key | advertised | flexible from | handler | note |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {int(row.key)} | {row.min_version} to {row.max_version} "
        f"| {row.flexible_from} | `broker/handlers/{row.handler}.py` | {row.note} |"
        for row in APIS.values()
    ]
    return "\n".join(lines) + "\n"


def api_name(key: int) -> str:
    """Return Kafka's name of an API for logs, or `api <key>` for one that is not in the table."""
    row = APIS.get(key)
    return f"api {key}" if row is None else row.name
