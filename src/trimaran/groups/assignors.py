"""Who is to have which partitions: the assignors of the new protocol (KIP-848). Pure functions.

    uniform  everybody as many as anybody else, to within one; who has something keeps it
    range    of each topic a run of neighbours: equal topics are cut at the same places

Both give each partition of a topic that somebody wants to exactly one member that wants it. With
equal subscriptions `uniform` moves no partition that balance does not ask for. With unequal ones it
moves partitions one at a time while that makes the fuller of two members less full than the other
was; what only a chain of moves would mend stays.
Does not: know epochs, or who has given up what.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import cycle
from typing import Final, TypeAlias

from trimaran.groups.commands import OffsetKey
from trimaran.groups.parts import NOTHING, Parts
from trimaran.ids import TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A member, as an assignor must know it."""

    member_id: str
    instance_id: str | None = None
    topics: frozenset[TopicId]
    """Those that it wants; topics without a count are not there (yet)."""
    current: Parts = NOTHING
    """What it was to have so far."""


Assign: TypeAlias = Callable[[Sequence[Subscriber], Mapping[TopicId, int]], dict[str, Parts]]
"""Takes members in a lasting order and how many partitions each topic has; returns all parts."""


def uniform(subscribers: Sequence[Subscriber], counts: Mapping[TopicId, int]) -> dict[str, Parts]:
    """Return parts of equal size that change as little as that allows."""
    if not subscribers:
        return {}
    first = subscribers[0].topics
    if all(one.topics == first for one in subscribers):
        return _share_alike(subscribers, _partitions(first, counts))
    return _Unlike(subscribers, counts).share()


def by_range(subscribers: Sequence[Subscriber], counts: Mapping[TopicId, int]) -> dict[str, Parts]:
    """Return runs of neighbouring partitions, topic by topic.

    Static members come first, by instance id, then the others by member id, as in Kafka.
    """
    ordered = sorted(
        subscribers,
        key=lambda one: (one.instance_id is None, one.instance_id or "", one.member_id),
    )
    parts: dict[str, list[OffsetKey]] = {one.member_id: [] for one in subscribers}
    for topic_id in sorted(counts):
        wanting = [one for one in ordered if topic_id in one.topics]
        start = 0
        for place, one in enumerate(wanting):
            share, rest = divmod(counts[topic_id], len(wanting))
            end = start + share + (place < rest)
            parts[one.member_id] += [(topic_id, number) for number in range(start, end)]
            start = end
    return {member_id: frozenset(found) for member_id, found in parts.items()}


ASSIGNORS: Final[Mapping[str, Assign]] = {"uniform": uniform, "range": by_range}
"""By the names that members ask for; the first is the default."""
DEFAULT_ASSIGNOR: Final = "uniform"


def _partitions(topics: frozenset[TopicId], counts: Mapping[TopicId, int]) -> list[OffsetKey]:
    """Return all partitions of `topics`, those of equal number side by side."""
    found = [
        (number, topic_id)
        for topic_id in sorted(topics & counts.keys())
        for number in range(counts[topic_id])
    ]
    return [(topic_id, number) for number, topic_id in sorted(found)]


def _share_alike(
    subscribers: Sequence[Subscriber], partitions: Sequence[OffsetKey]
) -> dict[str, Parts]:
    """Share among members that all want the same."""
    free = dict.fromkeys(partitions)
    share, rest = divmod(len(partitions), len(subscribers))
    kept = {one.member_id: sorted(one.current & free.keys()) for one in subscribers}
    # Who has most gets the parts that are one larger: nobody else could give up less.
    fullest_first = sorted(subscribers, key=lambda one: -len(kept[one.member_id]))
    room: dict[str, int] = {}
    parts: dict[str, list[OffsetKey]] = {}
    for place, one in enumerate(fullest_first):
        quota = share + (place < rest)
        mine = [part for part in kept[one.member_id] if part in free][:quota]
        for part in mine:
            del free[part]
        parts[one.member_id] = mine
        room[one.member_id] = quota - len(mine)
    turns = cycle([one.member_id for one in subscribers])
    for part in free:
        member_id = next(turn for turn in turns if room[turn] > 0)
        parts[member_id].append(part)
        room[member_id] -= 1
    return {one.member_id: frozenset(parts[one.member_id]) for one in subscribers}


class _Unlike:
    """Sharing among members that want different topics."""

    __slots__ = ("_counts", "_current", "_held", "_loads", "_members", "_topics", "_wanting")

    def __init__(self, subscribers: Sequence[Subscriber], counts: Mapping[TopicId, int]) -> None:
        self._members = subscribers
        self._counts = counts
        self._loads = [0] * len(subscribers)
        self._wanting: dict[TopicId, list[int]] = {}
        """By topic: places of the members that want it."""
        self._held: dict[TopicId, dict[int, list[int]]] = {}
        """By topic and place: numbers of partitions."""
        self._current: dict[TopicId, list[tuple[int, int]]] = {}
        """By topic: places of members, and the numbers of what they had so far."""
        for place, one in enumerate(subscribers):
            for topic_id, number in sorted(one.current):
                self._current.setdefault(topic_id, []).append((place, number))
            for topic_id in sorted(one.topics & counts.keys()):
                self._wanting.setdefault(topic_id, []).append(place)
                self._held.setdefault(topic_id, {})[place] = []
        # Topics that few want first: what many want can still even things out.
        self._topics = sorted(self._wanting, key=lambda one: (len(self._wanting[one]), one))

    def share(self) -> dict[str, Parts]:
        """Return everybody's part."""
        for topic_id in self._topics:
            self._keep(topic_id)
        for topic_id in self._topics:
            self._give_out(topic_id)
        while sum(self._balance(topic_id) for topic_id in self._topics) > 0:
            pass  # each move makes the sum of squares of the loads less
        parts: list[list[OffsetKey]] = [[] for _ in self._members]
        for topic_id, held in self._held.items():
            for place, numbers in held.items():
                parts[place] += [(topic_id, number) for number in numbers]
        return {
            one.member_id: frozenset(mine) for one, mine in zip(self._members, parts, strict=True)
        }

    def _keep(self, topic_id: TopicId) -> None:
        held, count = self._held[topic_id], self._counts[topic_id]
        taken: dict[int, None] = {}
        for place, number in self._current.get(topic_id, ()):
            if place in held and number < count and number not in taken:
                taken[number] = None
                held[place].append(number)
                self._loads[place] += 1

    def _give_out(self, topic_id: TopicId) -> None:
        held = self._held[topic_id]
        taken = {number: None for numbers in held.values() for number in numbers}
        heap = [(self._loads[place], place) for place in self._wanting[topic_id]]
        heapify(heap)
        for number in range(self._counts[topic_id]):
            if number in taken:
                continue
            load, place = heap[0]
            heapreplace(heap, (load + 1, place))
            held[place].append(number)
            self._loads[place] = load + 1

    def _balance(self, topic_id: TopicId) -> bool:
        """Move partitions of one topic while that evens loads out; return whether any moved."""
        held, loads = self._held[topic_id], self._loads
        # What is in the heaps of a load that changed since is passed over.
        takers = [(loads[place], place) for place in self._wanting[topic_id]]
        givers = [(-loads[place], place) for place, numbers in held.items() if numbers]
        heapify(takers)
        heapify(givers)
        has_moved = False
        while givers:
            least, low = takers[0]
            most, high = -givers[0][0], givers[0][1]
            if loads[low] != least:
                heappop(takers)
            elif loads[high] != most or not held[high]:
                heappop(givers)
            elif most - least < 2:
                break
            else:
                held[low].append(held[high].pop())
                loads[high] -= 1
                loads[low] += 1
                for place in (low, high):
                    heappush(takers, (loads[place], place))
                    heappush(givers, (-loads[place], place))
                has_moved = True
        return has_moved
