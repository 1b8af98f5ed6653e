"""A simulated disk: what is written, what is durable, and what a power cut makes of the difference.

Each file has a volatile content (what every reader sees: the page cache) and a durable one (what
the platter has). Directory entries have their own difference: the creations, removals and renames
not yet synced. Invariants:

- A killed process changes nothing: the page cache lives on with the machine, and a later power cut
  still loses it.
- A power cut decides for each unsynced 512-byte sector on its own: lost, kept or torn; a sector
  written twice may come back in its middle version. An unsynced size may be the old or the new one.
  Unsynced directory changes are kept up to a point in time, or each on its own (`ordered`).
- A failed sync drops the dirty marks: nothing became durable, and the next sync succeeds without
  it (what Linux does). What was written is still read back, or no longer (`dropped`), as file
  systems differ.
- A page that has become unreadable fails each read of it, and each write of a part of it, as the
  kernel reads before it writes a part. Written as a whole it is sound again.
- A misdirected write leaves old bytes where it should be and new ones elsewhere in the file.

Counts what it did, by name (`counts`): the evidence that a fault really happened.

Does not: offer the `Files` interface (`files` does), or draw when faults happen (`faults` does).
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from trimaran.sim.trace import EventLog

SECTOR_BYTES = 512
PAGE_BYTES = 4096
"""The kernel takes a write page by page; a signal or an error stops it between two."""
VERSIONS_KEPT = 3
"""Earlier versions of an unsynced sector that a power cut may bring back."""


@dataclass(slots=True, kw_only=True)
class DiskConditions:
    """How the disk behaves; faults change it while the simulation runs."""

    sync_min_s: float = 0.000_3
    sync_mean_s: float = 0.000_7
    """Mean of what an exponential distribution adds to the minimum."""
    operation_s: float = 0.000_01
    read_s: float = 0.000_1
    bytes_per_s: float = 1e9
    slow_s: float = 0.0
    """Added to every sync, and a tenth of it to every read: a disk that is dying."""
    capacity: int | None = None
    """Bytes that fit; None is endless."""
    torn_sectors: float = 0.02
    """Probability that a power cut tears within an unsynced sector (half old, half new)."""
    ordered: float = 0.5
    """Probability that a power cut keeps directory changes in order, as a journal would."""
    dropped: float = 0.5
    """Probability that a failed sync also drops the pages, so that old bytes are read back."""


@dataclass(slots=True)
class FileNode:
    """One file, whatever its name. Bytes beyond `content` (up to `size`) read as zeros."""

    content: bytearray = field(default_factory=bytearray)
    size: int = 0
    durable: bytearray = field(default_factory=bytearray)
    durable_size: int = 0
    dirty: dict[int, list[bytes]] = field(default_factory=dict)
    """Unsynced sectors, with their earlier unsynced versions."""
    cut_size: int | None = None
    """Lowest size of an unsynced truncation: durable bytes beyond it are on their way out."""
    unreadable: dict[int, None] = field(default_factory=dict)
    """Numbers of the pages that the disk has lost."""

    def lost_byte(self, start: int, end: int) -> int | None:
        """Return the position of the first byte within [start, end) that cannot be read."""
        if not self.unreadable or start == end:
            return None
        lost = [
            max(start, page * PAGE_BYTES)
            for page in self.unreadable
            if page * PAGE_BYTES < min(end, self.size) and start < (page + 1) * PAGE_BYTES
        ]
        return min(lost, default=None)

    def refuses_write(self, start: int, end: int) -> bool:
        """Whether a write of [start, end) has a part of an unreadable page."""
        return any(
            (low < start < low + PAGE_BYTES) or (low < end < low + PAGE_BYTES)
            for low in (page * PAGE_BYTES for page in self.unreadable)
        )

    def write(self, data: bytes, position: int) -> None:
        """Change the volatile content."""
        end = position + len(data)
        if not data:
            return
        first, last = position // SECTOR_BYTES, (end - 1) // SECTOR_BYTES
        for sector in range(first, last + 1):
            if sector in self.dirty:
                self._keep_version(sector)
            else:
                self.dirty[sector] = []
        if len(self.content) < position:
            self.content.extend(bytes(position - len(self.content)))
        self.content[position:end] = data
        self.size = max(self.size, end)
        if self.unreadable:
            written = range(-(-position // PAGE_BYTES), end // PAGE_BYTES)
            self.unreadable = {page: None for page in self.unreadable if page not in written}

    def read(self, length: int, position: int) -> bytes:
        """Return up to `length` volatile bytes."""
        length = max(0, min(length, self.size - position))
        data = bytes(self.content[position : position + length])
        return data + bytes(length - len(data))

    def resize(self, size: int) -> None:
        """Cut or extend the volatile content."""
        if size < self.size:
            del self.content[size:]
            for sector in [s for s in self.dirty if s * SECTOR_BYTES >= size]:
                del self.dirty[sector]
            self.cut_size = size if self.cut_size is None else min(size, self.cut_size)
            gone = -(-size // PAGE_BYTES)
            self.unreadable = {page: None for page in self.unreadable if page < gone}
        self.size = size

    def sync(self) -> None:
        """Make the volatile content durable."""
        if self.cut_size is not None:
            del self.durable[self.cut_size :]
            self.cut_size = None
        for start, end in _runs(sorted(self.dirty)):
            low, high = start * SECTOR_BYTES, min(end * SECTOR_BYTES, len(self.content))
            if len(self.durable) < low:
                self.durable.extend(bytes(low - len(self.durable)))
            self.durable[low:high] = self.content[low:high]
        self.dirty.clear()
        self.durable_size = self.size

    def lose_marks(self, *, dropped: bool = False) -> None:
        """A sync failed: nothing is tried again. `dropped`: the old bytes are read from now on."""
        for sector in sorted(self.dirty) if dropped else ():
            low = sector * SECTOR_BYTES
            high = min(low + SECTOR_BYTES, len(self.content))
            old = bytes(self.durable[low:high])
            if low < high:
                self.content[low:high] = old.ljust(high - low, b"\0")
        self.dirty.clear()
        self.cut_size = None

    def cut_power(self, chance: Random, torn_sectors: float) -> tuple[int, int]:
        """Settle what survived: return how many unsynced sectors are as written, and how many not.

        Both above 0: what was written is torn.
        """
        keep = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        survived = bytearray(self.durable)
        if self.cut_size is not None and chance.random() < 0.5:
            del survived[self.cut_size :]
        kept = lost = 0
        for sector in sorted(self.dirty):
            low, high = sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES
            old = bytes(survived[low:high]).ljust(SECTOR_BYTES, b"\0")
            new = bytes(self.content[low:high]).ljust(SECTOR_BYTES, b"\0")
            found = _survivor(chance, old, new, self.dirty[sector], keep, torn_sectors)
            kept += found == new
            lost += found != new
            if len(survived) < high:
                survived.extend(bytes(high - len(survived)))
            survived[low:high] = found
        if self.size != self.durable_size:
            between = chance.randint(*sorted((self.size, self.durable_size)))
            self.durable_size = chance.choice((self.size, self.durable_size, between))
        del survived[self.durable_size :]
        self.durable = survived
        self.content = bytearray(survived)
        self.size = self.durable_size
        self.dirty.clear()
        self.cut_size = None
        return kept, lost

    def flip_bit(self, position: int, bit: int) -> None:
        """Rot one bit, on the platter and in the cache."""
        assert 0 <= position < self.size
        assert 0 <= bit < 8
        for content in (self.content, self.durable):
            if len(content) <= position:
                content.extend(bytes(position + 1 - len(content)))
            content[position] ^= 1 << bit

    def _keep_version(self, sector: int) -> None:
        versions = self.dirty[sector]
        if len(versions) < VERSIONS_KEPT:
            low = sector * SECTOR_BYTES
            versions.append(bytes(self.content[low : low + SECTOR_BYTES]))


@dataclass(slots=True)
class DirectoryNode:
    """A directory as it is seen, and as it is on the platter."""

    entries: "dict[str, FileNode | DirectoryNode]" = field(default_factory=dict)
    durable: "dict[str, FileNode | DirectoryNode]" = field(default_factory=dict)


Node = FileNode | DirectoryNode


@dataclass(frozen=True, slots=True)
class EntryChange:
    """An unsynced directory change: names that get a node (or lose theirs), atomically."""

    rows: tuple[tuple[DirectoryNode, str, Node | None], ...]


@dataclass(slots=True)
class PlannedFault:
    """The next `operation` on a path that contains `path` fails."""

    operation: str
    path: str


class Disk:
    """The disk of one machine. Outlives its processes."""

    def __init__(self, name: str, chance: Random, log: EventLog) -> None:
        """Start empty."""
        self.name = name
        self.chance = chance
        self.log = log
        self.conditions = DiskConditions()
        self.root = DirectoryNode()
        self.changes: list[EntryChange] = []
        self.planned: list[PlannedFault] = []
        self.spent_s = 0.0
        """Time that operations took since it was last taken."""
        self.counts: dict[str, int] = {}
        """What happened on this disk so far, by name."""
        self.has_lied = False
        """Whether it ever read other bytes than were synced. Whoever breaks it so says so."""
        self._astray = ""
        self._astray_followed = False

    def copy(self, chance: Random) -> "Disk":
        """Return an equal disk that draws from `chance`; nothing is wrong with it from now on."""
        other = Disk(f"copy of {self.name}", chance, EventLog(lambda: 0.0))
        other.root, other.changes = deepcopy((self.root, self.changes))
        return other

    def take_spent_s(self) -> float:
        """Return the time that operations took since the last call."""
        spent_s, self.spent_s = self.spent_s, 0.0
        return spent_s

    def draw_sync_s(self) -> float:
        """Return how long a sync takes."""
        conditions = self.conditions
        drawn_s = self.chance.expovariate(1.0 / conditions.sync_mean_s)
        return conditions.sync_min_s + drawn_s + conditions.slow_s

    def draw_read_s(self) -> float:
        """Return how long a read takes, apart from its bytes."""
        return self.conditions.read_s + self.conditions.slow_s / 10.0

    def note(self, what: str, count: int = 1) -> None:
        """Count something that really happened."""
        if count:
            self.counts[what] = self.counts.get(what, 0) + count

    def fail_next(self, operation: str, path: str = "") -> None:
        """Let the next `operation` on a path containing `path` fail.

        Operations are those of `SimFiles.gate`: sync, write, read and so on. "misdirect" lets the
        next write go to a wrong place instead.
        """
        self.planned.append(PlannedFault(operation, path))

    def takes_fault(self, operation: str, path: str) -> bool:
        """Whether a fault was planned for this; it happens once."""
        for fault in self.planned:
            if operation == "sync" and self.is_write_astray:
                break  # it would end the process
            if fault.operation == operation and fault.path in path:
                self.planned.remove(fault)
                if operation == "misdirect":
                    self._astray, self._astray_followed = _top(path), False
                self.note(
                    "misdirected write" if operation == "misdirect" else f"failed {operation}"
                )
                self.log.add(self.name, f"{operation} of {path} fails")
                return True
        return False

    @property
    def is_write_astray(self) -> bool:
        """Whether a misdirected write has no later synced write behind it yet."""
        return bool(self._astray)

    def written(self, path: str) -> None:
        """A write went where it should."""
        self._astray_followed = self._astray_followed or _top(path) == self._astray

    def synced(self, path: str) -> None:
        """A file was synced."""
        if self._astray_followed and _top(path) == self._astray:
            self._astray = ""

    def change_entries(self, *rows: tuple[DirectoryNode, str, Node | None]) -> None:
        """Make a directory change, not yet durable."""
        for directory, name, node in rows:
            if node is None:
                directory.entries.pop(name)
            else:
                directory.entries[name] = node
        self.changes.append(EntryChange(rows))

    def sync_entries(self, directory: DirectoryNode) -> None:
        """Make the changes durable that touch `directory`."""
        left = []
        for change in self.changes:
            if any(row[0] is directory for row in change.rows):
                _apply(change)
            else:
                left.append(change)
        self.changes = left

    def cut_power(self) -> None:
        """Lose what was not synced. The machine's processes must be dead."""
        self._cut_power_on_entries()
        all_kept = all_lost = 0
        for node in _walk(self.root):
            if isinstance(node, FileNode):
                kept, lost = node.cut_power(self.chance, self.conditions.torn_sectors)
                all_kept += kept
                all_lost += lost
                self.note("torn write", kept > 0 and lost > 0)
        self.note("lost sector", all_lost)
        self.planned.clear()
        self.log.add(self.name, f"power cut: {all_lost} sectors lost or torn, {all_kept} kept")

    def wipe(self) -> None:
        """Replace the disk by an empty one."""
        self.root = DirectoryNode()
        self.changes.clear()
        self.has_lied = False
        self._astray = ""
        self.log.add(self.name, "wiped")

    def used_bytes(self) -> int:
        """Return the space that all files take."""
        return sum(node.size for node in _walk(self.root) if isinstance(node, FileNode))

    def free_bytes(self) -> int:
        """Return the space left; a huge number on an endless disk."""
        if self.conditions.capacity is None:
            return 1 << 50
        return max(0, self.conditions.capacity - self.used_bytes())

    def file_paths(self) -> list[str]:
        """Return the path of every file, in order."""
        return sorted(_paths(self.root, ""))

    def file_node(self, path: str) -> FileNode:
        """Return the file at `path`, to break it."""
        node: Node = self.root
        for part in path.split("/"):
            assert isinstance(node, DirectoryNode)
            node = node.entries[part]
        assert isinstance(node, FileNode)
        return node

    def _cut_power_on_entries(self) -> None:
        ordered = self.chance.random() < self.conditions.ordered
        kept_count = self.chance.randint(0, len(self.changes))
        applied = 0
        for number, change in enumerate(self.changes):
            if number < kept_count if ordered else self.chance.random() < 0.5:
                _apply(change)
                applied += 1
        self.note("lost directory change", len(self.changes) - applied)
        self.changes.clear()
        for node in _walk_durable(self.root):
            node.entries = dict(node.durable)


def _top(path: str) -> str:
    return path.partition("/")[0]


def _apply(change: EntryChange) -> None:
    """Make one change durable. Out of order, a name may be gone already."""
    for directory, name, node in change.rows:
        if node is None:
            directory.durable.pop(name, None)
        else:
            directory.durable[name] = node


def _survivor(
    chance: Random, old: bytes, new: bytes, middle: list[bytes], keep: float, torn: float
) -> bytes:
    """Return what one unsynced sector holds after the power is back."""
    if middle and chance.random() < 0.2:
        new = chance.choice(middle).ljust(SECTOR_BYTES, b"\0")
    if torn > 0.0 and chance.random() < torn:
        cut = chance.randint(1, SECTOR_BYTES - 1)
        first, second = (new, old) if chance.random() < 0.5 else (old, new)
        return first[:cut] + second[cut:]
    return new if chance.random() < keep else old


def _runs(sectors: list[int]) -> Iterator[tuple[int, int]]:
    """Join neighbouring sectors to half-open ranges."""
    start = end = -1
    for sector in sectors:
        if sector != end:
            if end > start:
                yield start, end
            start = sector
        end = sector + 1
    if end > start:
        yield start, end


def _walk(directory: DirectoryNode) -> Iterator[Node]:
    for name in sorted(directory.entries):
        node = directory.entries[name]
        yield node
        if isinstance(node, DirectoryNode):
            yield from _walk(node)


def _walk_durable(directory: DirectoryNode) -> Iterator[DirectoryNode]:
    yield directory
    for name in sorted(directory.durable):
        node = directory.durable[name]
        if isinstance(node, DirectoryNode):
            yield from _walk_durable(node)


def _paths(directory: DirectoryNode, prefix: str) -> Iterator[str]:
    for name, node in directory.entries.items():
        if isinstance(node, DirectoryNode):
            yield from _paths(node, f"{prefix}{name}/")
        else:
            yield prefix + name
