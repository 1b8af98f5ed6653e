"""One seed: a cluster, clients, faults, a heal, the verdict of all checkers.

Safety phase: clients produce and consume while faults strike. Liveness phase: everything is healed,
and within a bound every batch under way must be settled and every replica must catch up. Then all
logs are read from their start and the checkers judge.

A seed determines everything: `run_seed(n)` twice gives equal digests.

Does not: print or exit (the command line and the tests do).
"""

import asyncio
import gc
import logging
import traceback
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from random import Random
from typing import Any

from trimaran.broker.partition import Partition
from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import Offset
from trimaran.records.iteration import iterate_records
from trimaran.sim.checkers import ALL, Evidence, OneLeaderPerTerm
from trimaran.sim.client import PartitionConsumer, PartitionProducer
from trimaran.sim.cluster import NodeFailure, SimCluster
from trimaran.sim.faults import FaultInjector
from trimaran.sim.history import History, Outcome, ReadRecord
from trimaran.sim.kafka import KafkaClient, RetryError
from trimaran.sim.loop import Failure, SimLoop, SimulationError
from trimaran.sim.network import HostNetwork, SimNetwork
from trimaran.sim.process import Process
from trimaran.sim.trace import EventLog

TOPIC = "events"
PARTITIONS = 2
CHECK_S = 0.01
"""Checkers look at all replicas this often."""
START_LIMIT_S = 30.0
LIVENESS_LIMIT_S = 30.0
"""After the heal: until every batch is settled, and again until every replica has caught up."""
READ_BYTES = 1024 * 1024
VIOLATIONS_MAX = 50
PLACES = 4
"""Stack frames named with an exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedReport:
    """What one seed did and whether anything was wrong."""

    seed: int
    nodes: int
    violations: tuple[str, ...]
    digest: str
    virtual_s: float
    lines: int
    sent: int
    acked: int
    unknown: int
    refused: int
    read: int
    leader_changes: int
    restarts: int
    faults: dict[str, int]
    answers: dict[str, int]
    blocking_calls: tuple[str, ...]
    damage: int
    trace: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no checker objected."""
        return not self.violations

    def summary(self) -> str:
        """Return one line for people."""
        verdict = "ok" if self.passed else f"{len(self.violations)} VIOLATIONS"
        faults = " ".join(f"{name}:{count}" for name, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed} {verdict} digest {self.digest} virtual {self.virtual_s:.1f} s "
            f"sent {self.sent} acked {self.acked} unknown {self.unknown} read {self.read} "
            f"leader changes {self.leader_changes} restarts {self.restarts} "
            f"faults [{faults or 'none'}]"
        )


def run_seed(
    seed: int,
    *,
    seconds: float = 20.0,
    nodes: int = 3,
    trace_lines: int = 2_000,
    kinds: Sequence[str] | None = None,
) -> SeedReport:
    """Simulate `seconds` virtual seconds of faults, then the heal; return what was found.

    `kinds` names the faults (keys in `faults.FaultInjector`) instead of drawing them. A real second
    simulates about ten virtual ones.
    """
    assert seconds > 0
    assert nodes >= 1
    with _quiet_collector():
        run = SeedRun(seed, seconds=seconds, nodes=nodes, kinds=kinds)
        try:
            return run.execute(trace_lines)
        finally:
            run.loop.close()


class SeedRun:
    """The parts of one run."""

    def __init__(
        self, seed: int, *, seconds: float, nodes: int, kinds: Sequence[str] | None = None
    ) -> None:
        self.seed = seed
        self.seconds = seconds
        chance = Random(f"{seed}/run")
        self.loop = SimLoop(
            chance=Random(f"{seed}/loop"), perturb=chance.choice((0.0, 0.0, 0.2, 0.8))
        )
        self.log = EventLog(lambda: self.loop.now_s)
        self.network = SimNetwork(self.loop, Random(f"{seed}/network"), self.log)
        self.cluster = SimCluster(
            seed=str(seed), node_count=nodes, loop=self.loop, log=self.log, network=self.network
        )
        self.history = History()
        self.checkers = [checker() for checker in ALL]
        self.violations: dict[str, None] = {}
        self._chance = chance
        self._client_names = [f"client-{number}" for number in range(1, 4)]
        self.faults = FaultInjector(
            self.cluster, Random(f"{seed}/faults"), clients=self._client_names, kinds=kinds
        )
        self._producers: list[PartitionProducer] = []
        self._consumers: list[PartitionConsumer] = []
        self._work: list[asyncio.Task[Any]] = []

    def execute(self, trace_lines: int) -> SeedReport:
        """Run to the end and report."""
        with _broker_log_into(self.log, self.loop):
            try:
                self.loop.run_until_complete(self._scenario())
            except SimulationError as error:
                self._violation(f"simulation: {error}")
        for checker in self.checkers:
            for line in checker.finish(self.history):
                self._violation(f"{type(checker).__name__}: {line}")
        self._judge_processes()
        return self._report(trace_lines)

    async def _scenario(self) -> None:
        for node in self.cluster.nodes:
            self.cluster.start(node)
        looking = self.loop.create_task(self._look_for_ever())
        clients = [self._client(name) for name in self._client_names]
        everybody = len(self.cluster.nodes)
        if not await self._within(START_LIMIT_S, _topic_exists(clients[0][1], everybody)):
            self._violation(f"no topic after {START_LIMIT_S} s")
            return
        self._start_clients(clients)
        self.faults.start()
        await asyncio.sleep(self.seconds)
        self.log.add("run", "heal")
        self.faults.heal()
        await self._settle()
        await self._read_all(clients[0][1])
        looking.cancel()
        self.faults.stop()

    # Clients

    def _client(self, name: str) -> tuple[Process, KafkaClient]:
        process = self.loop.new_process(name, name)
        client = KafkaClient(
            name=name,
            topic=TOPIC,
            network=HostNetwork(self.network, process),
            bootstrap=self.cluster.bootstrap,
            chance=Random(f"{self.seed}/{name}"),
            history=self.history,
        )
        return process, client

    def _start_clients(self, clients: list[tuple[Process, KafkaClient]]) -> None:
        """Two idempotent producers, a plain one, and two readers, each on every partition."""
        think_s = self._chance.choice((0.05, 0.2, 0.4))
        for number, (process, client) in enumerate(clients):
            for partition in range(PARTITIONS):
                producer = PartitionProducer(
                    client, partition, idempotent=number < 2, think_s=think_s
                )
                self._producers.append(producer)
                self._work.append(process.start(producer.run(), name="producer"))
                if number == 0:
                    continue
                into = self.history.reads.setdefault((client.name, partition), [])
                consumer = PartitionConsumer(client, partition, into=into)
                self._consumers.append(consumer)
                self._work.append(process.start(consumer.run(), name="consumer"))

    async def _settle(self) -> None:
        """Let every batch under way end, one way or the other."""
        for producer in self._producers:
            producer.stop()
        for consumer in self._consumers:
            consumer.stop()
        for task in self._work:
            if not await self._within(LIVENESS_LIMIT_S, task):
                self._violation(f"liveness: {task.get_name()} not done after the heal")

    async def _within(self, limit_s: float, work: Awaitable[Any]) -> bool:
        """Wait for `work`; return whether it ended in time. Its exception is a violation."""
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001  (whatever a client dies of is a finding)
            self._violation(f"client: {type(error).__name__}: {error}")
        return True

    # Final reads

    async def _read_all(self, client: KafkaClient) -> None:
        """Read every log from its start: through the leader, and on each node by itself."""
        for partition in range(PARTITIONS):
            into = self.history.final.setdefault(("leader", partition), [])
            consumer = PartitionConsumer(client, partition, into=into)
            if not await self._within(LIVENESS_LIMIT_S, _read_to_end(consumer)):
                self._violation(f"liveness: partition {partition} cannot be read after the heal")
                del self.history.final["leader", partition]
                continue
            end = Offset(consumer.position)
            for node in self.cluster.nodes:
                if node.number not in client.replicas[partition]:
                    continue
                key = (node.name, partition)
                work = self._read_node(node.number - 1, partition, end)
                if not await self._within(LIVENESS_LIMIT_S, work):
                    self._violation(f"liveness: {node.name} did not catch up to {partition}:{end}")
                    self.history.final.pop(key, None)

    async def _read_node(self, place: int, number: int, end: Offset) -> None:
        """Wait until the node has committed up to `end`, then read its own copy."""
        node = self.cluster.nodes[place]
        partition: Partition | None = None
        while partition is None or partition.high_watermark < end:
            await asyncio.sleep(0.05)
            partition = self.cluster.partition(node, TOPIC, number)
        into = self.history.final.setdefault((node.name, number), [])
        position = Offset(0)
        while position < end:
            found = partition.read(position, READ_BYTES)
            payloads = await found if isinstance(found, asyncio.Future) else found
            assert payloads, "committed records can be read"
            for payload in payloads:
                for record in iterate_records(payload):
                    assert record.value is not None
                    into.append(ReadRecord(record.offset, record.value, partition.high_watermark))
                    position = Offset(record.offset + 1)

    # Judging

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            views = [
                Evidence(view.node, view.incarnation, view.replica.group, view.replica.raft)
                for view in self.cluster.views()
            ]
            for checker in self.checkers:
                for line in checker.step(views):
                    self._violation(f"{type(checker).__name__}: {line}")

    def _judge_processes(self) -> None:
        for line in self.history.oddities:
            self._violation(f"answer: {line}")
        ended_by = [ended.error for ended in self.cluster.failures]
        for failure in self.loop.failures:
            if any(failure.exception is error for error in ended_by):
                continue  # the process ended of it, and is judged below
            self._violation(f"uncaught in {failure.process}: {_described(failure)}")
        for ended in self.cluster.failures:
            if not self._ended_rightly(ended):
                place = _place(ended.error)
                self._violation(
                    f"{ended.node} ended by itself at {ended.at_s:.3f} s: {ended.error!r} {place}"
                )

    def _ended_rightly(self, ended: NodeFailure) -> bool:
        """A failed sync ends a process; a full disk only keeps one from starting (D11)."""
        if isinstance(ended.error, DiskFullError):
            return ended.at_start
        return "failed sync" in self.faults.counts and isinstance(ended.error, StorageError)

    def _violation(self, line: str) -> None:
        if line not in self.violations and len(self.violations) < VIOLATIONS_MAX:
            self.violations[line] = None
            self.log.add("VIOLATION", line)

    def _report(self, trace_lines: int) -> SeedReport:
        history = self.history
        leaders = next(item for item in self.checkers if isinstance(item, OneLeaderPerTerm))
        return SeedReport(
            seed=self.seed,
            nodes=len(self.cluster.nodes),
            violations=tuple(self.violations),
            digest=self.log.digest(),
            virtual_s=self.loop.now_s - self.cluster.started_s,
            lines=self.log.line_count,
            sent=len(history.sent),
            acked=history.count(Outcome.ACKED),
            unknown=history.count(Outcome.UNKNOWN) + history.count(Outcome.PENDING),
            refused=history.count(Outcome.REFUSED),
            read=sum(len(records) for records in history.reads.values()),
            leader_changes=leaders.change_count,
            restarts=sum(node.incarnation - 1 for node in self.cluster.nodes),
            faults=dict(self.faults.counts),
            answers=dict(history.answers),
            blocking_calls=tuple(self.cluster.blocking_calls),
            damage=len(self.cluster.damage),
            trace=tuple(self.log.tail(trace_lines)) if self.violations else (),
        )


async def _topic_exists(client: KafkaClient, node_count: int) -> None:
    """Wait for all nodes, so that the topic has a replica on each, then for its creation."""
    registered = 0
    while True:
        try:
            if registered < node_count:
                registered = await client.broker_count()
            elif await client.partition_count() == PARTITIONS:
                return
        except (OSError, RetryError):
            pass
        await asyncio.sleep(0.1)


async def _read_to_end(consumer: PartitionConsumer) -> None:
    await consumer.find_end()
    await consumer.run()


def _described(failure: Failure) -> str:
    """Describe an uncaught exception without anything that differs next time."""
    if failure.exception is None:
        return failure.message
    return f"{failure.exception!r} {_place(failure.exception)}"


def _place(error: BaseException) -> str:
    """Return where an exception was raised, the last frames first."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
    return " < ".join(
        f"{PurePath(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in reversed(frames)
    )


@contextmanager
def _quiet_collector() -> Iterator[None]:
    """Keep the garbage collector from running finalizers at moments that differ next time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.collect()


class _IntoTrace(logging.Handler):
    def __init__(self, log: EventLog, loop: SimLoop) -> None:
        super().__init__()
        self._log = log
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        self._log.note(self._loop.acting_name, record.getMessage())


@contextmanager
def _broker_log_into(log: EventLog, loop: SimLoop) -> Iterator[None]:
    """Send the package's log lines to the trace instead of the terminal."""
    logger = logging.getLogger("trimaran")
    before = logger.level, logger.propagate
    handler = _IntoTrace(log, loop)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
