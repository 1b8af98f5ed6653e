"""The topics of the cluster as consumer groups see them, and the patterns they subscribe with.

Patterns are RE2's, as in Kafka: matching takes time in proportion to a name's length, whoever wrote
them.
Does not: wait for news of topics.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from trimaran.errors import ErrorCode, RequestError
from trimaran.groups.limits import PATTERN_CHARACTERS_MAX
from trimaran.groups.stored import StoredTopic
from trimaran.ids import TopicId
from trimaran.metadata.image import Image

PATTERN_BYTES_MAX = 1 << 20
"""Memory that one compiled pattern may take."""
PATTERNS_KEPT_MAX = 256
"""Compiled patterns that are kept."""


class GroupTopics:
    """A `groups.topics.Topics` over the metadata image."""

    __slots__ = ("_image",)

    def __init__(self, image: Callable[[], Image]) -> None:
        """`image` returns what is true now."""
        self._image = image

    @property
    def mark(self) -> object:
        """The same object as before if no topic came, went or changed."""
        return self._image().topics

    def names(self) -> Sequence[str]:
        """Return the names of all topics that can be read, ascending."""
        return [topic.name for topic in self._image().topics if not topic.is_internal]

    def find(self, name: str) -> StoredTopic | None:
        """Return a topic; None if it is not known (yet)."""
        topic = self._image().topic(name)
        if topic is None or topic.is_internal:
            return None
        return StoredTopic(topic.name, topic.topic_id, len(topic.partitions))

    def name_of(self, topic_id: TopicId) -> str | None:
        """Return a topic's name."""
        topic = self._image().topic_by_id(topic_id)
        return None if topic is None else topic.name

    def is_deleted(self, topic_id: TopicId) -> bool:
        """Whether the topic is gone for sure."""
        return self._image().was_deleted(topic_id)

    def fits(self, pattern: str, name: str) -> bool:
        """Whether the whole of `name` fits a pattern that was checked."""
        return _compiled(pattern).fullmatch(name) is not None


def check_pattern(pattern: str) -> None:
    """Return if members may subscribe with `pattern`; empty: with none.

    Raises:
        RequestError: INVALID_REGULAR_EXPRESSION.
    """
    import re2

    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise RequestError(
            ErrorCode.INVALID_REGULAR_EXPRESSION,
            f"pattern: expected at most {PATTERN_CHARACTERS_MAX} characters, found {len(pattern)}",
        )
    try:
        _compiled(pattern)
    except re2.error as error:
        raise RequestError(
            ErrorCode.INVALID_REGULAR_EXPRESSION, f"pattern {pattern!r}: {error}"
        ) from error


@lru_cache(maxsize=PATTERNS_KEPT_MAX)
def _compiled(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    return re2.compile(pattern, options)
