"""What members of the new protocol subscribe to: names and patterns, against the topics there are.

Does not: know where topics come from; whoever runs groups brings a `Topics`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from trimaran.groups.stored import StoredTopic
from trimaran.ids import TopicId

PATTERNS_MATCHED_MAX = 1_024
"""Patterns of one group whose topics are kept: as many as a group has members by default."""


class Topics(Protocol):
    """The topics of the cluster, as far as the coordinator's node knows them."""

    @property
    def mark(self) -> object:
        """The same object as before if no topic came, went or changed."""

    def names(self) -> Sequence[str]:
        """Return the names of all topics that can be read, ascending."""

    def find(self, name: str) -> StoredTopic | None:
        """Return a topic; None if it is not known (yet)."""

    def name_of(self, topic_id: TopicId) -> str | None:
        """Return a topic's name."""

    def is_deleted(self, topic_id: TopicId) -> bool:
        """Whether the topic is gone for sure, not only unknown here for now."""

    def fits(self, pattern: str, name: str) -> bool:
        """Whether the whole of `name` fits a pattern that was checked."""


class Subscriptions:
    """What subscriptions mean now: each pattern is matched once while the topics stay the same."""

    __slots__ = ("_fitting", "_mark", "_topics")

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._mark: object = None
        self._fitting: dict[str, tuple[str, ...]] = {}
        """By pattern: names of the topics that fit."""

    def names(
        self, *, named: Sequence[str], pattern: str, known: Mapping[str, StoredTopic]
    ) -> tuple[str, ...]:
        """Return the names of the topics that somebody wants, ascending.

        `known` are those that the group knows: one that this node has not heard of yet counts too.
        """
        fitting = self._matched(pattern, known) if pattern else ()
        return tuple(sorted(dict.fromkeys((*named, *fitting)))) if named else fitting

    def _matched(self, pattern: str, known: Mapping[str, StoredTopic]) -> tuple[str, ...]:
        topics = self._topics
        if topics.mark is not self._mark:
            self._mark = topics.mark
            self._fitting = {}
        fitting = self._fitting.get(pattern)
        if fitting is None:
            if len(self._fitting) >= PATTERNS_MATCHED_MAX:
                self._fitting = {}
            candidates = sorted(dict.fromkeys((*topics.names(), *known)))
            fitting = tuple([name for name in candidates if topics.fits(pattern, name)])
            self._fitting[pattern] = fitting
        return fitting


def current_topic(topics: Topics, name: str, known: StoredTopic | None) -> StoredTopic | None:
    """Return a topic as it is now; what the group knew stays until its end is known for sure.

    A coordinator that has just become one may not have heard of the newest topics and partitions.
    """
    found = topics.find(name)
    if known is None or topics.is_deleted(known.topic_id):
        return found
    if found is None or (
        found.topic_id == known.topic_id and found.partition_count < known.partition_count
    ):
        return known
    return found
