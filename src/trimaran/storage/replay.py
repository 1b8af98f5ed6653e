"""What the journal says of each group: its records applied in order (design D5).

An entry at or below the group's last index replaces it and all behind it, as the Raft log did when
it was written. A copy made at rollover never does: it only adds the entry right behind the last.

Invariants: a group's entries are contiguous, start right above its boundary, and each one's
predecessor has the term that the entry names; what cannot be placed so is missing, never guessed.
An entry whose payload cannot be read keeps its place (its head tells index and term), so that what
follows it is known to follow; a copy, or a boundary above it, makes it good.
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
    lost: dict[Index, Damage] = field(default_factory=dict)
    """Entries whose place in `entries` is known and whose payload cannot be read."""
    gap: tuple[Index, Damage] | None = None
    """An entry that did not follow the last one: what is between them is missing."""
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

    def missing(self) -> Damage | None:
        """Return why something above the boundary is missing, None if nothing is."""
        if self.conflict is not None:
            return self.conflict
        if self.lost:
            return self.lost[min(self.lost)]
        if self.gap is not None and self.gap[0] > self.last_index:
            return self.gap[1]
        return None

    def settle(self) -> None:
        """Keep of the entries only those before the first lost one."""
        if self.lost:
            del self.entries[min(self.lost) - self.first_index :]

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
        held_here = self.entries[count - 1] if 0 < count <= len(self.entries) else None
        if held_here is not None and held_here.term != boundary.position.term:
            text = f"{place}: the boundary at {index} has another term than entry {index}"
            self.conflict = Damage(kind=DamageKind.BOUNDARY, text=text)
            count = len(self.entries)
        del self.entries[:count]
        self.boundary = boundary
        self.lost = {at: damage for at, damage in self.lost.items() if index < at}
        self._forget_lost(Index(self.last_index + 1))

    def take_entry(self, record: Record, *, kind: DamageKind, place: str) -> None:
        """Add an entry, or note why it cannot be added."""
        entry = record.entry
        assert entry is not None
        if record.copy and entry.index <= self.last_index:
            self._fill_in(entry, intact=record.intact)
            return
        if entry.index < self.first_index:
            text = f"{place}: entry {entry.index} is below the boundary"
            self.conflict = Damage(kind=DamageKind.BOUNDARY, text=text)
            return
        del self.entries[entry.index - self.first_index :]
        self._forget_lost(entry.index)
        if entry.index != self.last_index + 1 or not self._follows(record, entry):
            text = f"{place}: entry {entry.index} does not follow entry {self.last_index}"
            if self.gap is None or self.gap[0] <= self.last_index:
                self.gap = (entry.index, Damage(kind=DamageKind.GAP, text=text))
            return
        if not record.intact:
            text = f"{place}: entry {entry.index} fails its check"
            self.lost[entry.index] = Damage(kind=kind, text=text)
        self.entries.append(entry)

    def _fill_in(self, entry: Entry, *, intact: bool) -> None:
        """Let a copy stand in for an original that cannot be read; else it changes nothing."""
        at = entry.index - self.first_index
        if intact and entry.index in self.lost and self.entries[at].term == entry.term:
            self.entries[at] = entry
            del self.lost[entry.index]

    def _follows(self, record: Record, entry: Entry) -> bool:
        if record.previous_term is None:
            return entry.term >= self.last_term
        return record.previous_term == self.last_term

    def _forget_lost(self, start: Index) -> None:
        if not self.lost:
            return
        self.lost = {at: damage for at, damage in self.lost.items() if at < start}


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
    for state in groups.values():
        state.settle()
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
            state.lost.clear()
