"""The long poll behind Fetch: read what there is, wait for what is not there yet.

Partitions are visited in the order of the request and share its byte budget; the first batch found
is returned whole even above every limit, so that a reader always advances (KIP-74). A partition is
read until the bytes suffice or it has no more. With too few bytes the wait watches the partitions:
a wake marks one partition, and one pass in the next loop turn visits all that were marked, so that
a round that commits in many partitions is one pass. What was read is kept and only continued, never
read twice.

The wait ends when the bytes suffice, a partition has more than there is room for (batches are
whole: a least number of bytes close to the limits might never be reached; Kafka counts bytes that
are there to read), a partition has an error, the time is over, or another answer of the connection
is ready behind this one. A partition whose leader was lost a moment ago is no error: its reader
waits for the successor (D7), and gets an empty answer if its time ends before.
A new leader's readers wait until it has committed an entry of its term: only then it knows how far
readers were told that the log is committed. A leader says that an offset lies past its end only
once a majority has confirmed that it still leads: a deposed one does not know the newest events,
and a reader that is told so starts over from somewhere else.

Invariants: batches of a partition are contiguous from the asked offset; at most one segment read is
under way per request; an ended wait watches nothing.
Does not: know Kafka's messages, nor which versions carry what.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import TypeVar

from trimaran.broker.api import Partition, WatchHandle
from trimaran.broker.calls import Call
from trimaran.broker.leadership import check_leadership, recently_leaderless
from trimaran.broker.near_reads import check_epoch, nearer_replica, not_here_yet, serves
from trimaran.broker.waiting import Deadline
from trimaran.errors import ErrorCode, RequestError, StorageError
from trimaran.ids import NodeId, Offset
from trimaran.records.entry import Payload

T = TypeVar("T")
_BASE_OFFSET = Struct(">q")
_LAST_OFFSET_DELTA = Struct(">i")
_LAST_OFFSET_DELTA_POSITION = 23


class FetchSlot:
    """One partition of a Fetch request and what was found for it."""

    __slots__ = (
        "batches",
        "bytes_max",
        "client_epoch",
        "error",
        "handle",
        "is_due",
        "nearer",
        "next_offset",
        "partition",
        "rack",
        "size",
        "wait",
    )

    def __init__(
        self,
        partition: Partition | None,
        *,
        offset: int,
        client_epoch: int,
        bytes_max: int,
        rack: str = "",
    ) -> None:
        self.partition = partition
        """None only beside an `error`."""
        self.next_offset = Offset(offset)
        self.client_epoch = client_epoch
        self.bytes_max = bytes_max
        self.batches: list[Payload] = []
        self.size = 0
        self.rack = rack
        """Where the reader says that it is; empty: nowhere."""
        self.nearer: NodeId | None = None
        """The follower that the reader is sent to, instead of getting anything here."""
        self.error: RequestError | None = None
        self.is_due = True
        """To be visited in the next pass."""
        self.handle: WatchHandle | None = None
        self.wait: FetchWait | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the reader is told something else than what is in the log."""
        return self.error is not None or self.nearer is not None

    def woken(self) -> None:
        """The partition has more to read, or another leader."""
        self.is_due = True
        if self.wait is not None:
            self.wait.wake()

    def add(self, batches: Sequence[Payload], size: int, *, is_counted: bool) -> None:
        """Append what was read, and count it where a client's reader gets it."""
        assert len(batches) > 0
        self.batches.extend(batches)
        self.size += size
        next_offset = end_offset(batches[-1])
        assert next_offset > self.next_offset
        if self.partition is not None and is_counted:
            self.partition.counts.read(len(batches), next_offset - self.next_offset, size)
        self.next_offset = next_offset


class FetchWait:
    """One Fetch request from its first look at the partitions to its answer."""

    __slots__ = (
        "_bytes_max",
        "_call",
        "_cursor",
        "_deadline",
        "_done",
        "_ended",
        "_expired",
        "_is_full",
        "_min_bytes",
        "_park_deadline",
        "_pass_scheduled",
        "_reading",
        "_size",
        "_wake_missed",
        "_watching",
        "slots",
    )

    def __init__(
        self,
        call: Call,
        slots: Sequence[FetchSlot],
        *,
        min_bytes: int,
        bytes_max: int,
        done: Callable[[], None],
    ) -> None:
        self.slots = slots
        self._call = call
        self._min_bytes = min_bytes
        self._bytes_max = bytes_max
        self._done = done
        self._size = 0
        self._is_full = False
        """Whether there is more to read than there is room for."""
        self._cursor = 0
        self._reading = False
        self._pass_scheduled = False
        self._wake_missed = False
        """Whether a partition woke us during a read, or would have, had we watched it."""
        self._watching = False
        self._expired = False
        self._ended = False
        self._deadline: Deadline | None = None
        self._park_deadline: Deadline | None = None

    def start(self, *, max_wait_s: float) -> None:
        """Look at all partitions; call `done` now or later, once."""
        if max_wait_s > 0:
            self._deadline = self._call.deadlines.after(max_wait_s, self.expire)
        else:
            self._expired = True
        self._call.interrupt = self.expire
        self._call.abandon = self._let_go
        self._pass()

    def expire(self) -> None:
        """End with what there is: the time is over, or somebody waits behind this answer."""
        self._expired = True
        if not self._reading and not self._ended:
            self._end()

    def wake(self) -> None:
        """Visit the due partitions in the next loop turn."""
        if self._reading:
            self._wake_missed = True
        elif not self._pass_scheduled and not self._ended:
            self._pass_scheduled = True
            self._call.deadlines.soon(self._next_pass)

    def _next_pass(self) -> None:
        self._pass_scheduled = False
        if not self._ended and not self._reading:
            self._pass()

    def _pass(self) -> None:
        self._cursor = 0
        self._wake_missed = False
        self._go_on()

    def _go_on(self) -> None:
        """Visit slots from the cursor on, until one needs a segment read or none is due."""
        while self._cursor < len(self.slots):
            slot = self.slots[self._cursor]
            if not slot.is_due or slot.is_settled:
                self._cursor += 1
            elif not self._visit(slot):
                return
        self._conclude()

    def _visit(self, slot: FetchSlot) -> bool:
        """Read what `slot` may have; False if the answer comes later."""
        slot.is_due = False
        partition = slot.partition
        assert partition is not None
        try:
            if not self._is_readable(partition, slot):
                return True
            if slot.next_offset > partition.log_end:
                return self._go_on_with(partition.read_index(), self._judge_end)
            limit = min(slot.bytes_max - slot.size, self._bytes_max - self._size)
            if limit <= 0 and self._size > 0:
                self._is_full = True
                return True
            found = partition.read(slot.next_offset, max(limit, 1))
        except RequestError as error:
            slot.error = error
            return True
        if not isinstance(found, asyncio.Future):
            self._take(slot, found)
            return True
        return self._go_on_with(found, self._take)

    def _go_on_with(self, found: "asyncio.Future[T]", take: Callable[[FetchSlot, T], None]) -> bool:
        """Go on with what `found` brings, which `take` gets; False, for that is later."""
        self._reading = True
        self._wake_missed |= not self._watching
        found.add_done_callback(partial(self._came, take))
        return False

    def _is_readable(self, partition: Partition, slot: FetchSlot) -> bool:
        """Whether the next offset is below the high watermark, or past the end."""
        if slot.rack and serves(self._call.broker, partition, slot.rack):
            return self._is_readable_near(partition, slot)
        try:
            check_leadership(partition, slot.client_epoch)
        except RequestError as error:
            if self._is_parked(partition, error):
                return False
            raise
        offset = slot.next_offset
        if offset < partition.log_start:
            raise _out_of_range(partition, offset)
        if offset > partition.log_end:
            return True
        if slot.rack and slot.size == 0:
            slot.nearer = self._nearer(partition, slot.rack)
            if slot.nearer is not None:
                return False
        return partition.leader_ready and offset < partition.high_watermark

    def _nearer(self, partition: Partition, rack: str) -> NodeId | None:
        """Return where the reader is sent to; None: it reads here, for now at least."""
        nearer = nearer_replica(self._call.broker, partition, rack)
        if nearer is None or not self._call.owner.stay.is_over(self._call.deadlines.now_s()):
            return None
        return nearer

    def _is_readable_near(self, partition: Partition, slot: FetchSlot) -> bool:
        """The same at a follower, which never says that an offset lies past the end."""
        check_epoch(partition, slot.client_epoch)
        if slot.next_offset < partition.log_start:
            raise _out_of_range(partition, slot.next_offset)
        return slot.next_offset < partition.high_watermark

    def _is_parked(self, partition: Partition, error: RequestError) -> bool:
        """Whether `partition` is between two leaders: then wait instead of telling `error`."""
        if error.code != ErrorCode.NOT_LEADER_OR_FOLLOWER:
            return False
        broker = self._call.broker
        deadlines = self._call.deadlines
        if not recently_leaderless(broker, partition, deadlines.now_s()):
            return False
        if self._park_deadline is None:
            self._park_deadline = deadlines.after(broker.kafka.metadata_park_s, self._unpark)
        return True

    def _unpark(self) -> None:
        """The time to wait for a successor is over: look again at everything."""
        self._park_deadline = None
        for slot in self.slots:
            slot.is_due = True
        self.wake()

    def _take(self, slot: FetchSlot, batches: Sequence[Payload]) -> None:
        if not batches:
            return
        size = sum(len(batch) for batch in batches)
        if self._size > 0:
            limit = min(slot.bytes_max - slot.size, self._bytes_max - self._size)
            while size > limit and batches:
                self._is_full = True
                size -= len(batches[-1])
                batches = batches[:-1]
            if not batches:
                return
        slot.add(batches, size, is_counted=not self._call.is_of_node)
        self._size += size
        slot.is_due = self._size < self._min_bytes and not (self._is_full or self._expired)

    def _came(self, take: Callable[[FetchSlot, T], None], found: "asyncio.Future[T]") -> None:
        self._reading = False
        if found.cancelled() or self._ended:
            if not self._ended:
                self._end()
            return
        slot = self.slots[self._cursor]
        error = found.exception()
        if error is None:
            take(slot, found.result())
        elif isinstance(error, RequestError):
            slot.error = error
        elif isinstance(error, StorageError):
            slot.error = RequestError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))
        else:
            self._let_go()
            self._call.fail(error)
            return
        self._go_on()

    def _judge_end(self, slot: FetchSlot, _high_watermark: Offset) -> None:
        """Leadership is confirmed: now it can be told whether the offset lies past the end."""
        assert slot.partition is not None
        if slot.next_offset > slot.partition.log_end:
            slot.error = _out_of_range(slot.partition, slot.next_offset)
        else:
            slot.is_due = True

    def _conclude(self) -> None:
        enough = self._size >= self._min_bytes or self._is_full
        ends = enough or self._expired or self._call.is_blocking
        if ends or not self.slots or any(slot.is_settled for slot in self.slots):
            self._end()
            return
        if not self._watching:
            self._watch()
        if self._wake_missed:
            self._wake_missed = False
            self.wake()

    def _watch(self) -> None:
        """Ask to be woken. Only after a first pass: most fetches of a busy topic never wait.

        If that took loop turns, any partition may have changed meanwhile: all are due again.
        """
        self._watching = True
        for slot in self.slots:
            assert slot.partition is not None
            slot.wait = self
            slot.handle = slot.partition.watch(slot.woken)
            slot.is_due = self._wake_missed

    def _end(self) -> None:
        self._let_go()
        for slot in self.slots:
            if slot.nearer is not None:
                self._call.owner.stay.end()
            elif slot.error is None:
                slot.error = self._last_word(slot)
        self._done()

    def _last_word(self, slot: FetchSlot) -> RequestError | None:
        """Return what is told of a partition whose high watermark the reader must not believe."""
        assert slot.partition is not None
        if slot.rack and serves(self._call.broker, slot.partition, slot.rack):
            return not_here_yet(slot.partition, slot.next_offset)
        return _not_to_be_believed(slot.partition)

    def _let_go(self) -> None:
        """Watch nothing, wait for nothing; what was read stays in the slots."""
        self._ended = True
        for deadline in (self._deadline, self._park_deadline):
            if deadline is not None:
                self._call.deadlines.withdraw(deadline)
        if self._watching:
            for slot in self.slots:
                if slot.partition is not None and slot.handle is not None:
                    slot.partition.unwatch(slot.handle)
                slot.wait = None


def _out_of_range(partition: Partition, offset: Offset) -> RequestError:
    return RequestError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        f"{partition.topic}-{partition.number} holds offsets {partition.log_start} to "
        f"{partition.log_end}, asked for {offset}",
    )


def _not_to_be_believed(partition: Partition) -> RequestError | None:
    """Return what is told instead of a high watermark below one that readers were told before.

    Such is that of a leader that has not committed an entry of its own yet (KIP-207): it is settled
    within a round, unless there is no majority. And that of a node that a reader waited at for the
    successor of a leader, when the wait ends without one.
    """
    if partition.leader_ready and partition.is_leader:
        return None
    where = f"{partition.topic}-{partition.number}"
    found = (
        f"this node leads {where}, its majority has not answered yet"
        if partition.is_leader
        else f"{where} had no leader that this node knew of while the read waited"
    )
    return RequestError(ErrorCode.NOT_LEADER_OR_FOLLOWER, found)


def end_offset(batch: Payload) -> Offset:
    """Return the offset after the last event of a RecordBatch v2 that we stored."""
    (base_offset,) = _BASE_OFFSET.unpack_from(batch, 0)
    (delta,) = _LAST_OFFSET_DELTA.unpack_from(batch, _LAST_OFFSET_DELTA_POSITION)
    assert delta >= 0
    return Offset(base_offset + delta + 1)
