"""One seed: a cluster, clients, faults, a majority healed, everything healed, the verdict.

Safety phase: clients produce and consume while faults strike, and one node is restarted in order.
Liveness phase: a majority is healed and everything else stays broken; progress must come. Then all
is healed: every member of every group must count again and consumer groups commit. The load ends,
every batch under way must be settled and every replica must catch up; all logs are read from their
start and the checkers judge.

A seed determines everything: `run_seed(n)` twice gives equal digests.

Does not: print or exit (the command line and the tests do).
"""

import asyncio
import gc
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from random import Random
from typing import Any

from trimaran.errors import DiskFullError, StorageError
from trimaran.ids import Offset, split_group_id
from trimaran.sim.checkers import ALL, Checker, Compaction, Eyes, OneLeaderPerTerm, evidence_of
from trimaran.sim.client import PartitionConsumer
from trimaran.sim.cluster import NodeFailure, SimCluster, SimNode
from trimaran.sim.crowd import PARTITIONS, Crowd
from trimaran.sim.faults import FaultInjector
from trimaran.sim.history import Answer, History, Outcome
from trimaran.sim.kafka import KafkaClient
from trimaran.sim.liveness import (
    PROGRESS_LIMIT_S,
    make_progress,
    partitions_with_majority,
    read_node,
    read_to_end,
    wait_for_deletions,
    wait_for_topic,
    wait_until,
)
from trimaran.sim.loop import Failure, SimLoop, SimulationError
from trimaran.sim.network import SimNetwork
from trimaran.sim.observer import Observer
from trimaran.sim.report import CLIENTS, NODES, SECONDS, RunOptions, SeedReport, added_up
from trimaran.sim.trace import EventLog
from trimaran.sim.wholeness import behind, nodes_not_up, not_whole

CHECK_S = 0.02
"""Checkers look at the replicas this often."""
START_LIMIT_S = 30.0
LIVENESS_LIMIT_S = 30.0
"""After the heal: until every batch is settled, and again until every replica has caught up."""
WHOLE_LIMIT_S = 10.0
"""Once all nodes run: until all members of all groups count; and until all have caught up. A member
whose install lost its source a moment ago waits a while for it."""
COMMIT_LIMIT_S = 10.0
"""From then on until the consumer groups have committed an offset."""
LACKING_MAX = 4
"""Lines about one thing that does not come."""
HOPELESS_S = 2.0
"""The same, where it need not come."""
ORDERLY_STOP_S = (4.0, 8.0)
"""When one node is restarted in order, calm runs included."""
VIOLATIONS_MAX = 50
PLACES = 4
"""Stack frames named with an exception."""


def run_seed(
    seed: int,
    *,
    seconds: float = SECONDS,
    nodes: int = NODES,
    clients: int = CLIENTS,
    trace_lines: int = 2_000,
    kinds: Sequence[str] | None = None,
) -> SeedReport:
    """Simulate `seconds` virtual seconds of faults, then the heal; return what was found.

    `kinds` names the faults (`faults.KINDS`) instead of drawing them.
    """
    named = None if kinds is None else tuple(kinds)
    return run(
        RunOptions(seed=seed, seconds=seconds, nodes=nodes, clients=clients, kinds=named),
        trace_lines=trace_lines,
    )


def run(
    options: RunOptions, *, trace_lines: int = 2_000, ends_at_a_lie: bool = False
) -> SeedReport:
    """Simulate what `options` say. A real second simulates about ten virtual ones.

    `ends_at_a_lie`: go no further than the first violation of safety that shows on the way.
    """
    assert options.seconds > 0
    assert options.nodes >= 1
    with _quiet_collector():
        return _run(options, trace_lines, ends_at_a_lie)


def _run(options: RunOptions, trace_lines: int, ends_at_a_lie: bool) -> SeedReport:
    """Hold the run no longer than it takes: the collector looks at it right after."""
    seed_run = SeedRun(options, ends_at_a_lie=ends_at_a_lie)
    try:
        return seed_run.execute(trace_lines)
    finally:
        seed_run.loop.close()


class SeedRun:
    """The parts of one run."""

    def __init__(self, options: RunOptions, *, ends_at_a_lie: bool = False) -> None:
        self.options = options
        self._ends_at_a_lie = ends_at_a_lie
        self._ended_early = False
        seed = options.seed
        chance = Random(f"{seed}/run")
        self.loop = SimLoop(
            chance=Random(f"{seed}/loop"), perturb=chance.choice((0.0, 0.0, 0.2, 0.8))
        )
        self.log = EventLog(lambda: self.loop.now_s)
        self.network = SimNetwork(self.loop, Random(f"{seed}/network"), self.log)
        self.cluster = SimCluster(
            seed=str(seed),
            node_count=options.nodes,
            loop=self.loop,
            log=self.log,
            network=self.network,
        )
        self.history = History()
        self.checkers = [checker() for checker in ALL]
        self.history.on_answer = self._look_at_answer
        self.observer = Observer()
        self.eyes = Eyes()
        self.violations: dict[str, None] = {}
        self.progress_s = 0.0
        self.crowd = Crowd(self.cluster, self.history, seed=seed, count=options.clients)
        self.faults = FaultInjector(
            self.cluster, f"{seed}/faults", clients=self.crowd.names, kinds=options.kinds
        )
        self.history.is_calm = not self.faults.mix.kinds

    def execute(self, trace_lines: int) -> SeedReport:
        """Run to the end and report."""
        with _broker_log_into(self.log, self.loop):
            try:
                self.loop.run_until_complete(self._scenario())
            except SimulationError as error:
                self._violation(f"simulation: {error}")
            except RuntimeError:
                if not self._ended_early:
                    raise
        if not self._ended_early:
            for checker in self.checkers:
                self._hear(checker, checker.finish, self.history)
            self._judge_processes()
        return self._report(trace_lines)

    async def _scenario(self) -> None:
        for node in self.cluster.nodes:
            self.cluster.start(node)
        looking = self.loop.spawn(self._look_for_ever())
        everybody = len(self.cluster.nodes)
        if not await self._within(START_LIMIT_S, wait_for_topic(self._probe("starter"), everybody)):
            self._violation(f"liveness: no topic after {START_LIMIT_S} s")
            return
        self.crowd.start()
        self.faults.start()
        stopping = self.loop.spawn(self._stop_one_in_order())
        await asyncio.sleep(self.options.seconds)
        stopping.cancel()
        await self._demand_progress()
        self.log.add("run", "heal")
        self.faults.heal()
        await self._demand_wholeness()
        await self._demand_commits()
        await self._settle()
        await self._read_all(self._probe("auditor"))
        looking.cancel()
        self.faults.stop()

    async def _stop_one_in_order(self) -> None:
        """Ask one node to stop, as for an upgrade; the supervisor starts it again."""
        chance = Random(f"{self.options.seed}/orderly stop")
        await asyncio.sleep(chance.uniform(*ORDERLY_STOP_S))
        leaders = [view.node for view in self.cluster.views() if view.replica.raft.is_leader]
        for node in self.cluster.nodes:
            if node.name in leaders and not node.is_paused and self.faults.site.may_die(node):
                self.cluster.stop(node)
                return

    def _probe(self, name: str) -> KafkaClient:
        """Return a fresh client on the first client's machine."""
        return self.crowd.client(name, host=self.crowd.names[0])

    # Liveness

    async def _demand_progress(self) -> None:
        """Heal a majority only; each partition that has one there must take a record soon."""
        self.log.add("run", "narrow")
        majority = self.faults.narrow()
        if not majority:
            return
        self.log.add("run", f"majority {' '.join(node.name for node in majority)}")
        started_s = self.loop.now_s
        client = self._probe("probe")
        work = self.loop.create_task(self._progress_everywhere(client, majority))
        if not await self._within(PROGRESS_LIMIT_S, work):
            names = ", ".join(node.name for node in majority)
            self._violation(f"liveness: no progress in {PROGRESS_LIMIT_S} s with {names} healthy")
        self.progress_s = self.loop.now_s - started_s

    async def _progress_everywhere(self, client: KafkaClient, majority: Sequence[SimNode]) -> None:
        partitions = await partitions_with_majority(client, majority)
        async with asyncio.TaskGroup() as group:
            for partition in partitions:
                group.create_task(make_progress(client, partition))

    async def _demand_wholeness(self) -> None:
        """Under load every node must run again, and every member of every group must count."""
        await self._until_none(LIVENESS_LIMIT_S, lambda: nodes_not_up(self.cluster))
        await self._until_none(
            WHOLE_LIMIT_S, lambda: not_whole(self.cluster, self.crowd.given_up_topics)
        )

    async def _demand_commits(self) -> None:
        """Consumer groups of each protocol must get an offset committed."""
        before = self.crowd.group_commits()
        await self._until_none(
            COMMIT_LIMIT_S,
            lambda: [
                f"no group of the {name} protocol committed an offset"
                for name, commits in self.crowd.group_commits().items()
                if commits == before[name]
            ],
        )

    async def _until_none(self, limit_s: float, lacking: Callable[[], Sequence[str]]) -> None:
        """Wait until nothing is lacking; what still is after `limit_s` is a violation."""
        if not await self._within(limit_s, wait_until(lambda: not lacking())):
            for line in lacking()[:LACKING_MAX]:
                self._violation(f"liveness: {line} {limit_s} s after all was healed")

    async def _settle(self) -> None:
        """Let every batch under way end, one way or the other."""
        self.crowd.stop()
        for task in self.crowd.work:
            if not await self._within(LIVENESS_LIMIT_S, task):
                self._violation(f"liveness: {task.get_name()} not done after the heal")

        gone = self.crowd.deleted_topics
        if not await self._within(LIVENESS_LIMIT_S, wait_for_deletions(self.cluster, gone)):
            self._violation("liveness: a node still has a replica of a deleted topic")
        await self._until_none(
            WHOLE_LIMIT_S, lambda: behind(self.cluster, self.crowd.given_up_topics)
        )

    async def _within(self, limit_s: float, work: Awaitable[Any]) -> bool:
        """Wait for `work`; return whether it ended in time. Its exception is a violation."""
        if self._is_beyond_help():
            limit_s = min(limit_s, HOPELESS_S)
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            return False
        except Exception as error:  # noqa: BLE001  (whatever a client dies of is a finding)
            self._violation(f"client: {type(error).__name__}: {error} {_place(error)}")
        return True

    # Final reads

    async def _read_all(self, client: KafkaClient) -> None:
        """Read every log from its start: through the leader, and on each node by itself."""
        for partition in range(PARTITIONS):
            into = self.history.final.setdefault(("leader", partition), [])
            consumer = PartitionConsumer(client, partition, into=into)
            if not await self._within(LIVENESS_LIMIT_S, read_to_end(consumer)):
                self._violation(f"liveness: partition {partition} cannot be read after the heal")
                del self.history.final["leader", partition]
                continue
            for node in self.cluster.nodes:
                if node.number in client.replicas[partition]:
                    await self._read_replica(node, partition, Offset(consumer.position))

    async def _read_replica(self, node: SimNode, partition: int, end: Offset) -> None:
        """Read one node's own copy; one whose disk lied has mended it, or has a new one."""
        work = read_node(self.cluster, node, partition, end, self.history)
        try:
            async with asyncio.timeout(LIVENESS_LIMIT_S):
                await work
        except TimeoutError:
            self._violation(f"liveness: {node.name} did not catch up to {partition}:{end}")
        except Exception as error:  # noqa: BLE001  (whatever a read dies of is a finding)
            self._violation(f"read: {node.name}: {error!r} {_place(error)}")
        else:
            return
        self.history.final.pop((node.name, partition), None)

    # Judging

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                self._look()
            except Exception as error:  # noqa: BLE001  (looking goes on, whatever it dies of)
                self._violation(f"looking died of {error!r} {_place(error)}")

    def _look(self) -> None:
        gone = self.crowd.given_up_topics
        found = [
            view
            for view in self.cluster.views()
            if not gone or split_group_id(view.replica.group)[0] not in gone
        ]
        self.observer.look(found)
        self.observer.look_at_nodes(self.cluster.nodes)
        views, changed = self.eyes.look(found)
        for checker in self.checkers:
            self._hear(checker, checker.step, views if checker.sees_all else changed)

    def _look_at_answer(self, answer: Answer) -> None:
        views = [evidence_of(view) for view in self.cluster.views()]
        for checker in self.checkers:
            self._hear(checker, checker.answered, answer, views)

    def _hear(
        self, checker: Checker, judge: Callable[..., Iterable[str]], *evidence: object
    ) -> None:
        """Take in what a checker says; what it dies of keeps neither it nor others from more."""
        name = type(checker).__name__
        try:
            for line in judge(*evidence):
                self._violation(f"{name}: {line}")
        except Exception as error:  # noqa: BLE001  (whatever a checker dies of is a finding)
            self._violation(f"{name} died of {error!r} {_place(error)}")

    def _judge_processes(self) -> None:
        for line in self.history.oddities:
            self._violation(f"answer: {line}")
        ended_by = [ended.error for ended in self.cluster.failures]
        for failure in self.loop.failures:
            if any(failure.exception is error for error in ended_by):
                continue  # the process ended of it, and is judged below
            self._violation(f"uncaught in {failure.process}: {_described(failure)}")
        failed_syncs = {
            node.name: node.disk.counts.get("failed sync", 0) for node in self.cluster.nodes
        }
        for ended in self.cluster.failures:
            if not self._ended_rightly(ended, failed_syncs):
                kind = "liveness: " if self._is_damaged(ended.node) else ""
                what = f"{ended.error!r} {_place(ended.error)}"
                self._violation(f"{kind}{ended.node} ended by itself at {ended.at_s:.3f} s: {what}")
        for call in self.cluster.blocking_calls():
            self._violation(f"disk call on an event loop, which waits for it: {call}")
        for name, line in self.cluster.damaged_names.items():
            if not self._is_damaged(name):
                self._violation(f"{name} found damage on a disk that never lied: {line}")

    def _ended_rightly(self, ended: NodeFailure, failed_syncs: dict[str, int]) -> bool:
        """A failed sync ends a process; a full disk only keeps one from starting (D11).

        `failed_syncs` of each node that have ended none yet: each excuses one end, of that node.
        """
        if self._is_damaged(ended.node) and isinstance(ended.error, StorageError):
            return True
        if isinstance(ended.error, DiskFullError):
            return ended.at_start
        is_of_sync = isinstance(ended.error, StorageError) and "sync failed" in str(ended.error)
        if is_of_sync and failed_syncs[ended.node] > 0:
            failed_syncs[ended.node] -= 1
            return True
        return False

    def _is_damaged(self, name: str) -> bool:
        """Whether this is the node whose disk lied: it may stop, but it may not lie."""
        damaged = self.faults.site.damaged
        return damaged is not None and damaged.name == name

    def _is_beyond_help(self) -> bool:
        """Whether the only disk there is lied: nobody promises to outlive that (D11)."""
        return self.faults.site.damaged is not None and len(self.cluster.nodes) == 1

    def _violation(self, line: str) -> None:
        if line.startswith("liveness") and self._is_beyond_help():
            return
        if line not in self.violations and len(self.violations) < VIOLATIONS_MAX:
            self.violations[line] = None
            self.log.add("VIOLATION", line)
            if self._ends_at_a_lie and self.loop.is_running() and not line.startswith("liveness"):
                self._ended_early = True
                self.loop.stop()

    def _counts(self, leader_changes: int) -> dict[str, int]:
        """Return how often everything happened that is not a fault of the mix."""
        faults = self.faults.counts
        disks = added_up([node.disk.counts for node in self.cluster.nodes])
        churn = self.crowd.churn
        counts = {
            "election": self.observer.elections,
            "leader change": leader_changes,
            "truncation": self.observer.truncations,
            "install": self.observer.installs,
            "repair": self.observer.repairs,
            "readmission": self.observer.readmissions,
            "topic made and deleted": churn.rounds if churn is not None else 0,
            "topic grown": churn.grown if churn is not None else 0,
            "setting changed": self.crowd.changer.changes if self.crowd.changer else 0,
            "producer's next epoch": self.history.renewals,
            "known event sent again": self.crowd.id_sender.duplicates
            if self.crowd.id_sender
            else 0,
            "log start moved": self.crowd.trimmer.deletions if self.crowd.trimmer else 0,
            "group generation": sum(member.stays for member in self.crowd.members),
            "offset committed": sum(member.commits for member in self.crowd.members),
            **self.crowd.sharing(),
            **self.crowd.reading(),
            "compacted segment": sum(
                item.segment_count for item in self.checkers if isinstance(item, Compaction)
            ),
            "refused record": self.history.count(Outcome.REFUSED),
            "tail stretch": sum(tail.stretches for tail in self.crowd.tails),
        }
        counts |= {name: count for name, count in disks.items() if name not in faults}
        return {
            name: count
            for name, count in (counts | self.cluster.counts | self.network.counts).items()
            if count
        }

    def _report(self, trace_lines: int) -> SeedReport:
        history = self.history
        leaders = next(item for item in self.checkers if isinstance(item, OneLeaderPerTerm))
        return SeedReport(
            seed=self.options.seed,
            nodes=len(self.cluster.nodes),
            options=self.options,
            kinds=self.faults.mix.kinds,
            violations=tuple(self.violations),
            digest=self.log.digest(),
            virtual_s=self.loop.now_s - self.cluster.started_s,
            progress_s=self.progress_s,
            lines=self.log.line_count,
            sent=len(history.sent),
            acked=history.count(Outcome.ACKED),
            unknown=history.count(Outcome.UNKNOWN) + history.count(Outcome.PENDING),
            refused=history.count(Outcome.REFUSED),
            read=sum(len(records) for records in history.reads.values()),
            leader_changes=leaders.change_count,
            restarts=sum(node.incarnation - 1 for node in self.cluster.nodes),
            faults=dict(self.faults.counts),
            counts=self._counts(leaders.change_count),
            answers=dict(history.answers),
            blocking_calls=tuple(self.cluster.blocking_calls()),
            damage=len(self.cluster.damage),
            trace=tuple(self.log.tail(trace_lines)) if self.violations else (),
        )


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
    """Keep the garbage collector from running finalizers at moments that differ next time.

    What was there before is frozen meanwhile: the collection at the end looks at this run's alone.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        if was_enabled:
            gc.enable()


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
