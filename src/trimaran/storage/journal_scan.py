"""Reading the journal at start: which rounds stand, and what the bad ones are (design D11).

A bad round is *corrupt* if a valid later round follows (each round's head proves that all before it
was synced), if it is one of its file's first (files get their name when those are synced), or if
the file is short. In the last round it is a *torn tail*, and cut, if each bad piece has a 512-byte
sector that still reads as zeros: that sector was never written, so the round was never synced. Else
it is *uncertain*. Corrupt and uncertain are faults; a fault is everyone's unless the record heads
tell whose entries are lost.

Invariants: reads only; a round is handed out only if its record heads pass their check; memory is
bounded by one round.
Does not: know what a group's log looks like (replay.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from trimaran.errors import CorruptionError
from trimaran.ids import GroupId, Index
from trimaran.storage.damage import DamageKind
from trimaran.storage.files import File, Files, read_around
from trimaran.storage.identity import Identity
from trimaran.storage.journal import JournalTail
from trimaran.storage.journal_decoding import (
    Record,
    RoundHead,
    decode_round,
    decode_round_head,
)
from trimaran.storage.journal_files import (
    RANGE_PATH,
    JournalListing,
    journal_path,
    list_journal,
    read_range,
)
from trimaran.storage.journal_format import (
    ROUND_HEAD_BYTES,
    ROUND_MAGIC,
    SECTOR_BYTES,
    ZERO_SECTOR,
    ZERO_SECTORS,
    file_head_bytes,
    file_head_problem,
)

WINDOW_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A place in the journal that fails its check."""

    kind: DamageKind
    path: str
    position: int
    text: str
    everyone: bool
    """Any group may have lost something; False: only the entries handed out as not intact."""

    def __str__(self) -> str:
        """Return place and reason in one line."""
        return f"{self.path} at byte {self.position}: {self.text}"


@dataclass(slots=True)
class ScannedRound:
    """A round whose record heads stand; entries with `intact` False have lost their payload."""

    path: str
    head: RoundHead
    hints: list[tuple[GroupId, Index]]
    records: list[Record]
    kind: DamageKind = DamageKind.CORRUPT
    """What its entries that are not intact are."""


@dataclass(slots=True)
class _Place:
    """Where the scan is."""

    generation: int
    path: str
    window: "_Window"
    position: int
    is_last: bool
    next_first: RoundHead | None = None
    synced_end: int = 2 * SECTOR_BYTES
    """Rounds that begin below it were synced before the file got its name."""

    @property
    def is_known_synced(self) -> bool:
        """Whether what stands here was synced for sure, even if nothing follows it."""
        return not self.is_last or self.position < self.synced_end


class _Window:
    """A file read in large pieces."""

    __slots__ = ("_file", "_start", "_view", "size")

    def __init__(self, file: File) -> None:
        self._file = file
        self._start = 0
        self._view = memoryview(b"")
        self.size = file.size()

    def read(self, position: int, length: int) -> memoryview:
        """Return up to `length` bytes; fewer only at the end of the file."""
        if position < self._start or position + length > self._start + len(self._view):
            self._start = position
            self._view = memoryview(read_around(self._file, max(length, WINDOW_BYTES), position))
        at = position - self._start
        return self._view[at : at + length]

    def has_zero_sector(self, start: int, end: int) -> bool:
        """Whether a sector of the file that [start, end) touches reads as zeros."""
        first = start // SECTOR_BYTES * SECTOR_BYTES
        return any(
            self.read(sector, SECTOR_BYTES) == ZERO_SECTOR
            for sector in range(first, min(end, self.size), SECTOR_BYTES)
        )


@dataclass(slots=True)
class JournalScan:
    """One pass over the journal; the fields are complete once `rounds` is exhausted."""

    files: Files
    identity: Identity
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was cut, and why that is right."""
    listing: JournalListing = field(
        default_factory=lambda: JournalListing(
            generations=(), unfinished=(), aside=(), newest_seen=0
        )
    )
    needed: tuple[int, ...] = ()
    """Generations that were read."""
    tail: JournalTail = field(default_factory=lambda: JournalTail(0, 0, 0))
    broken: bool = False
    """The chain is broken here, which is reported; the next round need not follow the last."""

    def rounds(self) -> Iterator[ScannedRound]:
        """Yield the rounds that stand, in the order in which they were written.

        Raises:
            StorageError: the disk cannot be read.
        """
        self.listing = list_journal(self.files)
        self.needed = self._needed_files()
        for number, generation in enumerate(self.needed):
            following = self.needed[number + 1 :]
            file = self.files.open(journal_path(generation))
            try:
                place = _Place(
                    generation=generation,
                    path=journal_path(generation),
                    window=_Window(file),
                    position=SECTOR_BYTES,
                    is_last=not following,
                    next_first=self._first_round(following[0]) if following else None,
                )
                self._check_head(place)
                yield from self._file_rounds(place)
            finally:
                file.close()
        self.tail.generation = max(self.tail.generation, self.listing.newest_seen)

    def _needed_files(self) -> tuple[int, ...]:
        """Return the generations to read; a missing one is everyone's fault."""
        present = self.listing.generations
        try:
            oldest, newest = read_range(self.files)
        except CorruptionError as error:
            self._fault(DamageKind.CORRUPT, RANGE_PATH, error.position, str(error))
            oldest, newest = (present[0], present[-1]) if present else (1, 1)
        if present and present[-1] > newest:
            # A start was cut while it kept files aside: the newest one holds all that counts.
            while oldest in self.listing.aside and oldest not in present:
                oldest += 1
        needed = tuple(generation for generation in present if generation >= oldest)
        end = max([newest, *needed])
        expected = oldest
        for generation in (*sorted(needed), end + 1):
            if generation > expected:
                self._missing(expected, generation - 1)
            expected = generation + 1
        return needed

    def _missing(self, first: int, last: int) -> None:
        """Note a gap, however wide: its ends may come from a file's name or a damaged note."""
        text = "the file is missing"
        if last > first:
            text = f"the file is missing, and so are those up to generation {last}"
        self._fault(DamageKind.CORRUPT, journal_path(first), 0, text)

    def _first_round(self, generation: int) -> RoundHead | None:
        file = self.files.open(journal_path(generation))
        try:
            data = read_around(file, SECTOR_BYTES, SECTOR_BYTES)
        finally:
            file.close()
        return decode_round_head(data, generation, SECTOR_BYTES)

    def _check_head(self, place: _Place) -> None:
        sector = bytes(place.window.read(0, SECTOR_BYTES))
        problem = file_head_problem(sector, self.identity, place.generation)
        if problem is not None:
            self._fault(DamageKind.CORRUPT, place.path, 0, problem)
        elif place.window.size < file_head_bytes(sector):
            self._short(place, file_head_bytes(sector))

    def _file_rounds(self, place: _Place) -> Iterator[ScannedRound]:
        while not self._is_complete(place):
            head = decode_round_head(
                bytes(place.window.read(place.position, ROUND_HEAD_BYTES)),
                place.generation,
                place.position,
            )
            if head is None:
                if not self._skip_to_later(place, None):
                    return
                continue
            self._follow(place, head)
            scanned = self._read_round(place, head)
            if scanned is None:
                if not self._skip_to_later(place, head):
                    return
                continue
            if not self._stands(place, scanned):
                return
            self._advance(place, head)
            yield scanned

    def _is_complete(self, place: _Place) -> bool:
        """Whether the next file goes on from here; then what is left in this one was cut before."""
        following = place.next_first
        return (
            following is not None
            and following.sequence == self.tail.sequence + 1
            and following.previous_checksum == self.tail.checksum
        )

    def _follow(self, place: _Place, head: RoundHead) -> None:
        """Check that `head` follows the round before. The first one read has none to follow."""
        follows = (
            head.sequence == self.tail.sequence + 1 and head.previous_checksum == self.tail.checksum
        )
        if not follows and self.tail.sequence > 0 and not self.broken:
            text = f"round {head.sequence} does not follow round {self.tail.sequence}"
            self._fault(DamageKind.CORRUPT, place.path, place.position, text)
        if head.file_bytes > place.window.size:
            self._short(place, head.file_bytes)
        if place.position == SECTOR_BYTES:
            place.synced_end = max(place.synced_end, head.synced)

    def _advance(self, place: _Place, head: RoundHead) -> None:
        self.tail = JournalTail(place.generation, head.sequence, head.checksum)
        self.broken = False
        place.position = head.end

    def _read_round(self, place: _Place, head: RoundHead) -> ScannedRound | None:
        """Return the round, None if its record heads fail their check."""
        length = head.area_bytes + head.payload_bytes
        if place.position + ROUND_HEAD_BYTES + length > place.window.size:
            return None
        body = place.window.read(place.position + ROUND_HEAD_BYTES, length)
        try:
            hints, records = decode_round(head, body)
        except ValueError:
            return None
        return ScannedRound(path=place.path, head=head, hints=hints, records=records)

    def _skip_to_later(self, place: _Place, head: RoundHead | None) -> bool:
        """Judge a place without readable round; go on to a later round if there is one.

        `head` is the round's head where that much stands.
        """
        if place.position + ROUND_HEAD_BYTES > place.window.size:
            return self._end_of_file(place)
        sector = place.window.read(place.position, SECTOR_BYTES)
        blank = head is None and sector == ZERO_SECTOR
        later = self._find_later(place, head)
        if later is not None:
            text = "a round is missing or fails its check, and a later one follows"
            self._fault(DamageKind.CORRUPT, place.path, place.position, text)
            place.position = later
            self.broken = True
            return True
        if place.is_known_synced:
            return self._end_of_file(place)
        area = (0, 0) if head is None else (place.position + SECTOR_BYTES, head.payload_position)
        if blank or place.window.has_zero_sector(*area):
            if not blank or not self._rest_is_zero(place):
                self.notes.append(f"{place.path} at byte {place.position}: cut a torn tail")
            return False
        text = "the last round fails its check, and nothing shows that it was never synced"
        self._fault(DamageKind.UNCERTAIN, place.path, place.position, text)
        return False

    def _end_of_file(self, place: _Place) -> bool:
        """Report what is missing before the file's end: its first rounds, or the next file's start.

        The last file may simply be full.
        """
        if place.is_known_synced:
            text = "a round is missing or fails its check, and it was synced"
            self._fault(DamageKind.CORRUPT, place.path, place.position, text)
        return False

    def _find_later(self, place: _Place, head: RoundHead | None) -> int | None:
        """Return the position of the next valid round behind a bad one, None if there is none."""
        position = place.position + SECTOR_BYTES if head is None else head.end
        while position < place.window.size:
            chunk = bytes(place.window.read(position, WINDOW_BYTES))
            at = chunk.find(ROUND_MAGIC)
            while at >= 0:
                if at % SECTOR_BYTES == 0:
                    data = bytes(place.window.read(position + at, ROUND_HEAD_BYTES))
                    found = decode_round_head(data, place.generation, position + at)
                    if found is not None and found.sequence > self.tail.sequence:
                        return position + at
                at = chunk.find(ROUND_MAGIC, at + 1)
            position += WINDOW_BYTES
        return None

    def _rest_is_zero(self, place: _Place) -> bool:
        position = place.position
        while position < place.window.size:
            chunk = place.window.read(position, WINDOW_BYTES)
            if chunk != bytes(len(chunk)):
                return False
            position += WINDOW_BYTES
        return True

    def _stands(self, place: _Place, scanned: ScannedRound) -> bool:
        """Whether a round with readable heads counts; False ends the scan: it was torn."""
        bad = [record for record in scanned.records if not record.intact]
        if not bad:
            return True
        synced = place.is_known_synced or self._find_later(place, scanned.head) is not None
        if not synced and not scanned.head.flags & ZERO_SECTORS:
            torn = all(place.window.has_zero_sector(record.start, record.end) for record in bad)
            if torn:
                self.notes.append(f"{place.path} at byte {place.position}: cut a torn round")
                return False
        scanned.kind = DamageKind.CORRUPT if synced else DamageKind.UNCERTAIN
        for record in bad:
            text = "an entry fails its check"
            self._fault(scanned.kind, place.path, record.start, text, everyone=False)
        return True

    def _short(self, place: _Place, expected: int) -> None:
        text = f"the file has {place.window.size} bytes and should have {expected}"
        self._fault(DamageKind.CORRUPT, place.path, place.window.size, text)

    def _fault(
        self, kind: DamageKind, path: str, position: int, text: str, *, everyone: bool = True
    ) -> None:
        fault = Fault(kind=kind, path=path, position=position, text=text, everyone=everyone)
        if fault not in self.faults:
            self.faults.append(fault)
