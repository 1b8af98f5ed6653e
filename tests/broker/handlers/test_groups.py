"""FindCoordinator, OffsetCommit and OffsetFetch: there are no groups yet."""

import pytest

from trimaran.errors import ErrorCode
from trimaran.metadata.image import Image
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    FindCoordinatorRequest,
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
)


@pytest.mark.parametrize("version", range(4))
def test_every_group_may_ask_this_node(client, version):
    answer = client.ask(ApiKey.FIND_COORDINATOR, version, FindCoordinatorRequest(key="g"))

    assert answer.error_code == ErrorCode.NONE
    assert (answer.node_id, answer.host, answer.port) == (1, "host1", 9092)


def test_every_key_of_version_4_is_answered(client):
    request = FindCoordinatorRequest(coordinator_keys=["a", "b"])

    answer = client.ask(ApiKey.FIND_COORDINATOR, 4, request)

    assert [(found.key, found.node_id, found.error_code) for found in answer.coordinators] == [
        ("a", 1, ErrorCode.NONE),
        ("b", 1, ErrorCode.NONE),
    ]


def test_a_node_that_is_not_registered_yet_coordinates_nothing(broker, client):
    broker.image = Image()

    answer = client.ask(ApiKey.FIND_COORDINATOR, 2, FindCoordinatorRequest(key="g"))

    assert answer.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.parametrize(
    ("key_type", "code"),
    [(1, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), (2, ErrorCode.INVALID_REQUEST)],
)
def test_other_coordinators_are_refused_for_good(client, key_type, code):
    request = FindCoordinatorRequest(key="t", key_type=key_type)

    assert client.ask(ApiKey.FIND_COORDINATOR, 3, request).error_code == code


@pytest.mark.parametrize("version", range(2, 10))
def test_no_offset_is_committed(client, version):
    partition = OffsetCommitRequestPartition(partition_index=3, committed_offset=7)
    topic = OffsetCommitRequestTopic(name="flights", partitions=[partition])

    answer = client.ask(
        ApiKey.OFFSET_COMMIT, version, OffsetCommitRequest(group_id="g", topics=[topic])
    )

    (found,) = answer.topics[0].partitions
    assert (found.partition_index, found.error_code) == (3, ErrorCode.GROUP_ID_NOT_FOUND)


@pytest.mark.parametrize("version", range(1, 8))
def test_no_offset_is_known(client, version):
    topic = OffsetFetchRequestTopic(name="flights", partition_indexes=[3])

    answer = client.ask(
        ApiKey.OFFSET_FETCH, version, OffsetFetchRequest(group_id="g", topics=[topic])
    )

    (found,) = answer.topics[0].partitions
    assert (found.committed_offset, found.error_code) == (-1, ErrorCode.GROUP_ID_NOT_FOUND)
    assert answer.error_code == ErrorCode.GROUP_ID_NOT_FOUND


@pytest.mark.parametrize("version", [8, 9])
def test_every_group_asked_for_is_answered(client, version):
    groups = [OffsetFetchRequestGroup(group_id=name, topics=None) for name in ("a", "b")]

    answer = client.ask(ApiKey.OFFSET_FETCH, version, OffsetFetchRequest(groups=groups))

    assert [(group.group_id, group.error_code) for group in answer.groups] == [
        ("a", ErrorCode.GROUP_ID_NOT_FOUND),
        ("b", ErrorCode.GROUP_ID_NOT_FOUND),
    ]
