"""Breaking and mending the nodes of a cluster on this machine, for people who watch.

Everything is learnt anew at each call: `control.json` says whether it is allowed, `cluster.json`
which processes and commands there are. A node that is started again here belongs to whoever owns
this one: it inherits the descriptor whose end tells a node to stop.
Does not: exist elsewhere (`available` is false), check tokens or origins (routes do).
"""

import asyncio
import json
import os
import secrets
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trimaran.server.control_file import read_control
from trimaran.server.cutting import CuttableNetwork
from trimaran.server.http.models.local import LocalState
from trimaran.server.local import CLUSTER_FILE
from trimaran.server.process import node_environment
from trimaran.server.running import running_pid

SELF_DELAY_S = 0.05
"""A node that is to kill or freeze itself answers first."""


@dataclass(frozen=True, slots=True)
class LocalNodePlace:
    """A node of `cluster.json`."""

    node_id: int
    data: Path
    command: list[str]
    http_port: int

    @property
    def pid(self) -> int | None:
        """Its process now."""
        return running_pid(self.data)


class LocalControl:
    """What this node may do to those beside it."""

    def __init__(
        self, *, data: Path, network: CuttableNetwork | None, owner_fd: int | None
    ) -> None:
        """`network` is this node's own, if it can be cut."""
        self._directory = data.absolute().parent
        self._network = network
        self._owner_fd = owner_fd
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def is_available(self) -> bool:
        """Whether nodes may be broken here."""
        return self._token is not None and bool(self.places())

    @property
    def is_cut_off(self) -> bool:
        """Whether this node is cut off."""
        return self._network is not None and self._network.is_cut

    @property
    def _token(self) -> str | None:
        return read_control(self._directory)

    def may(self, token: str) -> bool:
        """Whether `token` is that of this run."""
        known = self._token
        return known is not None and secrets.compare_digest(known.encode(), token.encode())

    def places(self) -> dict[int, LocalNodePlace]:
        """Return the nodes of the cluster file."""
        try:
            nodes = json.loads((self._directory / CLUSTER_FILE).read_text())["nodes"]
            return {
                int(node["id"]): LocalNodePlace(
                    int(node["id"]), Path(node["data"]), list(node["command"]), int(node["http"])
                )
                for node in nodes
            }
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def state(self, place: LocalNodePlace) -> tuple[LocalState, int | None]:
        """Return how a node's process is, and its id; whether it is cut off only it knows."""
        pid = place.pid
        if pid is None:
            return "dead", None
        return ("frozen" if is_stopped(pid) else "running"), pid

    def set_cut(self, *, is_cut: bool) -> bool:
        """Cut this node off, or end that; False if its network has no switch."""
        if self._network is None:
            return False
        if is_cut:
            self._network.cut()
        else:
            self._network.heal()
        return True

    def send_signal(self, pid: int, number: signal.Signals) -> None:
        """Signal a node, this one included: that a moment later."""
        if pid == os.getpid():
            asyncio.get_running_loop().call_later(SELF_DELAY_S, os.kill, pid, number)
        elif running_here(pid):
            os.kill(pid, number)

    def start(self, place: LocalNodePlace) -> int:
        """Start a dead node again; return its process id. Blocks for some milliseconds.

        Raises:
            OSError: it cannot be started.
        """
        for node_id in [key for key, child in self._children.items() if child.poll() is not None]:
            del self._children[node_id]
        options = [] if self._owner_fd is None else ["--owner-fd", str(self._owner_fd)]
        with place.data.with_suffix(".log").open("ab") as log:
            child = subprocess.Popen(
                [*place.command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[] if self._owner_fd is None else [self._owner_fd],
                env=node_environment(os.environ),
                start_new_session=True,
            )
        self._children[place.node_id] = child
        return child.pid

    def reap(self) -> None:
        """Let go of children that ended."""
        for child in self._children.values():
            child.poll()


def running_here(pid: int) -> bool:
    """Whether the process exists."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def is_stopped(pid: int) -> bool:
    """Whether the process is frozen by a signal (Linux; elsewhere False)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] == ["T"]
