"""AlterConfigs and IncrementalAlterConfigs."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.metadata.rules import GROUPS_TOPIC
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    AlterableConfig,
    AlterConfigsRequest,
    AlterConfigsResource,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)

pytestmark = pytest.mark.asyncio

TOPIC, NODE, LOGGER = 2, 4, 8
SET, DELETE, APPEND, SUBTRACT = range(4)


@pytest.fixture
def replace(client):
    """Return a function that replaces settings and returns the code."""

    async def send(kind, name, *, validate_only=False, **settings):
        configs = [
            AlterableConfig(name=key.replace("_", "."), value=value)
            for key, value in settings.items()
        ]
        resource = AlterConfigsResource(resource_type=kind, resource_name=name, configs=configs)
        request = AlterConfigsRequest(resources=[resource], validate_only=validate_only)
        (answer,) = (await client.ask_slowly(ApiKey.ALTER_CONFIGS, 2, request)).responses
        return answer.error_code

    return send


@pytest.fixture
def change(client):
    """Return a function that makes single changes and returns the code."""

    async def send(kind, name, *changes, validate_only=False):
        configs = [
            IncrementalAlterableConfig(name=key, config_operation=operation, value=value)
            for key, operation, value in changes
        ]
        resource = IncrementalAlterConfigsResource(
            resource_type=kind, resource_name=name, configs=configs
        )
        request = IncrementalAlterConfigsRequest(resources=[resource], validate_only=validate_only)
        key = ApiKey.INCREMENTAL_ALTER_CONFIGS
        (answer,) = (await client.ask_slowly(key, 1, request)).responses
        return answer.error_code

    return send


def settings(broker, topic="flights"):
    return broker.image.topic(topic).settings


async def test_what_is_not_named_goes_back_to_its_default(broker, replace):
    broker.add_topic("flights", retention_ms="1000", max_message_bytes="500")

    assert await replace(TOPIC, "flights", max_message_bytes="600") == 0

    assert settings(broker) == {"max.message.bytes": "600"}


async def test_a_single_change_leaves_the_rest(broker, change):
    broker.add_topic("flights", retention_ms="1000", max_message_bytes="500")

    code = await change(
        TOPIC, "flights", ("max.message.bytes", SET, "600"), ("retention.ms", DELETE, None)
    )

    assert code == 0
    assert settings(broker) == {"max.message.bytes": "600"}


async def test_words_are_added_to_a_list_and_taken_out(broker, change):
    broker.add_topic("flights")

    assert await change(TOPIC, "flights", ("cleanup.policy", APPEND, "delete")) == 0
    assert settings(broker) == {"cleanup.policy": "delete"}
    code = await change(TOPIC, "flights", ("retention.ms", APPEND, "1"))
    assert code == ErrorCode.INVALID_CONFIG


async def test_the_last_word_may_be_taken_out_of_a_list_and_no_empty_one_added(broker, change):
    broker.add_topic("flights")

    assert await change(TOPIC, "flights", ("cleanup.policy", APPEND, "")) == (
        ErrorCode.INVALID_CONFIG
    )
    assert await change(TOPIC, "flights", ("cleanup.policy", SUBTRACT, "delete")) == 0

    assert broker.image.topic("flights").effective_settings().cleanup_policy == ()


async def test_validate_only_changes_nothing(broker, change, replace):
    broker.add_topic("flights")

    codes = [
        await replace(TOPIC, "flights", retention_ms="1000", validate_only=True),
        await replace(TOPIC, "flights", retention_ms="soon", validate_only=True),
        await change(TOPIC, "flights", ("retention.ms", SET, "1"), validate_only=True),
    ]

    assert codes == [0, ErrorCode.INVALID_CONFIG, 0]
    assert (settings(broker), broker.commands) == ({}, [])


@pytest.mark.parametrize(
    ("kind", "name", "one", "code"),
    [
        (TOPIC, "flights", ("no.such", SET, "1"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "flights", ("no.such", APPEND, "x"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "flights", ("retention.ms", SET, "soon"), ErrorCode.INVALID_CONFIG),
        (
            TOPIC,
            "flights",
            ("cleanup.policy", SUBTRACT, "compact," * 600),
            ErrorCode.INVALID_CONFIG,
        ),
        (TOPIC, "flights", ("retention.ms", SET, "-2"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "flights", ("min.insync.replicas", SET, "3"), ErrorCode.INVALID_CONFIG),
        (TOPIC, "flights", ("retention.ms", SET, None), ErrorCode.INVALID_REQUEST),
        (TOPIC, "flights", ("retention.ms", 7, "1"), ErrorCode.INVALID_REQUEST),
        (TOPIC, "nowhere", ("retention.ms", SET, "1"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "a b", ("retention.ms", SET, "1"), ErrorCode.INVALID_TOPIC_EXCEPTION),
        (TOPIC, "", ("retention.ms", SET, "1"), ErrorCode.INVALID_REQUEST),
        (NODE, "9", ("num.partitions", SET, "1"), ErrorCode.INVALID_REQUEST),
        (NODE, "one", ("num.partitions", SET, "1"), ErrorCode.INVALID_REQUEST),
        (NODE, "1", ("num.partitions", SET, "0"), ErrorCode.INVALID_REQUEST),
        (NODE, "", ("no.such", SET, "0"), ErrorCode.INVALID_REQUEST),
        (NODE, "1", ("num.partitions", APPEND, "1"), ErrorCode.INVALID_CONFIG),
        (LOGGER, "1", ("trimaran", SET, "debug"), ErrorCode.INVALID_REQUEST),
    ],
)
async def test_what_cannot_be_changed_gets_kafkas_code(broker, change, kind, name, one, code):
    broker.add_topic("flights")

    assert await change(kind, name, one) == code
    assert broker.commands == []


async def test_a_setting_that_there_is_not_may_go_back_to_its_default(broker, change):
    broker.add_topic("flights", retention_ms="1000")

    code = await change(
        TOPIC, "flights", ("no.such", DELETE, None), ("retention.ms", DELETE, "ignored")
    )

    assert code == ErrorCode.NONE
    assert settings(broker) == {}


async def test_validate_only_tells_that_coordinators_have_no_settings(
    broker, change, create_coordinators
):
    create_coordinators()

    code = await change(TOPIC, GROUPS_TOPIC, ("retention.ms", SET, "1"), validate_only=True)

    assert code == ErrorCode.INVALID_TOPIC_EXCEPTION


async def test_more_settings_than_there_are_names_for_are_refused(broker, change, replace):
    broker.add_topic("flights")
    names = [f"retention.ms.{number}" for number in range(101)]

    codes = [
        await replace(TOPIC, "flights", **dict.fromkeys(names, "1")),
        await change(TOPIC, "flights", *[(name, DELETE, None) for name in names]),
        await change(NODE, "1", *[(name, SET, "1") for name in names]),
    ]

    assert codes == [ErrorCode.INVALID_CONFIG] * 3
    assert broker.commands == []


async def test_each_of_many_resources_is_looked_for_once(broker, client):
    compared = []

    class Name(str):
        """A topic's name that counts how often it is compared with another."""

        __hash__ = str.__hash__

        def __eq__(self, other):
            compared.append(other)
            return super().__eq__(other)

    resources = [
        AlterConfigsResource(resource_type=TOPIC, resource_name=Name(f"nowhere-{number}"))
        for number in range(40)
    ]
    answer = await client.ask_slowly(
        ApiKey.ALTER_CONFIGS, 2, AlterConfigsRequest(resources=resources)
    )

    assert [row.error_code for row in answer.responses] == [
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    ] * len(resources)
    assert len(compared) < 4 * len(resources)


async def test_the_same_setting_twice_is_refused(broker, change):
    broker.add_topic("flights")
    twice = [("retention.ms", SET, "1"), ("retention.ms", DELETE, None)]

    assert await change(TOPIC, "flights", *twice) == ErrorCode.INVALID_REQUEST


async def test_the_same_resource_twice_is_refused(broker, client):
    broker.add_topic("flights")
    resource = AlterConfigsResource(resource_type=TOPIC, resource_name="flights")
    request = AlterConfigsRequest(resources=[resource, resource])

    (answer,) = (await client.ask_slowly(ApiKey.ALTER_CONFIGS, 0, request)).responses

    assert answer.error_code == ErrorCode.INVALID_REQUEST


async def test_a_node_goes_before_all_nodes(broker, change):
    assert await change(NODE, "", ("num.partitions", SET, "6")) == 0
    assert await change(NODE, "1", ("num.partitions", SET, "7")) == 0

    assert broker.image.node_settings(1) == {"num.partitions": "7"}
    assert broker.image.node_settings(2) == {"num.partitions": "6"}
