"""Which file system a directory lies on, and how fast its disk syncs and writes.

A latency measured without a disk under it says nothing, so memory file systems are refused; and a
slow disk is no property of the software, so both figures stand beside every result.
Does not: measure through Trimaran's own storage code.
"""

import mmap
import os
import time
from pathlib import Path

import msgspec

MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs", "devtmpfs", "hugetlbfs")
SYNC_COUNT = 200
SYNC_BYTES = 16_384
"""About what one round of a busy node writes."""

WRITE_BYTES = 256 * 1_024 * 1_024
WRITE_BLOCK_BYTES = 1_024 * 1_024
DISK_LIMITED_BYTES_PER_S = 500_000_000
"""Below this sequential rate a result is marked disk-limited and measured again."""


class DiskFigures(msgspec.Struct, kw_only=True, frozen=True):
    """One measurement of a disk, nothing else running."""

    fdatasync_p50_ms: float
    fdatasync_p99_ms: float
    sequential_mb_per_s: float
    """Large writes past the page cache, synced at the end; megabytes of 10**6 bytes."""

    @property
    def limited(self) -> bool:
        """Whether this disk, and not the software, may have set the result."""
        return self.sequential_mb_per_s * 1e6 < DISK_LIMITED_BYTES_PER_S


def file_system(directory: Path) -> tuple[str, str]:
    """Return (type, mount point) of the file system below `directory`; "unknown" without /proc.

    Source: proc(5), mountinfo: the mount point is field 5, the type follows the single "-".
    """
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown", ""
    return find_mount(lines, str(directory.resolve()))


def find_mount(lines: list[str], path: str) -> tuple[str, str]:
    """Return (type, mount point) of the longest mount point above `path`; later mounts win ties."""
    found = ("unknown", "")
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = left.split()[4].replace("\\040", " ")
        above = mount == "/" or path == mount or path.startswith(mount + "/")
        if above and len(mount) >= len(found[1]):
            found = (right.split()[0], mount)
    return found


def measure_disk(directory: Path, *, write_bytes: int = WRITE_BYTES) -> DiskFigures:
    """Measure fdatasync after a small append, and the sequential write rate, in `directory`.

    Raises:
        OSError: the directory cannot be written.
    """
    path = directory / f".bench-disk-{os.getpid()}"
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        syncs_ns = sorted(_timed_syncs(descriptor))
        rate = _sequential_rate(path, write_bytes)
    finally:
        os.close(descriptor)
        path.unlink()
    return DiskFigures(
        fdatasync_p50_ms=round(syncs_ns[len(syncs_ns) // 2] / 1e6, 3),
        fdatasync_p99_ms=round(syncs_ns[len(syncs_ns) * 99 // 100] / 1e6, 3),
        sequential_mb_per_s=round(rate / 1e6, 1),
    )


def _timed_syncs(descriptor: int) -> list[int]:
    block = os.urandom(SYNC_BYTES)
    taken_ns = []
    for number in range(SYNC_COUNT):
        os.pwrite(descriptor, block, number * SYNC_BYTES)
        begun_ns = time.monotonic_ns()
        os.fdatasync(descriptor)
        taken_ns.append(time.monotonic_ns() - begun_ns)
    return taken_ns


def _sequential_rate(path: Path, write_bytes: int) -> float:
    """Return bytes per second of large writes, each on the disk before the next begins.

    The page cache is passed by where that can be done (O_DIRECT): on a virtual machine fresh cache
    pages may cost more than the disk does, and would be taken for the disk.
    """
    direct: int = getattr(os, "O_DIRECT", 0)
    try:
        descriptor = os.open(path, os.O_WRONLY | direct)
    except OSError:
        descriptor = os.open(path, os.O_WRONLY)
    try:
        # An anonymous map begins at a page boundary, as O_DIRECT demands of buffers.
        with mmap.mmap(-1, WRITE_BLOCK_BYTES) as block:
            block.write(os.urandom(WRITE_BLOCK_BYTES))
            begun_s = time.monotonic()
            for position in range(0, write_bytes, WRITE_BLOCK_BYTES):
                os.pwrite(descriptor, block, position)
            os.fdatasync(descriptor)
            return write_bytes / (time.monotonic() - begun_s)
    finally:
        os.close(descriptor)
