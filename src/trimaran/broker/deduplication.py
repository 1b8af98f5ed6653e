"""A partition's event ids: what its log's entries do to the window, and the leader's judgement.

Only a topic that asks for dedup ever gets here with a batch; for the others `fold` sees nothing but
control entries. The rules (window, count) come from the partition's own log, as SETTINGS entries,
so that all replicas forget the same ids at the same entry; a leader whose topic asks for other
rules proposes them before it judges. Which header names the id is the leader's business alone.

Does not: append, answer, or remember who waits (partition).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from trimaran.dedup.id_judging import AllDuplicates, Judgement, Store, judge_batch
from trimaran.dedup.id_pieces import Piece, decode_piece
from trimaran.dedup.id_window import EventIdStatistics, EventIdWindow
from trimaran.dedup.marks import DedupMark, decode_mark, encode_mark
from trimaran.dedup.producers import ProducerTable
from trimaran.errors import CorruptionError
from trimaran.ids import Index, Offset
from trimaran.metadata.topic_settings import TopicSettings
from trimaran.records.batch import BatchHeader
from trimaran.records.checksum import crc32c
from trimaran.records.control import StoredSettings, decode_log_start, decode_settings
from trimaran.records.entry import Entry, EntryKind, Payload
from trimaran.storage.boundary import StateFile

IDS_FILE = "event-ids"
LAST_DUPLICATES = 20
"""A leader shows so many of each partition."""


class LastDuplicate(NamedTuple):
    """An event that this leader did not store again."""

    event_hash: bytes
    original_offset: Offset
    log_time_ms: int
    """When it was sent again."""


def wanted_settings(settings: TopicSettings) -> StoredSettings:
    """Return what replicas of a topic with `settings` should store by."""
    is_on = settings.event_dedup_enable
    return StoredSettings(
        segment_bytes=settings.segment_bytes,
        dedup_window_ms=settings.event_dedup_window_ms if is_on else 0,
        dedup_ids_max=settings.event_dedup_max_ids if is_on else 0,
    )


class EventIds:
    """The event ids of one partition on this node."""

    __slots__ = ("_files", "duplicate_count", "last_duplicates", "window")

    def __init__(self) -> None:
        """Begin without any."""
        self.window = EventIdWindow()
        self.duplicate_count = 0
        """Events that this leader did not store again."""
        self.last_duplicates: deque[LastDuplicate] = deque(maxlen=LAST_DUPLICATES)
        """The last of them, but for those that repeated an event of their own batch."""
        self._files: dict[str, StateFile] = {}

    @classmethod
    def restore(cls, files: Iterable[tuple[StateFile, bytes]]) -> "EventIds":
        """Return what state files say. Raises CorruptionError."""
        ids = cls()
        pieces: list[tuple[int, str, Piece]] = []
        for file, content in files:
            _, _, number = file[0].rpartition("-")
            if not number.isdecimal():
                raise CorruptionError(file[0], 0, "a file of event ids is named after an entry")
            pieces.append((int(number), file[0], decode_piece(content, source=file[0])))
            ids._files[file[0]] = file
        pieces.sort(key=_number)
        ids.window = EventIdWindow.restore((name, piece) for _, name, piece in pieces)
        return ids

    def needs_rules(self, settings: TopicSettings) -> bool:
        """Whether the log's end does not say the window and count of `settings`."""
        rules = self.window.rules
        return (rules.window_ms, rules.ids_max) != (
            settings.event_dedup_window_ms,
            settings.event_dedup_max_ids,
        )

    def judge(
        self, batch: Payload, parsed: BatchHeader, settings: TopicSettings, log_time_ms: int
    ) -> Judgement:
        """Return what becomes of `batch`. Raises RequestError (INVALID_RECORD)."""
        name = settings.event_dedup_header.encode()
        judged = judge_batch(batch, parsed, self.window, header=name, log_time_ms=log_time_ms)
        if isinstance(judged, Store):
            self.duplicate_count += judged.removed_count
        for event_hash, offset in judged.duplicates:
            self.last_duplicates.append(LastDuplicate(event_hash, offset, log_time_ms))
        return judged

    def statistics(self, log_time_ms: int, settings: TopicSettings) -> EventIdStatistics:
        """Return what the window holds at `log_time_ms`.

        The log of a topic that asks for dedup has no rules before a leader's first batch: nothing
        can have been forgotten by then, and the window is as set.
        """
        found = self.window.statistics(log_time_ms)
        if self.window.rules.is_on or not settings.event_dedup_enable:
            return found
        return replace(
            found,
            ids_max=settings.event_dedup_max_ids,
            window_ms=settings.event_dedup_window_ms,
            effective_window_ms=settings.event_dedup_window_ms,
        )

    # The fold

    def fold(self, entry: Entry) -> None:
        """Take in an entry that joined the log's end."""
        window = self.window
        if entry.event_ids:
            window.fold(
                index=entry.index,
                log_time_ms=entry.log_time_ms,
                offset=entry.offset,
                packed=entry.event_ids,
            )
        elif entry.kind is EntryKind.SETTINGS:
            stored = decode_settings(entry.payload)
            window.change(
                index=entry.index,
                log_time_ms=entry.log_time_ms,
                next_offset=entry.offset,
                window_ms=stored.dedup_window_ms,
                ids_max=stored.dedup_ids_max,
            )
        elif entry.kind is EntryKind.LOG_START:
            start = decode_log_start(entry.payload)
            if start.frees_event_ids:
                window.drop_below(start.offset, index=entry.index, log_time_ms=entry.log_time_ms)

    def flushed(self, index: Index) -> dict[str, bytes | StateFile]:
        """Note that entries up to `index` go to the segments; return the ids' state files."""
        kept, content = self.window.flush(index)
        self._files = {name: self._files[name] for name in kept}
        states: dict[str, bytes | StateFile] = dict(self._files)
        if content is not None:
            name = f"{IDS_FILE}-{index}"
            self.window.written(name)
            self._files[name] = (name, len(content), crc32c(content))
            states[IDS_FILE] = content
        return states


def mark_of(parsed: BatchHeader, judgement: AllDuplicates) -> bytes:
    """Return the payload of a DEDUP_MARK that moves the batch's producer on."""
    return encode_mark(
        DedupMark(
            producer_id=parsed.producer_id,
            epoch=parsed.producer_epoch,
            first_sequence=parsed.base_sequence,
            last_sequence=parsed.last_sequence,
            original_offset=judgement.base_offset,
        )
    )


def fold_records(producers: ProducerTable, entry: Entry, header: BatchHeader) -> None:
    """Take a RECORDS entry, whose batch begins with `header`, into a table of producers."""
    if header.producer_id < 0:
        return
    producers.fold(
        producer_id=header.producer_id,
        epoch=header.producer_epoch,
        first_sequence=header.base_sequence,
        last_sequence=header.last_sequence,
        base_offset=entry.offset,
        last_offset=Offset(entry.next_offset - 1),
        entry_index=entry.index,
        log_time_ms=entry.log_time_ms,
    )


def fold_mark(producers: ProducerTable, entry: Entry) -> None:
    """Take a DEDUP_MARK entry into a table of producers."""
    mark = decode_mark(entry.payload)
    producers.fold_mark(
        producer_id=mark.producer_id,
        epoch=mark.epoch,
        first_sequence=mark.first_sequence,
        last_sequence=mark.last_sequence,
        original_offset=Offset(mark.original_offset),
        entry_index=entry.index,
        log_time_ms=entry.log_time_ms,
    )


def _number(row: tuple[int, str, Piece]) -> int:
    return row[0]
