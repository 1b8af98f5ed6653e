"""The mutation gate: planted bugs, and which of our checks finds each of them.

    python -m trimaran.sim.mutation                   each bug against the catcher on record
    python -m trimaran.sim.mutation --all             search anew: every catcher, in order
    python -m trimaran.sim.mutation --all --rewrite   the same, and put it on record
    python -m trimaran.sim.mutation --table           the record as a Markdown table

A bug is a small change of the package's text (`tests/sim/mutation/bugs.toml`). The package is
copied, the copy changed, and catchers run on the copy in processes of their own, the general ones
first: they were not written for this bug. The unit tests of the changed package come last.

The record (`caught.toml`) names for each bug the catcher and the seed that found it. A seed draws
something else after most changes of the package; where the one on record finds nothing any more,
the same catcher is given all its seeds before the bug counts as missed.

Invariants: the checkout's package is only read; a change whose old text does not stand exactly once
in its file is an error, as is a catcher that does not end by itself in time.
Does not: judge the catchers on the package as it is; their own tests do.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

BUGS = Path("tests/sim/mutation/bugs.toml")
RECORD = Path("tests/sim/mutation/caught.toml")
PACKAGE = Path("src/trimaran")
CATCHERS = "trimaran.sim.mutation_catchers"
STORAGE_MODEL = "tests/storage/test_stateful.py"
GENERAL = ("core", "search", "seeds", "storage model")
UNIT = "unit tests"
CORE_SEEDS = 80
SIMULATED_SEEDS = 16
LIMIT_S = 600.0
"""One catcher on one bug."""
JOBS = 2
OK = 0
MISSED = 1

_RECORD_HEAD = (
    "# Which check finds each planted bug first, and where. Written by\n"
    "#     python -m trimaran.sim.mutation --all --rewrite\n"
)


class GateError(Exception):
    """The gate itself cannot go on: a change that does not fit, a catcher that does not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One change of one file."""

    name: str
    file: str
    """Relative to the package."""
    old: str
    new: str
    breaks: str

    @property
    def part(self) -> str:
        """The subpackage that is changed."""
        return self.file.partition("/")[0]

    def planted(self, text: str) -> str:
        """Return the file's `text` with the bug in it. Raises GateError."""
        count = text.count(self.old)
        if count != 1:
            raise GateError(f"{self.name}: the old text stands {count} times in {self.file}")
        changed = text.replace(self.old, self.new)
        try:
            compile(changed, self.file, "exec")
        except SyntaxError as error:
            raise GateError(f"{self.name}: {self.file} is no Python any more: {error}") from error
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """Who found a bug, and how."""

    bug: str
    catcher: str
    """One of GENERAL, or UNIT."""
    at: str
    """The seed, the plan of the search, or the test."""
    tries: int
    """Seeds or plans of this catcher that ran, this one included; 1 for a test."""
    seconds: float
    """That took, with the start of the process."""
    said: str

    @property
    def is_general(self) -> bool:
        """Whether what found it was not written for this part of the package."""
        return self.catcher in GENERAL


def load_bugs(path: Path) -> list[Bug]:
    """Return the planted bugs. Raises GateError: two of one name."""
    with path.open("rb") as file:
        bugs = [Bug(**fields) for fields in tomllib.load(file)["bug"]]
    names = [bug.name for bug in bugs]
    if len(dict.fromkeys(names)) != len(names):
        raise GateError(f"{path}: two bugs have one name")
    return bugs


def load_record(path: Path) -> dict[str, Caught]:
    """Return what is on record, by the bug's name; empty if there is no record."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        rows = [Caught(**fields) for fields in tomllib.load(file).get("caught", ())]
    return {row.bug: row for row in rows}


def record_text(bugs: Sequence[Bug], record: Mapping[str, Caught]) -> str:
    """Return the record as a file's content, in the order of the bugs."""
    parts = [_RECORD_HEAD]
    for bug in bugs:
        row = record.get(bug.name)
        if row is None:
            continue
        parts.append(
            "\n[[caught]]\n"
            f"bug = {json.dumps(row.bug)}\n"
            f"catcher = {json.dumps(row.catcher)}\n"
            f"at = {json.dumps(row.at)}\n"
            f"tries = {row.tries}\n"
            f"seconds = {row.seconds:.1f}\n"
            f"said = {json.dumps(row.said)}\n"
        )
    return "".join(parts)


def markdown(bugs: Sequence[Bug], record: Mapping[str, Caught]) -> str:
    """Return the record as a table for the documents."""
    lines = [
        "| Planted bug | What it breaks | Caught by | At | Tries | s |",
        "|---|---|---|---|---:|---:|",
    ]
    for bug in bugs:
        row = record.get(bug.name)
        if row is None:
            lines.append(f"| {bug.name} | {bug.breaks} | **nothing** | | | |")
            continue
        at = row.at.rpartition("::")[2].replace("_", " ").removeprefix("test ")
        kind = {"core": "seed ", "seeds": "seed ", "search": "plan "}.get(row.catcher, "")
        lines.append(
            f"| {bug.name} | {bug.breaks} | {row.catcher} | {kind}{at} "
            f"| {row.tries} | {row.seconds:.1f} |"
        )
    return "\n".join(lines) + "\n"


class Gate:
    """Plants bugs and lets catchers look for them."""

    def __init__(self, checkout: Path, *, work: Path, package: Path | None = None) -> None:
        """Copies of `package`, by default the checkout's, go below `work`."""
        self.checkout = checkout.absolute()
        self.package = package or self.checkout / PACKAGE
        self.work = work
        self._as_it_is: dict[tuple[str, str], bool] = {}
        """Whether a seed or plan fails on the unchanged package too."""

    async def search(self, bug: Bug) -> Caught | None:
        """Let every catcher look for `bug`, the general ones first; None if none finds it."""
        directory = self.plant(bug)
        for catcher in _catchers(bug):
            caught = await self.attempt(bug, directory, catcher)
            if caught is not None:
                return caught
        return None

    async def again(self, bug: Bug, row: Caught) -> Caught | None:
        """Let the catcher on record look where it found `bug`, then everywhere."""
        directory = self.plant(bug)
        caught = await self.attempt(bug, directory, row.catcher, row.at)
        return caught or await self.attempt(bug, directory, row.catcher)

    def plant(self, bug: Bug) -> Path:
        """Copy the package, change the copy, return the directory to import it from."""
        directory = self._copy(bug.name.replace(" ", "-").replace("=", "-"))
        path = directory / "trimaran" / bug.file
        original = (self.package / bug.file).read_text(encoding="utf-8")
        path.write_text(bug.planted(original), encoding="utf-8")
        return directory

    async def attempt(self, bug: Bug, directory: Path, catcher: str, at: str = "") -> Caught | None:
        """Run one catcher, at one place only if `at` names one."""
        started = time.monotonic()
        if catcher in ("core", "search", "seeds"):
            found, said = await self._run_seeds(directory, catcher, at)
        else:
            target = at or (STORAGE_MODEL if catcher == "storage model" else f"tests/{bug.part}")
            found, said = await self._run_tests(directory, target)
            if found and (await self._run_tests(self._copy("as it is"), found))[0]:
                raise GateError(f"{found} fails without {bug.name!r} as well")
        if not found:
            return None
        return Caught(
            bug=bug.name,
            catcher=catcher,
            at=found,
            tries=int(found) + 1 - _first(catcher) if found.isdecimal() else 1,
            seconds=time.monotonic() - started,
            said=said,
        )

    def _copy(self, name: str) -> Path:
        """Copy the package below `work`, once."""
        directory = self.work / name
        if not directory.exists():
            # Times are copied too, so that what was compiled before need not be again.
            shutil.copytree(self.package, directory / "trimaran")
        return directory

    async def _run_seeds(self, directory: Path, catcher: str, at: str) -> tuple[str, str]:
        """Return the first seed or plan that fails here and not on the package as it is."""
        if at:
            return await self._run_seeds_from(directory, catcher, at, 1)
        if catcher == "search":
            found, said = await self._run_seeds_from(directory, catcher, "all", 1)
            return (
                ("", "") if found and await self._fails_as_it_is(catcher, found) else (found, said)
            )
        first = _first(catcher)
        end = first + (CORE_SEEDS if catcher == "core" else SIMULATED_SEEDS)
        while first < end:
            found, said = await self._run_seeds_from(directory, catcher, str(first), end - first)
            if not found or not await self._fails_as_it_is(catcher, found):
                return found, said
            first = int(found) + 1
        return "", ""

    async def _fails_as_it_is(self, catcher: str, at: str) -> bool:
        key = (catcher, at)
        if key not in self._as_it_is:
            directory = self._copy("as it is")
            self._as_it_is[key] = (await self._run_seeds_from(directory, catcher, at, 1))[0] != ""
        return self._as_it_is[key]

    async def _run_seeds_from(
        self, directory: Path, catcher: str, first: str, count: int
    ) -> tuple[str, str]:
        arguments = ["-m", CATCHERS, catcher, first, str(count), "--checkout", str(self.checkout)]
        code, output = await self._python(directory, arguments)
        lines = output.splitlines()
        if code != OK or not lines or not lines[-1].startswith("{"):
            raise GateError(f"{catcher} in {directory.name} ended with {code}: {output[-2000:]}")
        answer = json.loads(lines[-1])
        if not Path(answer["package"]).is_relative_to(directory):
            raise GateError(f"{catcher} ran on {answer['package']}, not on the changed copy")
        return answer["at"], answer["said"]

    async def _run_tests(self, directory: Path, target: str) -> tuple[str, str]:
        quiet = ["-q", "-p", "no:cacheprovider", "--tb=line", "--show-capture=no"]
        arguments = ["-m", "pytest", "-x", *quiet, target]
        code, output = await self._python(directory, arguments)
        if code == OK:
            return "", ""
        for line in output.splitlines():
            kind, _, rest = line.partition(" ")
            if kind in ("FAILED", "ERROR"):
                test, _, said = rest.partition(" - ")
                return test, said[:200]
        raise GateError(f"pytest {target} in {directory.name} ended with {code}: {output[-2000:]}")

    async def _python(self, directory: Path, arguments: Sequence[str]) -> tuple[int, str]:
        """Run Python with the changed copy first on its path; return exit code and output."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("TRIMARAN_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self.checkout,
            env={**kept, "PYTHONPATH": str(directory), "TRIMARAN_PROFILE": "ci"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(LIMIT_S):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise GateError(f"{directory.name}: {' '.join(arguments)} does not end") from None
        assert process.returncode is not None
        return process.returncode, output.decode(errors="replace")


def _catchers(bug: Bug) -> Iterator[str]:
    """Yield who looks for `bug`, in order: what cannot meet the change is left out."""
    if bug.part == "raft":
        yield "core"
        yield "search"
    yield "seeds"
    if bug.part == "storage":
        yield "storage model"
    yield UNIT


def _first(catcher: str) -> int:
    return 1 if catcher == "seeds" else 0


async def run_gate(
    gate: Gate,
    bugs: Sequence[Bug],
    record: Mapping[str, Caught],
    *,
    anew: bool = False,
    jobs: int = JOBS,
    told: Callable[[Bug, Caught | GateError | None], None] | None = None,
) -> dict[str, Caught]:
    """Look for all `bugs`, `jobs` at a time; return those that were found, by name.

    `anew` asks every catcher; else only the one on record, and a bug that is not there is missed.
    `told` is called for each bug, with a GateError if the gate could not look for it.
    """
    found: dict[str, Caught] = {}
    waiting = iter(bugs)

    async def work() -> None:
        for bug in waiting:
            row = record.get(bug.name)
            outcome: Caught | GateError | None = None
            try:
                if anew:
                    outcome = await gate.search(bug)
                elif row is not None:
                    outcome = await gate.again(bug, row)
            except GateError as error:
                outcome = error
            if isinstance(outcome, Caught):
                found[bug.name] = outcome
            if told is not None:
                told(bug, outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(work())
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate as `argv` says; return the exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    checkout: Path = arguments.checkout
    bugs = load_bugs(checkout / BUGS)
    record = load_record(checkout / RECORD)
    if arguments.table:
        sys.stdout.write(markdown(bugs, record))
        return OK
    chosen = [bug for bug in bugs if not arguments.bug or bug.name in arguments.bug]

    def told(bug: Bug, caught: Caught | GateError | None) -> None:
        if not isinstance(caught, Caught):
            console.print(f"{bug.name}: MISSED {caught or ''}")
            return
        where = f"{caught.catcher} {caught.at}, {caught.tries} tries, {caught.seconds:.1f} s"
        console.print(f"{bug.name}: {where}: {caught.said}")

    with tempfile.TemporaryDirectory(prefix="trimaran-mutation-") as work:
        gate = Gate(checkout, work=Path(work), package=arguments.package)
        found = asyncio.run(
            run_gate(gate, chosen, record, anew=arguments.all, jobs=arguments.jobs, told=told)
        )
    general = sum(row.is_general for row in found.values())
    console.print(f"{len(found)} of {len(chosen)} caught, {general} by general catchers")
    if arguments.rewrite:
        kept = {name: row for name, row in record.items() if all(b.name != name for b in chosen)}
        text = record_text(bugs, {**kept, **found})
        (checkout / RECORD).write_text(text, encoding="utf-8")
    return OK if len(found) == len(chosen) else MISSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trimaran.sim.mutation",
        description="Plant bugs in copies of the package; each must be caught.",
    )
    parser.add_argument("--all", action="store_true", help="search anew with every catcher")
    parser.add_argument("--rewrite", action="store_true", help="put what was found on record")
    parser.add_argument("--table", action="store_true", help="print the record as Markdown")
    parser.add_argument("--bug", action="append", help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"at a time ({JOBS})")
    parser.add_argument("--checkout", type=Path, default=Path(), help="where tests/ and src/ are")
    parser.add_argument("--package", type=Path, help="what to copy (src/trimaran)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
