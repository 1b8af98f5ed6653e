"""A cluster whose nodes are processes of this machine: founded, loaded, started, stopped.

In its directory: `cluster.json` (who is where; what other programs read), and for each node i a
data directory `node-i`, its settings `node-i.yaml` and its log `node-i.log`.
A cluster is founded only where none of these exist: a lost cluster.json beside old data must not
lead to a new, empty cluster under the old name.
Does not: know Kafka clients.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from trimaran.ids import NodeId
from trimaran.server.control_file import read_control, remove_control, write_control
from trimaran.server.found import format_node, mint_cluster_id, write_settings
from trimaran.server.places import HOST, ClusterDirectoryError, NodePlace, places
from trimaran.server.process import NodeProcess
from trimaran.server.running import RunningNode, running_pid

CLUSTER_FILE = "cluster.json"
READY_TIMEOUT_S = 30.0
STOP_POLL_S = 0.02
DASHBOARD_PAGE = Path(__file__).parent / "http" / "static" / "index.html"
DASHBOARD_MISSING = (
    "the page was not built, as npm's registry was not reached: `make dashboard` builds it; "
    "the REST API is there"
)


class LocalCluster:
    """The nodes of one directory and the processes started for them."""

    def __init__(self, directory: Path, nodes: Sequence[NodePlace]) -> None:
        self.directory = directory
        self.nodes: Mapping[NodeId, NodePlace] = {node.node_id: node for node in nodes}
        self.processes: dict[NodeId, NodeProcess] = {}

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of every node, for Kafka clients."""
        return ",".join(f"{node.host}:{node.kafka_port}" for node in self.nodes.values())

    @property
    def dashboard(self) -> str:
        """Address of the first node's dashboard; with the token of this run if there is one."""
        node = self.nodes[min(self.nodes)]
        token = read_control(self.directory)
        return f"http://{node.host}:{node.http_port}/" + (f"#token={token}" if token else "")

    @property
    def dashboard_line(self) -> str:
        """What people are told: the address, and whether the page is there."""
        note = "" if DASHBOARD_PAGE.is_file() else f" ({DASHBOARD_MISSING})"
        return f"dashboard: {self.dashboard}{note}"

    def allow_control(self) -> None:
        """Let people break nodes from the dashboard, with a token of this run."""
        is_running = any(running_pid(place.data) is not None for place in self.nodes.values())
        if not is_running or read_control(self.directory) is None:
            write_control(self.directory)

    def forbid_control(self) -> None:
        """The run is over."""
        remove_control(self.directory)

    def start(self, node_id: NodeId, *, owned: bool = True) -> NodeProcess:
        """Start one node; does not wait. The cluster file names its process afterwards."""
        place = self.nodes[node_id]
        process = NodeProcess(place.command, log_path=place.log_path, owned=owned)
        self.processes[node_id] = process
        self.write_file()
        return process

    def start_all(self, *, owned: bool = True) -> None:
        """Start every node that does not run."""
        for place in self.nodes.values():
            if running_pid(place.data) is None:
                self.start(place.node_id, owned=owned)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> list[RunningNode]:
        """Wait for every node started here. Raises NodeStartError."""
        return [process.wait_ready(timeout_s) for process in self.processes.values()]

    def stop_all(self, timeout_s: float = 10.0) -> None:
        """SIGTERM to all at once, then wait for each; SIGKILL after `timeout_s`."""
        alive = [process for process in self.processes.values() if process.exit_code is None]
        for process in alive:
            process.resume()
            process.terminate()
        for process in alive:
            process.stop(timeout_s)
        self.processes.clear()

    def stop_strangers(self, timeout_s: float = 15.0) -> list[NodeId]:
        """SIGTERM to nodes that run here without being our children; SIGKILL after `timeout_s`.

        Returns the nodes that were stopped.
        """
        running = {
            place.node_id: pid
            for place in self.nodes.values()
            if (pid := running_pid(place.data)) is not None
        }
        for pid in running.values():
            send_signal(pid, signal.SIGCONT)
            send_signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        for node_id, pid in running.items():
            while running_pid(self.nodes[node_id].data) == pid:
                if time.monotonic() > deadline:
                    send_signal(pid, signal.SIGKILL)
                time.sleep(STOP_POLL_S)
        return list(running)

    def let_go(self) -> None:
        """Leave the nodes running without us."""
        for process in self.processes.values():
            process.let_go()
        self.processes.clear()

    def write_file(self) -> None:
        """Write `cluster.json` atomically, with the processes that run now."""
        nodes = [
            {
                "id": place.node_id,
                "pid": self._pid(place),
                "kafka": place.kafka_port,
                "http": place.http_port,
                "peer": place.peer_port,
                "data": str(place.data),
                "command": place.command,
            }
            for place in self.nodes.values()
        ]
        fresh = self.directory / (CLUSTER_FILE + ".new")
        fresh.write_text(json.dumps({"bootstrap": self.bootstrap, "nodes": nodes}, indent=2) + "\n")
        fresh.replace(self.directory / CLUSTER_FILE)

    def _pid(self, place: NodePlace) -> int | None:
        process = self.processes.get(place.node_id)
        if process is not None and process.exit_code is None:
            return process.pid
        return running_pid(place.data)


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def found_cluster(
    directory: Path, *, count: int, kafka_port: int | None = None, http_port: int | None = None
) -> LocalCluster:
    """Format `count` nodes below `directory` and write their files; starts nothing.

    Raises:
        ClusterDirectoryError: something is there already, or a port is taken.
    """
    directory = directory.absolute()
    present = [path.name for path in leftovers(directory)]
    if present:
        raise ClusterDirectoryError(
            f"{directory} has no {CLUSTER_FILE} but holds {', '.join(present)}: "
            f"that may be a cluster's data, so nothing is founded here; "
            f"choose another --data, or remove them if they are not needed"
        )
    nodes = places(directory, count=count, kafka_port=kafka_port, http_port=http_port)
    directory.mkdir(parents=True, exist_ok=True)
    cluster_id = mint_cluster_id()
    for node in nodes:
        config = write_settings(node, nodes, cluster_id=cluster_id)
        format_node(config, cluster_id=cluster_id)
    cluster = LocalCluster(directory, nodes)
    cluster.write_file()
    return cluster


def leftovers(directory: Path) -> list[Path]:
    """Return node directories, which only a cluster leaves behind."""
    return sorted(path for path in directory.glob("node-*") if path.is_dir())


def load_cluster(directory: Path) -> LocalCluster:
    """Return the cluster that `cluster.json` describes; starts nothing.

    Raises:
        ClusterDirectoryError: there is none, or the file is not one of ours.
    """
    path = directory.absolute() / CLUSTER_FILE
    try:
        nodes = json.loads(path.read_text())["nodes"]
        found = [
            NodePlace(
                node_id=NodeId(int(node["id"])),
                host=HOST,
                kafka_port=int(node["kafka"]),
                http_port=int(node["http"]),
                peer_port=int(node["peer"]),
                data=Path(node["data"]),
            )
            for node in nodes
        ]
    except FileNotFoundError as error:
        raise ClusterDirectoryError(
            f"{directory} holds no {CLUSTER_FILE}: `trimaran up --data {directory}` founds one"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterDirectoryError(
            f"{path} is not a cluster file: expected {{bootstrap, nodes}}, found {error!r}"
        ) from error
    return LocalCluster(directory.absolute(), found)


def has_cluster(directory: Path) -> bool:
    """Whether `directory` holds a cluster file."""
    return (directory / CLUSTER_FILE).is_file()
