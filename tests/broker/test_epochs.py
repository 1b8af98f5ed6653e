"""OffsetForLeaderEpoch's answers, from entries that come and go."""

from trimaran.broker.epochs import LeaderEpochs
from trimaran.ids import Index, Offset, Term
from trimaran.records.entry import Entry, EntryKind


def entry(index: int, term: int, offset: int, count: int = 0) -> Entry:
    kind = EntryKind.RECORDS if count else EntryKind.LEADER_START
    return Entry(Index(index), Term(term), kind, Offset(offset), count, 0, b"")


def epochs_of(*entries: Entry) -> LeaderEpochs:
    epochs = LeaderEpochs()
    for item in entries:
        epochs.appended(item)
    return epochs


THREE = (entry(1, 1, 0), entry(2, 1, 0, 10), entry(3, 4, 10), entry(4, 4, 10, 5), entry(5, 7, 15))


def test_an_epoch_ends_where_the_next_one_begins() -> None:
    epochs = epochs_of(*THREE)

    assert epochs.end(1, log_end=Offset(20)) == (1, 10)
    assert epochs.end(4, log_end=Offset(20)) == (4, 15)


def test_an_epoch_without_entries_is_answered_with_the_one_before_it() -> None:
    assert epochs_of(*THREE).end(6, log_end=Offset(20)) == (4, 15)


def test_the_last_epoch_ends_at_the_log_end() -> None:
    assert epochs_of(*THREE).end(7, log_end=Offset(20)) == (7, 20)


def test_an_epoch_whose_events_were_deleted_ends_where_the_first_known_one_begins() -> None:
    kept = epochs_of(*THREE[3:])

    assert kept.end(1, log_end=Offset(20)) == (1, 10)
    assert kept.end(3, log_end=Offset(20)) == (3, 10)


def test_no_epoch_and_those_after_the_last_are_unknown() -> None:
    assert epochs_of(*THREE).end(-1, log_end=Offset(20)) == (-1, -1)
    assert epochs_of(*THREE).end(8, log_end=Offset(20)) == (-1, -1)
    assert LeaderEpochs().end(0, log_end=Offset(0)) == (-1, -1)


def test_truncation_forgets_the_epochs_that_began_after_it() -> None:
    epochs = epochs_of(*THREE)

    epochs.truncated(Index(4))

    assert epochs.end(4, log_end=Offset(12)) == (4, 12)
    assert epochs.end(7, log_end=Offset(12)) == (-1, -1)
