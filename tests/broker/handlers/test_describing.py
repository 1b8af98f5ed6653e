"""ApiVersions, DescribeCluster and DescribeConfigs."""

from dataclasses import replace

import pytest

from trimaran.errors import ErrorCode
from trimaran.groups.messages import GroupSettings, MigrationPolicy
from trimaran.ids import NodeId
from trimaran.metadata.commands import AlterNodeSettings
from trimaran.protocol.api import APIS, ApiKey
from trimaran.protocol.messages import (
    ApiVersionsRequest,
    DescribeClusterRequest,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsSynonym,
)

pytestmark = pytest.mark.asyncio


async def describe(client, kind, name, *, keys=None, version=4, **fields):
    resource = DescribeConfigsResource(
        resource_type=kind, resource_name=name, configuration_keys=keys
    )
    request = DescribeConfigsRequest(resources=[resource], **fields)
    (result,) = (await client.ask_slowly(ApiKey.DESCRIBE_CONFIGS, version, request)).results
    return result


@pytest.mark.parametrize("version", range(5))
async def test_api_versions_are_the_table(client, version):
    response = client.ask(ApiKey.API_VERSIONS, version, ApiVersionsRequest())

    rows = [(row.api_key, row.min_version, row.max_version) for row in response.api_keys]
    assert rows == [(row.key, row.min_version, row.max_version) for row in APIS.values()]
    assert response.error_code == ErrorCode.NONE


async def test_the_cluster_is_its_registered_nodes(broker, client):
    broker.dead[3] = None

    response = client.ask(ApiKey.DESCRIBE_CLUSTER, 1, DescribeClusterRequest())

    assert [(node.broker_id, node.port) for node in response.brokers] == [
        (1, 9092),
        (2, 9093),
        (3, 9094),
    ]
    assert (response.cluster_id, response.controller_id) == (broker.cluster_id, 1)


@pytest.mark.parametrize(
    ("endpoint_type", "code"),
    [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (9, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)],
)
async def test_controllers_cannot_be_described(client, endpoint_type, code):
    request = DescribeClusterRequest(endpoint_type=endpoint_type)

    assert client.ask(ApiKey.DESCRIBE_CLUSTER, 1, request).error_code == code


async def test_a_topic_has_its_own_settings_and_defaults(broker, client):
    broker.add_topic("flights", max_message_bytes="2000")

    result = await describe(client, 2, "flights")

    found = {row.name: (row.value, row.config_source) for row in result.configs}
    assert found["max.message.bytes"] == ("2000", 1)
    assert found["min.insync.replicas"] == ("1", 5)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retention_ms", " +07200000 ", "7200000"),
        ("cleanup_policy", " compact , delete ", "compact,delete"),
        ("unclean_leader_election_enable", "FALSE", "false"),
        ("min_cleanable_dirty_ratio", "0.70", "0.7"),
        ("compression_type", " gzip ", "gzip"),
    ],
)
async def test_a_value_is_told_as_it_was_meant(broker, client, name, text, value):
    broker.add_topic("flights", **{name: text})

    (row,) = (await describe(client, 2, "flights", keys=[name.replace("_", ".")])).configs

    assert (row.value, row.config_source) == (value, 1)


async def test_no_keys_mean_every_setting(broker, client):
    broker.add_topic("flights")

    assert await describe(client, 2, "flights", keys=[]) == await describe(client, 2, "flights")


async def test_a_resource_asked_for_many_times_is_described_once(broker, client):
    broker.add_topic("flights")
    resource = DescribeConfigsResource(resource_type=2, resource_name="flights")
    request = DescribeConfigsRequest(resources=[resource] * 100)

    results = (await client.ask_slowly(ApiKey.DESCRIBE_CONFIGS, 4, request)).results

    assert [len(result.configs) > 0 for result in results] == [True]


async def test_topics_without_settings_of_their_own_share_their_rows(broker, client, settle):
    for number in range(50):
        broker.add_topic(f"flights-{number}")
    broker.add_topic("trains", retention_ms="1000")
    names = [*[f"flights-{number}" for number in range(50)], "trains"]
    resources = [DescribeConfigsResource(resource_type=2, resource_name=name) for name in names]
    call = client.send(ApiKey.DESCRIBE_CONFIGS, 4, DescribeConfigsRequest(resources=resources))

    await settle(turns=2)
    assert not client.has_answered(call), "others have had their turn"
    await settle(lambda: client.has_answered(call))

    results = client.answer_of(call).results
    assert [result.resource_name for result in results] == names
    assert len({id(result.configs): None for result in results}) == 2
    assert next(row.value for row in results[-1].configs if row.name == "retention.ms") == "1000"


async def test_named_settings_only(broker, client):
    broker.add_topic("flights")

    result = await describe(client, 2, "flights", keys=["retention.ms", "no.such"])

    assert [row.name for row in result.configs] == ["retention.ms"]


async def test_synonyms_and_documentation_when_asked_for(broker, client):
    broker.add_topic("flights", max_message_bytes="2000")

    (row,) = (
        await describe(
            client,
            2,
            "flights",
            keys=["max.message.bytes"],
            include_synonyms=True,
            include_documentation=True,
        )
    ).configs

    assert row.synonyms == [
        DescribeConfigsSynonym(name="max.message.bytes", value="2000", source=1),
        DescribeConfigsSynonym(name="max.message.bytes", value="1048588", source=5),
    ]
    assert "batch" in row.documentation
    assert row.config_type == 3


async def test_neither_unless_asked_for(broker, client):
    broker.add_topic("flights")

    (row,) = (await describe(client, 2, "flights", keys=["retention.ms"])).configs

    assert (row.synonyms, row.documentation) == ((), None)


async def test_a_nodes_settings_come_from_its_file_unless_altered(broker, client):
    broker.set(num_partitions=8)
    broker.apply(AlterNodeSettings(node_id=NodeId(0), set={"auto.create.topics.enable": "false"}))
    broker.apply(AlterNodeSettings(node_id=NodeId(1), set={"default.replication.factor": "1"}))

    result = await describe(client, 4, "1")

    changeable = [row for row in result.configs if not row.read_only]
    assert {row.name: (row.value, row.config_source) for row in changeable} == {
        "auto.create.topics.enable": ("false", 3),
        "num.partitions": ("8", 4),
        "default.replication.factor": ("1", 2),
    }


async def test_the_empty_name_is_what_was_set_for_all_nodes_and_nothing_else(broker, client):
    assert (await describe(client, 4, "")).configs == []
    broker.apply(AlterNodeSettings(node_id=NodeId(0), set={"num.partitions": "9"}))

    result = await describe(client, 4, "", include_synonyms=True)

    assert [(row.name, row.value, row.config_source) for row in result.configs] == [
        ("num.partitions", "9", 3)
    ]
    assert [(row.value, row.source) for row in result.configs[0].synonyms] == [("9", 3)]


async def test_synonyms_tell_what_would_hold_without_what_was_set(broker, client):
    broker.set(num_partitions=8)
    broker.apply(AlterNodeSettings(node_id=NodeId(0), set={"num.partitions": "9"}))
    broker.apply(AlterNodeSettings(node_id=NodeId(1), set={"num.partitions": "9"}))

    (row,) = (
        await describe(client, 4, "1", keys=["num.partitions"], include_synonyms=True)
    ).configs

    assert (row.value, row.config_source) == ("9", 2)
    assert [(one.value, one.source) for one in row.synonyms] == [
        ("9", 2),
        ("9", 3),
        ("8", 4),
        ("4", 5),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [
        (2, "unknown", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (4, "2", ErrorCode.INVALID_REQUEST),
        (4, "many", ErrorCode.INVALID_REQUEST),
        (8, "1", ErrorCode.INVALID_REQUEST),
    ],
)
async def test_what_cannot_be_described_is_told(client, kind, name, code):
    result = await describe(client, kind, name)

    assert result.error_code == code
    assert (result.resource_type, result.resource_name, result.configs) == (kind, name, ())


async def test_a_node_tells_where_it_listens_and_that_it_is_fixed(broker, client):
    result = await describe(client, 4, "1", keys=["advertised.listeners", "node.id"])

    assert [(row.name, row.value, row.read_only, row.config_source) for row in result.configs] == [
        ("advertised.listeners", f"PLAINTEXT://{broker.image.nodes[0].host}:9092", True, 4),
        ("node.id", "1", True, 4),
    ]


async def test_a_node_tells_what_groups_may_do_by_kafkas_names(broker, client):
    group = GroupSettings(
        session_timeout_min_ms=1_000,
        session_timeout_max_ms=90_000,
        initial_rebalance_delay_ms=20,
        members_max=7,
        heartbeat_interval_ms=300,
        consumer_session_timeout_ms=2_000,
        migration=MigrationPolicy.UPGRADE,
    )
    broker.kafka = replace(
        broker.kafka, group=group, offset_metadata_bytes_max=99, offsets_retention_s=120.0
    )

    result = await describe(client, 4, "1")

    rows = [row for row in result.configs if row.name.startswith(("group.", "offset"))]
    assert {row.name: row.value for row in rows} == {
        "group.consumer.assignors": "uniform,range",
        "group.consumer.heartbeat.interval.ms": "300",
        "group.consumer.max.size": "7",
        "group.consumer.migration.policy": "upgrade",
        "group.consumer.session.timeout.ms": "2000",
        "group.initial.rebalance.delay.ms": "20",
        "group.max.session.timeout.ms": "90000",
        "group.max.size": "7",
        "group.min.session.timeout.ms": "1000",
        "offset.metadata.max.bytes": "99",
        "offsets.retention.minutes": "2",
    }
    assert {(row.read_only, row.config_source) for row in rows} == {(True, 4)}
