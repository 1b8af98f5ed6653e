"""Holding a Metadata answer back until partitions have leaders.

A client that is told "no leader" or the dead leader's name backs off and comes back 60 to 230 ms
after the election; one whose question waits has its answer the moment the election is over (D7).
While another answer of the same connection is ready behind it, the wait is shorter still: an
election takes a few milliseconds, and librdkafka, told "no leader", comes back after a second.

Does not: know why a partition has no leader, nor build the answer.
"""

from collections.abc import Callable, Mapping

from trimaran.broker.api import Broker, WatchHandle
from trimaran.broker.calls import Call
from trimaran.broker.waiting import Deadline
from trimaran.ids import GroupId
from trimaran.metadata.topology import Topic

HELD_BACK_S = 0.15
"""Longest time for which answers behind a parked one are held back."""


def leaderless(
    broker: Broker, topic: Topic, *, now_s: float, new_park_s: float
) -> dict[GroupId, float]:
    """Return until when to wait for each partition of `topic` that may have a leader soon.

    A leader that was lost is waited for until `metadata_park_s` after its loss; the first one of a
    partition until `new_park_s` from now.
    """
    waits: dict[GroupId, float] = {}
    for number in range(len(topic.partitions)):
        group = topic.group(number)
        if broker.leader_hint(group)[0] is not None:
            continue
        lost_at_s = broker.leader_lost_at(group)
        if lost_at_s is None:
            waits[group] = now_s + new_park_s
        elif lost_at_s + broker.kafka.metadata_park_s > now_s:
            waits[group] = lost_at_s + broker.kafka.metadata_park_s
    return waits


class Parked:
    """One call that waits for leaders."""

    __slots__ = ("_call", "_deadline", "_done", "_handle", "_looks_soon", "_until_s", "_waits")

    def __init__(
        self, call: Call, waits: Mapping[GroupId, float], done: Callable[[], None]
    ) -> None:
        assert len(waits) > 0
        self._call = call
        self._waits = dict(waits)
        self._done: Callable[[], None] | None = done
        self._looks_soon = False
        self._deadline: Deadline = call.deadlines.at(max(waits.values()), self._end)
        self._until_s = max(waits.values())
        self._handle: WatchHandle = call.broker.watch_leaders(self._changed)
        call.interrupt = self._hurry
        call.abandon = self._let_go

        if call.is_blocking:
            self._hurry()

    def _hurry(self) -> None:
        """Another answer is ready behind this one: wait a little; or the node stops: not at all."""
        if not self._call.is_blocking:
            self._end()
            return
        until_s = self._call.deadlines.now_s() + HELD_BACK_S
        if until_s < self._until_s:
            self._until_s = until_s
            self._call.deadlines.withdraw(self._deadline)
            self._deadline = self._call.deadlines.at(until_s, self._end)

    def _changed(self) -> None:
        """Look once per loop turn, however many leaders are announced in it."""
        if not self._looks_soon:
            self._looks_soon = True
            self._call.deadlines.soon(self._look)

    def _look(self) -> None:
        self._looks_soon = False
        if self._done is None:
            return
        now_s = self._call.deadlines.now_s()
        broker = self._call.broker
        self._waits = {
            group: until_s
            for group, until_s in self._waits.items()
            if until_s > now_s and broker.leader_hint(group)[0] is None
        }
        if not self._waits:
            self._end()

    def _end(self) -> None:
        done = self._done
        assert done is not None
        self._let_go()
        done()

    def _let_go(self) -> None:
        self._done = None
        self._call.deadlines.withdraw(self._deadline)
        self._call.broker.unwatch_leaders(self._handle)
