"""What a log says of how it is stored: applied when committed, written when flushed."""

import pytest

from trimaran.broker.deduplication import EventIds
from trimaran.broker.stored_rules import StoredRules
from trimaran.errors import CorruptionError
from trimaran.ids import Index, Offset, Term
from trimaran.records.checksum import crc32c
from trimaran.records.control import (
    Compaction,
    StoredSettings,
    encode_compaction,
    encode_settings,
)
from trimaran.records.entry import Entry, EntryKind

FIRST = Compaction(generation=1, end=9, starts=(1,), tombstones=0, passes=((9, 5),))
SECOND = Compaction(generation=2, end=12, starts=(1, 7), tombstones=9, passes=())


def entry(index, kind, payload):
    return Entry(Index(index), Term(1), kind, Offset(0), 0, 0, payload)


def compaction(index, what):
    return entry(index, EntryKind.COMPACTION, encode_compaction(what))


def test_the_newest_generation_holds():
    rules = StoredRules()
    rules.decided(compaction(10, SECOND))
    rules.decided(compaction(11, FIRST))
    rules.decided(entry(12, EntryKind.SETTINGS, encode_settings(StoredSettings(segment_bytes=5))))
    rules.decided(entry(13, EntryKind.BARRIER, b""))

    assert rules.compaction == SECOND
    assert rules.settings == StoredSettings(segment_bytes=5)


def test_state_files_hold_what_was_flushed_and_stay_until_it_changes():
    rules = StoredRules()
    assert rules.flushed([entry(1, EntryKind.BARRIER, b"")], Index(1)) == {}
    content = encode_compaction(FIRST)

    written = rules.flushed([compaction(2, FIRST)], Index(2))
    kept = rules.flushed([entry(3, EntryKind.BARRIER, b"")], Index(3))

    assert written == {"compaction": content}
    assert kept == {"compaction": ("compaction-2", len(content), crc32c(content))}
    settings = StoredSettings(segment_bytes=7)
    more = rules.flushed([entry(4, EntryKind.SETTINGS, encode_settings(settings))], Index(4))
    assert more == {**kept, "settings": encode_settings(settings)}


def test_a_restart_goes_on_from_the_state_files():
    content = encode_compaction(FIRST)
    file = ("compaction-2", len(content), crc32c(content))
    rules = StoredRules()

    assert rules.restore(file, content)
    assert rules.restore(("settings-2", 1, 1), encode_settings(StoredSettings(segment_bytes=3)))
    assert not rules.restore(("producers-2", 0, 0), b"")
    assert not rules.restore(("compacted-1", 0, 0), b"")

    assert rules.compaction == FIRST
    assert rules.flushed([entry(3, EntryKind.BARRIER, b"")], Index(3)) == {
        "compaction": file,
        "settings": encode_settings(StoredSettings(segment_bytes=3)),
    }
    with pytest.raises(CorruptionError, match="compaction-3"):
        rules.restore(("compaction-3", 1, 1), b"x")


def test_event_ids_by_a_name_that_no_flush_gives_are_damage():
    with pytest.raises(CorruptionError, match="event-ids-x"):
        EventIds.restore([(("event-ids-x", 0, 0), b"")])
