"""Finding events of a partition by their timestamps: ListOffsets for a time and for the latest one.

What is committed counts, from the log start on; segments are searched, then what is in memory only,
both in a thread. Does not: know who leads.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

from trimaran.broker.ports import Lane, Work, Workers
from trimaran.errors import CorruptionError, ErrorCode, RequestError, StorageError
from trimaran.ids import Index, Offset
from trimaran.raft.log import RaftLog
from trimaran.records.entry import Entry
from trimaran.records.iteration import find_timestamp
from trimaran.storage.log_reads import BoundedSearch, SearchBatch, SegmentsMovedError
from trimaran.storage.partition_log import PartitionLog
from trimaran.storage.sidecar import NO_TIMESTAMP, batch_max_timestamp

T = TypeVar("T")
IN_MEMORY = "events in memory"
Found: TypeAlias = tuple[Offset, int] | None
"""(offset, timestamp) of a record."""


class Searched(Protocol):
    """What a search needs of a partition."""

    @property
    def log_start(self) -> Offset:
        """First offset that counts."""

    @property
    def applied(self) -> Index:
        """Index of the last committed entry."""


class TimeSearch:
    """Searches in one partition."""

    __slots__ = ("_damage_found", "_log", "_storage", "_within", "_workers")

    def __init__(
        self,
        within: Searched,
        *,
        log: RaftLog,
        storage: PartitionLog,
        workers: Workers,
        damage_found: Callable[[CorruptionError], None],
    ) -> None:
        """`damage_found` is called when a stored entry fails its check."""
        self._within = within
        self._log = log
        self._storage = storage
        self._workers = workers
        self._damage_found = damage_found

    async def first_since(self, timestamp_ms: int) -> Found:
        """Return (offset, timestamp) of the first committed record at or after `timestamp_ms`.

        Raises:
            RequestError: KAFKA_STORAGE_ERROR, OFFSET_NOT_AVAILABLE (it moved: ask again).
        """
        while True:
            start = Index(self._storage.last_index + 1)
            log_start = self._within.log_start
            search = partial(find_timestamp, start_offset=log_start)
            work = self._storage.plan_find_time(timestamp_ms, search, log_start)
            found = await self._read(work)
            if found is not None:
                return found
            if self._log.first_index <= start:
                break  # else what follows was flushed, and left memory, during the search
        entries = [entry for entry in self._in_memory(start) if entry.next_offset > log_start]
        return await self._read(_FirstInMemory(entries, search, timestamp_ms))

    async def latest(self) -> Found:
        """Return (offset, timestamp) of the record with the highest timestamp (KIP-734).

        Raises:
            RequestError: as `first_since`.
        """
        while True:
            start = Index(self._storage.last_index + 1)
            log_start = self._within.log_start
            search = partial(find_timestamp, start_offset=log_start)
            found = await self._read(self._storage.plan_find_time(None, search, log_start))
            if self._log.first_index <= start:
                break  # else what follows was flushed, and left memory, during the search
        entries = [entry for entry in self._in_memory(start) if entry.next_offset > log_start]
        return await self._read(_LatestInMemory(entries, search, found))

    async def _read(self, work: Work[T]) -> T:
        try:
            return await self._workers.submit(Lane.READS, work)
        except SegmentsMovedError as error:
            raise RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, str(error)) from error
        except StorageError as error:
            if isinstance(error, CorruptionError):
                self._damage_found(error)
            raise RequestError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error

    def _in_memory(self, start: Index) -> list[Entry]:
        """Return the committed entries from `start` on."""
        end = Index(self._within.applied + 1)
        return self._log.slice(start, end) if start < end else []


class _FirstInMemory:
    """Looks for the first record not older than a timestamp in entries, as `FindTime` in segments.

    A batch may take long to inflate, and what its header promises need not be there.
    """

    __slots__ = ("_entries", "_search", "_timestamp_ms")

    def __init__(self, entries: Sequence[Entry], search: SearchBatch, timestamp_ms: int) -> None:
        self._entries = entries
        self._search = BoundedSearch(search)
        self._timestamp_ms = timestamp_ms

    def run(self) -> Found:
        """Return (offset, timestamp), None if all are older.

        Raises:
            RequestError: OFFSET_NOT_AVAILABLE, as `FindTime`.
        """
        for entry in self._entries:
            if batch_max_timestamp(entry) >= self._timestamp_ms:
                found = self._search.look_into(entry, self._timestamp_ms)
                if found is not None:
                    return found
                self._search.passed(entry, IN_MEMORY)
        return None


class _LatestInMemory:
    """Looks for the highest timestamp in entries: a batch may take long to inflate."""

    __slots__ = ("_entries", "_found", "_search")

    def __init__(self, entries: Sequence[Entry], search: SearchBatch, found: Found) -> None:
        """`found` is what to exceed."""
        self._entries = sorted(entries, key=lambda entry: -batch_max_timestamp(entry))
        self._search = BoundedSearch(search)
        self._found = found

    def run(self) -> Found:
        """Return (offset, timestamp), None if there is none with a timestamp.

        Raises:
            RequestError: OFFSET_NOT_AVAILABLE, as `FindTime`.
        """
        best = self._found
        for entry in self._entries:
            if batch_max_timestamp(entry) <= (NO_TIMESTAMP if best is None else best[1]):
                break
            found = self._search.look_into(entry, None)
            if found is not None and (best is None or found[1] > best[1]):
                best = found
            self._search.passed(entry, IN_MEMORY)
        return best
