"""A page of groups: each coordinator is asked once, whatever the number of groups, and all at once.

The cluster here is three nodes that answer like real ones and note what they were asked.
"""

import asyncio
import zlib
from collections import Counter
from types import SimpleNamespace

import pytest

from trimaran.errors import ErrorCode
from trimaran.ids import NodeId, TopicId
from trimaran.metadata.topology import Topic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    ConsumerGroupDescribeResponse,
    Coordinator,
    DescribedConsumerGroup,
    DescribedGroup,
    DescribeGroupsResponse,
    FindCoordinatorResponse,
    ListedGroup,
    ListGroupsResponse,
    ListOffsetsPartitionResponse,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
)
from trimaran.server.http import group_lags, group_pages
from trimaran.server.http.kafka.asking import EARLIEST
from trimaran.server.http.kafka.client import KafkaClient
from trimaran.server.http.log_ends import log_ends
from trimaran.server.http.models.base import NoBody, SearchQuery
from trimaran.server.http.routes.groups import groups

pytestmark = pytest.mark.asyncio

NODES = (NodeId(1), NodeId(2), NodeId(3))
END = 100
TOPICS = {
    name: Topic(name=name, topic_id=TopicId(bytes([at]) * 16), partitions=(NODES,) * 4, settings={})
    for at, name in enumerate(("arrivals", "departures"), 1)
}
COUNT = 30
ABOUT_GROUPS = (ApiKey.DESCRIBE_GROUPS, ApiKey.OFFSET_FETCH)


class Asked(KafkaClient):
    """Three nodes; group number n is kept by node n % 3 + 1, partition p is led by 2 or 3."""

    def __init__(self):
        super().__init__(leaders=self, address=lambda node: None)
        self.names = [f"group-{number:02}" for number in range(COUNT)]
        self.asked = Counter()
        self.under_way = self.under_way_max = 0
        self.silent_about_groups = set()
        self.committed = END
        self.leaderless = set()
        self.stale_hints = 0
        """So many looks at who leads are wrong, by news that has not come."""
        self.moved = {}
        """Group to the node that keeps it since it was listed."""
        self.modern = set()
        """Those of the new protocol."""

    def kept_by(self, name):
        return self.moved.get(name, self.names.index(name) % 3 + 1)

    def leader_hint(self, group):
        if group in self.leaderless:
            return None, 1
        self.stale_hints -= 1
        return self.leader(group, other=self.stale_hints >= 0), 1

    def leader(self, group, *, other=False):
        return NodeId(2 + (zlib.crc32(repr(group).encode()) + other) % 2)

    def wait_metadata(self, predicate, timeout_s):
        return asyncio.ensure_future(asyncio.sleep(0, False))

    async def ask(self, node, key, message, *, lane, timeout_s):
        self.asked[node, key.name] += 1
        self.under_way += 1
        self.under_way_max = max(self.under_way, self.under_way_max)
        try:
            async with asyncio.timeout(timeout_s):
                is_silent = node in self.silent_about_groups and key in ABOUT_GROUPS
                await (asyncio.Event().wait() if is_silent else asyncio.sleep(0))
        finally:
            self.under_way -= 1
        return getattr(self, key.name.lower())(node, message)

    def list_groups(self, node, message):
        listed = [
            ListedGroup(group_id=name) for at, name in enumerate(self.names) if at % 3 + 1 == node
        ]
        return ListGroupsResponse(groups=listed)

    def find_coordinator(self, node, message):
        found = [
            Coordinator(key=key, node_id=self.kept_by(key)) for key in message.coordinator_keys
        ]
        return FindCoordinatorResponse(coordinators=found)

    def code_for(self, node, name):
        return ErrorCode.NONE if self.kept_by(name) == node else ErrorCode.NOT_COORDINATOR

    def describe_groups(self, node, message):
        rows = []
        for name in message.groups:
            code = self.code_for(node, name)
            if name in self.modern and code is ErrorCode.NONE:
                code = ErrorCode.GROUP_ID_NOT_FOUND
            rows.append(DescribedGroup(group_id=name, error_code=code, group_state="Stable"))
        return DescribeGroupsResponse(groups=rows)

    def consumer_group_describe(self, node, message):
        rows = [
            DescribedConsumerGroup(group_id=name, group_state="Empty", assignor_name="uniform")
            for name in message.group_ids
        ]
        return ConsumerGroupDescribeResponse(groups=rows)

    def offset_fetch(self, node, message):
        return OffsetFetchResponse(groups=[self.offsets(node, one) for one in message.groups])

    def offsets(self, node, asked):
        """Every group has read each partition so far."""
        code = self.code_for(node, asked.group_id)
        if code is not ErrorCode.NONE:
            return OffsetFetchResponseGroup(group_id=asked.group_id, error_code=code)
        topics = [
            OffsetFetchResponseTopics(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartitions(
                        partition_index=number, committed_offset=self.committed
                    )
                    for number in range(len(topic.partitions))
                ],
            )
            for topic in TOPICS.values()
        ]
        return OffsetFetchResponseGroup(group_id=asked.group_id, topics=topics)

    def list_offsets(self, node, message):
        topics = []
        for topic in message.topics:
            rows = []
            for row in topic.partitions:
                leads = self.leader(TOPICS[topic.name].group(row.partition_index)) == node
                code = ErrorCode.NONE if leads else ErrorCode.NOT_LEADER_OR_FOLLOWER
                offset = 0 if row.timestamp == EARLIEST else END
                rows.append(
                    ListOffsetsPartitionResponse(
                        partition_index=row.partition_index, error_code=code, offset=offset
                    )
                )
            topics.append(ListOffsetsTopicResponse(name=topic.name, partitions=rows))
        return ListOffsetsResponse(topics=topics)

    def node(self, replica=lambda topic, number: None):
        """Return node 1 as routes see it; by default it leads nothing."""
        return SimpleNamespace(
            node_id=NODES[0],
            kafka=self,
            image=SimpleNamespace(topic=TOPICS.get),
            replica=replica,
            alive=lambda: list(NODES),
            broker=SimpleNamespace(services=self),
        )

    async def page(self):
        """Return node 1's first page, by the groups' names."""
        asked = SimpleNamespace(node=self.node(), query=SearchQuery(), body=NoBody())
        found = await groups(asked)
        return {row.group_id: row for row in found.items}


async def test_each_coordinator_and_each_leader_is_asked_once_for_all_groups_of_a_page():
    cluster = Asked()
    rows = await cluster.page()

    assert {(row.state, row.lag_events, row.lag_s) for row in rows.values()} == {("Stable", 0, 0.0)}
    assert [row.coordinator for row in rows.values()] == [at % 3 + 1 for at in range(COUNT)]
    keys = ("LIST_GROUPS", "DESCRIBE_GROUPS", "OFFSET_FETCH")
    of_groups = {(node, key): 1 for node in NODES for key in keys}
    assert cluster.asked == of_groups | {(2, "LIST_OFFSETS"): 2, (3, "LIST_OFFSETS"): 2}
    assert cluster.under_way_max >= len(NODES), "they are asked at the same time"


async def test_groups_of_both_protocols_come_together():
    cluster = Asked()
    cluster.modern = {"group-00", "group-04"}
    rows = await cluster.page()

    assert {row.protocol for name, row in rows.items() if name in cluster.modern} == {"uniform"}
    assert {row.state for name, row in rows.items() if name not in cluster.modern} == {"Stable"}
    assert cluster.asked[1, "CONSUMER_GROUP_DESCRIBE"] == 1
    assert cluster.asked[3, "CONSUMER_GROUP_DESCRIBE"] == 0


async def test_a_group_that_moved_since_it_was_listed_is_found_with_the_others_that_did():
    cluster = Asked()
    cluster.moved = {"group-00": 2, "group-03": 3}
    rows = await cluster.page()

    assert {row.state for row in rows.values()} == {"Stable"}
    assert (rows["group-00"].coordinator, rows["group-03"].coordinator) == (2, 3)
    assert cluster.asked[1, "FIND_COORDINATOR"] == 1


async def test_a_silent_coordinator_holds_the_page_up_once_and_hides_no_other_groups(monkeypatch):
    monkeypatch.setattr(group_pages, "ATTEMPT_S", 0.05)
    monkeypatch.setattr(group_pages, "ASK_S", 0.01)
    cluster = Asked()
    cluster.silent_about_groups = {3}
    async with asyncio.timeout(5):
        rows = await cluster.page()

    states = [row.state for row in rows.values()]
    assert states == ["unknown" if at % 3 + 1 == 3 else "Stable" for at in range(COUNT)]
    assert cluster.asked[3, "DESCRIBE_GROUPS"] == 1


async def test_a_coordinator_of_very_many_groups_is_asked_for_some_at_a_time(monkeypatch):
    monkeypatch.setattr(group_pages, "GROUPS_ASKED_MAX", 4)
    cluster = Asked()
    rows = await cluster.page()

    assert {row.state for row in rows.values()} == {"Stable"}
    assert cluster.asked[1, "DESCRIBE_GROUPS"] == 3


async def test_an_event_that_several_groups_wait_for_is_looked_up_once(monkeypatch):
    looked_up = []

    async def age_s(node, place, offset):
        looked_up.append((place, offset))
        return 7.0

    monkeypatch.setattr(group_lags, "_age_s", age_s)
    cluster = Asked()
    cluster.committed = END - 5
    rows = await cluster.page()

    assert {(row.lag_events, row.lag_s) for row in rows.values()} == {(5 * 8, 7.0)}
    assert len(looked_up) == 8


async def test_a_partition_whose_leader_moved_is_asked_for_again_and_one_without_is_left_out():
    cluster = Asked()
    cluster.stale_hints = 1
    node = cluster.node()
    lost = ("departures", 3)
    found = await log_ends(node, [("arrivals", 0), lost, ("arrivals", 9), ("nosuch", 0)])
    assert found == {("arrivals", 0): (0, END), lost: (0, END)}

    cluster.leaderless = {TOPICS["departures"].group(3)}
    assert await log_ends(node, [("arrivals", 0), lost]) == {("arrivals", 0): (0, END)}


async def test_what_this_node_leads_it_knows_itself():
    cluster = Asked()
    own = SimpleNamespace(is_leader=True, log_start=3, high_watermark=9)
    node = cluster.node(replica=lambda topic, number: own)
    assert await log_ends(node, [("arrivals", 0)]) == {("arrivals", 0): (3, 9)}
    assert cluster.asked == {}
