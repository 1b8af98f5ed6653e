"""The event log of a simulated run: every line hashed, the last ones kept to be read.

Two runs of one seed must have equal hashes. A line holds virtual time, who, what and the facts;
never an object's address, a hash() or anything else that differs next time.

Does not: decide what is worth a line; each twin logs what it does.
"""

import hashlib
from collections import deque
from collections.abc import Callable

LINES_KEPT = 5_000
"""The tail that a failing seed prints; older lines only count in the hash."""


class EventLog:
    """Lines in order. `keep` limits how many can be read back."""

    def __init__(self, now_s: Callable[[], float], *, keep: int = LINES_KEPT) -> None:
        """Stamp lines with `now_s()`, virtual seconds."""
        assert keep > 0
        self.line_count = 0
        self._now_s = now_s
        self._hash = hashlib.blake2b(digest_size=16)
        self._lines: deque[str] = deque(maxlen=keep)

    def add(self, who: str, what: str) -> None:
        """Append one line."""
        line = f"{self._now_s():.6f} {who} {what}"
        self.line_count += 1
        self._hash.update(line.encode())
        self._lines.append(line)

    def note(self, who: str, what: str) -> None:
        """Append a line that is not hashed: text of others, such as the broker's own log."""
        self._lines.append(f"{self._now_s():.6f} {who} | {what}")

    def digest(self) -> str:
        """Return the hash of all lines so far, in hex."""
        return self._hash.hexdigest()

    def tail(self, count: int = LINES_KEPT) -> list[str]:
        """Return the last `count` lines."""
        lines = list(self._lines)
        return lines[-count:]
