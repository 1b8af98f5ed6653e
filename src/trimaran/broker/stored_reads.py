"""Batches that left memory: read from segments in a thread, checked, given to one reader.

Does not: know what is still in memory (partition), or repair what fails its check (mending).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from trimaran.broker.ports import Lane, Workers
from trimaran.errors import CorruptionError, ErrorCode, RequestError
from trimaran.ids import Offset
from trimaran.records.entry import Entry, EntryKind, Payload
from trimaran.storage.log_reads import SegmentsMovedError
from trimaran.storage.partition_log import PartitionLog


class Reader(Protocol):
    """Whose log it is."""

    log_start: Offset
    """First offset that is served, as it is now."""

    def read(
        self, offset: Offset, bytes_max: int
    ) -> "Sequence[Payload] | asyncio.Future[Sequence[Payload]]":
        """Return committed batches from `offset` on. Raises RequestError."""


class StoredReads:
    """The stored part of one partition."""

    __slots__ = ("_damage_found", "_owner", "_storage", "_workers")

    def __init__(
        self,
        owner: Reader,
        storage: PartitionLog,
        workers: Workers,
        damage_found: Callable[[CorruptionError], None],
    ) -> None:
        """`damage_found` hears of every entry that fails its check."""
        self._owner = owner
        self._storage = storage
        self._workers = workers
        self._damage_found = damage_found

    def read(self, offset: Offset, bytes_max: int) -> "asyncio.Future[Sequence[Payload]]":
        """Return stored batches from the one that contains `offset`, at least one.

        Raises:
            RequestError: in the future: OFFSET_OUT_OF_RANGE, NOT_LEADER_OR_FOLLOWER.
            StorageError: in the future.
        """
        found: asyncio.Future[Sequence[Payload]] = asyncio.get_running_loop().create_future()
        self._begin(offset, bytes_max, found)
        return found

    def _begin(
        self, offset: Offset, bytes_max: int, found: "asyncio.Future[Sequence[Payload]]"
    ) -> None:
        work = self._workers.submit(Lane.READS, self._storage.plan_read_offset(offset, bytes_max))
        compacted, behind = self._storage.generation, self._storage.next_offset

        def done(finished: "asyncio.Future[list[Entry]]") -> None:
            if found.done():
                return
            error = finished.exception()
            if isinstance(error, CorruptionError):
                self._damage_found(error)
            if isinstance(error, SegmentsMovedError):
                is_there = offset >= self._storage.start_offset
                if is_there and self._storage.generation != compacted:
                    self._begin(offset, bytes_max, found)  # compaction wrote it again meanwhile
                    return
                error = self._moved(offset, error)
            if error is not None:
                found.set_exception(error)
                return
            batches = batches_of(finished.result())
            if batches or behind <= offset:
                found.set_result(batches)
            else:  # compaction left nothing from there on in the segments
                self._read_on(behind, bytes_max, found)

        work.add_done_callback(done)

    def _read_on(
        self, offset: Offset, bytes_max: int, found: "asyncio.Future[Sequence[Payload]]"
    ) -> None:
        """Read what follows the segments as they were."""
        try:
            more = self._owner.read(offset, bytes_max)
        except RequestError as error:
            found.set_exception(error)
            return
        if not isinstance(more, asyncio.Future):
            found.set_result(more)
            return

        def done(finished: "asyncio.Future[Sequence[Payload]]") -> None:
            error = finished.exception()
            if found.done():
                return
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(finished.result())

        more.add_done_callback(done)

    def _moved(self, offset: Offset, error: SegmentsMovedError) -> RequestError:
        """What was to be read is gone: below the log start, or replaced by an install."""
        is_deleted = offset < self._owner.log_start
        code = ErrorCode.OFFSET_OUT_OF_RANGE if is_deleted else ErrorCode.NOT_LEADER_OR_FOLLOWER
        return RequestError(code, str(error))


def batches_of(entries: Sequence[Entry]) -> list[Payload]:
    """Return what clients may see of `entries`."""
    return [entry.payload for entry in entries if entry.kind is EntryKind.RECORDS]
