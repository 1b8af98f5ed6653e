"""What the journal says of each group: its records applied in order (design D5).

An entry at or below the group's last index replaces it and all behind it, as the Raft log did when
it was written. A copy made at rollover never does: it only adds the entry right behind the last.

Invariants: a group's entries are contiguous, start right above its boundary, and each one's
predecessor has the term that the entry names; what cannot be placed so is missing, never guessed.
What stands behind another entry than the boundary's is of another log: it is never handed out.
An entry whose payload cannot be read keeps its place (its head tells index and term), so that what
follows it is known to follow; a copy, or a boundary above it, makes it good.
Does not: read files, or look at segments (recovery.py).
"""

from dataclasses import dataclass, field

from trimaran.ids import GroupId, Index, Term
from trimaran.records.entry import Entry, HardState, LogPosition
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
    detached: list[Entry] = field(default_factory=list)
    """Entries behind a gap. After a rollover that is no damage yet: entries copied from the middle
    of a log stand before the boundary that was moved up to them later."""
    detached_previous: Term | None = None
    """Term that the first detached entry names as its predecessor's, None if not known."""
    gap: tuple[Index, Damage] | None = None
    """The highest entry that is behind a gap, or was; damage unless the log has reached it."""
    conflict: Damage | None = None
    """A boundary and the entries contradict each other."""

    @property
    def first_index(self) -> Index:
        """The lowest index that `entries` may hold."""
        return Index(self.boundary.position.index + 1 if self.boundary is not None else 1)

    @property
    def last_index(self) -> Index:
        """The last index known without a gap."""
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

    def start_over(self) -> None:
        """Forget the log so far: the group goes on from a peer's boundary, which comes next."""
        self.boundary = None
        self.entries = []
        self.detached = []
        self.lost = {}
        self.gap = self.conflict = None

    def take_boundary(self, boundary: Boundary, *, copy: bool, place: str) -> None:
        """The segments hold everything up to `boundary`: entries up to there are done with."""
        index = boundary.position.index
        if self.boundary is not None and index < self.boundary.position.index:
            if copy:
                return
            self.start_over()
        if any(_contradicts(run, boundary.position) for run in (self.entries, self.detached)):
            text = f"{place}: the boundary at {index} has another term than entry {index}"
            self.conflict = Damage(kind=DamageKind.BOUNDARY, text=text)
            self._truncate(Index(index + 1))
        if self.detached and self.detached[0].index <= index:
            self.detached_previous = boundary.position.term
        for run in (self.entries, self.detached):
            if run and run[0].index <= index:
                del run[: index + 1 - run[0].index]
        if self.lost:
            self.lost = {at: damage for at, damage in self.lost.items() if at > index}
        self.boundary = boundary
        self._attach()

    def take_entry(self, record: Record, *, kind: DamageKind, place: str) -> None:
        """Add an entry, or note why it cannot be added."""
        entry = record.entry
        assert entry is not None
        if record.copy:
            if self._fill_in(entry, intact=record.intact):
                return
        elif entry.index < self.first_index:
            text = f"{place}: entry {entry.index} is below the boundary"
            self.conflict = Damage(kind=DamageKind.BOUNDARY, text=text)
            return
        else:
            self._truncate(entry.index)
        if not record.intact:
            text = f"{place}: entry {entry.index} fails its check"
            self.lost[entry.index] = Damage(kind=kind, text=text)
        self._place(entry, record.previous_term, place)

    def _place(self, entry: Entry, previous: Term | None, place: str) -> None:
        """Append the entry where it follows; else it is, for now at least, behind a gap."""
        if _follows(entry, previous, self.last_index, self.last_term):
            self.entries.append(entry)
            self._attach()
            return
        if not self.detached:
            self.detached = [entry]
            self.detached_previous = previous
        else:
            last = self.detached[-1]
            if _follows(entry, previous, last.index, last.term):
                self.detached.append(entry)
        text = f"{place}: entry {entry.index} does not follow entry {self.last_index}"
        reason = Damage(kind=DamageKind.GAP, text=text)
        if self.gap is not None and self.gap[0] > self.last_index:
            self.gap = (max(self.gap[0], entry.index), self.gap[1])
        else:
            self.gap = (entry.index, reason)

    def _attach(self) -> None:
        """Let the detached entries follow the others if nothing is missing between them."""
        if self.detached and _follows(
            self.detached[0], self.detached_previous, self.last_index, self.last_term
        ):
            self.entries += self.detached
            self.detached = []

    def _fill_in(self, entry: Entry, *, intact: bool) -> bool:
        """Whether a copy's original is there; if that cannot be read, the copy stands in for it."""
        if entry.index < self.first_index:
            return True
        for run in (self.entries, self.detached):
            at = entry.index - run[0].index if run else -1
            if 0 <= at < len(run):
                if intact and entry.index in self.lost and run[at].term == entry.term:
                    run[at] = entry
                    del self.lost[entry.index]
                return True
        return False

    def _truncate(self, start: Index) -> None:
        """Drop everything from `start` on, as the log did when it was written."""
        if start > max(self.last_index, self.gap[0] if self.gap is not None else NO_INDEX):
            return  # nothing is: what is behind a gap, or lost there, is not above the gap's index
        for run in (self.entries, self.detached):
            if run:
                del run[max(0, start - run[0].index) :]
        if self.lost:
            self.lost = {at: damage for at, damage in self.lost.items() if at < start}
        if self.gap is not None and self.gap[0] >= start:
            self.gap = (Index(start - 1), self.gap[1])


def _contradicts(run: list[Entry], position: LogPosition) -> bool:
    """Whether the run has another entry at the position."""
    at = position.index - run[0].index if run else -1
    return 0 <= at < len(run) and run[at].term != position.term


def _follows(entry: Entry, previous: Term | None, last_index: Index, last_term: Term) -> bool:
    """Whether the entry, whose predecessor has term `previous`, comes right behind the last."""
    if entry.index != last_index + 1 or entry.term < last_term:
        return False
    return previous is None or previous == last_term


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
        case RecordType.STARTED_OVER:
            state.start_over()
        case _:
            assert record.type is RecordType.REMOVED
            state.removed = True
            state.entries.clear()
