"""Server processes of a peer: started, watched, ended, with a log to show when one fails.

They are ended by SIGKILL: what they stored goes too, so nobody's clean stop is waited for. Should
this process end before, however it does, a guard ends them and removes their files.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import guard
from trimaran.bench.errors import BenchError

END_S = 10.0
ASK_S = 0.1
LOG_SHOWN = 1_500


@dataclass(slots=True)
class Servers:
    """All processes of one peer, below one directory."""

    directory: Path
    guard: subprocess.Popen[str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    helpers: int = 0
    """How many of the first are no nodes."""

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        is_node: bool = True,
    ) -> None:
        """Start one more, in a session of its own, as nodes of ours are; helpers first."""
        self.helpers += not is_node
        number = len(self.running) + 1
        with (self.directory / f"log-{number}").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self.running.append(process)
        self._tell_guard(str(process.pid))

    def pids(self) -> dict[int, int]:
        """Return node -> process id: of what works most in the session that was started."""
        nodes = self.running[self.helpers :]
        return {number: _busiest(one.pid) for number, one in enumerate(nodes, 1)}

    def wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Ask `ready` until it says so. Raises BenchError: a process ended, or time is over."""
        begun_s = time.monotonic()
        while not ready():
            ended = [number for number, one in enumerate(self.running, 1) if one.poll() is not None]
            waited_s = time.monotonic() - begun_s
            if ended or waited_s > seconds:
                number = ended[0] if ended else 1
                text = (self.directory / f"log-{number}").read_text(errors="replace")
                why = f"process {number} ended" if ended else "not there"
                raise BenchError(f"{what}: {why} after {waited_s:.0f} s\n{text[-LOG_SHOWN:]}")
            time.sleep(ASK_S)

    def end(self) -> None:
        """End all of them, and what they started."""
        for one in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
        for one in self.running:
            one.wait()
        end_s = time.monotonic() + END_S
        while any(_session(one.pid) for one in self.running) and time.monotonic() < end_s:
            time.sleep(ASK_S)
        self._tell_guard(guard.DONE)

    def _tell_guard(self, line: str) -> None:
        assert self.guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.guard.stdin.write(f"{line}\n")
            self.guard.stdin.flush()


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    fields = _stat(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[0] != "Z"


def _stat(path: Path) -> list[str]:
    """Return what follows the name in a process's stat (proc(5)); nothing if it is gone."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").rpartition(")")[2].split()
    return []


def _session(session: int) -> dict[int, int]:
    """Return the living processes of a session and the processor time that each has used."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(path)
        if fields and int(fields[3]) == session and fields[0] != "Z":
            found[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    return found


def _busiest(session: int) -> int:
    """Return the process of a session that has used most processor time."""
    used = _session(session)
    return max(used, key=lambda pid: used[pid], default=session)


@contextlib.contextmanager
def servers(name: str, base: Path) -> Iterator[Servers]:
    """Give servers a directory of their own below `base`; end them and remove it afterwards."""
    with tempfile.TemporaryDirectory(
        prefix=f"peer-{name}-", dir=base, ignore_cleanup_errors=True
    ) as directory:
        path = Path(directory).resolve()
        with subprocess.Popen(
            [sys.executable, "-I", guard.__file__, str(path)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as keeper:
            own = Servers(path, keeper)
            try:
                yield own
            finally:
                own.end()


def listens(port: int) -> bool:
    """Whether something accepts connections on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]
