"""Rounds: what all groups want at the end of a loop turn, sent and synced together (design D6).

A turn collects each touched group's `Ready`, sends one frame a peer and lane, and adds what must be
durable to the next journal round. One round is written at a time; while it runs, the next gathers.
A lone event waits for nothing: with no round running, the turn itself starts one. While one runs,
proposals are sent to followers once `batch_max_events` wait or after `batch_linger`.

Invariants: a round holds the readies of each group in order and without gaps; terms and votes never
wait behind other groups' entries. Does not: know Kafka, or when to flush segments.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from trimaran.broker.peers import Peers
from trimaran.broker.ports import Lane, Workers
from trimaran.broker.replica import Replica
from trimaran.errors import DiskFullError
from trimaran.ids import GroupId, Index, NodeId
from trimaran.raft.ready import Ready
from trimaran.storage.boundary import Boundary
from trimaran.storage.journal import Journal, LiveGroup, RoundContent, RoundWrite

ROUND_BYTES_MAX = 4 << 20
"""One sync takes this much, or one batch."""
COPY_BYTES_MAX = 64 << 10
"""At rollover a committed tail up to this size is copied; a larger one is soon in segments."""
DISK_FULL_RETRY_S = 0.25
"""How often a round that found the disk full is tried again."""


class RoundsOwner(Protocol):
    """What the node does beside sending and syncing."""

    def ready_handled(self, replica: Replica, ready: Ready) -> None:
        """The group carried out `ready`; do what concerns other groups, peers and timers."""

    def live_replicas(self) -> Sequence[Replica]:
        """Return all groups of this node, ordered."""

    def disk_full(self, full: bool) -> None:
        """The journal found the disk full, or has room again."""

    def fail(self, error: BaseException) -> None:
        """End the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatistics:
    """Counts since start."""

    rounds: int
    entries: int
    events: int
    waiting: int
    sync_s_total: float
    sync_s_max: float


class Rounds:
    """Drives all groups' cores."""

    def __init__(
        self,
        *,
        owner: RoundsOwner,
        journal: Journal,
        workers: Workers,
        peers: Peers,
        batch_max_events: int,
        batch_linger_s: float,
    ) -> None:
        """Nothing runs before the first `touched`."""
        self._owner = owner
        self._journal = journal
        self._workers = workers
        self._peers = peers
        self._batch_max_events = batch_max_events
        self._batch_linger_s = batch_linger_s
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[GroupId, Replica] = {}
        self._turn_scheduled = False
        self._linger: asyncio.TimerHandle | None = None
        self._events_waiting = 0
        self._pending: list[tuple[Replica, Ready]] = []
        self._boundaries: list[tuple[Boundary, asyncio.Future[None]]] = []
        self._removed: list[GroupId] = []
        self._running = False
        self._rounds = self._entries = self._events = 0
        self._sync_s_total = self._sync_s_max = 0.0

    def statistics(self) -> RoundStatistics:
        """Return counts since start."""
        return RoundStatistics(
            rounds=self._rounds,
            entries=self._entries,
            events=self._events,
            waiting=len(self._pending),
            sync_s_total=self._sync_s_total,
            sync_s_max=self._sync_s_max,
        )

    def touched(self, replica: Replica) -> None:
        """Something was put into the group's core: look at it at the end of this turn."""
        self._dirty[replica.group] = replica
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def proposed(self, replica: Replica, events: int) -> None:
        """`events` events were proposed: at the end of this turn, or gathered while a sync runs."""
        self._dirty[replica.group] = replica
        self._events += events
        if self._turn_scheduled:
            return
        self._events_waiting += events
        if not self._running or self._events_waiting >= self._batch_max_events:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)
        elif self._linger is None:
            self._linger = self._loop.call_later(self._batch_linger_s, self._lingered)

    def store_boundary(self, boundary: Boundary) -> "asyncio.Future[None]":
        """Put `boundary` into the next round; the future is done when it is synced."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._boundaries.append((boundary, done))
        self._schedule()
        return done

    def forget_group(self, group: GroupId) -> None:
        """Note in the next round that `group` was deleted."""
        self._dirty.pop(group, None)
        self._pending = [item for item in self._pending if item[0].group != group]
        self._removed.append(group)
        self._schedule()

    def _schedule(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _lingered(self) -> None:
        self._linger = None
        self._schedule()

    def _turn(self) -> None:
        try:
            self._turn_scheduled = False
            self._events_waiting = 0
            if self._linger is not None:
                self._linger.cancel()
                self._linger = None
            while self._dirty:
                dirty, self._dirty = self._dirty, {}
                for replica in dirty.values():
                    self._collect(replica)
            self._peers.flush()
            self._start_round()
        except BaseException as error:
            self._owner.fail(error)
            raise

    def _collect(self, replica: Replica) -> None:
        if replica.removed or not replica.raft.has_ready:
            return
        ready = replica.raft.ready()
        peers = self._peers.peers
        for node, message in ready.messages:
            peer = peers.get(node)
            if peer is not None:
                peer.queue(replica.group, message)
        if ready.must_sync:
            self._pending.append((replica, ready))
        replica.handle(ready)
        self._owner.ready_handled(replica, ready)

    def _start_round(self) -> None:
        if self._running or not (self._pending or self._boundaries or self._removed):
            return
        self._running = True
        if self._journal.needs_rollover and not self._journal.is_full:
            self._submit(self._journal.plan_rollover(self._live_groups()), [], [])
            return
        items = self._take_items()
        boundaries, self._boundaries = self._boundaries, []
        removed, self._removed = self._removed, []
        self._submit(
            self._journal.plan_round(_content(items, boundaries, removed)), items, boundaries
        )

    def _take_items(self) -> list[tuple[Replica, Ready]]:
        """Take up to ROUND_BYTES_MAX of what waits, groups with a term or vote to store first."""
        size = sum(entry.size for _, ready in self._pending for entry in ready.entries)
        if size <= ROUND_BYTES_MAX:
            items, self._pending = self._pending, []
            return items
        urgent = {
            replica.group: None for replica, ready in self._pending if ready.hard_state is not None
        }
        taken = [item for item in self._pending if item[0].group in urgent]
        rest = [item for item in self._pending if item[0].group not in urgent]
        size = sum(entry.size for _, ready in taken for entry in ready.entries)
        count = 0
        for _, ready in rest:
            size += sum(entry.size for entry in ready.entries)
            if size > ROUND_BYTES_MAX and (taken or count):
                break
            count += 1
        self._pending = rest[count:]
        return taken + rest[:count]

    def _submit(
        self,
        write: RoundWrite,
        items: list[tuple[Replica, Ready]],
        boundaries: "list[tuple[Boundary, asyncio.Future[None]]]",
    ) -> None:
        started = self._loop.time()
        future = self._workers.submit(Lane.JOURNAL, write)

        def done(finished: "asyncio.Future[None]") -> None:
            if finished.cancelled():
                return
            try:
                self._finished(write, items, boundaries, finished, started)
            except BaseException as error:
                self._owner.fail(error)
                raise

        future.add_done_callback(done)

    def _finished(
        self,
        write: RoundWrite,
        items: list[tuple[Replica, Ready]],
        boundaries: "list[tuple[Boundary, asyncio.Future[None]]]",
        finished: "asyncio.Future[None]",
        started: float,
    ) -> None:
        error = finished.exception()
        if isinstance(error, DiskFullError):
            self._put_back(write, items, boundaries)
            return
        if error is not None:
            raise error
        write.finish()
        self._owner.disk_full(False)
        self._running = False
        self._count(items, self._loop.time() - started)
        lowest = self._lowest_pending()
        for replica, ready in items:
            replica.round_finished(ready, still_pending=lowest.get(replica.group))
            self._dirty[replica.group] = replica
        for _, stored in boundaries:
            if not stored.done():
                stored.set_result(None)
        self._turn()

    def _put_back(
        self,
        write: RoundWrite,
        items: list[tuple[Replica, Ready]],
        boundaries: "list[tuple[Boundary, asyncio.Future[None]]]",
    ) -> None:
        """The disk is full: nothing of the round counts; try the same again when there is room."""
        write.abandon()
        self._pending[:0] = items
        self._boundaries[:0] = boundaries
        self._owner.disk_full(True)
        self._loop.call_later(DISK_FULL_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._running = False
        self._schedule()

    def _lowest_pending(self) -> dict[GroupId, Index]:
        lowest: dict[GroupId, Index] = {}
        for replica, ready in self._pending:
            if ready.entries:
                first = ready.entries[0].index
                lowest[replica.group] = min(lowest.get(replica.group, first), first)
        return lowest

    def _count(self, items: list[tuple[Replica, Ready]], seconds: float) -> None:
        self._rounds += 1
        self._entries += sum(len(ready.entries) for _, ready in items)
        self._sync_s_total += seconds
        self._sync_s_max = max(self._sync_s_max, seconds)

    def _live_groups(self) -> list[LiveGroup]:
        return [_live_group(replica) for replica in self._owner.live_replicas()]


def _content(
    items: list[tuple[Replica, Ready]],
    boundaries: "list[tuple[Boundary, asyncio.Future[None]]]",
    removed: list[GroupId],
) -> RoundContent:
    """Lay out one round: terms and votes, entries, boundaries, commit hints."""
    content = RoundContent()
    commits: dict[GroupId, Index] = {}
    for replica, ready in items:
        if ready.hard_state is not None:
            content.hard_states.append((replica.group, ready.hard_state))
        if ready.entries:
            content.entries.append((replica.group, ready.prev_term, ready.entries))
            commits[replica.group] = replica.raft.commit_index
    content.boundaries.extend(boundary for boundary, _ in boundaries)
    content.commits.extend(commits.items())
    content.removed.extend(removed)
    return content


def _live_group(replica: Replica) -> LiveGroup:
    """Return what a new journal file must hold of the group so that older files may go."""
    log = replica.raft.log
    start = Index(replica.boundary.position.index + 1)
    committed = min(replica.applied, replica.journaled_index)
    tail = log.slice(start, Index(committed + 1)) if committed >= start else ()
    if sum(entry.size for entry in tail) > COPY_BYTES_MAX:
        start = Index(committed + 1)
    end = Index(replica.journaled_index + 1)
    entries = log.slice(start, end) if end > start else ()
    return LiveGroup(
        group=replica.group,
        hard_state=replica.journaled,
        boundary=replica.boundary,
        entries=entries,
        commit=replica.raft.commit_index,
    )


