"""REST: topics, their partitions, settings, dedup windows, and events over time.

Changes go through the node's own Kafka port: the same checks as for any Kafka client.
Does not: read or publish events (`routes.events`).
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from trimaran.broker.deduplication import LAST_DUPLICATES
from trimaran.broker.partition import Partition
from trimaran.ids import NodeId
from trimaran.metadata.settings import Effect, written
from trimaran.metadata.topic_settings import TOPIC_SETTINGS
from trimaran.metadata.topology import Topic as KnownTopic
from trimaran.protocol.api import ApiKey
from trimaran.protocol.messages import (
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
    IncrementalAlterableConfig,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource,
)
from trimaran.server.http import facts
from trimaran.server.http.context import NodeContext
from trimaran.server.http.endpoint import Asked, Endpoint, Reply, get
from trimaran.server.http.events_over_time import event_histogram
from trimaran.server.http.kafka.asking import delete_records
from trimaran.server.http.kafka.client import checked
from trimaran.server.http.models.base import NoBody, NoQuery, PageQuery, SearchQuery
from trimaran.server.http.models.cluster import NodePartition
from trimaran.server.http.models.topics import (
    AlterTopicBody,
    CreateTopicBody,
    DeleteEventsQuery,
    EventHistogram,
    EventsDeleted,
    HistogramQuery,
    LastDuplicate,
    NodeDedup,
    NodeDedupQuery,
    PartitionAnswer,
    PartitionPage,
    PartitionState,
    PartitionWindow,
    ReplicaState,
    Setting,
    TopicAnswer,
    TopicConfig,
    TopicDedup,
    TopicPage,
)
from trimaran.server.http.paging import number_key, page_of
from trimaran.server.http.topic_rows import GROUPS_ASKED_MAX, topic_rows

ADMIN_S = 10.0
NEWS_S = 2.0
_TOPIC_RESOURCE = 2
_SET, _DELETE = 0, 1


async def topics(asked: Asked[SearchQuery, NoBody]) -> TopicPage:
    """All topics."""
    node, search = asked.node, asked.query.search or ""
    page = page_of(
        [topic for topic in node.image.topics if search in topic.name],
        key=lambda topic: topic.name,
        limit=asked.query.limit,
        after=asked.query.after,
    )
    rows = await topic_rows(node, page.items)
    return TopicPage(items=rows, next=page.next, total=page.total, served_by=node.node_id)


async def one_topic(asked: Asked[NoQuery, NoBody]) -> TopicAnswer:
    """One topic."""
    return await _answer(asked.node, asked.node.topic(asked.path["topic"]))


async def _answer(node: NodeContext, topic: KnownTopic) -> TopicAnswer:
    (row,) = await topic_rows(node, [topic], groups_shown=GROUPS_ASKED_MAX)
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    return TopicAnswer(**values, served_by=node.node_id)


async def create(asked: Asked[NoQuery, CreateTopicBody]) -> Reply:
    """Create a topic, and wait until this node knows it."""
    node, body = asked.node, asked.body
    wanted = CreatableTopic(
        name=body.name,
        num_partitions=-1 if body.partitions is None else body.partitions,
        replication_factor=-1 if body.replication_factor is None else body.replication_factor,
        configs=[CreatableTopicConfig(name=name, value=text) for name, text in body.config.items()],
    )
    request = CreateTopicsRequest(
        topics=[wanted], timeout_ms=int(ADMIN_S * 1000), validate_only=body.dry_run
    )
    answer = await _admin(node, ApiKey.CREATE_TOPICS, request)
    found = answer.topics[0]
    checked(found.error_code, found.error_message)
    if body.dry_run:
        return Reply(body=None, status=204)
    services = node.broker.services

    def is_led() -> bool:
        known = node.image.topic(body.name)
        return known is not None and all(
            services.leader_hint(known.group(number))[0] is not None
            for number in range(len(known.partitions))
        )

    await services.wait_metadata(is_led, NEWS_S)
    return Reply(
        body=await _answer(node, node.topic(body.name)),
        status=201,
        headers={"location": f"/v1/topics/{quote(body.name)}"},
    )


async def alter(asked: Asked[NoQuery, AlterTopicBody]) -> TopicAnswer:
    """Add partitions, set settings or take them back."""
    node, body = asked.node, asked.body
    topic = node.user_topic(asked.path["topic"])
    if body.config:
        configs = [
            IncrementalAlterableConfig(
                name=name, config_operation=_DELETE if text is None else _SET, value=text
            )
            for name, text in body.config.items()
        ]
        resource = IncrementalAlterConfigsResource(
            resource_type=_TOPIC_RESOURCE, resource_name=topic.name, configs=configs
        )
        answer = await _admin(
            node,
            ApiKey.INCREMENTAL_ALTER_CONFIGS,
            IncrementalAlterConfigsRequest(resources=[resource]),
        )
        checked(answer.responses[0].error_code, answer.responses[0].error_message)
    if body.partitions is not None and body.partitions != len(topic.partitions):
        request = CreatePartitionsRequest(
            topics=[CreatePartitionsTopic(name=topic.name, count=body.partitions)],
            timeout_ms=int(ADMIN_S * 1000),
        )
        answer = await _admin(node, ApiKey.CREATE_PARTITIONS, request)
        checked(answer.results[0].error_code, answer.results[0].error_message)
        await node.broker.services.wait_metadata(
            lambda: _has_partitions(node, topic.name, body.partitions or 0), NEWS_S
        )
    return await _answer(node, node.topic(topic.name))


def _has_partitions(node: NodeContext, name: str, count: int) -> bool:
    known = node.image.topic(name)
    return known is not None and len(known.partitions) >= count


async def delete(asked: Asked[NoQuery, NoBody]) -> Reply:
    """Delete a topic, and wait until this node knows it no more."""
    node = asked.node
    topic = node.user_topic(asked.path["topic"])
    request = DeleteTopicsRequest(
        topics=[DeleteTopicState(name=topic.name)], timeout_ms=int(ADMIN_S * 1000)
    )
    answer = await _admin(node, ApiKey.DELETE_TOPICS, request)
    checked(answer.responses[0].error_code, answer.responses[0].error_message)
    await node.broker.services.wait_metadata(
        lambda: node.image.topic_by_id(topic.topic_id) is None, NEWS_S
    )
    for number in range(len(topic.partitions)):
        node.publisher.forget(topic.group(number))
    return Reply(body=None, status=204)


async def _admin(node: NodeContext, key: ApiKey, request: object) -> Any:  # noqa: ANN401
    return await node.kafka.ask(
        node.node_id, key, request, lane="admin", timeout_s=ADMIN_S + NEWS_S
    )


async def config(asked: Asked[NoQuery, NoBody]) -> TopicConfig:
    """Every setting with value, default and source."""
    topic = asked.node.topic(asked.path["topic"])
    items = [
        Setting(
            name=name,
            value=written(row, topic.settings.get(name, row.default)),
            default=row.default,
            source="topic" if name in topic.settings else "default",
            type=row.kind.name.lower(),
            allowed=row.allowed,
            doc=row.doc,
            effect=_EFFECTS[row.effect],  # type: ignore[arg-type]
            read_only=row.effect is Effect.WAITING,
        )
        for name, row in TOPIC_SETTINGS.items()
    ]
    return TopicConfig(topic=topic.name, items=items, served_by=asked.node.node_id)


_EFFECTS = {Effect.LIVE: "live", Effect.ACCEPTED: "accepted", Effect.WAITING: "waiting"}


async def partitions(asked: Asked[PageQuery, NoBody]) -> PartitionPage:
    """A topic's partitions with what each replica says."""
    node = asked.node
    topic = node.topic(asked.path["topic"])
    page = page_of(
        range(len(topic.partitions)),
        key=number_key,
        limit=asked.query.limit,
        after=asked.query.after,
    )
    told = await facts.partitions_of(node, topic, page.items)
    return PartitionPage(
        items=[partition_state(node, topic, number, told) for number in page.items],
        next=page.next,
        total=page.total,
        served_by=node.node_id,
    )


async def one_partition(asked: Asked[NoQuery, NoBody]) -> PartitionAnswer:
    """One partition."""
    node = asked.node
    topic = node.topic(asked.path["topic"])
    number = node.partition_of(topic, asked.path["partition"])
    told = await facts.partitions_of(node, topic, [number])
    state = partition_state(node, topic, number, told)
    values = {name: getattr(state, name) for name in state.__struct_fields__}
    return PartitionAnswer(**values, served_by=node.node_id)


def partition_state(
    node: NodeContext,
    topic: KnownTopic,
    number: int,
    told: Mapping[NodeId, Mapping[int, NodePartition]],
) -> PartitionState:
    """Return a partition from what its replicas say."""
    services, group = node.broker.services, topic.group(number)
    leader, term = services.leader_hint(group)
    members = topic.partitions[number]
    rows = {member: told.get(member, {}).get(number) for member in members}
    alive = node.alive()
    led = rows.get(leader) if leader is not None else None
    end = None if led is None else led.log_end
    replicas = [
        _replica_state(member, row, is_leader=member == leader, is_alive=member in alive, end=end)
        for member, row in rows.items()
    ]
    return PartitionState(
        topic=topic.name,
        partition=number,
        leader=leader,
        term=term,
        preferred=members[0],
        replicas=replicas,
        log_start=None if led is None else led.log_start,
        high_watermark=None if led is None else led.high_watermark,
        log_end=end,
        commit_index=None if led is None else led.commit_index,
        size_bytes=None if led is None else led.size_bytes,
        under_replicated=bool(services.behind(group))
        or any(row.state == "unreachable" for row in replicas),
    )


def _replica_state(
    member: NodeId, row: NodePartition | None, *, is_leader: bool, is_alive: bool, end: int | None
) -> ReplicaState:
    if row is None:
        return ReplicaState(
            node_id=member,
            state="leader" if is_leader and is_alive else "unreachable",
            term=None,
            log_end=None,
            high_watermark=None,
            log_start=None,
            lag_events=None,
            commit_index=None,
            last_index=None,
            synced_index=None,
            size_bytes=None,
        )
    state = "leader" if is_leader else "follower" if is_alive else "unreachable"
    return ReplicaState(
        node_id=member,
        state="leader" if state == "leader" else "follower" if is_alive else "unreachable",
        term=row.term,
        log_end=row.log_end,
        high_watermark=row.high_watermark,
        log_start=row.log_start,
        lag_events=None if end is None else max(0, end - row.log_end),
        commit_index=row.commit_index,
        last_index=row.last_index,
        synced_index=row.synced_index,
        size_bytes=row.size_bytes,
    )


async def delete_events(asked: Asked[DeleteEventsQuery, NoBody]) -> EventsDeleted:
    """Give up the oldest events of a partition."""
    node = asked.node
    topic = node.user_topic(asked.path["topic"])
    number = node.partition_of(topic, asked.path["partition"])
    start = await delete_records(node.kafka, topic, number, asked.query.before)
    return EventsDeleted(
        topic=topic.name, partition=number, log_start=start, served_by=node.node_id
    )


async def histogram(asked: Asked[HistogramQuery, NoBody]) -> EventHistogram:
    """Events over time."""
    topic = asked.node.user_topic(asked.path["topic"])
    if asked.query.partition is not None:
        asked.node.partition_of(topic, asked.query.partition)
    return await event_histogram(asked.node, topic, asked.query)


async def dedup(asked: Asked[NoQuery, NoBody]) -> TopicDedup:
    """What the leaders remember of event ids."""
    node = asked.node
    topic = node.user_topic(asked.path["topic"])
    others = [number for number in node.alive() if number != node.node_id]
    path = f"/v1/node/dedup?topic={quote(topic.name)}"
    answers = await node.fellows.get_all(others, path, NodeDedup)
    windows, last = led_windows(node, topic), led_duplicates(node, topic)
    for answer in answers:
        windows += [] if answer is None else answer.items
        last += [] if answer is None else answer.last_duplicates
    windows.sort(key=lambda row: row.partition)
    settings = topic.effective_settings()
    hits = sum(row.hits for row in windows)
    stored = sum(row.ids + row.evicted for row in windows)
    return TopicDedup(
        topic=topic.name,
        enabled=settings.event_dedup_enable,
        header=settings.event_dedup_header,
        window_ms=settings.event_dedup_window_ms,
        max_ids=settings.event_dedup_max_ids,
        partitions=windows,
        ids=sum(row.ids for row in windows),
        memory_bytes=sum(row.memory_bytes for row in windows),
        hits=hits,
        hit_rate=hits / (hits + stored) if hits + stored else None,
        last_duplicates=newest(last)[::-1],
        served_by=node.node_id,
    )


async def own_dedup(asked: Asked[NodeDedupQuery, NoBody]) -> NodeDedup:
    """What this node remembers for the partitions it leads."""
    topic = asked.node.user_topic(asked.query.topic)
    return NodeDedup(
        items=led_windows(asked.node, topic),
        last_duplicates=newest(led_duplicates(asked.node, topic)),
        served_by=asked.node.node_id,
    )


def led_windows(node: NodeContext, topic: KnownTopic) -> list[PartitionWindow]:
    """Return the windows of partitions that this node leads."""
    return [_window(node, replica) for replica in _led(node, topic)]


def led_duplicates(node: NodeContext, topic: KnownTopic) -> list[LastDuplicate]:
    """Return the last events that this node did not store again, of partitions that it leads."""
    return [
        LastDuplicate(
            partition=replica.number,
            id_hash=row.event_hash.hex(),
            original_offset=row.original_offset,
            at_ms=row.log_time_ms,
        )
        for replica in _led(node, topic)
        for row in replica.event_ids.last_duplicates
    ]


def newest(rows: list[LastDuplicate]) -> list[LastDuplicate]:
    """Return the newest `LAST_DUPLICATES` of `rows`, the newest last."""
    return sorted(rows, key=lambda row: row.at_ms)[-LAST_DUPLICATES:]


def _led(node: NodeContext, topic: KnownTopic) -> Iterator[Partition]:
    for number in range(len(topic.partitions)):
        replica = node.replica(topic, number)
        if isinstance(replica, Partition) and replica.is_leader:
            yield replica


def _window(node: NodeContext, replica: Partition) -> PartitionWindow:
    row = replica.event_ids.statistics(replica.log_time_ms, replica.settings)
    oldest = row.oldest_log_time_ms
    return PartitionWindow(
        partition=replica.number,
        node_id=node.node_id,
        ids=row.ids,
        ids_max=row.ids_max,
        oldest_log_time_ms=None if oldest < 0 else oldest,
        effective_window_ms=row.effective_window_ms,
        cut_short=row.is_cut_short,
        memory_bytes=row.memory_bytes,
        hits=replica.event_ids.duplicate_count,
        evicted=row.evicted,
    )


def _write(
    method: str,
    path: str,
    summary: str,
    handle: Any,  # noqa: ANN401 - a handler of any query and body
    answer: Any,  # noqa: ANN401 - a struct type
    **more: Any,  # noqa: ANN401
) -> Endpoint[Any, Any]:
    row = {"query": NoQuery, "body": NoBody, **more}
    return Endpoint(
        method=method, path=path, tag="topics", summary=summary, handle=handle, answer=answer, **row
    )


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    get("/v1/topics", "topics", "All topics", topics, TopicPage, query=SearchQuery),
    _write(
        "POST",
        "/v1/topics",
        "Create a topic (204 after a dry run)",
        create,
        TopicAnswer,
        body=CreateTopicBody,
        status=201,
        empty_statuses=(204,),
    ),
    get("/v1/topics/{topic}", "topics", "One topic", one_topic, TopicAnswer),
    _write(
        "PATCH",
        "/v1/topics/{topic}",
        "Add partitions, change settings",
        alter,
        TopicAnswer,
        body=AlterTopicBody,
    ),
    _write("DELETE", "/v1/topics/{topic}", "Delete a topic", delete, None, status=204),
    get("/v1/topics/{topic}/config", "topics", "A topic's settings", config, TopicConfig),
    get(
        "/v1/topics/{topic}/partitions",
        "topics",
        "A topic's partitions and their replicas",
        partitions,
        PartitionPage,
        query=PageQuery,
    ),
    get(
        "/v1/topics/{topic}/partitions/{partition}",
        "topics",
        "One partition",
        one_partition,
        PartitionAnswer,
    ),
    _write(
        "DELETE",
        "/v1/topics/{topic}/partitions/{partition}/events",
        "Give up the oldest events of a partition",
        delete_events,
        EventsDeleted,
        query=DeleteEventsQuery,
    ),
    get(
        "/v1/topics/{topic}/histogram",
        "topics",
        "Events over time",
        histogram,
        EventHistogram,
        query=HistogramQuery,
    ),
    get("/v1/topics/{topic}/dedup", "topics", "Event ids remembered", dedup, TopicDedup),
    get(
        "/v1/node/dedup",
        "this node",
        "Event ids remembered by this node",
        own_dedup,
        NodeDedup,
        query=NodeDedupQuery,
    ),
)
