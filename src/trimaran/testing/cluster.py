"""`Cluster`: nodes as child processes that can be killed, frozen, stopped and started again.

Every node stops when this process ends, however it ends (see `server.process`); the directory is
removed on `close` and at the interpreter's exit. Both belong to the process that made the cluster:
a child that it forks has the addresses, and its end changes nothing.
Does not: produce or consume; any Kafka client does.
"""

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trimaran.errors import TrimaranError
from trimaran.ids import NodeId

if TYPE_CHECKING:
    from trimaran.server.local import LocalCluster
    from trimaran.server.process import NodeProcess
    from trimaran.testing.metadata import TopicAnswer

READY_TIMEOUT_S = 20.0
ALL_READY_TIMEOUT_S = 60.0
"""After a power cut of all nodes they recover at once, on one disk."""
ANSWER_TIMEOUT_S = 2.0
LEADER_TIMEOUT_S = 10.0
POLL_S = 0.01


class NoLeaderError(TrimaranError):
    """No node named a leader in time."""


class NotItsMakerError(TrimaranError):
    """A forked child was to stop or start nodes of its parent."""


class Cluster:
    """A cluster on this machine, ready when the constructor returns."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        directory: Path | None = None,
        timeout_s: float = READY_TIMEOUT_S,
        control: bool = False,
    ) -> None:
        """Found `nodes` nodes and wait until all are ready.

        Args:
            control: let nodes be killed, frozen and cut off over HTTP, as `trimaran up` does.
            nodes: 1 to 9.
            directory: kept afterwards if given; default: a temporary one on a real disk.
            timeout_s: for all nodes to be ready.

        Raises:
            NodeStartError: a node did not start; the message ends with its log.
        """
        # Not before a cluster is wanted: pytest loads this module at every start.
        from trimaran.server.local import found_cluster
        from trimaran.server.places import real_disk_directory

        self._temporary = directory is None
        self.directory = directory or Path(
            tempfile.mkdtemp(prefix="trimaran-", dir=real_disk_directory())
        )
        self._closed = False
        self._maker = os.getpid()
        self._paused: dict[int, None] = {}
        atexit.register(self.close)
        try:
            founded = found_cluster(self.directory / "cluster", count=nodes)
            self._local: LocalCluster = self._arrange(founded)
            if control:
                self._local.allow_control()
            self._local.start_all()
            self._local.wait_ready(timeout_s)
        except BaseException:
            self.close()
            raise

    def _arrange(self, founded: "LocalCluster") -> "LocalCluster":
        """Return the cluster to be started: as founded, or with nodes in other surroundings."""
        return founded

    @property
    def bootstrap_servers(self) -> str:
        """HOST:PORT of every node, with commas: what Kafka clients want."""
        return self._local.bootstrap

    @property
    def nodes(self) -> tuple[int, ...]:
        """The ids of all nodes, running or not."""
        return tuple(self._local.nodes)

    def address(self, node: int) -> str:
        """Return HOST:PORT of one node."""
        place = self._local.nodes[NodeId(node)]
        return f"{place.host}:{place.kafka_port}"

    def http_address(self, node: int) -> str:
        """Return HOST:PORT of one node's REST API and dashboard; open soon after it is ready."""
        place = self._local.nodes[NodeId(node)]
        return f"{place.host}:{place.http_port}"

    @property
    def dashboard(self) -> str:
        """Address of the dashboard; with `control` it carries the token of this run."""
        return self._local.dashboard

    def pid(self, node: int) -> int:
        """Return the process id of a node's latest start."""
        return self._process(node).pid

    def data(self, node: int) -> Path:
        """Return a node's data directory."""
        return self._local.nodes[NodeId(node)].data

    def log(self, node: int) -> str:
        """Return what a node has logged so far."""
        return self._local.nodes[NodeId(node)].log_path.read_text(errors="replace")

    def is_running(self, node: int) -> bool:
        """Whether the node's process exists (a frozen one does)."""
        return self._process(node).exit_code is None

    def kill(self, node: int) -> None:
        """SIGKILL; returns when the process is gone."""
        self._process(node).kill()
        self._paused.pop(node, None)

    def pause(self, node: int) -> None:
        """SIGSTOP: frozen, with its connections open."""
        self._process(node).pause()
        self._paused[node] = None

    def resume(self, node: int) -> None:
        """SIGCONT after `pause`."""
        self._process(node).resume()
        self._paused.pop(node, None)

    def stop(self, node: int) -> int:
        """SIGTERM; returns the exit code when the process is gone."""
        return self._process(node).stop()

    def start(self, node: int, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start a node that was killed or stopped, on its data; returns when it is ready.

        Raises:
            NodeStartError: it did not start.
        """
        assert not self.is_running(node)
        self._local.start(NodeId(node)).wait_ready(timeout_s)

    def begin_all(self) -> None:
        """Start every node that does not run; return at once, before they are ready."""
        for node in self.nodes:
            if not self.is_running(node):
                self._local.start(NodeId(node))

    def start_all(self, *, timeout_s: float = ALL_READY_TIMEOUT_S) -> None:
        """Start every node that does not run, all at once; return when all nodes are ready.

        Raises:
            NodeStartError: one did not start.
        """
        self.begin_all()
        self._local.wait_ready(timeout_s)

    def restart(self, node: int, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Stop the node if it runs, then start it; returns when it is ready."""
        if self.is_running(node):
            self.stop(node)
        self.start(node, timeout_s=timeout_s)

    def metadata(self, topic: str, *, node: int) -> "TopicAnswer | None":
        """Return what `node` says about `topic`; None if it does not answer."""
        from trimaran.testing.metadata import ask_topic

        place = self._local.nodes[NodeId(node)]
        try:
            return ask_topic(place.host, place.kafka_port, topic, timeout_s=ANSWER_TIMEOUT_S)
        except OSError:
            return None

    def leader(
        self,
        topic: str,
        partition: int,
        *,
        other_than: int = -1,
        timeout_s: float = LEADER_TIMEOUT_S,
    ) -> int:
        """Return the node that leads, in the newest term that any node knows (not a frozen one).

        `other_than`: wait until it is not this node.

        Raises:
            NoLeaderError: no answer named one in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            answers = [
                answer.partitions[partition]
                for node in self.nodes
                if self.is_running(node)
                and node not in self._paused
                and (answer := self.metadata(topic, node=node)) is not None
                and partition in answer.partitions
            ]
            newest = max(answers, key=lambda row: row.leader_epoch, default=None)
            if newest is not None and newest.leader not in (-1, other_than):
                return newest.leader
            time.sleep(POLL_S)
        raise NoLeaderError(f"{topic}-{partition} had no leader for {timeout_s:g} s")

    def close(self) -> None:
        """Stop every node, frozen ones too, and remove a temporary directory.

        A close that Ctrl-C ended is done from its beginning by the next, at the latest at the
        interpreter's exit. In a forked child it does nothing.
        """
        if self._closed or os.getpid() != self._maker:
            return
        self._take_down()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._closed = True
        atexit.unregister(self.close)

    def _take_down(self) -> None:
        """Stop everything; may be done again after it was interrupted."""
        local = getattr(self, "_local", None)
        if local is not None:
            local.stop_all()
            local.stop_strangers()  # those that were healed over HTTP

    def _process(self, node: int) -> "NodeProcess":
        """Return the node's latest start. Raises NotItsMakerError in a forked child."""
        if os.getpid() != self._maker:
            raise NotItsMakerError(
                f"only the process that made this cluster ({self._maker}) may ask for its nodes' "
                f"processes, and this is {os.getpid()}, forked from it: do it there"
            )
        return self._local.processes[NodeId(node)]

    def __enter__(self) -> Self:
        """Return the cluster, which is ready already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
