"""What members of the new protocol subscribe to: names and patterns, against the topics there are.

Does not: know where topics come from; whoever runs groups brings a `Topics`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from trimaran.groups.stored import StoredTopic
from trimaran.ids import TopicId


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


def subscribed_names(
    topics: Topics, *, named: Sequence[str], pattern: str, known: Mapping[str, StoredTopic]
) -> tuple[str, ...]:
    """Return the names of the topics that somebody wants, ascending.

    `known` are those that the group knows: one that this node has not heard of yet counts too.
    """
    found = dict.fromkeys(named)
    if pattern:
        candidates = dict.fromkeys((*topics.names(), *known))
        found |= dict.fromkeys(name for name in candidates if topics.fits(pattern, name))
    return tuple(sorted(found))


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
