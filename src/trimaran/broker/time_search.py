"""Finding events of a partition by their timestamps: ListOffsets for a time and for the latest one.

What is committed counts, from the log start on; segments are searched in a thread, then what is in
memory only. Does not: know who leads.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from trimaran.broker.ports import Lane, Workers
from trimaran.errors import CorruptionError, ErrorCode, RequestError
from trimaran.ids import Index, Offset
from trimaran.raft.log import RaftLog
from trimaran.records.batch import parse_header
from trimaran.records.entry import Entry, EntryKind, Payload
from trimaran.records.iteration import find_timestamp
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.partition_log import PartitionLog

MAX_TIME_READ_BYTES = 1 << 20


class Searched(Protocol):
    """What a search needs of a partition."""

    @property
    def log_start(self) -> Offset:
        """First offset that counts."""

    @property
    def high_watermark(self) -> Offset:
        """First offset that does not."""

    @property
    def applied(self) -> Index:
        """Index of the last committed entry."""

    def read(
        self, offset: Offset, bytes_max: int
    ) -> "Sequence[Payload] | asyncio.Future[Sequence[Payload]]":
        """Return committed batches from `offset` on."""


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

    async def first_since(self, timestamp_ms: int) -> tuple[Offset, int] | None:
        """Return (offset, timestamp) of the first committed record at or after `timestamp_ms`.

        Raises:
            RequestError: KAFKA_STORAGE_ERROR.
        """
        log, within = self._log, self._within
        while True:
            start = Index(self._storage.last_index + 1)
            search = partial(find_timestamp, start_offset=within.log_start)
            work = self._storage.plan_find_time(timestamp_ms, search, within.log_start)
            try:
                found = await self._workers.submit(Lane.READS, work)
            except CorruptionError as error:
                self._damage_found(error)
                raise RequestError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
            except SegmentsMovedError as error:
                raise RequestError(ErrorCode.OFFSET_NOT_AVAILABLE, str(error)) from error
            if found is not None:
                return found
            if log.first_index <= start:
                break  # else what follows was flushed, and left memory, during the search
        if within.applied < start:
            return None
        for entry in log.slice(start, Index(within.applied + 1)):
            match = _find_in_entry(entry, timestamp_ms, within.log_start)
            if match is not None:
                return match
        return None

    async def latest(self) -> tuple[Offset, int] | None:
        """Return (offset, timestamp) of the record with the highest timestamp (KIP-734)."""
        within = self._within
        best: tuple[int, Payload] | None = None
        offset = within.log_start
        while offset < within.high_watermark:
            found = within.read(max(offset, within.log_start), MAX_TIME_READ_BYTES)
            batches = await found if isinstance(found, asyncio.Future) else found
            for batch in batches:
                header = parse_header(batch)
                if best is None or header.max_timestamp > best[0]:
                    best = (header.max_timestamp, batch)
                offset = Offset(header.last_offset + 1)
        if best is None:
            return None
        match = find_timestamp(best[1], best[0], within.log_start)
        return None if match is None else (Offset(match[0]), match[1])


def _find_in_entry(
    entry: Entry, timestamp_ms: int, start_offset: Offset
) -> tuple[Offset, int] | None:
    if entry.kind is not EntryKind.RECORDS or entry.next_offset <= start_offset:
        return None
    match = find_timestamp(entry.payload, timestamp_ms, start_offset)
    if match is None:
        return None
    return Offset(match[0]), match[1]
