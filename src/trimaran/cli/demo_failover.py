"""The demo's failures: SIGKILL to the leader of the busiest partition, in mid-stream, and back.

A state machine that never waits, so that the producer goes on meanwhile. The gap of a failover is
the longest silence between two acknowledgements of a partition that the victim led, from the last
one before the kill on; acknowledgements that were still on their way count as the old leader's.
Does not: send or judge.
"""

import time
from collections.abc import Callable
from enum import Enum

from confluent_kafka import KafkaException

from trimaran.cli.demo_send import Ledger
from trimaran.cli.kafka_client import TopicMetadata, admin
from trimaran.ids import NodeId
from trimaran.server.local import LocalCluster

WATCH_S = 1.0
"""Silences are measured this long after a kill, and until every partition acknowledges again."""
ASK_S = 2.0
ASK_EVERY_S = 0.2
WHOLE_S = 20.0
"""A restarted node that is not in sync by then does not keep the next failure waiting."""


class Phase(Enum):
    """Where the next failure stands."""

    WHOLE = "all nodes run"
    LEADERLESS = "a leader was killed"
    RESTARTING = "the killed node starts again"


class Failovers:
    """Kills leaders when their time comes; `advance` is called over and over."""

    def __init__(
        self,
        cluster: LocalCluster,
        *,
        topic: str,
        ledger: Ledger,
        kill_at: list[float],
        say: Callable[[str], None],
    ) -> None:
        """`kill_at`: fractions of the whole, rising, at which a leader dies."""
        self.gaps_ms: list[int] = []
        self._cluster = cluster
        self._topic = topic
        self._ledger = ledger
        self._kill_at = kill_at
        self._say = say
        self._admin = admin(cluster.bootstrap)
        self._phase = Phase.WHOLE
        self._victim = NodeId(0)
        self._since = 0.0
        self._asked = 0.0

    @property
    def done(self) -> bool:
        """Whether every failure happened and every node is back."""
        return self.is_whole and len(self.gaps_ms) == len(self._kill_at)

    @property
    def is_whole(self) -> bool:
        """Whether no failure is under way: every node is back."""
        return self._phase is Phase.WHOLE

    def advance(self, fraction: float) -> None:
        """Do what is due when `fraction` of the whole has been sent."""
        match self._phase:
            case Phase.WHOLE:
                if not self.done and fraction >= self._kill_at[len(self.gaps_ms)]:
                    self._kill()
            case Phase.LEADERLESS:
                self._maybe_restart()
            case Phase.RESTARTING:
                self._maybe_whole()

    def end(self) -> None:
        """Let nobody stay dead: the stream has ended, and no acknowledgement ends its gap."""
        if self._phase is Phase.LEADERLESS:
            self._restart()

    def _kill(self) -> None:
        metadata = self._ask()
        if metadata is None or not self._ledger.counts:
            return
        busiest = self._ledger.counts.most_common(1)[0][0]
        leader = metadata.partitions[busiest].leader
        if leader < 0:
            return
        led = [number for number, p in metadata.partitions.items() if p.leader == leader]
        self._victim = NodeId(leader)
        self._ledger.watch([number for number in led if self._ledger.counts[number]])
        self._cluster.processes[self._victim].kill()
        self._say(f"killed node {leader} (SIGKILL), the leader of partitions {sorted(led)}")
        self._enter(Phase.LEADERLESS)

    def _maybe_restart(self) -> None:
        now = time.perf_counter()
        watched = self._ledger.gaps_s
        fresh = self._since + WATCH_S / 2
        if now < self._since + WATCH_S or any(
            self._ledger.acked_at[number] < fresh for number in watched
        ):
            return
        self.gaps_ms.append(round(1000 * max(watched.values())))
        self._say(f"acknowledged again after {self.gaps_ms[-1]} ms; restarting the node")
        self._restart()

    def _restart(self) -> None:
        self._cluster.start(self._victim)
        self._enter(Phase.RESTARTING)

    def _maybe_whole(self) -> None:
        now = time.perf_counter()
        if now > self._since + WHOLE_S:
            self._say("going on")
            self._enter(Phase.WHOLE)
            return
        if not self._cluster.processes[self._victim].poll_ready():
            return
        if now < self._asked + ASK_EVERY_S:
            return
        self._asked = now
        metadata = self._ask()
        in_sync = metadata is not None and all(
            self._victim in p.isrs for p in metadata.partitions.values()
        )
        if in_sync:
            self._say(f"node {self._victim} is back and in sync")
            self._enter(Phase.WHOLE)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = time.perf_counter()

    def _ask(self) -> TopicMetadata | None:
        try:
            return self._admin.list_topics(self._topic, timeout=ASK_S).topics[self._topic]
        except KafkaException:
            return None
