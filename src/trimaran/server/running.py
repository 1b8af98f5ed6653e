"""What a running node leaves in its data directory for whoever looks for it.

`lock` is an empty file with an flock as long as the process lives: the kernel drops it with the
process, so it is never stale. It holds the process id as text. `running.json` says how far the node
got and on which ports; it counts only while the lock is held.
Does not: protect against another machine on a shared file system.
"""

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from trimaran.errors import TrimaranError

LOCK_NAME = "lock"
STATE_NAME = "running.json"
LOCK_ATTEMPTS = 20
LOCK_ATTEMPT_S = 0.05
"""A killed process may take a moment to go; a looker holds a shared lock for microseconds."""


class DirectoryInUseError(TrimaranError):
    """Another process runs on this data directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningNode:
    """How far a node got."""

    pid: int
    node_id: int
    state: str
    """`starting`, `listening` or `ready`."""
    kafka_port: int = 0
    peer_port: int = 0

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "RunningNode":
        """Return what `to_json` wrote. Raises ValueError or TypeError for anything else."""
        return RunningNode(**json.loads(text))


class DirectoryLock:
    """Held by the node of a data directory from before it reads until it ends."""

    def __init__(self, data: Path) -> None:
        """Take the lock, waiting up to a second for a process that is just ending.

        Raises:
            DirectoryInUseError: another process keeps it.
        """
        self._descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        for attempt in range(LOCK_ATTEMPTS):
            if try_lock(self._descriptor, fcntl.LOCK_EX):
                break
            assert attempt < LOCK_ATTEMPTS
            time.sleep(LOCK_ATTEMPT_S)
        else:
            holder = lock_text(self._descriptor)
            os.close(self._descriptor)
            raise DirectoryInUseError(
                f"{data} is in use by process {holder}: stop that one first, "
                f"or give this node a data directory of its own"
            )
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Give the directory up; the end of the process does the same."""
        os.close(self._descriptor)


def try_lock(descriptor: int, kind: int) -> bool:
    """Take an flock without waiting; False if somebody else's is in the way."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_text(descriptor: int) -> str:
    """Return the process id that the holder wrote, empty if it has not yet."""
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()


def running_pid(data: Path) -> int | None:
    """Return the process that runs on `data`, None if nobody does."""
    try:
        descriptor = os.open(data / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if try_lock(descriptor, fcntl.LOCK_SH):
            return None
        text = lock_text(descriptor)
        return int(text) if text.isdecimal() else None
    finally:
        os.close(descriptor)


def write_running(data: Path, running: RunningNode) -> None:
    """Replace the state file atomically."""
    fresh = data / (STATE_NAME + ".new")
    fresh.write_text(running.to_json() + "\n")
    fresh.replace(data / STATE_NAME)


def read_running(data: Path) -> RunningNode | None:
    """Return the state of the node that runs on `data`; None if none does or it just began."""
    pid = running_pid(data)
    if pid is None:
        return None
    try:
        running = RunningNode.from_json((data / STATE_NAME).read_text())
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return running if running.pid == pid else None
