"""Where and when a result was measured, and what each node used meanwhile.

Read from /proc; on other systems the fields that it would fill are empty.
Does not: identify the machine (no host name, no address): results are meant to be published.
"""

import os
import platform
import shlex
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka
import msgspec

from trimaran import __version__


class Machine(msgspec.Struct, kw_only=True, frozen=True):
    """What stands beside every figure."""

    date: str
    command: str
    trimaran: str
    commit: str
    """Of the checkout that runs, `+` where it has been changed; empty without one."""
    python: str
    librdkafka: str
    kernel: str
    processor: str
    cores: int
    memory_gb: float
    load_before: float
    """The machine's one-minute load when the run began: other work shows here."""


class NodeUse(msgspec.Struct, kw_only=True, frozen=True):
    """What one node used over the measured time."""

    node_id: int
    cpu_cores: float
    rss_mb: float
    rss_max_mb: float


def describe(arguments: list[str]) -> Machine:
    """Return the facts of this machine and moment; `arguments` are the command's."""
    return Machine(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["trimaran", "bench", *arguments]),
        trimaran=__version__,
        commit=_commit(),
        python=platform.python_version(),
        librdkafka=str(confluent_kafka.libversion()[0]),
        kernel=f"{platform.system()} {platform.release()}",
        processor=_field("/proc/cpuinfo", "model name") or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(_kilobytes("/proc/meminfo", "MemTotal") / 1e6, 1),
        load_before=round(os.getloadavg()[0], 2),
    )


class NodeMeter:
    """Measures CPU and memory of the nodes whose process ids are known."""

    def __init__(self, pids: Mapping[int, int]) -> None:
        self._pids = dict(pids)
        self._begun_s = time.monotonic()
        self._cpu_s = {node: _cpu_s(pid) for node, pid in self._pids.items()}

    def read(self) -> list[NodeUse]:
        """Return what each node used since this meter was made; nothing for foreign targets."""
        elapsed_s = time.monotonic() - self._begun_s
        return [
            NodeUse(
                node_id=node,
                cpu_cores=round((_cpu_s(pid) - self._cpu_s[node]) / elapsed_s, 3),
                rss_mb=round(_kilobytes(f"/proc/{pid}/status", "VmRSS") / 1e3, 1),
                rss_max_mb=round(_kilobytes(f"/proc/{pid}/status", "VmHWM") / 1e3, 1),
            )
            for node, pid in self._pids.items()
        ]


def _commit() -> str:
    """Return the short commit id of the checkout that this module lies in."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        ours = subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
        )
        head = subprocess.run(
            [*git, "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return head.stdout.strip() if ours.returncode == 0 else ""


def _cpu_s(pid: int) -> float:
    """Return user and system time of a process and of its threads; 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    # The name in parentheses may hold blanks; utime and stime are fields 14 and 15 (proc(5)).
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kilobytes(path: str, name: str) -> float:
    words = _field(path, name).split()
    return float(words[0]) if words else 0.0


def _field(path: str, name: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
