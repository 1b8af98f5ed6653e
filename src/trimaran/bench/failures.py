"""Fails one leader after the other while a producer's load goes on, and waits for recovery.

Every wait has a bound; a cluster that does not recover ends the measurement.
Does not: judge the gaps; those come from the producer's own notes (`failover`).
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from trimaran.bench.crew import Crew
from trimaran.bench.direct import append, log_end
from trimaran.bench.errors import BenchError
from trimaran.bench.loads import NUMBER_BYTES
from trimaran.bench.schedule import NANOSECONDS
from trimaran.bench.target import LinkedNodes, Nodes

SETTLE_S = 3.0
"""Steady load before each failure; also what is looked at for the usual gap."""

RECOVER_S = 1.5
"""How long answers must have come again before a failure is over."""

PATIENCE_S = 60.0
"""No answers for so long after a failure: the measurement has failed."""

ASK_S = 0.005
"""Pause between two questions to a survivor; the resolution of what is measured with them."""

ANSWER_S = 1.0


PROBE_NUMBER = 2**62
"""Above every number of the load, so that accounting tells a probe's event from the load's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverPlan:
    """What one series of failures does."""

    manner: str
    """`kill`, `freeze`, or `cut` (off from all others and from clients, silently)."""
    count: int
    rate: float
    event_bytes: int
    partitions: int
    acks: str


@dataclass(slots=True, kw_only=True)
class Failure:
    """One failure as the parent saw it; the gaps come later, from the notes."""

    victim: int
    partitions: list[int]
    at_ns: int
    over_ns: int = 0
    metadata_ms: float | None = None
    first_ack_ms: float | None = None
    stale_answers: int = 0
    rejoin_ms: float | None = None


class Series:
    """Fails one node after the other while the load goes on."""

    def __init__(self, *, nodes: Nodes, crew: Crew, topic: str, plan: FailoverPlan) -> None:
        self._nodes = nodes
        self._crew = crew
        self._topic = topic
        self._plan = plan

    def fail_once(self, number: int) -> Failure:
        """Wait for calm, fail the leader of one partition, wait until all is well again."""
        self._crew.wait(self.settled, PATIENCE_S)
        self._keep_on(SETTLE_S)
        # Only now: in calm times leaderships move back to where they belong.
        leaders = self._known_leaders(self._nodes.nodes[0])
        victim = leaders[number % self._plan.partitions]
        led = sorted(partition for partition, leader in leaders.items() if leader == victim)
        survivor = next(node for node in self._nodes.nodes if node != victim)
        if self._plan.manner == "kill":
            return self._kill(victim, led, survivor)
        return self._silence(victim, led, survivor)

    def settled(self) -> bool:
        """Whether every partition had an answer within the last second."""
        latest = self._latest_ns()
        now_ns = time.monotonic_ns()
        return len(latest) == self._plan.partitions and all(
            now_ns - time_ns < NANOSECONDS for time_ns in latest.values()
        )

    def _kill(self, victim: int, led: list[int], survivor: int) -> Failure:
        failure = Failure(victim=victim, partitions=led, at_ns=time.monotonic_ns())
        self._nodes.kill(victim)
        self._wait_answers(led, failure.at_ns + round(RECOVER_S * NANOSECONDS))
        failure.over_ns = time.monotonic_ns()
        begun_ns = time.monotonic_ns()
        self._nodes.start(victim)
        self._wait_in_sync(survivor)
        failure.rejoin_ms = ms_since(begun_ns)
        return failure

    def _silence(self, victim: int, led: list[int], survivor: int) -> Failure:
        """Freeze the victim or cut it off: its connections stay open and nothing comes."""
        failure = Failure(victim=victim, partitions=led, at_ns=time.monotonic_ns())
        if self._plan.manner == "freeze":
            self._nodes.pause(victim)
        else:
            linked(self._nodes).isolate(victim)
            failure.at_ns = time.monotonic_ns()  # only now is the last of its links cut
        try:
            for _ in self._asking(f"node {survivor} names new leaders for {led}"):
                leaders = self._leaders(survivor)
                if leaders and all(leaders.get(one) not in (victim, -1, None) for one in led):
                    break
            failure.metadata_ms = ms_since(failure.at_ns)
            self._first_ack(survivor, led[0])
            failure.first_ack_ms = ms_since(failure.at_ns)
            ends = {partition: self._log_end(survivor, partition) for partition in led}
        finally:
            if self._plan.manner == "freeze":
                self._nodes.resume(victim)
            else:
                linked(self._nodes).heal()
        failure.stale_answers = self._stale_answers(victim, ends)
        thawed_ns = time.monotonic_ns()
        self._wait_in_sync(survivor)
        failure.rejoin_ms = ms_since(thawed_ns)
        self._wait_answers(led, thawed_ns + round(RECOVER_S * NANOSECONDS))
        failure.over_ns = time.monotonic_ns()
        return failure

    def _first_ack(self, survivor: int, partition: int) -> None:
        """Send one event as a producer that knows only the survivor: ask it who leads, append."""
        for _ in self._asking(f"an acknowledgement from partition {partition}"):
            leader = self._leaders(survivor).get(partition, -1)
            if leader >= 0 and self._acknowledged(leader, partition):
                return

    def _acknowledged(self, leader: int, partition: int) -> bool:
        address = self._nodes.address(leader)
        value = PROBE_NUMBER.to_bytes(NUMBER_BYTES, "big")
        with contextlib.suppress(OSError):
            return append(address, self._topic, partition, value, timeout_s=ANSWER_S)
        return False

    def _log_end(self, survivor: int, partition: int) -> int:
        """Return the end of log as the new leader vouches for it."""
        for _ in self._asking(f"a leader vouches for the end of partition {partition}"):
            leader = self._leaders(survivor).get(partition, -1)
            with contextlib.suppress(OSError):
                end = self._ask_end(leader, partition) if leader >= 0 else None
                if end is not None:
                    return end
        raise AssertionError("asking ends with an answer or an error")

    def _ask_end(self, node: int, partition: int) -> int | None:
        return log_end(self._nodes.address(node), self._topic, partition, timeout_s=ANSWER_S)

    def _stale_answers(self, victim: int, ends: dict[int, int]) -> int:
        """Ask the thawed node for the ends of its old partitions; count those too low."""
        stale = 0
        for partition, end in ends.items():
            with contextlib.suppress(OSError):
                found = self._ask_end(victim, partition)
                stale += found is not None and found < end
        return stale

    def _leaders(self, node: int) -> dict[int, int]:
        """Return partition -> leader as `node` sees it; empty if it does not answer."""
        answer = self._nodes.metadata(self._topic, node=node)
        if answer is None:
            return {}
        return {number: one.leader for number, one in answer.partitions.items()}

    def _known_leaders(self, node: int) -> dict[int, int]:
        """Return partition -> leader once `node` knows one for every partition."""
        leaders: dict[int, int] = {}
        for _ in self._asking(f"node {node} knows every leader"):
            leaders = self._leaders(node)
            known = [leader for leader in leaders.values() if leader >= 0]
            if len(known) == self._plan.partitions:
                break
        return leaders

    def _wait_in_sync(self, node: int) -> None:
        """Wait until every replica of every partition is in sync, as `node` sees it."""
        for _ in self._asking(f"node {node} sees every replica in sync"):
            if all_in_sync(self._nodes, self._topic, node=node):
                return

    def _wait_answers(self, led: list[int], after_ns: int) -> None:
        """Wait until each partition in `led` had an answer after `after_ns`."""

        def answered() -> bool:
            latest = self._latest_ns()
            return all(latest.get(partition, 0) > after_ns for partition in led)

        self._crew.wait(answered, PATIENCE_S)

    def _latest_ns(self) -> dict[int, int]:
        said = self._crew.workers[0].latest.get("latest_ns", {})
        return {int(partition): int(time_ns) for partition, time_ns in said.items()}

    def _asking(self, what: str) -> Iterator[None]:
        """Come round every `ASK_S`, hearing the workers. Raises BenchError after PATIENCE_S."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            yield
            self._crew.poll(0)
            time.sleep(ASK_S)
        raise BenchError(f"not within {PATIENCE_S:.0f} s: {what}")

    def _keep_on(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._crew.poll(left_s)


def linked(nodes: Nodes) -> LinkedNodes:
    """Return nodes whose links can be cut. Raises BenchError if theirs cannot."""
    if not isinstance(nodes, LinkedNodes):
        raise BenchError("cutting nodes off needs links that can be cut: a cluster made for that")
    return nodes


def all_in_sync(nodes: Nodes, topic: str, *, node: int) -> bool:
    """Return whether `node` sees every replica of every partition of `topic` in sync."""
    answer = nodes.metadata(topic, node=node)
    rows = answer.partitions.values() if answer is not None else ()
    return bool(rows) and all(set(one.in_sync) == set(one.replicas) for one in rows)


def ms_since(time_ns: int) -> float:
    """Return the milliseconds since a time on the monotonic clock."""
    return round((time.monotonic_ns() - time_ns) / 1e6, 1)
