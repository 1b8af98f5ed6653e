"""Replay of long journals: what an entry costs does not grow with what lies before it."""

from trimaran.ids import Index, Term
from trimaran.storage.damage import DamageKind
from trimaran.storage.journal_decoding import Record
from trimaran.storage.journal_format import RecordType
from trimaran.storage.replay import GroupReplay


class Counted(int):
    """An index that counts how often it is looked at."""

    looks = 0

    def _looked(self, name, other):
        Counted.looks += 1
        return getattr(int, name)(self, other)

    def __lt__(self, other):
        return self._looked("__lt__", other)

    def __gt__(self, other):
        return self._looked("__gt__", other)

    def __le__(self, other):
        return self._looked("__le__", other)

    def __ge__(self, other):
        return self._looked("__ge__", other)


def test_entries_behind_a_gap_are_replayed_without_looking_at_those_before(kit):
    count = 1000
    state = GroupReplay(group=kit.GROUP)
    Counted.looks = 0
    for index in range(2, count):
        entry = kit.records(index)
        entry.index = Counted(index)
        record = Record(
            type=RecordType.ENTRY,
            group=kit.GROUP,
            copy=False,
            position=0,
            entry=entry,
            previous_term=Term(1),
            intact=index % 5 > 0,
        )
        state.take_entry(record, kind=DamageKind.CORRUPT, place="here")

    assert Counted.looks < 20 * count
    assert [entry.index for entry in state.detached] == list(range(2, count))
    assert sorted(state.lost) == list(range(5, count, 5))
    assert state.gap is not None
    assert state.gap[0] == Index(count - 1)


def test_an_entry_that_replaces_lost_ones_behind_a_gap_makes_them_good(kit):
    state = GroupReplay(group=kit.GROUP)
    for index, term, intact in ((3, 1, True), (4, 1, False), (5, 1, False), (4, 2, True)):
        record = Record(
            type=RecordType.ENTRY,
            group=kit.GROUP,
            copy=False,
            position=0,
            entry=kit.records(index, term=term),
            previous_term=Term(1),
            intact=intact,
        )
        state.take_entry(record, kind=DamageKind.CORRUPT, place="here")

    assert [(entry.index, entry.term) for entry in state.detached] == [(3, 1), (4, 2)]
    assert state.lost == {}
