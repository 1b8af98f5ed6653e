"""A cluster of simulated machines, each running the real broker on simulated ports.

A machine has a name, a disk and a wall clock that outlive its processes. A process that fails (its
`run_until_failed` raises) ends as the real one does: killed, to be started again by whoever cares.

Does not: draw faults (`faults`), or judge (`checkers`).
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from random import Random

from trimaran.broker.node import Broker
from trimaran.broker.partition import Partition
from trimaran.broker.replica import Replica
from trimaran.config import NodeConfig
from trimaran.config.replication import ReplicationSection
from trimaran.config.sections import (
    ClusterSection,
    GroupSection,
    JournalSection,
    KafkaSection,
    NodeSection,
    PeerAddress,
    StorageSection,
    TopicSection,
)
from trimaran.errors import CorruptionError
from trimaran.ids import ClusterId, DiskId, NodeId
from trimaran.sim.disk import Disk
from trimaran.sim.files import ProcessEnded, SimFiles
from trimaran.sim.loop import SimLoop
from trimaran.sim.network import SimNetwork
from trimaran.sim.ports import SimClock, make_ports
from trimaran.sim.process import Death, Process
from trimaran.sim.trace import EventLog
from trimaran.storage.formatting import format_store
from trimaran.storage.identity import Identity
from trimaran.storage.journal import JournalSettings
from trimaran.storage.recovery import StoreSettings, open_store

PEER_PORT = 9100
KAFKA_PORT = 9092
CLUSTER_ID = ClusterId("c2ltdWxhdGVkLWNsdXN0ZX")
POWER_CUT_IN_WRITE = "power cut in a write"
BOOT_S = (0.2, 1.0)
"""How long a process takes to start."""
RECOVERY_S_MAX = 3.0
"""Longest time that the disk is said to have taken to open a store: all at once, at the end."""
MIB = 1024 * 1024
TAIL_BYTES = (64 * 1024, MIB)
"""Of the log in memory, on each node: one of these for all nodes of a run."""
FLUSH_MS = 500
RETENTION_LOOK_MS = 500
COMPACTION_LOOK_MS = 400
SCRUB_S = 5
SESSION_MS_MIN = 500
CONSUMER_BEAT_MS = 250
CONSUMER_SESSION_MS = 1_500
"""Of groups of the new protocol."""
COORDINATORS = 2
STORE = StoreSettings(
    journal=JournalSettings(file_bytes=MIB, round_bytes=MIB // 4, total_bytes_max=16 * MIB),
    segment_bytes=MIB // 4,
)
"""Small files, so that a short run rolls over many times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailure:
    """A process that ended by itself."""

    node: str
    at_s: float
    error: BaseException
    at_start: bool
    """Whether it ended before its store was open."""


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One living replica, for checkers to look at."""

    node: str
    incarnation: int
    replica: Replica
    disk: Disk


class SimNode:
    """One machine and, while it runs, its broker."""

    def __init__(self, number: int, *, loop: SimLoop, disk: Disk, clock: SimClock) -> None:
        self.name = f"node-{number}"
        self.number = NodeId(number)
        self.rack = f"rack-{number}"
        self.disk = disk
        self.clock = clock
        self.incarnation = 0
        self.process: Process | None = None
        self.files: SimFiles | None = None
        self.broker: Broker | None = None
        """None before its store is open, and while no process runs."""
        self.disk_number = 1
        """Counts its disks: a replaced one has an id of its own."""
        self.stopping = False
        """Whether its process was asked to stop (SIGTERM) and has not ended yet."""
        self.recovery_fuse: int | None = None
        """Disk calls after which the next process dies while it opens its store."""
        self.recovery_ends_in_power_cut = False
        """Whether that death is the machine's."""
        self.refused_starts = 0
        """How often in a row a process ended because it could not read its own disk."""
        self._loop = loop

    @property
    def is_running(self) -> bool:
        """Whether a process exists, paused or not."""
        return self.process is not None and self.process.alive

    @property
    def is_paused(self) -> bool:
        """Whether the process is stopped by SIGSTOP."""
        return self.process is not None and self.process.alive and self.process.paused


class SimCluster:
    """All machines of one run."""

    def __init__(
        self, *, seed: str, node_count: int, loop: SimLoop, log: EventLog, network: SimNetwork
    ) -> None:
        """Make and format the machines; nothing runs yet."""
        self.loop = loop
        self.network = network
        self.failures: list[NodeFailure] = []
        self.damage: list[str] = []
        """What stores found damaged at their start."""
        self.damaged_names: dict[str, str] = {}
        """The first such finding of each machine, by its name."""
        self._blocking_calls: list[str] = []
        """Of processes that are dead."""
        self.forced_recovery = False
        """Whether nodes that start accept the loss of a majority."""
        self.started_s = loop.now_s
        self.log = log
        self.counts: dict[str, int] = {}
        """What happened to processes so far, by name."""
        self._seed = seed
        self._chance = Random(f"{seed}/cluster")
        self._tail_bytes = Random(f"{seed}/tail").choice(TAIL_BYTES)
        numbers = range(1, node_count + 1)
        self._addresses = tuple(
            PeerAddress(id=NodeId(number), host=f"node-{number}", peer_port=PEER_PORT)
            for number in numbers
        )
        self.nodes = [self._make_node(number) for number in numbers]

    @property
    def bootstrap(self) -> list[tuple[str, int]]:
        """Where clients may connect."""
        return [(node.name, KAFKA_PORT) for node in self.nodes]

    def start(self, node: SimNode) -> None:
        """Start a process on the machine; it is up after its boot time."""
        assert not node.is_running, f"{node.name} runs already"
        node.incarnation += 1
        node.process = self.loop.new_process(
            f"{node.name}.{node.incarnation}",
            node.name,
            clock_offset_s=self._chance.uniform(0.0, 1e6),
        )
        node.process.on_death(lambda _death: self._forget(node))
        self.log.add(node.name, f"starts, incarnation {node.incarnation}")
        boot_s = self._chance.uniform(*BOOT_S)
        self.loop.call_io(node.process, boot_s, self._run_main, node, node.process)

    def kill(self, node: SimNode) -> None:
        """SIGKILL."""
        if node.process is not None and node.process.alive:
            self.log.add(node.name, "killed")
            node.process.die(Death.KILLED)

    def stop(self, node: SimNode) -> None:
        """SIGTERM: the process moves its leaderships away, then ends."""
        process = node.process
        if process is None or not process.alive or node.stopping:
            return
        self.log.add(node.name, "asked to stop")
        if node.broker is None:
            process.die(Death.KILLED)
            return
        node.stopping = True
        task = process.start(node.broker.stop(), name="stop")
        context = self.loop.world.context
        task.add_done_callback(lambda done: self._stopped(node, process, done), context=context)

    def cut_power(self, node: SimNode) -> None:
        """Take the power away and give it back; the process does not start by itself."""
        self.log.add(node.name, "power cut")
        self.network.power_off(node.name)
        if node.process is not None:
            node.process.die(Death.POWER_CUT)
        node.disk.cut_power()

    def cut_power_in_call(self, node: SimNode, calls: int) -> bool:
        """Take the power in the middle of a disk call, after `calls` more; False: none runs."""
        process, files = node.process, node.files
        if process is None or not process.alive or files is None or node.broker is None:
            return False

        def cut() -> None:
            node.disk.note(POWER_CUT_IN_WRITE)
            process.die(Death.POWER_CUT)
            self.loop.call_io(self.loop.world, 0.0, self.cut_power, node)

        files.fuse, files.on_end = calls, cut
        return True

    def restart(self, node: SimNode) -> None:
        """Start the machine and the process, unless it runs."""
        self.network.power_on(node.name)
        if not node.is_running:
            self.start(node)

    def pause(self, node: SimNode) -> None:
        """SIGSTOP."""
        if node.process is not None and node.process.alive:
            self.log.add(node.name, "paused")
            node.process.pause()

    def resume(self, node: SimNode) -> None:
        """SIGCONT."""
        if node.process is not None and node.process.alive and node.process.paused:
            self.log.add(node.name, "resumed")
            node.process.resume(io_last=self._chance.random() < 0.5)

    def replace_disk(self, node: SimNode) -> None:
        """Put an empty disk into the machine, formatted to join; its process must be dead."""
        assert not node.is_running
        node.disk.wipe()
        node.disk.planned.clear()
        node.disk.conditions.capacity = None
        node.disk_number += 1
        node.refused_starts = 0
        files = SimFiles(node.disk, who=f"{node.name}/format")
        format_store(files, self._identity(node), joins=True)

    def blocking_calls(self) -> list[str]:
        """Return the disk calls that processes made on their event loop, once they had started."""
        living = [node.files.blocked_calls for node in self.nodes if node.files is not None]
        return [*self._blocking_calls, *chain.from_iterable(living)]

    def views(self) -> Iterator[ReplicaView]:
        """Yield every replica of every living process."""
        for node in self.nodes:
            if node.broker is not None:
                for replica in node.broker._consensus.groups.all():
                    yield ReplicaView(node.name, node.incarnation, replica, node.disk)

    def partition(self, node: SimNode, topic: str, number: int) -> Partition | None:
        """Return a living node's replica of a partition, None if it has none (yet)."""
        for view in self.views():
            machine = view.replica.machine
            if view.node != node.name or not isinstance(machine, Partition):
                continue
            if (machine.topic, machine.number) == (topic, number):
                return machine
        return None

    def _make_node(self, number: int) -> SimNode:
        name = f"node-{number}"
        disk = Disk(f"{name}/disk", Random(f"{self._seed}/{name}/disk"), self.log)
        disk.conditions.torn_sectors = 0.0
        drift = self._chance.uniform(-1e-4, 1e-4)
        clock = SimClock(self.loop, offset_ms=self._chance.randint(-200, 200), drift=drift)
        node = SimNode(number, loop=self.loop, disk=disk, clock=clock)
        format_store(SimFiles(disk, who=f"{name}/format"), self._identity(node))
        return node

    def _identity(self, node: SimNode) -> Identity:
        source = Random(f"{self._seed}/{node.name}/disk id {node.disk_number}")
        disk_id = DiskId(source.randbytes(16))
        return Identity(cluster_id=CLUSTER_ID, node_id=node.number, disk_id=disk_id)

    def _config(self, node: SimNode) -> NodeConfig:
        return NodeConfig(
            node=NodeSection(id=node.number, data_directory="simulated", rack=node.rack),
            cluster=ClusterSection(nodes=self._addresses),
            kafka=KafkaSection(host=node.name, port=KAFKA_PORT),
            journal=JournalSection(file_bytes=MIB, bytes_max=8 * MIB),
            storage=StorageSection(
                tail_bytes=self._tail_bytes,
                free_space_reserve_bytes=0,
                flush_interval_ms=FLUSH_MS,
                retention_interval_ms=RETENTION_LOOK_MS,
                compaction_interval_ms=COMPACTION_LOOK_MS,
                compaction_bytes_per_s=MIB // 2,
                scrub_interval_s=SCRUB_S,
            ),
            group=GroupSection(
                session_timeout_min_ms=SESSION_MS_MIN,
                consumer_heartbeat_interval_ms=CONSUMER_BEAT_MS,
                consumer_session_timeout_ms=CONSUMER_SESSION_MS,
                coordinators=COORDINATORS,
            ),
            topic=TopicSection(num_partitions=2),
            replication=ReplicationSection(forced_recovery=self.forced_recovery),
        )

    def _run_main(self, node: SimNode, process: Process) -> None:
        task = process.start(self._main(node, process), name="main")
        context = self.loop.world.context
        task.add_done_callback(
            lambda done: self._ended(node, process, done.exception()), context=context
        )

    async def _main(self, node: SimNode, process: Process) -> None:
        """What `server.main` does: recover, start, run until something fails."""
        seed = f"{self._seed}/{process.name}"
        ports, files = make_ports(
            loop=self.loop,
            process=process,
            network=self.network,
            disk=node.disk,
            clock=node.clock,
            seed=seed,
        )
        node.files = files
        files.fuse, node.recovery_fuse = node.recovery_fuse, None
        store = open_store(files, identity=self._identity(node), settings=STORE)
        files.fuse = None
        if store.groups:
            self._note("recovery")
        for line in store.damage:
            self.damage.append(line)
            self.damaged_names.setdefault(node.name, line)
            self.log.add(node.name, f"damage: {line}")
        await asyncio.sleep(min(node.disk.take_spent_s(), RECOVERY_S_MAX))
        node.refused_starts = 0
        node.broker = Broker(config=self._config(node), store=store, ports=ports)
        await node.broker.start()
        files.blocking_allowed = False
        await node.broker.run_until_failed()

    def _ended(self, node: SimNode, process: Process, error: BaseException | None) -> None:
        """The process failed: it is gone, as after an unhandled exception."""
        assert error is not None, "a broker runs until it fails"
        if isinstance(error, ProcessEnded):
            self.log.add(node.name, "killed while it opened its store")
            self._note("death in recovery")
            if node.recovery_ends_in_power_cut:
                self._note("power cut in recovery")
                self.cut_power(node)
            process.die(Death.KILLED)
            return
        if node.broker is None and isinstance(error, CorruptionError):
            node.refused_starts += 1
        failure = NodeFailure(
            node=node.name, at_s=self.loop.now_s, error=error, at_start=node.broker is None
        )
        self.log.add(node.name, f"failed: {type(error).__name__}: {error}")
        self.failures.append(failure)
        process.die(Death.KILLED)

    def _stopped(self, node: SimNode, process: Process, done: "asyncio.Task[None]") -> None:
        """The process has done what SIGTERM asked for."""
        error = done.exception()
        if error is not None:
            self._ended(node, process, error)
            return
        self.log.add(node.name, "stopped")
        self._note("orderly stop")
        process.die(Death.KILLED)

    def _note(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _forget(self, node: SimNode) -> None:
        if node.files is not None:
            self._blocking_calls += node.files.blocked_calls
        node.broker = None
        node.files = None
        node.stopping = False
