"""One look at all groups of the node, a second's worth: what metrics and history tell of them.

The look takes the loop for at most SLICE groups at a time. Whatever grows (events, bytes) is added
up here by its differences, so that a deleted topic or a replica that starts over takes nothing away
from a sum.

Bounds: the first TOPICS_MAX topics in the metadata's order are told by name, the events of all
others together as OTHER; the first GROUPS_MAX groups (metadata first, then in the order in which
the node took them up) have rows of their own. Sums and counts always cover everything.
Does not: name series or metrics.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from trimaran.broker.node import Broker
from trimaran.broker.partition import Partition
from trimaran.broker.replica import Replica
from trimaran.dedup.id_window import EventIdStatistics
from trimaran.ids import METADATA_GROUP, GroupId, Index, NodeId, split_group_id
from trimaran.raft.log import RaftLog
from trimaran.raft.ready import Role

SLICE = 25
"""Groups looked at before others get their turn."""
TOPICS_MAX = 100
GROUPS_MAX = 100
OTHER = "(other)"
"""No topic can be called so."""
METADATA = "__metadata"
"""The metadata group's topic, where it is told with topics."""
ROLES = tuple(role.value for role in Role)
COUNTED = ("events", "batches", "bytes", "read_events", "read_bytes", "hits", "evicted")
NOTHING = (0,) * len(COUNTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """One group on this node."""

    topic: str
    partition: int
    role: str
    term: int
    has_leader: bool
    commit_index: int
    last_index: int
    synced_index: int
    log_start: int
    """This and the two below: offsets; -1 for a group without events."""
    high_watermark: int
    log_end: int
    lags: tuple[tuple[NodeId, int], ...]
    """For a leader: entries that each follower has not acknowledged."""


@dataclass(slots=True)
class DedupRow:
    """The event ids of one topic's partitions on this node."""

    ids: int = 0
    fill: float = 0.0
    """Of the fullest partition: ids as a share of the most it may hold."""
    memory_bytes: int = 0
    oldest_ms: int = -1
    """Log time of the oldest id that counts; -1: there is none."""
    window_ms: int = 0
    effective_ms: int = 0
    """Of the partition whose ids reach back least far."""
    cut_short: int = 0
    """Partitions whose count of ids ends the window before time does."""

    def add(self, found: EventIdStatistics) -> None:
        """Take in one partition."""
        self.ids += found.ids
        self.memory_bytes += found.memory_bytes
        self.window_ms = max(self.window_ms, found.window_ms)
        self.cut_short += found.is_cut_short
        if found.ids_max > 0:
            self.fill = max(self.fill, found.ids / found.ids_max)
        if found.oldest_log_time_ms >= 0:
            oldest_ms = found.oldest_log_time_ms
            self.oldest_ms = oldest_ms if self.oldest_ms < 0 else min(self.oldest_ms, oldest_ms)
        shortest = found.effective_window_ms
        self.effective_ms = shortest if self.effective_ms == 0 else min(self.effective_ms, shortest)


@dataclass(slots=True)
class TopicRow:
    """One topic on this node, or all those together that have no row of their own."""

    led: int = 0
    replicas: int = 0
    size_bytes: int = 0
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    """Since the node started, by the names in COUNTED; grows only."""
    deltas: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    """In the last second."""
    dedup: DedupRow | None = None


@dataclass(slots=True)
class PeerRow:
    """What one other node holds of the groups led here."""

    acked_events: int = 0
    """Acknowledged in the last second."""
    lag_events: int = 0
    lagging_groups: int = 0
    """Groups of which it does not hold what was committed a second ago."""


@dataclass(slots=True)
class GroupsLook:
    """All groups, at about one moment."""

    rows: list[GroupRow] = field(default_factory=list)
    group_count: int = 0
    by_role: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 0))
    without_leader: int = 0
    under_replicated: int = 0
    without_vote: int = 0
    term_max: int = 0
    topics: dict[str, TopicRow] = field(default_factory=dict)
    peers: dict[NodeId, PeerRow] = field(default_factory=dict)


class GroupsWatch:
    """Looks at the groups of one node again and again."""

    def __init__(self, broker: Broker) -> None:
        """Nothing is looked at before `look`."""
        self._broker = broker
        self._counted: dict[GroupId, tuple[int, ...]] = {}
        self._acked: dict[tuple[GroupId, NodeId], int] = {}
        self._committed: dict[GroupId, Index] = {}
        self._totals: dict[str, dict[str, int]] = {}

    async def look(self) -> GroupsLook:
        """Look at every group once."""
        found = GroupsLook()
        broker = self._broker
        peers_alive = broker.gauges.peers_alive
        alive = {node: None for node, is_alive in peers_alive if is_alive}
        found.peers = {node: PeerRow() for node, _ in peers_alive}
        names = self._names()
        log_time_ms = broker.log_time_ms()
        replicas = list(broker.replicas)
        for number, replica in enumerate(replicas, 1):
            if not replica.removed:
                self._look_at(replica, found, names, alive, log_time_ms)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self._forget(replicas, names)
        return found

    def _names(self) -> dict[bytes, str]:
        """Return what topics are called here, by id."""
        topics = self._broker.services.image.topics
        return {topic.topic_id: topic.name for topic in topics}

    def _look_at(
        self,
        replica: Replica,
        found: GroupsLook,
        names: dict[bytes, str],
        alive: dict[NodeId, None],
        log_time_ms: int,
    ) -> None:
        raft, group = replica.raft, replica.group
        machine = replica.machine
        partition = machine if isinstance(machine, Partition) else None
        found.group_count += 1
        found.by_role[raft.role.value] += 1
        found.term_max = max(found.term_max, raft.term)
        found.without_leader += raft.leader is None
        found.without_vote += not raft.may_vote
        lags = self._followers(replica, partition, found, alive) if raft.is_leader else ()
        self._committed[group] = raft.commit_index
        if partition is not None:
            self._count(partition, self._topic_row(found, partition.topic), log_time_ms)
        if len(found.rows) < GROUPS_MAX:
            topic_id, number = split_group_id(group)
            name = METADATA if group == METADATA_GROUP else names.get(topic_id)
            if name is not None:  # else its topic was deleted a moment ago
                found.rows.append(_row(replica, partition, name, number, lags))

    def _topic_row(self, found: GroupsLook, name: str) -> TopicRow:
        row = found.topics.get(name)
        if row is None:
            named = len(self._totals) - (OTHER in self._totals)
            if name not in self._totals and named >= TOPICS_MAX:
                name = OTHER
            totals = self._totals.setdefault(name, dict.fromkeys(COUNTED, 0))
            row = found.topics.setdefault(name, TopicRow(totals=totals))
        return row

    def _count(self, partition: Partition, row: TopicRow, log_time_ms: int) -> None:
        row.led += partition.is_leader
        row.replicas += 1
        row.size_bytes += partition.size_bytes
        statistics = _ids_statistics(partition, log_time_ms)
        if statistics is not None:
            if row.dedup is None:
                row.dedup = DedupRow()
            row.dedup.add(statistics)
        self._add_grown(partition, row, statistics)

    def _add_grown(
        self, partition: Partition, row: TopicRow, statistics: EventIdStatistics | None
    ) -> None:
        """Add what the partition counted since the look before."""
        counts, ids = partition.counts, partition.event_ids
        now = (
            *(counts.events, counts.batches, counts.bytes),
            *(counts.read_events, counts.read_bytes, ids.duplicate_count),
            0 if statistics is None else statistics.evicted,
        )
        before = self._counted.get(partition.group, NOTHING)
        if now == before:
            return
        self._counted[partition.group] = now
        for name, new, old in zip(COUNTED, now, before, strict=True):
            grown = new - old if new >= old else new  # a replica that started over counts anew
            row.deltas[name] += grown
            row.totals[name] += grown

    def _followers(
        self,
        replica: Replica,
        partition: Partition | None,
        found: GroupsLook,
        alive: dict[NodeId, None],
    ) -> tuple[tuple[NodeId, int], ...]:
        """Note what followers hold of a group led here; return their lags in entries."""
        raft, log = replica.raft, replica.raft.log
        committed = self._committed.get(replica.group, Index(0))
        is_short = False
        lags = []
        for node in raft.voters:
            peer = found.peers.get(node)
            if peer is None:
                is_short |= node != raft.node_id
                continue
            match = raft.follower_match(node)
            lags.append((node, log.last_index - match))
            if node not in alive or match < committed:
                is_short = True
                peer.lagging_groups += 1
            if partition is not None and match > 0:
                self._note_acked(peer, partition, log, node, match)
        found.under_replicated += is_short
        return tuple(lags)

    def _note_acked(
        self, peer: PeerRow, partition: Partition, held: RaftLog, node: NodeId, match: Index
    ) -> None:
        if match >= held.last_index:
            offset = int(held.next_offset)
        elif match >= held.before.index:
            offset = int(held.position_at(match).next_offset)
        else:  # far behind: its entries are no longer in memory
            offset = max(0, int(held.next_offset) - (held.last_index - match))
        peer.lag_events += held.next_offset - offset
        before = self._acked.get((partition.group, node), offset)
        self._acked[partition.group, node] = offset
        peer.acked_events += max(0, offset - before)

    def _forget(self, replicas: Sequence[Replica], names: dict[bytes, str]) -> None:
        """Let go of topics that were deleted and groups that are not here any more."""
        topics = {OTHER: None, **dict.fromkeys(names.values())}
        for name in [name for name in self._totals if name not in topics]:
            del self._totals[name]
        if len(self._committed) <= len(replicas):
            return
        here = {replica.group: None for replica in replicas}
        self._committed = {group: it for group, it in self._committed.items() if group in here}
        self._counted = {group: it for group, it in self._counted.items() if group in here}
        self._acked = {key: it for key, it in self._acked.items() if key[0] in here}


def _ids_statistics(partition: Partition, log_time_ms: int) -> EventIdStatistics | None:
    """Return what is known of event ids, None if the topic does not ask for dedup."""
    if not partition.settings.event_dedup_enable:
        return None
    return partition.event_ids.statistics(log_time_ms, partition.settings)


def _row(
    replica: Replica,
    partition: Partition | None,
    topic: str,
    number: int,
    lags: tuple[tuple[NodeId, int], ...],
) -> GroupRow:
    raft = replica.raft
    return GroupRow(
        topic=topic,
        partition=number,
        role=raft.role.value,
        term=raft.term,
        has_leader=raft.leader is not None,
        commit_index=raft.commit_index,
        last_index=raft.log.last_index,
        synced_index=raft.synced_index,
        log_start=-1 if partition is None else partition.log_start,
        high_watermark=-1 if partition is None else partition.high_watermark,
        log_end=-1 if partition is None else partition.log_end,
        lags=lags,
    )
