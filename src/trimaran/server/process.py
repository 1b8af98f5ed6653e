"""A node as a child process: started, waited for, killed, paused, stopped.

Readiness comes through a pipe that the child inherits: one JSON line (`RunningNode`) when it is
ready, end-of-file if it died. A second pipe ties an owned child to its owner: when the owner's end
closes, for whatever reason, the node stops. What the owner forks does not hold that end (`forks`).
The settings of a node that is started here are in its file: variables of the environment that could
override them (for every node at once: ports, directories) are kept from it, those of the logging
section excepted.
Does not: know what a cluster is.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from trimaran.config.description import ENVIRONMENT_PREFIX
from trimaran.errors import TrimaranError
from trimaran.server.forks import tell_children
from trimaran.server.running import RunningNode

LOG_TAIL_BYTES = 2_000
PASSED_PREFIX = f"{ENVIRONMENT_PREFIX}LOGGING_"
"""Variables that mean the same for every node."""


class NodeStartError(TrimaranError):
    """A node did not become ready; the message ends with the last lines of its log."""


class NodeProcess:
    """One start of one node."""

    def __init__(self, command: Sequence[str], *, log_path: Path, owned: bool) -> None:
        """Start `command` with the descriptors' options added; standard error goes to `log_path`.

        `owned`: the node stops when this process ends; otherwise it lives on.
        """
        self.log_path = log_path
        self._ready_read, ready_write = os.pipe()
        owner_read, self._owner_write = os.pipe() if owned else (-1, -1)
        tell_children(self)
        options = ["--ready-fd", str(ready_write)]
        options += ["--owner-fd", str(owner_read)] if owned else []
        inherited = [ready_write, owner_read] if owned else [ready_write]
        try:
            with log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [*command, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=inherited,
                    env=node_environment(os.environ),
                    start_new_session=True,
                )
        except BaseException:
            self._close_pipes()  # Ctrl-C may come when the child runs already: it ends by this
            raise
        finally:
            for descriptor in inherited:
                os.close(descriptor)
        self._ready_bytes = b""
        self.running: RunningNode | None = None

    @property
    def pid(self) -> int:
        """The process id, also after its end."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    def wait_ready(self, timeout_s: float) -> RunningNode:
        """Return what the node says when it is ready.

        Raises:
            NodeStartError: it ended, or was not ready after `timeout_s` (it is left running).
        """
        deadline = time.monotonic() + timeout_s
        while not self.poll_ready(max(0.0, deadline - time.monotonic())):
            if time.monotonic() >= deadline:
                raise NodeStartError(
                    f"process {self.pid} was not ready after {timeout_s:.1f} s; {self.log_tail()}"
                )
        assert self.running is not None
        return self.running

    def poll_ready(self, wait_s: float = 0.0) -> bool:
        """Whether the node said that it is ready; waits up to `wait_s` for news.

        Raises:
            NodeStartError: it ended instead.
        """
        if self.running is not None:
            return True
        readable, _, _ = select.select([self._ready_read], [], [], wait_s)
        if not readable:
            return False
        received = os.read(self._ready_read, 4096)
        self._ready_bytes += received
        if b"\n" in self._ready_bytes:
            self.running = RunningNode.from_json(self._ready_bytes.decode())
            return True
        if not received:
            code = self._process.wait()
            raise NodeStartError(f"process {self.pid} ended with code {code}; {self.log_tail()}")
        return False

    def log_tail(self) -> str:
        """Return the end of the node's log, for error messages."""
        size = self.log_path.stat().st_size
        with self.log_path.open("rb") as log:
            log.seek(max(0, size - LOG_TAIL_BYTES))
            text = log.read().decode(errors="replace").strip()
        return f"its log {self.log_path} ends with:\n{text}"

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def pause(self) -> None:
        """SIGSTOP: returns when the process is frozen; its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: ask it to move its leaderships and end; does not wait."""
        self._process.terminate()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, wait, SIGKILL if it takes longer than `timeout_s`; return the exit code."""
        self.terminate()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._close_pipes()
        return code

    def let_go(self) -> None:
        """Forget a node that is not owned; it lives on."""
        assert self._owner_write == -1
        self._process.returncode = 0  # no ResourceWarning: we leave it running on purpose
        self._close_pipes()

    def forked(self) -> None:
        """Leave the node to the parent: in this child the owner's end is closed."""
        self._close_pipes()

    def _close_pipes(self) -> None:
        """Close both, once: after an interruption the numbers may be those of other files."""
        ends = (self._ready_read, self._owner_write)
        self._ready_read = self._owner_write = -1
        for descriptor in ends:
            if descriptor != -1:
                os.close(descriptor)


def node_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of `environment` a node gets that is set by its file."""
    return {
        name: text
        for name, text in environment.items()
        if not name.startswith(ENVIRONMENT_PREFIX) or name.startswith(PASSED_PREFIX)
    }
