"""What a comparison says, as data: the rows, and everything without which they mislead."""

import os
from pathlib import Path

import msgspec

from trimaran.bench.errors import BenchError
from trimaran.bench.results import Report


class System(msgspec.Struct, kw_only=True, frozen=True):
    """One system as it was measured."""

    name: str
    version: str
    synced: str
    durability: str


class Failure(msgspec.Struct, kw_only=True, frozen=True):
    """One run, or one start, that gave no row."""

    round: int
    system: str
    load: str
    """Empty: the system did not start."""
    client: str
    reason: str

    @property
    def in_words(self) -> str:
        """One line."""
        what = ", ".join(filter(None, (self.system, self.load, self.client)))
        return f"round {self.round}, {what}: {' '.join(self.reason.split())[:300]}"


class Comparison(Report, kw_only=True):
    """All rounds of one invocation."""

    rounds: int = 0
    systems: list[System] = msgspec.field(default_factory=list)
    failures: list[Failure] = msgspec.field(default_factory=list)
    left_out: list[str] = msgspec.field(default_factory=list)
    interrupted: bool = False


def write(comparison: Comparison, path: Path) -> None:
    """Replace the file at once: what was measured survives whatever comes next."""
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.format(msgspec.json.encode(comparison)) + b"\n")
    os.replace(beside, path)


def read(paths: list[Path]) -> Comparison:
    """Return the rows of several result files under the first one's machine and date.

    Raises:
        BenchError: a file is none of ours.
        OSError: it cannot be read.
    """
    found = []
    for path in paths:
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Comparison))
        except msgspec.DecodeError as error:
            raise BenchError(f"{path} holds no comparison: {error}") from error
    first = found[0]
    for other in found[1:]:
        first.rows += other.rows
        first.failures += other.failures
        first.left_out += [one for one in other.left_out if one not in first.left_out]
        first.systems += [one for one in other.systems if one not in first.systems]
        first.rounds = max(first.rounds, other.rounds)
        first.interrupted |= other.interrupted
    return first
