"""How far behind the groups coordinated here were when somebody looked, told until it is too old.

Does not: look (the HTTP side does: it has the way to other nodes' logs).
"""

from collections.abc import Callable, Mapping
from urllib.parse import quote

from trimaran.server.observing.shapes import GroupLag

_PLAIN = "!~*'()"
"""Beside letters, digits and `_.-`: what encodeURIComponent leaves as it is."""


class GroupLags:
    """The latest look at the lag of groups."""

    __slots__ = ("_found", "_now_s", "_until_s")

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` is monotonic time in seconds."""
        self._now_s = now_s
        self._found: Mapping[str, GroupLag] = {}
        self._until_s = 0.0

    def note(self, found: Mapping[str, GroupLag], *, held_s: float) -> None:
        """Tell `found` for `held_s` seconds, or until the next time."""
        self._found = found
        self._until_s = self._now_s() + held_s

    def current(self) -> Mapping[str, GroupLag]:
        """Return what is known now; may be called in a thread."""
        return self._found if self._now_s() < self._until_s else {}


def series_name(group_id: str, part: str) -> str:
    """Return the name of a group's series; ids may hold anything, names of series no commas."""
    return f"group/{quote(group_id, safe=_PLAIN)}/{part}"
