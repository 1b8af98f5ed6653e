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

from trimaran.broker.observations import Observations
from trimaran.broker.peers import Peers
from trimaran.broker.ports import Outcome, Workers
from trimaran.broker.replica import Replica
from trimaran.errors import DiskFullError
from trimaran.ids import GroupId, Index
from trimaran.raft.ready import Ready
from trimaran.records.entry import HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage
from trimaran.storage.files import PlainWrite
from trimaran.storage.journal import Journal, LiveGroup, RoundContent, RoundWrite
from trimaran.storage.recovery import RecoveredGroup

COPY_BYTES_MAX = 64 << 10
"""At rollover a committed tail up to this size is copied; a larger one is soon in segments."""
DISK_FULL_RETRY_S = 0.25
"""How often a round that found the disk full is tried again."""


class RoundsOwner(Protocol):
    """What the node does beside sending and syncing."""

    def ready_handled(self, replica: Replica, ready: Ready) -> None:
        """The group carried out `ready`; do what concerns other groups, peers and timers."""

    def live_replicas(self) -> Sequence[Replica]:
        """Return all groups that this node takes part in, ordered."""

    def dormant_groups(self) -> Sequence[RecoveredGroup]:
        """Return the groups that it only keeps, ordered."""

    def disk_full(self, full: bool) -> None:
        """The journal found the disk full, or has room again."""

    def fail(self, error: BaseException) -> None:
        """End the process."""


class Bounded(Protocol):
    """A group that takes part, or is only kept."""

    boundary: Boundary


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStatistics:
    """Counts since start."""

    rounds: int
    entries: int
    events: int
    waiting: int
    sync_s_total: float
    sync_s_max: float


class _TimedWrite:
    """A round's write and when its thread began and ended it."""

    __slots__ = ("_now_s", "begun_s", "ended_s", "submitted_s", "write")

    def __init__(self, write: RoundWrite, observations: Observations) -> None:
        self.write = write
        self._now_s = observations.now_s
        self.begun_s = self.ended_s = self.submitted_s = self._now_s()

    def run(self) -> None:
        """Write and sync, in a thread."""
        self.begun_s = self._now_s()
        self.write.run()
        self.ended_s = self._now_s()

    def plain(self) -> PlainWrite | None:
        """Return what there is to write and sync, if that is all."""
        return self.write.plain()

    def plain_ended(self, outcome: Outcome, begun_s: float, ended_s: float) -> None:
        """Note what came of it."""
        self.begun_s, self.ended_s = begun_s, ended_s
        if outcome is Outcome.SYNCED:
            self.write.plain_synced()
        elif outcome is Outcome.UNWRITTEN:
            self.write.plain_unwritten()


class _Round:
    """What one journal round holds, and who waits for it."""

    __slots__ = (
        "boundaries",
        "bytes",
        "damaged",
        "fences",
        "items",
        "removed",
        "repaired",
        "started_over",
        "terms",
    )

    def __init__(self) -> None:
        self.bytes = 0
        """Of its entries; set when the round is closed."""
        self.items: list[tuple[Replica, Ready]] = []
        self.boundaries: list[tuple[Boundary, Bounded | None, asyncio.Future[None]]] = []
        self.terms: list[tuple[GroupId, HardState]] = []
        """Of groups that are installed in this round."""
        self.started_over: list[GroupId] = []
        """Those of them of which the journal has another log."""
        self.removed: list[tuple[GroupId, asyncio.Future[None]]] = []
        self.damaged: list[tuple[GroupId, Damage, asyncio.Future[None]]] = []
        self.repaired: list[tuple[Replica, asyncio.Future[None]]] = []
        self.fences: list[asyncio.Future[None]] = []
        """Of those who wait for all rounds before this one, and for it."""

    @property
    def is_empty(self) -> bool:
        others = self.removed or self.damaged or self.repaired or self.fences
        return not (self.items or self.boundaries or others)

    def content(self) -> RoundContent:
        """Lay out the round: terms and votes, entries, boundaries, commit hints."""
        content = RoundContent()
        commits: dict[GroupId, Index] = {}
        for replica, ready in self.items:
            if ready.hard_state is not None:
                content.hard_states.append((replica.group, ready.hard_state))
            if ready.entries:
                content.entries.append((replica.group, ready.prev_term, ready.entries))
                commits[replica.group] = replica.raft.synced_commit_index
        content.hard_states.extend(self.terms)
        content.started_over.extend(self.started_over)
        content.boundaries.extend(boundary for boundary, _, _ in self.boundaries)
        content.commits.extend(commits.items())
        content.removed.extend(group for group, _ in self.removed)
        content.damaged.extend((group, damage) for group, damage, _ in self.damaged)
        content.repaired.extend(replica.group for replica, _ in self.repaired)
        return content

    def append(self, later: "_Round") -> None:
        """Make one round of this and the next."""
        # A round never both removes a group and writes to it.
        self.items = [item for item in self.items + later.items if not item[0].removed]
        self.boundaries += later.boundaries
        self.terms += later.terms
        self.started_over += later.started_over
        self.removed += later.removed
        self.damaged += later.damaged
        self.repaired += later.repaired
        self.fences += later.fences

    def settle(self) -> None:
        """Note the boundaries that are synced now, and tell those who wait.

        Noted here and not by those who wait: the next round may be a rollover, and a new file must
        not begin with a boundary whose state files are about to be deleted.
        """
        for boundary, replica, _ in self.boundaries:
            if replica is not None:
                replica.boundary = boundary
        # What was damaged again in the same round stays damaged: its record comes last.
        for repaired, _ in self.repaired:
            if all(group != repaired.group for group, _, _ in self.damaged):
                repaired.repaired()
        waiting = [done for _, _, done in self.boundaries] + [done for _, done in self.removed]
        waiting += [done for _, _, done in self.damaged] + [done for _, done in self.repaired]
        waiting += self.fences
        for future in waiting:
            if not future.done():
                future.set_result(None)


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
        round_bytes_max: int,
        journal_full: Callable[[bool], None],
        observations: Observations | None = None,
    ) -> None:
        """`round_bytes_max`: one sync takes this much, or one batch.

        `journal_full` is told when another file would pass the limit of all, and when not any more.
        """
        self._observations = observations or Observations.apart()
        self._owner = owner
        self._journal = journal
        self._workers = workers
        self._peers = peers
        self._batch_max_events = batch_max_events
        self._batch_linger_s = batch_linger_s
        self._round_bytes_max = round_bytes_max
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[GroupId, Replica] = {}
        self._turn_scheduled = False
        self._linger: asyncio.TimerHandle | None = None
        self._events_waiting = 0
        self._next = _Round()
        self._running = False
        self._rollover_refused = False
        """The disk had no room for a new file: the current one takes a round in between."""
        self._journal_full = journal_full
        self._is_full = False
        """A new file would pass the limit of all files: the current one takes what must be."""
        self._looks_again = False
        """Something was written since by which files may go."""
        self._rounds = self._entries = self._events = 0
        self._events_counted = 0
        self._sync_s_total = self._sync_s_max = 0.0

    def statistics(self) -> RoundStatistics:
        """Return counts since start."""
        return RoundStatistics(
            rounds=self._rounds,
            entries=self._entries,
            events=self._events,
            waiting=len(self._next.items),
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

    def store_boundary(
        self, boundary: Boundary, replica: Bounded | None = None
    ) -> "asyncio.Future[None]":
        """Put `boundary` into the next round; the future is done when it is synced.

        It is `replica`'s boundary from then on.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._next.boundaries.append((boundary, replica, done))
        self._schedule()
        return done

    def store_installed(
        self, boundary: Boundary, found: RecoveredGroup, *, is_other_log: bool
    ) -> "asyncio.Future[None]":
        """Store the boundary that the group starts over from, and the term of its last entry.

        `is_other_log`: what the journal has of the group does not go on behind the boundary.

        Nothing was voted for in a term that this member had not stored before. Without that term a
        start would find an entry of a term that was never stored, and take it for damage.
        """
        if found.hard_state.term < boundary.position.term:
            found.hard_state = HardState(term=boundary.position.term, vote=None)
        self._next.terms.append((found.group, found.hard_state))
        if is_other_log:
            self._next.started_over.append(found.group)
        return self.store_boundary(boundary, found)

    def leave(self, replica: Replica) -> "asyncio.Future[None]":
        """Take nothing more from the group's core; the future is done when nothing is under way.

        What the journal holds of the group then is what its core counts as synced.
        """
        replica.leave()
        self._dirty.pop(replica.group, None)
        self._next.items = [item for item in self._next.items if item[0] is not replica]
        done: asyncio.Future[None] = self._loop.create_future()
        self._next.fences.append(done)
        self._schedule()
        return done

    def store_damage(self, group: GroupId, damage: Damage) -> "asyncio.Future[None]":
        """Note in the next round that this node has no vote in `group`, and why."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._next.damaged.append((group, damage, done))
        self._schedule()
        return done

    def store_repaired(self, replica: Replica) -> "asyncio.Future[None]":
        """Note in the next round that the group's damage is repaired.

        The future is done when that is synced; `replica` has no damage and its vote then, unless
        it was damaged again in between.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._next.repaired.append((replica, done))
        self._schedule()
        return done

    def forget_group(self, group: GroupId) -> "asyncio.Future[None]":
        """Note in the next round that `group` was deleted; the future is done when it is synced."""
        self._dirty.pop(group, None)
        self._next.items = [item for item in self._next.items if item[0].group != group]
        done: asyncio.Future[None] = self._loop.create_future()
        self._next.removed.append((group, done))
        self._schedule()
        return done

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
            self._next.items.append((replica, ready))
        timing = self._observations.timing
        if replica is timing.replica:
            timing.handed_out(ready)
        replica.handle(ready)
        if replica is timing.replica:
            timing.handled(replica)
        self._owner.ready_handled(replica, ready)

    def _start_round(self) -> None:
        if self._running or (self._next.is_empty and not self._is_full):
            return
        journal = self._journal
        live = self._due_rollover()
        if live is not None:
            self._running = True
            self._submit(journal.plan_rollover(live), _Round())
        elif not self._next.is_empty:
            self._running = True
            content = self._take_round()
            self._submit(journal.plan_round(content.content()), content)

    def _due_rollover(self) -> list[LiveGroup] | None:
        """Return what a new file begins with, if the next round is to make one.

        It waits while a group is being removed, and while it would pass the journal's limit.
        """
        journal = self._journal
        if not journal.needs_rollover or self._next.removed or self._rollover_refused:
            return None
        if self._is_full and not self._looks_again:
            return None
        live = self._live_groups()
        self._looks_again = False
        is_full = journal.is_full(live)
        if is_full != self._is_full:
            self._is_full = is_full
            self._journal_full(is_full)
        return None if is_full else live

    def _take_round(self) -> "_Round":
        """Take up to round_bytes_max of what waits, groups with a term or vote to store first."""
        taken, self._next = self._next, _Round()
        taken.bytes = sum(map(_size, taken.items))
        if taken.bytes <= self._round_bytes_max:
            return taken
        urgent = {
            replica.group: None for replica, ready in taken.items if ready.hard_state is not None
        }
        first = [item for item in taken.items if item[0].group in urgent]
        rest = [item for item in taken.items if item[0].group not in urgent]
        size = sum(map(_size, first))
        count = 0
        for item in rest:
            size += _size(item)
            if size > self._round_bytes_max and (first or count):
                break
            count += 1
        taken.items = first + rest[:count]
        taken.bytes = sum(map(_size, taken.items))
        self._next.items = rest[count:]
        return taken

    def _submit(self, write: RoundWrite, content: "_Round") -> None:
        timed = _TimedWrite(write, self._observations)
        self._observations.timing.closed(timed.submitted_s)
        future = self._workers.submit_write(timed)

        def done(finished: "asyncio.Future[None]") -> None:
            if finished.cancelled():
                return
            try:
                self._finished(write, content, finished.exception(), timed)
            except BaseException as error:
                self._owner.fail(error)
                raise

        future.add_done_callback(done)

    def _finished(
        self,
        write: RoundWrite,
        content: "_Round",
        error: BaseException | None,
        timed: _TimedWrite,
    ) -> None:
        if isinstance(error, DiskFullError):
            self._put_back(write, content)
            return
        if error is not None:
            raise error
        write.finish()
        self._owner.disk_full(self._rollover_refused)
        self._rollover_refused = False
        self._running = False
        self._looks_again = self._looks_again or bool(content.boundaries or content.removed)
        self._count(content, timed)
        for replica, ready in content.items:
            replica.round_finished(ready)
            self._dirty[replica.group] = replica
        timing = self._observations.timing
        if timing.replica is not None:
            timing.synced(self._observations.now_s())
        content.settle()
        self._turn()

    def _put_back(self, write: RoundWrite, content: "_Round") -> None:
        """The disk is full: nothing of the round counts; try the same again when there is room."""
        write.abandon()
        self._rollover_refused = content.is_empty
        later, self._next = self._next, content
        content.append(later)
        self._owner.disk_full(True)
        self._loop.call_later(DISK_FULL_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._running = False
        self._schedule()

    def _count(self, content: "_Round", timed: _TimedWrite) -> None:
        observations = self._observations
        now_s = observations.now_s()
        observations.synced(
            submitted_s=timed.submitted_s,
            begun_s=timed.begun_s,
            ended_s=timed.ended_s,
            now_s=now_s,
        )
        seconds = now_s - timed.submitted_s
        self._sync_s_total += seconds
        self._sync_s_max = max(self._sync_s_max, seconds)
        self._rounds += 1
        self._entries += sum(len(ready.entries) for _, ready in content.items)
        counters = observations.counters
        if content.items:
            counters.round_groups.add(len(content.items))
        if content.bytes > 0:
            counters.round_bytes.add(content.bytes)
        if self._events > self._events_counted:
            counters.round_events.add(self._events - self._events_counted)
            self._events_counted = self._events

    def _live_groups(self) -> list[LiveGroup]:
        live = [_live_group(replica) for replica in self._owner.live_replicas()]
        return live + [_dormant_group(found) for found in self._owner.dormant_groups()]


def _size(item: tuple[Replica, Ready]) -> int:
    return sum(entry.size for entry in item[1].entries)


def _live_group(replica: Replica) -> LiveGroup:
    """Return what a new journal file must hold of the group so that older files may go."""
    log = replica.raft.log
    journaled = replica.raft.synced_index
    start = Index(replica.boundary.position.index + 1)
    committed = min(replica.applied, journaled)
    tail = log.slice(start, Index(committed + 1)) if committed >= start else ()
    if sum(entry.size for entry in tail) > COPY_BYTES_MAX:
        start = Index(committed + 1)
    end = Index(journaled + 1)
    entries = log.slice(start, end) if end > start else ()
    return LiveGroup(
        group=replica.group,
        hard_state=replica.journaled,
        boundary=replica.boundary,
        entries=entries,
        commit=replica.raft.synced_commit_index,
        damage=replica.damage,
    )


def _dormant_group(found: RecoveredGroup) -> LiveGroup:
    """Return what a new journal file must hold of a group that takes no part yet."""
    return LiveGroup(
        group=found.group,
        hard_state=found.hard_state,
        boundary=found.boundary,
        entries=found.entries,
        commit=found.commit_known,
        damage=found.damage,
    )
