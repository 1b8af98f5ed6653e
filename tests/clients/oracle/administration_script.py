"""The conversation about odd requests of administrators: doubles, odd values. See `__main__`.

`topics_script` and `records_script` have made the topics by then.
"""

import time

from tests.clients.oracle.records_script import produce, records
from tests.clients.oracle.topics_script import (
    APPEND,
    BROKER,
    DELETE,
    SET,
    SUBTRACT,
    TOPIC,
    assignment,
    create,
)

from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    DeleteTopicsRequest,
    DeleteTopicState,
    DescribableLogDirTopic,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribedTopicName,
    DescribeLogDirsRequest,
    DescribeProducersRequest,
    DescribeProducersTopic,
    DescribeTopicPartitionsRequest,
    ElectLeadersRequest,
    ElectLeadersTopic,
    FetchPartition,
    FetchRequest,
    FetchTopic,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
    MetadataRequest,
    MetadataRequestTopic,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
    TopicPartitionsCursor,
)
from trimaran.records.batch import Codec, parse_header
from trimaran.records.building import build_batch

READY_S = 30.0
LOGGER, METRICS = 8, 16
ODD_SETTINGS = (
    ("retention.ms", ""),
    ("retention.ms", " 7200000 "),
    ("retention.ms", "+7200000"),
    ("retention.ms", "7200000.0"),
    ("retention.ms", "9223372036854775808"),
    ("max.message.bytes", "2147483648"),
    ("cleanup.policy", ""),
    ("cleanup.policy", " compact , delete "),
    ("cleanup.policy", "compact,compact"),
    ("cleanup.policy", "compact,"),
    ("cleanup.policy", "Compact"),
    ("compression.type", "GZIP"),
    ("compression.type", " gzip "),
    ("compression.type", ""),
    ("min.cleanable.dirty.ratio", "1.5"),
    ("min.cleanable.dirty.ratio", "-0.1"),
    ("min.cleanable.dirty.ratio", "1e-1"),
    ("min.cleanable.dirty.ratio", ".5"),
    ("min.cleanable.dirty.ratio", "NaN"),
    ("max.compaction.lag.ms", "0"),
    ("message.timestamp.type", "logappendtime"),
    ("message.timestamp.after.max.ms", "-1"),
    ("unclean.leader.election.enable", "FALSE"),
    ("unclean.leader.election.enable", "no"),
    ("flush.messages", "0"),
    ("flush.ms", "-1"),
    ("segment.bytes", "1048575"),
    ("segment.bytes", "1048576"),
)
SHARED_KEYS = (
    "flush.messages",
    "flush.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "max.compaction.lag.ms",
    "min.cleanable.dirty.ratio",
    "unclean.leader.election.enable",
    "remote.storage.enable",
)
WRITTEN = ("retention.ms", "cleanup.policy", "unclean.leader.election.enable")
MIXED = (TOPIC, "mixed-good")
NODE_KEYS = (
    "auto.create.topics.enable",
    "num.partitions",
    "default.replication.factor",
    "node.id",
    "broker.rack",
    "group.consumer.assignors",
    "group.consumer.heartbeat.interval.ms",
    "group.consumer.max.size",
    "group.consumer.migration.policy",
    "group.consumer.session.timeout.ms",
    "group.initial.rebalance.delay.ms",
    "group.max.session.timeout.ms",
    "group.max.size",
    "group.min.session.timeout.ms",
    "offset.metadata.max.bytes",
    "offsets.retention.minutes",
)


def creating(talk):
    names = ("mixed-good", "a/b", "topics", "mixed-too")
    mixed = [CreatableTopic(name=name, num_partitions=1, replication_factor=1) for name in names]
    mixed += [CreatableTopic(name="mixed-bad", num_partitions=0, replication_factor=1)]
    request = CreateTopicsRequest(topics=mixed, timeout_ms=10_000)
    talk.step("create topics: some good, some bad", ApiKey.CREATE_TOPICS, 4, request)
    request = CreateTopicsRequest(topics=[], timeout_ms=10_000)
    talk.step("create topics: none", ApiKey.CREATE_TOPICS, 7, request)
    for name in ("__cluster_metadata", "__transaction_state"):
        create(talk, f"name {name}", name=name, validate_only=True)
    for version in (2, 3, 4, 5, 6):
        create(talk, f"version {version}", name=f"made-in-{version}", version=version)
    unsaid = {"num_partitions": -1, "replication_factor": -1}
    create(talk, "defaults in version 3", name="defaults-3", version=3, **unsaid)
    manual = {
        "a partition twice": ((0, [1]), (0, [1])),
        "partition -1": ((-1, [1]),),
        "from 1 on": ((1, [1]),),
    }
    for name, replicas in manual.items():
        fields = unsaid | {"assignments": assignment(*replicas)}
        create(talk, f"assigned, {name}", name="manual-odd", **fields)
    both = {"num_partitions": -1, "replication_factor": 1, "assignments": assignment((0, [1]))}
    create(talk, "replicas and assignment", name="both", **both)
    for name, value in ODD_SETTINGS:
        pairs = [CreatableTopicConfig(name=name, value=value)]
        create(talk, f"{name}={value!r}", name="none", configs=pairs, validate_only=True)
    pairs = [("min.compaction.lag.ms", "2000"), ("max.compaction.lag.ms", "1000")]
    pairs = [CreatableTopicConfig(name=name, value=value) for name, value in pairs]
    create(talk, "lags that contradict", name="none", configs=pairs, validate_only=True)
    pairs = [CreatableTopicConfig(name="retention.ms", value=text) for text in ("1000", "2000")]
    create(talk, "a setting twice", name="set-twice", configs=pairs)
    topic = CreatableTopic(name="told", num_partitions=2, replication_factor=1, configs=pairs[:1])
    for version in (4, 5):
        request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000, validate_only=True)
        answer = talk.ask(ApiKey.CREATE_TOPICS, version, request).topics[0]
        own = [one for one in answer.configs or () if one.name == "retention.ms"]
        note = {"counts": [answer.num_partitions, answer.replication_factor]}
        note["own"] = [[one.value, one.config_source, one.read_only] for one in own]
        talk.notes[f"create topic: what is told in version {version}"] = note


def growing(talk):
    def grow(name, *asked, version=3, validate_only=False):
        topics = [
            CreatePartitionsTopic(
                name=topic,
                count=count,
                assignments=ids and [CreatePartitionsAssignment(broker_ids=row) for row in ids[0]],
            )
            for topic, count, *ids in asked
        ]
        request = CreatePartitionsRequest(
            topics=topics, timeout_ms=10_000, validate_only=validate_only
        )
        talk.step(f"create partitions: {name}", ApiKey.CREATE_PARTITIONS, version, request)

    grow("a topic twice", ("mixed-good", 3), ("mixed-good", 4))
    grow("some good, some bad", ("mixed-good", 2), ("missing", 2), ("mixed-too", 1), version=1)
    grow("no assignments for one", ("mixed-good", 5, []))
    grow("assigned to nobody", ("mixed-good", 3, [[]]))
    grow("no name", ("", 2))
    grow("bad name", ("a/b", 2))
    grow("none")
    grow("0", ("mixed-good", 0))


def catch_up(talk):
    """Wait until a broker knows all that was changed: Kafka's answer before they do."""
    name = f"mark-{next(talk.numbers)}"
    topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    talk.ask(ApiKey.CREATE_TOPICS, 7, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))
    deadline = time.monotonic() + READY_S
    while identity(talk, name) == bytes(16):
        assert time.monotonic() < deadline


class Settings:
    """Settings of topics and nodes, asked for and changed."""

    def __init__(self, talk):
        self.talk = talk

    def describe(self, name, *resources, keys=None, version=4, synonyms=False):
        catch_up(self.talk)
        asked = [
            DescribeConfigsResource(resource_type=kind, resource_name=one, configuration_keys=keys)
            for kind, one in resources
        ]
        request = DescribeConfigsRequest(resources=asked, include_synonyms=synonyms)
        key = ApiKey.DESCRIBE_CONFIGS
        self.talk.step(f"describe configs: {name}", key, version, request)

    def change(self, name, kind, resource, *changes, version=1, validate_only=False):
        configs = [
            IncrementalAlterableConfig(name=key, config_operation=operation, value=value)
            for key, operation, value in changes
        ]
        asked = IncrementalAlterConfigsResource(
            resource_type=kind, resource_name=resource, configs=configs
        )
        request = IncrementalAlterConfigsRequest(resources=[asked], validate_only=validate_only)
        key = ApiKey.INCREMENTAL_ALTER_CONFIGS
        self.talk.step(f"change configs: {name}", key, version, request)

    def alter(self, name, kind, resource, *pairs, version=2, validate_only=False):
        configs = [AlterableConfig(name=key, value=value) for key, value in pairs]
        asked = AlterConfigsResource(resource_type=kind, resource_name=resource, configs=configs)
        request = AlterConfigsRequest(resources=[asked], validate_only=validate_only)
        self.talk.step(f"alter configs: {name}", ApiKey.ALTER_CONFIGS, version, request)


def describing(talk):
    describe, topic = Settings(talk).describe, MIXED
    describe("the other settings", topic, keys=list(SHARED_KEYS))
    for version in (1, 2, 3):
        describe(f"version {version}", topic, keys=["retention.bytes"], version=version)
    describe("set twice", (TOPIC, "set-twice"), keys=["retention.ms"])
    describe("synonyms of a default", topic, keys=["delete.retention.ms"], synonyms=True)
    describe("synonyms of an own one", (TOPIC, "set-twice"), keys=["retention.ms"], synonyms=True)
    describe("several", topic, (TOPIC, "missing"), (TOPIC, ""), keys=["flush.ms"])
    describe("of no resource")
    describe("of a node, the fixed ones", (BROKER, "1"), keys=list(NODE_KEYS))
    describe("of all nodes", (BROKER, ""))
    describe("of node -1", (BROKER, "-1"), keys=["num.partitions"])
    describe("of metrics", (METRICS, ""))
    describe("of the loggers of no node", (LOGGER, ""))


def changing_lists(talk):
    settings, topic = Settings(talk), MIXED
    describe, change = settings.describe, settings.change
    policy = "cleanup.policy"
    change("append what is there", *topic, (policy, APPEND, "delete"))
    describe("after an append of what is there", topic, keys=[policy])
    change("append two", *topic, (policy, APPEND, "compact,delete"))
    describe("after an append of two", topic, keys=[policy])
    change("append a wrong word", *topic, (policy, APPEND, "shred"))
    change("append nothing", *topic, (policy, APPEND, ""))
    change("append null", *topic, (policy, APPEND, None))
    change("subtract what is not there", *topic, (policy, SUBTRACT, "shred"))
    change("subtract one", *topic, (policy, SUBTRACT, "delete"))
    describe("after a subtraction", topic, keys=[policy])
    change("subtract all", *topic, (policy, SUBTRACT, "compact,delete"))
    describe("after all was subtracted", topic, keys=[policy])
    change("put back", *topic, (policy, DELETE, None))


def changing(talk):
    settings, topic = Settings(talk), MIXED
    describe, change = settings.describe, settings.change
    change("delete what is not set", *topic, ("flush.ms", DELETE, None))
    change("delete, with a value", *topic, ("flush.ms", DELETE, "1"))
    change("delete what is not known", *topic, ("no.such.setting", DELETE, None))
    change("subtract from what is not known", *topic, ("no.such.setting", SUBTRACT, "x"))
    change("set and delete one", *topic, ("flush.ms", SET, "5"), ("flush.ms", DELETE, None))
    change("a good and a bad one", *topic, ("flush.ms", SET, "5"), ("flush.messages", SET, "0"))
    describe("after a good and a bad one", topic, keys=["flush.ms"])
    change("validated", *topic, ("flush.ms", SET, "5"), validate_only=True)
    describe("after a validation", topic, keys=["flush.ms"])
    change("nothing", *topic)
    change("with spaces", *topic, ("retention.ms", SET, " 07200000 "), version=0)
    change("a list with spaces", *topic, ("cleanup.policy", SET, " compact , delete,compact "))
    change("a boolean", *topic, ("unclean.leader.election.enable", SET, "FALSE"))
    change("a decimal", *topic, ("min.cleanable.dirty.ratio", SET, "0.70"))
    describe("as it was meant", topic, keys=[*WRITTEN, "min.cleanable.dirty.ratio"])


def changing_what_cannot_be(talk):
    settings = Settings(talk)
    change, alter = settings.change, settings.alter
    change("a topic without a name", TOPIC, "", ("flush.ms", SET, "5"))
    change("a bad topic name", TOPIC, "a/b", ("flush.ms", SET, "5"))
    change("a node, a wrong value", BROKER, "1", ("log.cleaner.threads", SET, "many"))
    change("a node, no partitions", BROKER, "1", ("num.partitions", SET, "0"))
    change("all nodes, no partitions", BROKER, "", ("num.partitions", SET, "0"))
    change("a node, what is not known", BROKER, "1", ("no.such.setting", SET, "1"))
    alter("a node, no partitions", BROKER, "1", ("num.partitions", "0"))
    change("node one", BROKER, "one", ("log.retention.ms", SET, "1000"))
    change("node 77", BROKER, "77", ("log.retention.ms", SET, "1000"))
    change("node -1", BROKER, "-1", ("log.retention.ms", SET, "1000"))
    change("a node, to null", BROKER, "1", ("num.partitions", SET, None))
    change("a node, twice", BROKER, "1", ("node.id", SET, "1"), ("node.id", SET, "2"))
    change("a node's number", BROKER, "1", ("node.id", SET, "5"))
    change("a node, append to a number", BROKER, "1", ("num.partitions", APPEND, "1"))
    change("kind 0", 0, "x", ("flush.ms", SET, "5"))


def altering(talk):
    settings, topic = Settings(talk), MIXED
    describe, alter = settings.describe, settings.alter
    alter("nothing, so all goes back", *topic)
    describe("after all went back", topic, keys=list(WRITTEN))
    alter("validated", *topic, ("flush.ms", "5"), validate_only=True)
    alter("a setting twice", *topic, ("flush.ms", "5"), ("flush.ms", "6"))
    alter("a topic without a name", TOPIC, "", ("flush.ms", "5"))
    alter("version 0", *topic, ("flush.ms", "7"), version=0)
    describe("after version 0", topic, keys=["flush.ms"])
    alter("kind 8", LOGGER, "1", ("x", "INFO"))


def telling(talk):
    for kind in (2, 9):
        request = DescribeClusterRequest(endpoint_type=kind)
        talk.step(f"describe cluster: endpoints {kind}", ApiKey.DESCRIBE_CLUSTER, 1, request)

    def pages(name, *names, limit=2_000, cursor=None):
        if cursor is not None:
            cursor = TopicPartitionsCursor(topic_name=cursor[0], partition_index=cursor[1])
        topics = [DescribedTopicName(name=one) for one in names]
        request = DescribeTopicPartitionsRequest(
            topics=topics, response_partition_limit=limit, cursor=cursor
        )
        key = ApiKey.DESCRIBE_TOPIC_PARTITIONS
        talk.step(f"describe topic partitions: {name}", key, 0, request)

    three = ("topics", "missing", "mixed-good")
    pages("a limit of 0", *three, limit=0)
    pages("a limit of -1", *three, limit=-1)
    pages("a limit that a topic fills", *three, limit=2)
    pages("a topic twice", "topics", "topics")
    pages("go on past the last partition", *three, cursor=("mixed-good", 99))
    pages("go on at a topic that is not there", *three, cursor=("n", 1))
    pages("go on behind all", *three, cursor=("zzz", 0))
    pages("go on at an unknown topic", *three, cursor=("missing", 0))

    def log_dirs(name, *topics, version=4):
        rows = [DescribableLogDirTopic(topic=one, partitions=numbers) for one, numbers in topics]
        request = DescribeLogDirsRequest(topics=rows)
        talk.step(f"describe log dirs: {name}", ApiKey.DESCRIBE_LOG_DIRS, version, request)

    log_dirs("version 1", ("topics", [0]), version=1)
    log_dirs("a partition twice", ("topics", [1, 1]))

    def elect(name, kind, topics, version=2):
        request = ElectLeadersRequest(election_type=kind, topic_partitions=topics)
        talk.step(f"elect leaders: {name}", ApiKey.ELECT_LEADERS, version, request)
        note = talk.notes[f"elect leaders: {name}"]
        if topics is None:  # Kafka names every topic, with no partitions where none was needed
            rows = note["replica_election_results"]
            note["replica_election_results"] = [row for row in rows if row["partition_result"]]

    elect("type 5", 5, [ElectLeadersTopic(topic="topics", partitions=[0])])
    elect("all", 0, None)
    elect("all, unclean", 1, None)
    elect("none", 0, [])
    elect("a partition twice", 0, [ElectLeadersTopic(topic="topics", partitions=[0, 0])])
    elect("partition -1", 0, [ElectLeadersTopic(topic="topics", partitions=[-1])])
    elect("version 0", 0, [ElectLeadersTopic(topic="topics", partitions=[0])], version=0)

    def metadata(name, topics, version=12):
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
        talk.step(f"metadata: {name}", ApiKey.METADATA, version, request)

    topic_id = identity(talk, "topics")
    metadata("by id", [MetadataRequestTopic(topic_id=topic_id)])
    metadata("a topic twice", [MetadataRequestTopic(name="topics")] * 2)
    metadata("neither name nor id", [MetadataRequestTopic()])


def identity(talk, name):
    """Return a topic's id."""
    topics = [MetadataRequestTopic(name=name)]
    request = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
    return talk.ask(ApiKey.METADATA, 12, request).topics[0].topic_id


def deleting(talk):
    for number in range(3):
        topic = CreatableTopic(name=f"gone-{number}", num_partitions=1, replication_factor=1)
        talk.ask(ApiKey.CREATE_TOPICS, 7, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))

    def delete(name, version, **fields):
        request = DeleteTopicsRequest(timeout_ms=10_000, **fields)
        answer = talk.step(f"delete topics: {name}", ApiKey.DELETE_TOPICS, version, request)
        note = talk.notes[f"delete topics: {name}"]
        if answer is not None:  # Kafka answers in any order
            note["responses"].sort(key=lambda row: (row["error_code"], str(row["name"])))

    twice = [DeleteTopicState(name="gone-0")] * 2
    delete("a name twice", 6, topics=[*twice, DeleteTopicState(name="gone-1")])
    delete("a name twice, version 5", 5, topic_names=["gone-0", "gone-0"])
    an_id = identity(talk, "gone-2")
    delete("an id twice", 6, topics=[DeleteTopicState(topic_id=an_id)] * 2)
    both = [DeleteTopicState(topic_id=an_id), DeleteTopicState(name="gone-2")]
    delete("an id and its name", 6, topics=both)
    delete("none", 6)


def offsets(talk):
    name = "offsets-told"
    topic = CreatableTopic(name=name, num_partitions=2, replication_factor=1)
    talk.ask(ApiKey.CREATE_TOPICS, 7, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))

    def listed(step, *asked, version=7):
        rows = [ListOffsetsPartition(partition_index=n, timestamp=time_ms) for n, time_ms in asked]
        request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=name, partitions=rows)])
        return talk.step(f"list offsets: {step}", ApiKey.LIST_OFFSETS, version, request)

    wait_led(talk, name)
    for special in (-1, -2, -3):
        listed(f"{special} of an empty log", (0, special))
    listed("a timestamp of an empty log", (0, 0))
    listed("-4 in version 7", (0, -4))
    listed("-3 in version 6", (0, -3), version=6)
    for special in (-4, -5, -6):
        listed(f"{special} in version 11", (0, special), version=11)
    for number, time_ms in enumerate((5_000, 3_000, 9_000, 9_000, 4_000)):
        batch = build_batch(records(2, timestamp_ms=time_ms))
        produce(talk, f"timed {number}", batch, topic=name)
    for time_ms in (0, 3_000, 3_001, 5_001, 9_000, 9_001):
        listed(f"first since {time_ms}", (0, time_ms))
    listed("the highest of several equal ones", (0, -3))
    listed("version 1", (0, 5_001), version=1)
    delete_records(talk, "all", -1, topic=name)
    delete_records(talk, "all again", -1, topic=name)
    delete_records(talk, "exactly the end", 10, topic=name)
    delete_records(talk, "one past the end", 11, topic=name)
    delete_records(talk, "version 0", 10, topic=name, version=0)
    kept = "kept-for-ever"
    configs = [CreatableTopicConfig(name="cleanup.policy", value="")]
    topic = CreatableTopic(name=kept, num_partitions=1, replication_factor=1, configs=configs)
    request = CreateTopicsRequest(topics=[topic], timeout_ms=10_000)
    if not talk.ask(ApiKey.CREATE_TOPICS, 7, request).topics[0].error_code:
        wait_led(talk, kept)
    produce(talk, "kept for ever", build_batch(records(2)), topic=kept)
    delete_records(talk, "of a topic without a policy", -1, topic=kept)
    listed("-3 of a log that was emptied", (0, -3))
    listed("-2 of a log that was emptied", (0, -2))
    listed("a timestamp of a log that was emptied", (0, 0))

    def ended(step, *asked, version=4):
        rows = [OffsetForLeaderPartition(partition=n, leader_epoch=epoch) for n, epoch in asked]
        request = OffsetForLeaderEpochRequest(
            topics=[OffsetForLeaderTopic(topic=name, partitions=rows)]
        )
        key = ApiKey.OFFSET_FOR_LEADER_EPOCH
        talk.step(f"end of epoch: {step}", key, version, request)

    ended("unknown partition", (9, 0))
    ended("-1, version 2", (0, -1), version=2)
    ended("-1, version 3", (0, -1), version=3)
    asked = [DescribeProducersTopic(name="events", partition_indexes=[9, 9])]
    request = DescribeProducersRequest(topics=asked)
    talk.step("describe producers: a partition twice", ApiKey.DESCRIBE_PRODUCERS, 0, request)
    asked = [DescribeProducersTopic(name="a/b", partition_indexes=[0])]
    request = DescribeProducersRequest(topics=asked)
    talk.step("describe producers: bad name", ApiKey.DESCRIBE_PRODUCERS, 0, request)


def wait_led(talk, name):
    """Wait until partition 0 has a leader."""
    row = ListOffsetsPartition(partition_index=0, timestamp=-1)
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=name, partitions=[row])])
    deadline = time.monotonic() + READY_S
    while talk.ask(ApiKey.LIST_OFFSETS, 7, request).topics[0].partitions[0].error_code:
        assert time.monotonic() < deadline


def delete_records(talk, name, offset, *, topic, version=2):
    part = DeleteRecordsPartition(partition_index=0, offset=offset)
    topics = [DeleteRecordsTopic(name=topic, partitions=[part])]
    request = DeleteRecordsRequest(topics=topics, timeout_ms=10_000)
    talk.step(f"delete records: {name}", ApiKey.DELETE_RECORDS, version, request)


def fetching_by_id(talk):
    topic_id = identity(talk, "offsets-told")

    def fetch(name, partition=0, offset=10, version=13, an_id=topic_id, **fields):
        part = FetchPartition(partition=partition, fetch_offset=offset, partition_max_bytes=1_000)
        topics = [FetchTopic(topic="", topic_id=an_id, partitions=[part])]
        request = FetchRequest(topics=topics, max_wait_ms=0, min_bytes=0, **fields)
        talk.step(f"fetch by id: {name}", ApiKey.FETCH, version, request)

    fetch("at the end")
    fetch("version 16", version=16)
    fetch("version 17", version=17)
    fetch("unknown partition", partition=9)
    fetch("no id", an_id=bytes(16))
    fetch("below the start", offset=3)
    fetch("past the end", offset=11)
    fetch("from a rack", rack_id="nowhere")


def stored(talk, step, topic, batch):
    """Produce a batch and note how it is stored."""
    answer = produce(talk, step, batch, topic=topic)
    told = answer.responses[0].partition_responses[0]
    part = FetchPartition(
        partition=0, fetch_offset=max(told.base_offset, 0), partition_max_bytes=1_000_000
    )
    topics = [FetchTopic(topic=topic, topic_id=bytes(16), partitions=[part])]
    request = FetchRequest(topics=topics, max_wait_ms=0, min_bytes=0, session_epoch=-1)
    data = talk.ask(ApiKey.FETCH, 12, request).responses[0].partitions[0]
    sent, kept = parse_header(batch), parse_header(b"".join(bytes(one) for one in data.records))
    talk.notes[f"stored: {step}"] = {
        "codec": Codec(kept.codec).name,
        "is_log_append_time": kept.is_log_append_time,
        "has_told_time": told.log_append_time_ms > 0,
        "has_told_time_as_latest": kept.max_timestamp == told.log_append_time_ms,
        "keeps_first_time": kept.base_timestamp == sent.base_timestamp,
        "keeps_latest_time": kept.max_timestamp == sent.max_timestamp,
        "last_offset_delta": kept.last_offset_delta,
        "record_count": kept.record_count,
        "producer": [kept.producer_id, kept.producer_epoch, kept.base_sequence],
    }


def storing(talk):
    kinds = [{"compression.type": one} for one in ("uncompressed", "gzip", "snappy", "lz4", "zstd")]
    kinds += [{}, {"message.timestamp.type": "LogAppendTime"}]
    kinds += [{"message.timestamp.type": "LogAppendTime", "compression.type": "zstd"}]
    for number, settings in enumerate(kinds):
        name = f"stored-{number}"
        configs = [CreatableTopicConfig(name=key, value=text) for key, text in settings.items()]
        topic = CreatableTopic(name=name, num_partitions=1, replication_factor=1, configs=configs)
        talk.ask(ApiKey.CREATE_TOPICS, 7, CreateTopicsRequest(topics=[topic], timeout_ms=10_000))
        wait_led(talk, name)
        idempotent = {"producer_id": 77_777, "producer_epoch": 0, "base_sequence": 0}
        for codec, identity in ((Codec.NONE, idempotent), (Codec.LZ4, {})):
            words = ", ".join(settings.values()) or "as sent"
            batch = build_batch(records(3, timestamp_ms=5_000), codec=codec, **identity)
            stored(talk, f"{words}, of {codec.name}", name, batch)


SCRIPT = (
    creating,
    growing,
    describing,
    changing_lists,
    changing,
    changing_what_cannot_be,
    altering,
    telling,
    deleting,
    offsets,
    fetching_by_id,
    storing,
)
