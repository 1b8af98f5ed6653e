"""What `trimaran doctor` finds out about the machine it runs on.

Does not: talk to a cluster (doctor_cluster.py does).
"""

import ctypes
import resource
import shutil
import sys
from dataclasses import dataclass
from enum import IntEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trimaran.bench.filesystem import MEMORY_FILE_SYSTEMS, DiskFigures, file_system, measure_disk

MIB = 1_048_576
WRITE_BYTES = 64 * MIB
SYNC_UNREAL_MS = 0.02
"""A sync faster than this reaches no disk that keeps anything: about 20 us is a cache's answer."""
SYNC_SLOW_MS = 10.0
SYNC_STALLS_MS = 100.0
"""Near the shortest election time-out: such a disk makes leaders late."""
FREE_WARN_BYTES = 5 << 30
FREE_FAIL_BYTES = 1 << 30
OPEN_FILES_MIN = 4_096
CLOCK_ERROR = 5
"""adjtimex(2), TIME_ERROR: the clock is not synchronized."""
TIMEX_BYTES = 256
"""At least the size of struct timex; the call with modes 0 only reads."""
PACKAGES = ("confluent-kafka", "crc32c", "cramjam", "kio", "msgspec", "uvloop")


class Severity(IntEnum):
    """How bad; the highest one is the exit code."""

    OK = 0
    WARN = 1
    FAIL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do unless all is well."""

    check: str
    severity: Severity
    found: str
    advice: str = ""


def machine_findings(directory: Path) -> list[Finding]:
    """Return what there is to say of this machine and of the disk below `directory`."""
    existing = _existing(directory)
    findings = [_python(), _packages(), _open_files(), _clock(_clock_state()), _space(existing)]
    kind, mount = file_system(existing)
    findings.append(judge_file_system(kind, mount))
    try:
        findings += judge_disk(measure_disk(existing, write_bytes=WRITE_BYTES))
    except OSError as error:
        advice = "run it as the node's user, or name another directory with --data"
        findings.append(Finding("disk", Severity.FAIL, f"{existing}: {error.strerror}", advice))
    return findings


def judge_file_system(kind: str, mount: str) -> Finding:
    """Return whether a file system of type `kind` keeps what is synced."""
    found = f"{kind} on {mount or '?'}"
    if kind in MEMORY_FILE_SYSTEMS:
        return Finding("file system", Severity.FAIL, found, "memory forgets: use a disk")
    if kind in {"nfs", "nfs4", "cifs", "9p", "fuse"} or kind.startswith("fuse."):
        advice = "a local disk answers sooner and means what it says"
        return Finding("file system", Severity.WARN, found, advice)
    return Finding("file system", Severity.OK, found)


def judge_disk(figures: DiskFigures) -> list[Finding]:
    """Return whether syncs are real and fast enough, and what the disk writes in a row."""
    p50, p99 = figures.fdatasync_p50_ms, figures.fdatasync_p99_ms
    found = f"fdatasync p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    if p50 < SYNC_UNREAL_MS:
        advice = "no disk is that fast: is its write cache told to lie (barrier=0, eatmydata)?"
        sync = Finding("fsync", Severity.FAIL, found, advice)
    elif p99 > SYNC_STALLS_MS:
        advice = "leaders on this disk will be replaced; every acknowledgement waits for it"
        sync = Finding("fsync", Severity.FAIL, found, advice)
    elif p50 > SYNC_SLOW_MS:
        sync = Finding("fsync", Severity.WARN, found, "every acknowledgement waits for this disk")
    else:
        sync = Finding("fsync", Severity.OK, found)
    rate = f"{figures.sequential_mb_per_s:,.0f} MB/s in a row"
    if figures.sequential_mb_per_s < 100:
        advice = "each byte is written twice: expect less than half of this"
        return [sync, Finding("disk throughput", Severity.WARN, rate, advice)]
    return [sync, Finding("disk throughput", Severity.OK, rate)]


def _existing(directory: Path) -> Path:
    """Return `directory` or the nearest directory above it that is there."""
    path = directory.resolve()
    while not path.is_dir():
        path = path.parent
    return path


def _python() -> Finding:
    found = sys.version.split()[0]
    return Finding("python", Severity.OK, found)


def _packages() -> Finding:
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            advice = f"pip install {name}"
            return Finding("packages", Severity.FAIL, f"{name} is missing", advice)
    return Finding("packages", Severity.OK, ", ".join(versions))


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} (hard limit {hard})"
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES_MIN:
        advice = f"ulimit -Hn {OPEN_FILES_MIN}, or LimitNOFILE= in the unit"
        return Finding("open files", Severity.WARN, found, advice)
    return Finding("open files", Severity.OK, found)


def _space(directory: Path) -> Finding:
    free = shutil.disk_usage(directory).free
    found = f"{free / (1 << 30):,.1f} GiB free at {directory}"
    if free < FREE_FAIL_BYTES:
        advice = "below storage.free_space_reserve_bytes the node takes no events: make room"
        return Finding("free space", Severity.FAIL, found, advice)
    if free < FREE_WARN_BYTES:
        return Finding("free space", Severity.WARN, found, "set retention, or make room")
    return Finding("free space", Severity.OK, found)


def _clock_state() -> int | None:
    """Return what adjtimex(2) says of the clock, or None where there is no such call."""
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
    except (AttributeError, OSError):
        return None


def _clock(state: int | None) -> Finding:
    if state is None or state < 0:
        return Finding("clock", Severity.OK, "this system does not say whether it is synchronized")
    if state == CLOCK_ERROR:
        advice = "run an NTP client; log time is the median of the nodes' clocks"
        return Finding("clock", Severity.WARN, "not synchronized", advice)
    return Finding("clock", Severity.OK, "synchronized")
