"""What event ids cost a topic that does not use them: `python -m tests.dedup.zero_cost [--runs N]`.

The guard's work (`tests/bench/guard`: three brokers in one process, no kernel, no disk) with the
package as it is, and with a copy of it from which every look at event ids on the way of a batch is
cut out; in turn, five times each, each in a process of its own. Shown are the brokers' function
calls for one batch, which are exact, and its processor time by that of a reference loop. Exit code
1 if the medians of the times are further apart than the runs of either kind.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "trimaran"
RUN_S = 120
MEASURE = (
    "import json, sys, trimaran; assert trimaran.__file__.startswith(sys.argv[1]);"
    "from tests.bench.guard.__main__ import measure;"
    "print(json.dumps({name: one for name, (one, _) in measure(2, 4).items()}))"
)
CUTS = {
    "broker/partition.py": [
        ("        if settings.event_dedup_enable:\n", "        if False:\n"),
        ("        if event_ids:\n            self.event_ids.fold(entry)\n", ""),
        (
            "            if entry.event_ids or entry.offset_count == 0:\n"
            "                self.event_ids.fold(entry)\n",
            "",
        ),
        ("self.event_ids.flushed(self._flushed_index)", "{}"),
    ],
    "storage/journal_format.py": [
        (
            "            if entry.event_ids:\n"
            "                checksum = crc32c(entry.event_ids, checksum)\n"
            "                payloads.append(entry.event_ids)\n",
            "",
        ),
        ("        len(entry.event_ids),\n", "        0,\n"),
    ],
    "storage/segment.py": [
        ("        if entry.event_ids:\n            self._ids.append(entry.event_ids)\n", ""),
    ],
    "storage/sidecar.py": [
        ("        ids_bytes=len(entry.event_ids),\n", "        ids_bytes=0,\n"),
        ("        ids_checksum=crc32c(entry.event_ids),\n", "        ids_checksum=0,\n"),
    ],
}
"""Text that stands exactly once, and what takes its place."""


def without_event_ids(target: Path) -> None:
    """Copy the package to `target` and cut."""
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__", "static"))
    for name, cuts in CUTS.items():
        path = target / name
        text = path.read_text()
        for old, new in cuts:
            assert text.count(old) == 1, f"{name}: {old!r} does not stand exactly once"
            text = text.replace(old, new)
        path.write_text(text)


def measured(source: Path) -> dict[str, float]:
    """Return the guard's figures with the package below `source`."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(source)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=RUN_S,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def compared(name: str, with_ids: list[float], without: list[float]) -> tuple[str, bool]:
    """Return a line about one figure, and whether the two kinds differ by more than their runs."""
    middle, bare = statistics.median(with_ids), statistics.median(without)
    spread = max(max(runs) - min(runs) for runs in (with_ids, without))
    line = (
        f"{name:<22} {middle:9.3f} ({min(with_ids):.3f} to {max(with_ids):.3f})"
        f"   without {bare:9.3f} ({min(without):.3f} to {max(without):.3f})"
        f"   {middle / bare - 1:+.2%}"
    )
    return line, abs(middle - bare) > spread


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.dedup.zero_cost")
    parser.add_argument("--runs", type=int, default=5, help="of each kind (5)")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="trimaran-") as directory:
        bare = Path(directory)
        without_event_ids(bare / "trimaran")
        found = [(measured(PACKAGE.parent), measured(bare)) for _ in range(runs)]
    worse = False
    for name in found[0][0]:
        line, differs = compared(name, [a[name] for a, _ in found], [b[name] for _, b in found])
        print(line)
        worse |= differs and name.endswith("ratio")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
