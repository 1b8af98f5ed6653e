"""A disk below a real node that loses what was not synced when its power is cut.

`PowerDisk` builds the library `powercut.c` (once for each version of its source), tells how to
start a process on it (`prefix`), and, when that process is dead, settles what the disk holds
(`cut`). Of each file: every 512-byte sector written since its last sync is lost, kept, torn, or
comes back as it was between two writes, each on its own; the size is the old, the new or one
between. Directory changes that were not synced are kept up to a point in time, as a journaling file
system does. A sync covers what was written before it *began*; one that failed covers nothing, and
no later one covers what it left.

Does not: kill the process; see changes of other programs in the directory.
"""

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

SOURCE = Path(__file__).with_name("powercut.c")
COMPILER = "gcc"
SECTOR_BYTES = 512
TORN = 0.02
"""How many of the unsynced sectors are torn inside."""

WRITE, RESIZE, SYNC_BEGAN, SYNCED, CREATE, REMOVE, RENAME, MAKE, UNMAKE, SYNC_FAILED = range(1, 11)
_HEAD = struct.Struct("=8Q")
_CONTROL = struct.Struct("=3I")


class Record(NamedTuple):
    """One line of the journal; `powercut.c` has the table."""

    kind: int
    inode: int
    offset: int
    length: int
    old_size: int
    mark: int
    first: bytes
    second: bytes


@dataclass(slots=True, kw_only=True)
class CutReport:
    """What a power cut did."""

    lost_sectors: int = 0
    kept_sectors: int = 0
    torn_writes: int = 0
    """Files of which some unsynced sectors were kept and others lost."""
    lost_entries: int = 0
    """Changes of directories that were taken back."""
    files: list[str] = field(default_factory=list)


class PowerDisk:
    """One node's data directory and the journal of what happened in it."""

    def __init__(self, data: Path, *, library: Path) -> None:
        """Watch `data` (absolute); the journal lies beside it, for links need one file system."""
        assert data.is_absolute()
        self.data = data
        self._library = library
        self._beside = data.with_name(data.name + ".power")
        self._saved = self._beside / "saved"
        self._saved.mkdir(parents=True, exist_ok=True)
        self._journal = self._beside / "journal"
        self._control = self._beside / "control"
        self.behave()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before the command of a process on this disk."""
        return (
            "env",
            f"LD_PRELOAD={self._library}",
            f"POWERCUT_ROOT={self.data}",
            f"POWERCUT_JOURNAL={self._journal}",
            f"POWERCUT_SAVED={self._saved}",
            f"POWERCUT_CONTROL={self._control}",
        )

    def behave(self, *, sync_delay_ms: int = 0, sync_errno: int = 0, write_errno: int = 0) -> None:
        """From now on: slower syncs; one that fails; no new space for writes. Without: all well."""
        descriptor = os.open(self._control, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, _CONTROL.pack(sync_delay_ms, sync_errno, write_errno), 0)
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """Take the disk as it is for synced: it was replaced, or changed from outside."""
        self._journal.unlink(missing_ok=True)
        for link in self._saved.iterdir():
            link.unlink()

    def cut(self, chance: Random) -> CutReport:
        """Lose what was not synced; the process must be dead. What is left is durable."""
        records = list(read_journal(self._journal))
        report = CutReport()
        entries, files = unsynced(records)
        contents = _contents([self.data, self._saved])
        for inode, pending in files.items():
            path = contents.get(inode)
            if path is not None:
                _cut_file(path, pending, chance, report)
        kept = chance.randint(0, len(entries))
        for change in reversed(entries[kept:]):
            report.lost_entries += self._take_back(change)
        self.forget()
        return report

    def _take_back(self, change: Record) -> bool:
        """Undo one change of a directory; False if later ones left nothing to undo."""
        first, second = Path(os.fsdecode(change.first)), Path(os.fsdecode(change.second))
        link = self._saved / str(change.mark)
        if change.kind == CREATE and first.is_file():
            first.unlink()
        elif change.kind == REMOVE and change.mark and not first.exists():
            first.parent.mkdir(parents=True, exist_ok=True)
            os.link(link, first)
        elif change.kind == RENAME and second.exists():
            first.parent.mkdir(parents=True, exist_ok=True)
            second.rename(first)
            if change.mark:
                os.link(link, second)
        elif change.kind == MAKE and first.is_dir():
            shutil.rmtree(first)
        elif change.kind == UNMAKE and not first.exists():
            first.mkdir(parents=True)
        else:
            return False
        return True


def build_library(directory: Path | None = None) -> Path:
    """Return the compiled library; built where it is missing.

    Raises:
        OSError, subprocess.CalledProcessError: no compiler, or it failed.
    """
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    place = directory or Path(tempfile.gettempdir())
    library = place / f"trimaran-powercut-{os.getuid()}-{version}.so"
    if not library.exists():
        fresh = library.with_suffix(f".{os.getpid()}")
        command = [COMPILER, "-O2", "-shared", "-fPIC", "-o", str(fresh), str(SOURCE)]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True, capture_output=True)
        fresh.replace(library)
    return library


def read_journal(path: Path) -> Iterator[Record]:
    """Yield the records of a journal; a killed process may have left half of the last one."""
    if not path.exists():
        return
    data = memoryview(path.read_bytes())
    at = 0
    while at + _HEAD.size <= len(data):
        kind, inode, offset, length, old_size, mark, *texts = _HEAD.unpack_from(data, at)
        first_bytes, second_bytes = texts
        at += _HEAD.size
        end = at + first_bytes + second_bytes
        if end > len(data):
            return
        middle = at + first_bytes
        first, second = bytes(data[at:middle]), bytes(data[middle:end])
        yield Record(kind, inode, offset, length, old_size, mark, first, second)
        at = end


def unsynced(records: list[Record]) -> tuple[list[Record], dict[int, list[Record]]]:
    """Return the directory changes, and by inode the changes of files, that no sync covers."""
    begun: dict[int, tuple[int, Record]] = {}
    entries: list[tuple[int, Record]] = []
    files: dict[int, list[tuple[int, Record]]] = {}
    doomed: dict[int, list[tuple[int, Record]]] = {}
    for number, record in enumerate(records):
        if record.kind == SYNC_BEGAN:
            begun[record.mark] = (number, record)
        elif record.kind in (SYNCED, SYNC_FAILED):
            began, start = begun.pop(record.mark)
            own = files.get(start.inode, [])
            if record.kind == SYNC_FAILED:
                doomed.setdefault(start.inode, []).extend(one for one in own if one[0] < began)
            else:
                entries = [
                    one for one in entries if one[0] > began or not _touches(one[1], start.first)
                ]
            files[start.inode] = [one for one in own if one[0] > began]
        elif record.kind in (WRITE, RESIZE):
            files.setdefault(record.inode, []).append((number, record))
        else:
            entries.append((number, record))
    for inode, lost in doomed.items():
        files[inode] = sorted([*lost, *files.get(inode, [])])
    return [one for _, one in entries], {
        inode: [one for _, one in own] for inode, own in files.items() if own
    }


def _touches(change: Record, directory: bytes) -> bool:
    return directory in (os.path.dirname(change.first), os.path.dirname(change.second))


def _contents(directories: list[Path]) -> dict[int, Path]:
    """Return inode -> a path of every file."""
    return {
        path.stat().st_ino: path
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file()
    }


def _cut_file(path: Path, pending: list[Record], chance: Random, report: CutReport) -> None:
    """Give each unsynced sector one of its versions, and the file one of its sizes."""
    size, durable_size = path.stat().st_size, pending[0].old_size
    versions = _versions(path, pending)
    keep = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    between = chance.randint(*sorted((size, durable_size)))
    kept = lost = 0
    with path.open("r+b") as file:
        file.truncate(max(size, durable_size))
        for sector in sorted(versions):
            low = sector * SECTOR_BYTES
            file.seek(low)
            new = file.read(SECTOR_BYTES).ljust(SECTOR_BYTES, b"\0")
            old, *middle = versions[sector]
            cut_off = low >= size  # by a truncation that may not have happened
            odds = 0.0 if cut_off else keep
            found = _survivor(chance, old=old, new=new, middle=middle, keep=odds)
            kept += found == new
            lost += found != new
            file.seek(low)
            file.write(found)
        file.truncate(chance.choice((size, durable_size, between)))
    report.kept_sectors += kept
    report.lost_sectors += lost
    report.torn_writes += kept > 0 and lost > 0
    report.files.append(path.name)


def _versions(path: Path, pending: list[Record]) -> dict[int, list[bytes]]:
    """Return sector -> what it held before each unsynced write to it, the durable version first.

    Each record has the old bytes of its own range only; the rest of its sectors is as the next
    record, or the file now, has it. So the file is walked back, newest record first.
    """
    content: dict[int, bytearray] = {}
    versions: dict[int, list[bytes]] = {}
    with path.open("rb") as file:
        for record in reversed(pending):
            begin = record.offset if record.kind == WRITE else record.length
            end = begin + (record.length if record.kind == WRITE else len(record.first))
            for sector in range(begin // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
                if sector not in content:
                    file.seek(sector * SECTOR_BYTES)
                    found = file.read(SECTOR_BYTES)
                    content[sector] = bytearray(found.ljust(SECTOR_BYTES, b"\0"))
                low = sector * SECTOR_BYTES
                from_byte, to_byte = max(begin, low), min(end, low + SECTOR_BYTES)
                old = record.first[from_byte - begin : to_byte - begin]
                old = old.ljust(to_byte - from_byte, b"\0")
                content[sector][from_byte - low : to_byte - low] = old
                versions.setdefault(sector, []).insert(0, bytes(content[sector]))
    return versions


def _survivor(chance: Random, *, old: bytes, new: bytes, middle: list[bytes], keep: float) -> bytes:
    """Return what one unsynced sector holds after the power is back."""
    if middle and chance.random() < 0.2:
        new = chance.choice(middle)
    if chance.random() < TORN:
        cut = chance.randint(1, SECTOR_BYTES - 1)
        first, second = (new, old) if chance.random() < 0.5 else (old, new)
        return first[:cut] + second[cut:]
    return new if chance.random() < keep else old
