"""Server processes of a peer: started, watched, stopped, with a log to show when one fails."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trimaran.bench.errors import BenchError

STOP_S = 20.0
ASK_S = 0.1
LOG_SHOWN = 1_500


@dataclass(slots=True)
class Servers:
    """All processes of one peer, below one directory."""

    directory: Path
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
            self.running.append(
                subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=log,
                    cwd=self.directory,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
            )

    def pids(self) -> dict[int, int]:
        """Return node -> process id: of what works most in the session that was started."""
        nodes = self.running[self.helpers :]
        return {number: _busiest(one.pid) for number, one in enumerate(nodes, 1)}

    def wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        """Ask `ready` until it says so. Raises BenchError: a process ended, or time is over."""
        end_s = time.monotonic() + seconds
        while not ready():
            ended = [number for number, one in enumerate(self.running, 1) if one.poll() is not None]
            if ended or time.monotonic() > end_s:
                number = ended[0] if ended else 1
                text = (self.directory / f"log-{number}").read_text(errors="replace")
                raise BenchError(f"{what}: not there after {seconds:.0f} s\n{text[-LOG_SHOWN:]}")
            time.sleep(ASK_S)

    def stop(self) -> None:
        """End all of them."""
        for one in self.running:
            _signal(one, signal.SIGTERM)
        for one in reversed(self.running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(STOP_S)
            _signal(one, signal.SIGKILL)
            one.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Signal everything that a server started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _busiest(session: int) -> int:
    """Return the process of a session that has used most processor time (proc(5), stat)."""
    used: dict[int, int] = {session: 0}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                used[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    return max(used, key=lambda pid: used[pid])


@contextlib.contextmanager
def servers(name: str, base: Path) -> Iterator[Servers]:
    """Give servers a directory of their own below `base`; stop them and remove it afterwards."""
    with tempfile.TemporaryDirectory(
        prefix=f"peer-{name}-", dir=base, ignore_cleanup_errors=True
    ) as directory:
        own = Servers(Path(directory).resolve())
        try:
            yield own
        finally:
            own.stop()


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
