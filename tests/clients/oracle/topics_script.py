"""The conversation about topics, settings and the cluster. See `__main__`."""

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    AlterPartitionReassignmentsRequest,
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
    DescribableLogDirTopic,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribedTopicName,
    DescribeLogDirsRequest,
    DescribeQuorumRequest,
    DescribeQuorumRequestPartition,
    DescribeQuorumRequestTopic,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    ElectLeadersTopic,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    ListConfigResourcesRequest,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
    MetadataRequest,
    MetadataRequestTopic,
    ReassignablePartition,
    ReassignableTopic,
    TopicPartitionsCursor,
)

TOPIC, BROKER = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)
AN_ID = bytes(range(16))

BAD_SETTINGS = (
    ("retention.ms", "-2"),
    ("retention.ms", "soon"),
    ("retention.bytes", "-2"),
    ("max.message.bytes", "-1"),
    ("min.insync.replicas", "0"),
    ("min.insync.replicas", "2"),
    ("cleanup.policy", "shred"),
    ("cleanup.policy", "compact,delete"),
    ("compression.type", "rar"),
    ("segment.bytes", "10"),
    ("segment.ms", "0"),
    ("delete.retention.ms", "-1"),
    ("min.compaction.lag.ms", "-1"),
    ("message.timestamp.type", "Sometimes"),
    ("no.such.setting", "1"),
)
BAD_NAMES = {
    "empty": "",
    "dot": ".",
    "two dots": "..",
    "slash": "a/b",
    "space": "a b",
    "250 characters": "x" * 250,
    "umlaut": "ü",
}


def create(talk, step, /, version=7, validate_only=False, **fields):
    topic = CreatableTopic(**{"num_partitions": 1, "replication_factor": 1} | fields)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000, validate_only=validate_only)
    answer = talk.step(f"create topic: {step}", ApiKey.CREATE_TOPICS, version, request)
    if answer is not None:  # the settings told are compared on their own
        for told in talk.notes[f"create topic: {step}"]["topics"]:
            told.pop("configs")
    return answer


def assignment(*replicas):
    return [
        CreatableReplicaAssignment(partition_index=number, broker_ids=list(ids))
        for number, ids in replicas
    ]


def creating(talk):
    create(talk, "good", name="topics", num_partitions=3)
    create(talk, "again", name="topics", num_partitions=3)
    for name, text in BAD_NAMES.items():
        create(talk, f"name {name}", name=text)
    create(talk, "249 characters", name="y" * 249)
    create(talk, "names that collide", name="a.b", validate_only=True)
    create(talk, "no partitions", name="none", num_partitions=0)
    create(talk, "-5 partitions", name="none", num_partitions=-5)
    create(talk, "no replicas", name="none", replication_factor=0)
    create(talk, "three replicas on one node", name="none", replication_factor=3)
    create(talk, "defaults", name="defaults", num_partitions=-1, replication_factor=-1)
    create(talk, "validated", name="none", validate_only=True, num_partitions=2)
    either = {"num_partitions": -1, "replication_factor": -1}
    manual = {
        "by hand": ((0, [1]), (1, [1])),
        "with a gap": ((0, [1]), (2, [1])),
        "an unknown node": ((0, [77]),),
        "the same node twice": ((0, [1, 1]),),
        "no node": ((0, []),),
    }
    for number, (name, replicas) in enumerate(manual.items()):
        fields = either | {"assignments": assignment(*replicas)}
        create(talk, f"assigned, {name}", name=f"manual-{number}", **fields)
    both = {"num_partitions": 1, "assignments": assignment((0, [1]))}
    create(talk, "partitions and assignment", name="both", **both)
    twice = CreatableTopic(name="twice", num_partitions=1, replication_factor=1)
    request = CreateTopicsRequest(topics=[twice, twice], timeout_ms=10_000)
    talk.step("create topic: twice in a request", ApiKey.CREATE_TOPICS, 7, request)
    for name, value in BAD_SETTINGS:
        settings = [CreatableTopicConfig(name=name, value=value)]
        create(talk, f"{name}={value}", name="none", configs=settings, validate_only=True)
    null = [CreatableTopicConfig(name="retention.ms", value=None)]
    create(talk, "a null setting", name="none", configs=null, validate_only=True)


def growing(talk):
    def grow(name, topic, count, assignments=None, validate_only=False):
        if assignments is not None:
            assignments = [CreatePartitionsAssignment(broker_ids=ids) for ids in assignments]
        asked = CreatePartitionsTopic(name=topic, count=count, assignments=assignments)
        request = CreatePartitionsRequest(
            topics=[asked], timeout_ms=10_000, validate_only=validate_only
        )
        talk.step(f"create partitions: {name}", ApiKey.CREATE_PARTITIONS, 3, request)

    grow("of nothing", "missing", 2)
    grow("as many", "topics", 3)
    grow("fewer", "topics", 2)
    grow("-1", "topics", -1)
    grow("validated", "topics", 5, validate_only=True)
    grow("unknown node", "topics", 4, [[9]])
    grow("too few assignments", "topics", 5, [[1]])
    grow("two replicas", "topics", 4, [[1, 1]])
    grow("good", "topics", 4, [[1]])


def telling(talk):
    def metadata(name, version, topics, create_topics=False):
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=create_topics)
        talk.step(f"metadata: {name}", ApiKey.METADATA, version, request)

    def named(*names):
        return [MetadataRequestTopic(name=name) for name in names]

    metadata("one topic", 12, named("topics"))
    metadata("one topic, version 1", 1, named("topics"))
    metadata("no topic", 12, [])
    metadata("unknown", 12, named("missing"))
    for name, text in BAD_NAMES.items():
        metadata(f"name {name}", 9, named(text))
    metadata("bad name to be created", 9, named("a/b"), create_topics=True)
    metadata("to be created", 9, named("made-on-first-use"), create_topics=True)
    metadata("unknown id", 12, [MetadataRequestTopic(topic_id=AN_ID)])
    request = DescribeClusterRequest()
    talk.step("describe cluster", ApiKey.DESCRIBE_CLUSTER, 0, request)
    names = [DescribedTopicName(name=name) for name in ("topics", "missing", "a/b")]
    for limit in (2000, 2):
        request = DescribeTopicPartitionsRequest(topics=names, response_partition_limit=limit)
        talk.step(
            f"describe topic partitions: at most {limit}",
            ApiKey.DESCRIBE_TOPIC_PARTITIONS,
            0,
            request,
        )
    cursor = TopicPartitionsCursor(topic_name="topics", partition_index=-2)
    request = DescribeTopicPartitionsRequest(topics=names, cursor=cursor)
    talk.step("describe topic partitions: bad cursor", ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, request)
    for name, number in (("__cluster_metadata", 0), ("topics", 0)):
        partition = DescribeQuorumRequestPartition(partition_index=number)
        asked = DescribeQuorumRequestTopic(topic_name=name, partitions=[partition])
        request = DescribeQuorumRequest(topics=[asked])
        talk.step(f"describe quorum: {name}", ApiKey.DESCRIBE_QUORUM, 2, request)
    cursor = TopicPartitionsCursor(topic_name="topics", partition_index=2)
    request = DescribeTopicPartitionsRequest(topics=names, cursor=cursor)
    talk.step("describe topic partitions: go on", ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, request)
    for name, topics in (
        ("no topic", []),
        ("a topic", [DescribableLogDirTopic(topic="topics", partitions=[0, 2])]),
        ("unknown", [DescribableLogDirTopic(topic="missing", partitions=[0])]),
        ("unknown partition", [DescribableLogDirTopic(topic="topics", partitions=[99])]),
    ):
        request = DescribeLogDirsRequest(topics=topics)
        talk.step(f"describe log dirs: {name}", ApiKey.DESCRIBE_LOG_DIRS, 4, request)


def settings(talk):
    def describe(name, kind, resource, keys=None):
        asked = DescribeConfigsResource(
            resource_type=kind, resource_name=resource, configuration_keys=keys
        )
        request = DescribeConfigsRequest(resources=[asked], include_synonyms=False)
        talk.step(f"describe configs: {name}", ApiKey.DESCRIBE_CONFIGS, 4, request)

    some = ["retention.ms", "cleanup.policy", "max.message.bytes", "compression.type"]
    some += ["min.insync.replicas", "message.timestamp.type", "segment.bytes", "segment.ms"]
    some += ["delete.retention.ms", "min.compaction.lag.ms", "retention.bytes"]
    describe("of a topic", TOPIC, "topics", some)
    describe("unknown key", TOPIC, "topics", ["no.such.setting"])
    describe("no keys", TOPIC, "topics", [])
    describe("unknown topic", TOPIC, "missing", some)
    describe("bad topic", TOPIC, "a/b", some)
    describe("unknown node", BROKER, "77", ["num.partitions"])
    describe("no node", BROKER, "one", ["num.partitions"])
    describe("of a node", BROKER, "1", ["num.partitions"])
    describe("unknown kind", 77, "x")

    def alter(name, kind, resource, *pairs, twice=False):
        configs = [AlterableConfig(name=key, value=value) for key, value in pairs]
        asked = AlterConfigsResource(resource_type=kind, resource_name=resource, configs=configs)
        request = AlterConfigsRequest(resources=[asked] * (1 + twice))
        talk.step(f"alter configs: {name}", ApiKey.ALTER_CONFIGS, 2, request)

    alter("good", TOPIC, "topics", ("retention.ms", "1000000"))
    alter("unknown topic", TOPIC, "missing", ("retention.ms", "1000000"))
    alter("unknown setting", TOPIC, "topics", ("no.such.setting", "1"))
    alter("bad value", TOPIC, "topics", ("retention.ms", "soon"))
    alter("null value", TOPIC, "topics", ("retention.ms", None))
    alter("unknown node", BROKER, "77", ("num.partitions", "3"))
    alter("twice", TOPIC, "topics", ("retention.ms", "1000000"), twice=True)

    def change(name, kind, resource, *changes, twice=False):
        configs = [
            IncrementalAlterableConfig(name=key, config_operation=operation, value=value)
            for key, operation, value in changes
        ]
        asked = IncrementalAlterConfigsResource(
            resource_type=kind, resource_name=resource, configs=configs
        )
        request = IncrementalAlterConfigsRequest(resources=[asked] * (1 + twice))
        talk.step(f"change configs: {name}", ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, request)

    change("set", TOPIC, "topics", ("segment.ms", SET, "7200000"))
    change("delete", TOPIC, "topics", ("segment.ms", DELETE, None))
    change("append to a list", TOPIC, "topics", ("cleanup.policy", APPEND, "compact"))
    change("subtract from a list", TOPIC, "topics", ("cleanup.policy", SUBTRACT, "compact"))
    change("append to a number", TOPIC, "topics", ("segment.ms", APPEND, "1"))
    change("set to null", TOPIC, "topics", ("segment.ms", SET, None))
    change("operation 9", TOPIC, "topics", ("segment.ms", 9, "1"))
    change("unknown topic", TOPIC, "missing", ("segment.ms", SET, "1"))
    change("unknown setting", TOPIC, "topics", ("no.such.setting", SET, "1"))
    change("unknown kind", 77, "topics", ("segment.ms", SET, "1"))
    change("a setting twice", TOPIC, "topics", ("segment.ms", SET, "1"), ("segment.ms", SET, "2"))
    change("a resource twice", TOPIC, "topics", ("segment.ms", SET, "1"), twice=True)
    describe("after all changes", TOPIC, "topics", ["retention.ms", "segment.ms", "cleanup.policy"])


def electing(talk):
    def elect(name, kind, topics):
        request = ElectLeadersRequest(election_type=kind, topic_partitions=topics)
        talk.step(f"elect leaders: {name}", ApiKey.ELECT_LEADERS, 2, request)

    elect("preferred, which leads", 0, [ElectLeadersTopic(topic="topics", partitions=[0])])
    elect("unknown topic", 0, [ElectLeadersTopic(topic="missing", partitions=[0])])
    elect("unknown partition", 0, [ElectLeadersTopic(topic="topics", partitions=[99])])
    elect("unclean", 1, [ElectLeadersTopic(topic="topics", partitions=[0])])


def deleting(talk):
    def delete(name, version, **fields):
        request = DeleteTopicsRequest(timeout_ms=10_000, **fields)
        talk.step(f"delete topics: {name}", ApiKey.DELETE_TOPICS, version, request)

    delete("good", 6, topics=[DeleteTopicState(name="defaults")])
    delete("again", 6, topics=[DeleteTopicState(name="defaults")])
    delete("unknown, version 3", 3, topic_names=["missing"])
    delete("unknown id", 6, topics=[DeleteTopicState(topic_id=AN_ID)])
    delete("bad name", 6, topics=[DeleteTopicState(name="a/b")])
    delete("name and id", 6, topics=[DeleteTopicState(name="topics", topic_id=AN_ID)])
    delete("neither", 6, topics=[DeleteTopicState()])


def moving(talk):
    def move(name, topic, partition, replicas):
        part = ReassignablePartition(partition_index=partition, replicas=replicas)
        topics = [ReassignableTopic(name=topic, partitions=[part])]
        request = AlterPartitionReassignmentsRequest(timeout_ms=10_000, topics=topics)
        talk.step(f"move: {name}", ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, request)

    move("where it is", "topics", 0, [1])
    move("unknown topic", "missing", 0, [1])
    move("unknown partition", "topics", 99, [1])
    move("unknown node", "topics", 0, [77])
    move("twice on a node", "topics", 0, [1, 1])
    move("nowhere", "topics", 0, [])
    move("what does not move, called off", "topics", 0, None)
    for name, topics in (
        ("all", None),
        ("a topic", [ListPartitionReassignmentsTopics(name="topics", partition_indexes=[0])]),
        ("unknown", [ListPartitionReassignmentsTopics(name="missing", partition_indexes=[0])]),
    ):
        request = ListPartitionReassignmentsRequest(timeout_ms=10_000, topics=topics)
        talk.step(f"list moves: {name}", ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, request)
    for name, kinds in (("topics", [TOPIC]), ("nodes", [BROKER]), ("kind 77", [77])):
        request = ListConfigResourcesRequest(resource_types=kinds)
        talk.step(f"list resources: {name}", ApiKey.LIST_CONFIG_RESOURCES, 1, request)


SCRIPT = (creating, growing, telling, settings, electing, moving, deleting)
