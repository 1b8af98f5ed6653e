"""What the journal says of each group: its records applied in order (design D5).

An entry at or below the group's last index replaces it and all behind it, as the Raft log did when
it was written. A copy made at rollover never does: it only adds the entry right behind the last.

Invariants: a group's entries are contiguous, start right above its boundary, and each one's
predecessor has the term that the entry names; what cannot be placed so is missing, never guessed.
Does not: read files, or look at segments (recovery.py).
"""

from dataclasses import dataclass, field

from trimaran.ids import GroupId, Index, Term
from trimaran.records.entry import Entry, HardState
from trimaran.storage.boundary import Boundary
from trimaran.storage.damage import Damage, DamageKind
from trimaran.storage.journal_decoding import Record
from trimaran.storage.journal_format import RecordType
from trimaran.storage.journal_scan import JournalScan, ScannedRound

NO_INDEX = Index(0)
NO_STATE = HardState(term=Term(0), vote=None)


@dataclass(slots=True)
class GroupReplay:
    """One group as of the last record applied."""

    group: GroupId
    hard_state: HardState = NO_STATE
    boundary: Boundary | None = None
    entries: list[Entry] = field(default_factory=list)
    commit: Index = NO_INDEX
    removed: bool = False
    damage: Damage | None = None
    """Stored by an earlier life and not cleared since."""
    holes: dict[Index, tuple[Term, Damage]] = field(default_factory=dict)
    """Entries that were journaled and cannot be read: term, and why."""

    conflict: Damage | None = None
    """A boundary contradicts the entries below it."""

    @property
    def first_index(self) -> Index:
        """The lowest index that `entries` may hold."""
        return Index(self.boundary.position.index + 1 if self.boundary is not None else 1)

    @property
    def last_index(self) -> Index:
        """The last index known."""
        return Index(self.first_index + len(self.entries) - 1)

    @property
    def last_term(self) -> Term:
        """The term of the entry at `last_index`."""
        if self.entries:
            return self.entries[-1].term
        return self.boundary.position.term if self.boundary is not None else Term(0)

    def lost(self) -> Damage | None:
        """Return what is missing above the boundary, None if nothing is."""
        if self.conflict is not None:
            return self.conflict
        for index, (_, damage) in sorted(self.holes.items()):
            if index >= self.first_index:
                return damage
        return None

    def take_boundary(self, boundary: Boundary, *, copy: bool, place: str) -> None:
        """The segments hold everything up to `boundary`: entries up to there are done with."""
        held = self.boundary
        if held is not None and boundary.position.index < held.position.index:
            if copy:
                return
            # A damaged group was started over from a peer's boundary.
            self.entries.clear()
        index = boundary.position.index
        count = max(0, index - self.first_index + 1)
        if count and len(self.entries) >= count:
            found = self.entries[count - 1].term
            if found != boundary.position.term:
                text = f"{place}: the boundary at {index} has another term than entry {index}"
                self.conflict = Damage(kind=DamageKind.BOUNDARY, text=text)
                count = len(self.entries)
        del self.entries[:count]
        self.boundary = boundary
        self.holes = {at: hole for at, hole in self.holes.items() if at > index}

    def take_entry(self, record: Record, *, kind: DamageKind, place: str) -> None:
        """Add an entry, or note why it cannot be added."""
        entry = record.entry
        assert entry is not None
        if record.copy:
            self._take_copy(record, entry, kind, place)
            return
        if entry.index < self.first_index:
            text = f"{place}: entry {entry.index} is below the boundary"
            self._hole(entry, DamageKind.GAP, text)
            return
        del self.entries[max(0, entry.index - self.first_index) :]
        self.holes = {at: hole for at, hole in self.holes.items() if at < entry.index}
        if not record.intact:
            self._hole(entry, kind, f"{place}: entry {entry.index} fails its check")
        elif not self._follows(record, entry):
            text = f"{place}: entry {entry.index} does not follow entry {self.last_index}"
            self._hole(entry, DamageKind.GAP, text)
        else:
            self.entries.append(entry)

    def _take_copy(self, record: Record, entry: Entry, kind: DamageKind, place: str) -> None:
        if entry.index <= self.last_index:
            return
        if record.intact and self._follows(record, entry):
            self.entries.append(entry)
            self.holes.pop(entry.index, None)
        elif entry.index not in self.holes:
            bad = DamageKind.GAP if record.intact else kind
            self._hole(entry, bad, f"{place}: the copy of entry {entry.index} cannot be placed")

    def _follows(self, record: Record, entry: Entry) -> bool:
        if entry.index != self.last_index + 1 or entry.term < self.last_term:
            return False
        return record.previous_term is None or record.previous_term == self.last_term

    def _hole(self, entry: Entry, kind: DamageKind, text: str) -> None:
        self.holes.setdefault(entry.index, (entry.term, Damage(kind=kind, text=text)))


def replay(scan: JournalScan) -> dict[GroupId, GroupReplay]:
    """Return all groups of which the journal knows anything, removed ones included.

    Raises:
        StorageError: the disk cannot be read.
    """
    groups: dict[GroupId, GroupReplay] = {}
    for scanned in scan.rounds():
        for record in scanned.records:
            state = groups.get(record.group)
            if state is None or state.removed:
                state = groups[record.group] = GroupReplay(group=record.group)
            _apply(state, record, scanned)
        for group, commit in scanned.hints:
            state = groups.get(group)
            if state is not None:
                state.commit = max(state.commit, commit)
    return groups


def _apply(state: GroupReplay, record: Record, scanned: ScannedRound) -> None:
    place = f"{scanned.path} at byte {record.position}"
    match record.type:
        case RecordType.ENTRY:
            state.take_entry(record, kind=scanned.kind, place=place)
        case RecordType.HARD_STATE:
            assert record.hard_state is not None
            if record.hard_state.term >= state.hard_state.term:
                state.hard_state = record.hard_state
        case RecordType.BOUNDARY:
            assert record.boundary is not None
            state.take_boundary(record.boundary, copy=record.copy, place=place)
        case RecordType.DAMAGE:
            state.damage = record.damage
        case RecordType.REPAIRED:
            state.damage = None
        case RecordType.REMOVED:
            state.removed = True
            state.entries.clear()
            state.holes.clear()
