"""What a log entry counts for."""

from trimaran.ids import Index, Offset, Term
from trimaran.records.entry import ENTRY_OVERHEAD_BYTES, Entry, EntryKind


def entry(kind: EntryKind, offset_count: int, payload: bytes, event_ids: bytes = b"") -> Entry:
    return Entry(
        index=Index(1),
        term=Term(1),
        kind=kind,
        offset=Offset(40),
        offset_count=offset_count,
        log_time_ms=0,
        payload=payload,
        event_ids=event_ids,
    )


def test_records_take_offsets_and_control_entries_none() -> None:
    assert entry(EntryKind.RECORDS, 3, b"x").next_offset == 43
    assert entry(EntryKind.LEADER_START, 0, b"").next_offset == 40


def test_the_size_counts_payload_ids_and_what_an_entry_takes_beside() -> None:
    assert entry(EntryKind.RECORDS, 1, b"x" * 10, bytes(16)).size == 10 + 16 + ENTRY_OVERHEAD_BYTES
