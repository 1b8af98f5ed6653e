"""What a partition knows of its idempotent producers: Kafka's rules, as a fold over the log.

The table is a function of the entries folded into it and of nothing else: the leader judges a batch
against it (uncommitted tail included), every replica folds each entry with a producer id once, in
log order. After a truncation the caller takes a copy made at the boundary and folds again.

Invariants: a producer has 1 to 5 batches, all of one epoch, oldest first; the table's order is
the order of the producers' last entries (so log times ascend as well, and the first is the next to
expire); what is known of a producer is never changed in place, so a copy costs one dict copy.

Expiry is by log time: a producer silent for 24 h of log time is unknown, to the judge at the time
of the batch, to the fold at the time of the entry. Replicas therefore agree whatever their clocks.

The encoded form, part of a boundary's state files (the caller keeps its checksum):

    offset  size  field (big-endian)
    0       2     format version, 1
    2       8     index of the last entry folded, i64, 0 if none
    10      4     number of producers, ascending by the entry of their last batch; for each:
            8       producer id, i64
            2       epoch, i16
            1       number of batches, 1 to 5, oldest first; for each:
            4         first sequence, i32
            4         last sequence, i32
            8         base offset, i64
            8         last offset, i64
            8         index of the entry, i64
            8         log time of the entry in ms, i64

Does not: look at records, wait for a commit (a duplicate of an uncommitted batch is answered when
its entry commits), or know event ids.
"""

import struct
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple, TypeAlias

from trimaran.errors import CorruptionError, ErrorCode, RequestError
from trimaran.ids import Index, Offset

FORMAT_VERSION = 1
BATCHES_MAX = 5
"""Batches remembered of a producer: what a client may have in flight (Kafka: 5)."""
SEQUENCE_MAX = 2**31 - 1
"""After this sequence comes 0."""
PRODUCER_EXPIRATION_MS = 86_400_000
"""Kafka's producer.id.expiration.ms. Not a setting: replicas with two values would disagree."""
PRODUCERS_MAX = 65_536
"""Producers remembered in a partition: about 80 MB. Beyond it the longest silent are forgotten."""
FORGOTTEN_PER_FOLD_MAX = 16
"""Producers dropped in one fold, so that a crowd that expires together stalls nobody."""

_HEADER = struct.Struct(">HqI")
_PRODUCER = struct.Struct(">qhB")
_BATCH = struct.Struct(">iiqqqq")


class _Batch(NamedTuple):
    first_sequence: int
    last_sequence: int
    base_offset: Offset
    last_offset: Offset
    entry_index: Index
    log_time_ms: int


class _Producer(NamedTuple):
    epoch: int
    batches: tuple[_Batch, ...]


@dataclass(frozen=True, slots=True)
class Accept:
    """The batch is the producer's next: append it."""

    is_known: bool
    """False: the table has nothing of the producer, which may start anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The batch is in the log already: append nothing, answer as the first time."""

    base_offset: Offset
    log_append_time_ms: int
    """Log time of the entry; the topic's timestamp type decides whether the client sees it."""
    index: Index
    """The entry that holds it: success may be answered once this entry is committed."""


class KnownProducer(NamedTuple):
    """A producer as reports show it."""

    producer_id: int
    epoch: int
    last_sequence: int
    log_time_ms: int
    """Of its last batch."""


Verdict: TypeAlias = Accept | Duplicate

_NEXT, _FIRST = Accept(is_known=True), Accept(is_known=False)


def last_sequence(first_sequence: int, last_offset_delta: int) -> int:
    """Return the sequence of a batch's last record; after 2**31 - 1 comes 0."""
    assert last_offset_delta >= 0
    return (first_sequence + last_offset_delta) & SEQUENCE_MAX


class ProducerTable:
    """The producers of one partition."""

    __slots__ = (
        "_eldest_log_time_ms",
        "_expiration_ms",
        "_is_successor",
        "_last_index",
        "_producers",
        "_producers_max",
    )

    def __init__(
        self,
        *,
        expiration_ms: int = PRODUCER_EXPIRATION_MS,
        producers_max: int = PRODUCERS_MAX,
        is_successor: bool = False,
    ) -> None:
        """Begin empty. Both limits must be the same on all replicas of the partition.

        `is_successor`: a topic of its name was deleted, whose producers may go on. Only judging
        depends on it, so replicas may differ.
        """
        assert expiration_ms > 0
        assert producers_max > FORGOTTEN_PER_FOLD_MAX
        self._producers: dict[int, _Producer] = {}
        self._last_index = Index(0)
        # At most the log time of the first producer's last batch. It only saves looking at the
        # front of the dict in each fold, which is slow while many moved away from there.
        self._eldest_log_time_ms = 0
        self._expiration_ms = expiration_ms
        self._producers_max = producers_max
        self._is_successor = is_successor

    def __len__(self) -> int:
        """Return how many producers are held, expired ones that nobody missed yet included."""
        return len(self._producers)

    @property
    def last_index(self) -> Index:
        """Index of the last entry folded; 0 if none was."""
        return self._last_index

    def judge(
        self,
        *,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        last_sequence: int,
        log_time_ms: int,
        log_end: Offset,
    ) -> Verdict:
        """Say whether a batch may be appended; changes nothing.

        The order of the checks is Kafka's (UnifiedLog.analyzeAndValidateProducerState): duplicate,
        then epoch, then sequence. An unknown producer may start anywhere, but on a partition that
        was never written (`log_end` 0) only at 0 (KAFKA-15591): there the first batches of a
        producer could otherwise overtake each other. Not so where the topic was made again: its
        producers count on, and a refusal ends librdkafka's and aiokafka's for good.

        Args:
            producer_id: from 0; batches without a producer are not judged.
            epoch: the producer's epoch, from 0.
            first_sequence: the batch's base sequence, from 0.
            last_sequence: of the batch's last record (see `last_sequence`).
            log_time_ms: log time the entry would get.
            log_end: offset the batch would get, uncommitted tail included.

        Raises:
            RequestError: INVALID_RECORD for a negative number, INVALID_PRODUCER_EPOCH for an epoch
                below the known one, OUT_OF_ORDER_SEQUENCE_NUMBER for a gap.
        """
        if (producer_id | epoch | first_sequence | last_sequence) < 0:
            raise RequestError(
                ErrorCode.INVALID_RECORD,
                "expected producer id, epoch and sequences from 0, found"
                f" {producer_id}, {epoch}, {first_sequence}, {last_sequence}",
            )
        producer = self._producers.get(producer_id)
        if producer is None or self._is_expired(producer, log_time_ms):
            if first_sequence != 0 and log_end == 0 and not self._is_successor:
                raise out_of_order(producer_id, epoch, 0, first_sequence)
            return _FIRST

        batches = producer.batches
        if epoch == producer.epoch:
            for batch in batches:
                if batch.last_sequence == last_sequence and batch.first_sequence == first_sequence:
                    return Duplicate(
                        base_offset=batch.base_offset,
                        log_append_time_ms=batch.log_time_ms,
                        index=batch.entry_index,
                    )
            expected = (batches[-1].last_sequence + 1) & SEQUENCE_MAX
        elif epoch < producer.epoch:
            raise RequestError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {producer_id}: expected epoch {producer.epoch} or above, found {epoch}",
            )
        else:
            expected = 0
        if first_sequence != expected:
            raise out_of_order(producer_id, epoch, expected, first_sequence)
        return _NEXT

    def fold(
        self,
        *,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        last_sequence: int,
        base_offset: Offset,
        last_offset: Offset,
        entry_index: Index,
        log_time_ms: int,
    ) -> None:
        """Take in a batch that was appended at `entry_index` (not judged again: the leader did).

        Entries come in log order, each at most once; those without a producer id are left out.
        """
        assert entry_index > self._last_index, f"fold of {entry_index} after {self._last_index}"
        assert last_offset >= base_offset
        assert 0 <= last_sequence <= SEQUENCE_MAX
        batch = _Batch(
            first_sequence, last_sequence, base_offset, last_offset, entry_index, log_time_ms
        )
        producers = self._producers
        known = producers.pop(producer_id, None)
        if known is None or known.epoch != epoch or self._is_expired(known, log_time_ms):
            producers[producer_id] = _Producer(epoch, (batch,))
        else:
            producers[producer_id] = _Producer(epoch, (*known.batches[1 - BATCHES_MAX :], batch))
        self._last_index = entry_index
        if (
            log_time_ms - self._eldest_log_time_ms >= self._expiration_ms
            or len(producers) > self._producers_max
        ):
            self._forget(log_time_ms)

    def fold_mark(
        self,
        *,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        last_sequence: int,
        original_offset: Offset,
        entry_index: Index,
        log_time_ms: int,
    ) -> None:
        """Take in a DEDUP_MARK: the sequences of a batch that was all duplicates are used up.

        A retry of that batch gets `original_offset` again. The events there are older than the
        mark, so that the mark's commit covers theirs.
        """
        self.fold(
            producer_id=producer_id,
            epoch=epoch,
            first_sequence=first_sequence,
            last_sequence=last_sequence,
            base_offset=original_offset,
            last_offset=original_offset,
            entry_index=entry_index,
            log_time_ms=log_time_ms,
        )

    def known(self, log_time_ms: int) -> list[KnownProducer]:
        """Return the producers that are not expired at `log_time_ms`, the last to write last."""
        return [
            KnownProducer(
                producer_id,
                producer.epoch,
                producer.batches[-1].last_sequence,
                producer.batches[-1].log_time_ms,
            )
            for producer_id, producer in self._producers.items()
            if not self._is_expired(producer, log_time_ms)
        ]

    def copy(self) -> "ProducerTable":
        """Return a table of the same state that goes its own way; may be encoded off the loop."""
        other = ProducerTable(
            expiration_ms=self._expiration_ms,
            producers_max=self._producers_max,
            is_successor=self._is_successor,
        )
        other._producers = self._producers.copy()
        other._last_index = self._last_index
        other._eldest_log_time_ms = self._eldest_log_time_ms
        return other

    def encode(self) -> bytes:
        """Return the state as bytes; equal states give equal bytes."""
        parts = [_HEADER.pack(FORMAT_VERSION, self._last_index, len(self._producers))]
        for producer_id, (epoch, batches) in self._producers.items():
            parts.append(_PRODUCER.pack(producer_id, epoch, len(batches)))
            parts.extend([_BATCH.pack(*batch) for batch in batches])
        return b"".join(parts)

    @classmethod
    def decode(
        cls,
        data: bytes | memoryview,
        *,
        source: str = "producer table",
        expiration_ms: int = PRODUCER_EXPIRATION_MS,
        producers_max: int = PRODUCERS_MAX,
    ) -> "ProducerTable":
        """Return the table that `encode` wrote; `source` names the file in errors.

        Raises:
            CorruptionError: bytes that no table encodes to, with the position.
        """
        table = cls(expiration_ms=expiration_ms, producers_max=producers_max)
        table._read(data, source)
        return table

    def digest(self) -> bytes:
        """Return 16 bytes that are equal on replicas that folded the same entries."""
        return blake2b(self.encode(), digest_size=16).digest()

    def _is_expired(self, producer: _Producer, log_time_ms: int) -> bool:
        return log_time_ms - producer.batches[-1].log_time_ms >= self._expiration_ms

    def _forget(self, log_time_ms: int) -> None:
        producers = self._producers
        crowded = len(producers) > self._producers_max
        for eldest in list(islice(producers, FORGOTTEN_PER_FOLD_MAX)):
            if not crowded and not self._is_expired(producers[eldest], log_time_ms):
                break
            del producers[eldest]
        assert producers, "the producer just folded in is not forgotten"
        self._eldest_log_time_ms = producers[next(iter(producers))].batches[-1].log_time_ms

    def _read(self, data: bytes | memoryview, source: str) -> None:
        reader = _Reader(data, source)
        version, last_index, producer_count = reader.take(_HEADER)
        reader.check(version == FORMAT_VERSION, f"expected version 1, found {version}")
        reader.check(producer_count <= self._producers_max, f"found {producer_count} producers")
        index, log_time_ms = 0, 0
        for _ in range(producer_count):
            producer_id, producer = _read_producer(reader)
            reader.check(producer_id not in self._producers, f"producer {producer_id} comes twice")
            last = producer.batches[-1]
            reader.check(
                last.entry_index > index and last.log_time_ms >= log_time_ms,
                f"expected an entry after {index} of {log_time_ms} ms, found {last}",
            )
            index, log_time_ms = last.entry_index, last.log_time_ms
            self._producers[producer_id] = producer
        reader.check(index == last_index, f"expected last entry {last_index}, found {index}")
        reader.check(reader.position == len(data), f"{len(data) - reader.position} bytes too many")
        self._last_index = Index(last_index)


class _Reader:
    """Takes structs off bytes; knows where it is."""

    def __init__(self, data: bytes | memoryview, source: str) -> None:
        self._data = data
        self._source = source
        self.position = 0

    def take(self, layout: struct.Struct) -> tuple[int, ...]:
        left = len(self._data) - self.position
        self.check(left >= layout.size, f"expected {layout.size} bytes more, found {left}")
        values = layout.unpack_from(self._data, self.position)
        self.position += layout.size
        return values

    def check(self, holds: bool, found: str) -> None:
        if not holds:
            raise CorruptionError(self._source, self.position, found)


def _read_producer(reader: _Reader) -> tuple[int, _Producer]:
    producer_id, epoch, batch_count = reader.take(_PRODUCER)
    reader.check(producer_id >= 0 <= epoch, f"found producer {producer_id}, epoch {epoch}")
    reader.check(1 <= batch_count <= BATCHES_MAX, f"expected 1-5 batches, found {batch_count}")
    batches: list[_Batch] = []
    for _ in range(batch_count):
        first, last, base_offset, last_offset, index, log_time_ms = reader.take(_BATCH)
        batch = _Batch(
            first, last, Offset(base_offset), Offset(last_offset), Index(index), log_time_ms
        )
        reader.check(min(batch) >= 0 and base_offset <= last_offset, f"found {batch}")
        reader.check(
            not batches
            or (index > batches[-1].entry_index and log_time_ms >= batches[-1].log_time_ms),
            f"expected an entry after {batches}, found {batch}",
        )
        batches.append(batch)
    return producer_id, _Producer(epoch, tuple(batches))


def out_of_order(producer_id: int, epoch: int, expected: int, found: int) -> RequestError:
    """Return the refusal of a batch that comes too early, or again after too long."""
    return RequestError(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        f"producer {producer_id}, epoch {epoch}: expected sequence {expected}, found {found}",
    )
