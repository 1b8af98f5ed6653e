"""Whether the machine itself stood still: a process that does nothing but sleep and sync.

Every few milliseconds it sleeps, appends a block to a file on the measured disk and syncs it. Both
should take about as long as they always do; what took much longer is written down with its time,
and stands beside every failure that was measured meanwhile. As a program it writes one line of JSON
for each such stall to a file, until its standard input ends.

Does not: find out who was to blame.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec

from trimaran.bench.errors import BenchError

SLEEP_S = 0.005
NOTED_MS = 20.0
"""Shorter stalls are not written down."""

BLOCK_BYTES = 4_096
FILE_BYTES = 4 << 20
END_S = 10.0


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """A sleep or a sync that took longer than it should."""

    start_ns: int
    """On the monotonic clock."""
    end_ns: int
    late_ms: float
    """By how much the sleep was too long."""
    sync_ms: float
    """How long the sync took."""

    @property
    def worst_ms(self) -> float:
        """The longer of the two."""
        return max(self.late_ms, self.sync_ms)


class Probe:
    """The process, from its parent's side. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        """Probe the disk of `directory`."""
        self._directory = directory
        self._notes = directory / f".bench-stalls-{os.getpid()}"

    def __enter__(self) -> Self:
        """Start it."""
        self._notes.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trimaran.bench.probe", str(self._directory), str(self._notes)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it; its notes go with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._notes.unlink(missing_ok=True)

    def stalls(self) -> list[Stall]:
        """Return what it noted so far. Raises BenchError if it died."""
        if self._process.poll() is not None:
            raise BenchError(f"the probe ended early (exit code {self._process.returncode})")
        lines = self._notes.read_bytes().splitlines(keepends=True)
        return [msgspec.json.decode(one, type=Stall) for one in lines if one.endswith(b"\n")]


def worst_ms(stalls: Iterable[Stall], *, start_ns: int, end_ns: int) -> float:
    """Return the longest stall that overlaps [start, end]; 0 if none does."""
    return max(
        (one.worst_ms for one in stalls if one.start_ns <= end_ns and one.end_ns >= start_ns),
        default=0.0,
    )


def main(directory: Path, notes: Path) -> None:
    """Probe until standard input ends."""
    block = os.urandom(BLOCK_BYTES)
    path = directory / f".bench-probe-{os.getpid()}"
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    position = 0
    with notes.open("ab", buffering=0) as out:
        try:
            while not select.select([sys.stdin], [], [], 0)[0]:
                begun_ns = time.monotonic_ns()
                time.sleep(SLEEP_S)
                slept_ns = time.monotonic_ns()
                os.pwrite(descriptor, block, position)
                os.fdatasync(descriptor)
                end_ns = time.monotonic_ns()
                position = (position + BLOCK_BYTES) % FILE_BYTES
                stall = Stall(
                    start_ns=begun_ns,
                    end_ns=end_ns,
                    late_ms=round((slept_ns - begun_ns) / 1e6 - SLEEP_S * 1e3, 1),
                    sync_ms=round((end_ns - slept_ns) / 1e6, 1),
                )
                if stall.worst_ms >= NOTED_MS:
                    out.write(msgspec.json.encode(stall) + b"\n")
        finally:
            os.close(descriptor)
            path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
