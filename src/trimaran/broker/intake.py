"""Whether the node takes in more events: as long as its segment writer and its disk keep up.

What is behind is measured by committed bytes that no segment holds yet, by journal files that
cannot go yet, and by free space. Clients are held back by not reading from them. Leaders are held
back by dropping what they send, which costs them a heartbeat and sending it again: so that happens
later, at twice the bytes, and ends where clients go on.

Does not: measure, pause or drop anything.
"""

from collections.abc import Callable

HELD_FACTOR = 2
"""Leaders are held back at so many times the bytes at which clients are."""


class Intake:
    """What holds of the node now. Updated by those who measure."""

    __slots__ = (
        "_changed",
        "_has_space",
        "_is_journal_full",
        "_is_late",
        "_is_over",
        "_unflushed_bytes_max",
    )

    def __init__(
        self,
        *,
        unflushed_bytes_max: int,
        has_space: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        """`has_space`: whether the disk has room for what leaders send.

        `changed` is called whenever `from_clients` may be another.
        """
        self._unflushed_bytes_max = unflushed_bytes_max
        self._has_space = has_space
        self._changed = changed
        self._is_over = False
        self._is_late = False
        self._is_journal_full = False

    @property
    def from_clients(self) -> bool:
        """Whether clients are read."""
        return not (self._is_over or self._is_journal_full)

    @property
    def from_leaders(self) -> bool:
        """Whether events that leaders send are taken."""
        return not (self._is_late or self._is_journal_full) and self._has_space()

    def unflushed(self, size: int) -> None:
        """So many committed bytes are in no segment yet."""
        was_over, self._is_over = self._is_over, size > self._unflushed_bytes_max
        if size > HELD_FACTOR * self._unflushed_bytes_max:
            self._is_late = True
        elif not self._is_over:
            self._is_late = False
        if self._is_over != was_over:
            self._changed()

    def journal_full(self, full: bool) -> None:
        """Another journal file would pass the limit of all of them, or would not."""
        self._is_journal_full = full
        self._changed()
