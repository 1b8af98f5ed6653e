"""What one run was asked for and what it did; and the table over many runs.

Does not: print (the command line and the tests do).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

SECONDS = 20.0
"""Virtual seconds of faults in a run, unless said otherwise."""
NODES = 3
CLIENTS = 4
SIZES_EVERY = 15
OTHER_SIZES = {3: 1, 9: 5}
"""Nodes of the seeds that leave such a rest when divided by SIZES_EVERY."""
EXPECTED_COUNTS = (
    "election",
    "leader change",
    "truncation",
    "recovery",
    "death in recovery",
    "orderly stop",
    "torn write",
    "lost sector",
    "lost directory change",
    "held connection",
    "timed out connection",
    "reset connection",
    "resent piece",
    "tail stretch",
    "refused record",
    "install",
    "repair",
    "readmission",
    "power cut in recovery",
    "topic made and deleted",
    "topic grown",
    "setting changed",
    "producer's next epoch",
    "log start moved",
    "group generation",
    "offset committed",
    "member taken in",
    "member fenced",
    "partition handed over",
    "epoch's offset committed",
    "fetch session",
    "session ended by an error",
    "left out of a session",
    "read from a follower",
    "reader ahead of a follower",
)
"""What must happen in a run of many seeds, besides each kind of fault."""
COUNTED_S = 20.0
COUNTED_ACKED = 500
COUNTED_LEADER_CHANGES = 1
"""A run with less than these three proves little, and does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Everything that determines a run."""

    seed: int
    seconds: float = SECONDS
    """Virtual, of faults; the narrowing and the heal come on top."""
    nodes: int = NODES
    clients: int = CLIENTS
    kinds: tuple[str, ...] | None = None
    """Faults by name; None: what the seed draws."""

    def command(self) -> str:
        """Return the command line that repeats the run."""
        words = [f"trimaran sim --seed {self.seed} --seconds {self.seconds:g}"]
        if self.nodes != NODES:
            words.append(f"--nodes {self.nodes}")
        if self.clients != CLIENTS:
            words.append(f"--clients {self.clients}")
        if self.kinds is not None:
            words.append(f"--kinds '{','.join(self.kinds)}'")
        return " ".join(words)


def options_of(seed: int) -> RunOptions:
    """Return what a seed of many is run with: three nodes mostly, now and then one or five."""
    return RunOptions(seed=seed, nodes=OTHER_SIZES.get(seed % SIZES_EVERY, NODES))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What one seed did and whether anything was wrong."""

    seed: int
    nodes: int
    options: RunOptions
    kinds: tuple[str, ...]
    """The faults that could strike."""
    violations: tuple[str, ...]
    digest: str
    virtual_s: float
    progress_s: float
    """From the narrowing to a majority until every partition with one had taken a record."""
    lines: int
    sent: int
    acked: int
    unknown: int
    refused: int
    read: int
    leader_changes: int
    restarts: int
    faults: dict[str, int]
    """How often each kind of fault really happened."""
    counts: dict[str, int]
    """How often else something happened that is worth knowing, by name."""
    answers: dict[str, int]
    blocking_calls: tuple[str, ...]
    damage: int
    trace: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no checker objected."""
        return not self.violations

    @property
    def lies(self) -> tuple[str, ...]:
        """Return the violations of safety: all but a lack of progress."""
        return tuple(line for line in self.violations if not line.startswith("liveness"))

    @property
    def counted(self) -> bool:
        """Whether enough happened for the run to prove something."""
        return (
            self.virtual_s >= COUNTED_S
            and self.acked >= COUNTED_ACKED
            and self.leader_changes >= COUNTED_LEADER_CHANGES
        )

    def without_trace(self) -> "SeedReport":
        """Return the report without what only helps to understand a failure."""
        return replace(self, trace=())

    def summary(self) -> str:
        """Return one line for people."""
        verdict = "ok" if self.passed else f"{len(self.violations)} VIOLATIONS"
        return (
            f"seed {self.seed} {verdict} digest {self.digest} virtual {self.virtual_s:.1f} s "
            f"sent {self.sent} acked {self.acked} unknown {self.unknown} read {self.read} "
            f"leader changes {self.leader_changes} restarts {self.restarts} "
            f"faults [{listed(self.faults)}] counts [{listed(self.counts)}]"
        )


def listed(counts: Mapping[str, int]) -> str:
    """Return counts as `name:count` in the order of their names; "none" if there are none."""
    return " ".join(f"{name}:{count}" for name, count in sorted(counts.items())) or "none"


def added_up(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of counts by name."""
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def table(reports: Sequence[SeedReport], *, expected: Sequence[str]) -> str:
    """Return what all runs did together: one line for each kind; `expected` ones even if 0."""
    rows = dict.fromkeys(expected, 0) | added_up([report.faults for report in reports])
    rows |= added_up([report.counts for report in reports])
    runs = {
        name: sum(name in report.faults or name in report.counts for report in reports)
        for name in rows
    }
    lines = [f"{'what':<28}{'happened':>12}{'in runs':>10}"]
    lines += [f"{name:<28}{rows[name]:>12}{runs[name]:>10}" for name in rows]
    minutes = sum(report.virtual_s for report in reports) / 60.0
    lines.append(
        f"{len(reports)} runs, {sum(report.counted for report in reports)} of them count, "
        f"{sum(not report.kinds for report in reports)} calm, {minutes:.1f} virtual minutes, "
        f"{sum(report.acked for report in reports)} acknowledged records, "
        f"{sum(report.leader_changes for report in reports)} leader changes, "
        f"{sum(report.restarts for report in reports)} restarts"
    )
    return "\n".join(lines)


def missing(reports: Sequence[SeedReport], *, expected: Sequence[str]) -> list[str]:
    """Return which of `expected` happened in no run at all."""
    happened = added_up([report.faults for report in reports])
    happened |= added_up([report.counts for report in reports])
    return [name for name in expected if not happened.get(name)]
