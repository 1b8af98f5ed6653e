"""Log time: the lower median of a majority's wall clocks, advanced by the own monotonic clock.

Heartbeats carry each node's wall clock. A clock that is a year ahead on a minority moves nothing
(design D9). Pure: times are handed in. Does not: keep a log's time from going back; the partition
does, since only it knows its predecessor's time.
"""

from trimaran.ids import NodeId

_FRESH_S = 5.0
"""A clock not heard of for this long says nothing any more."""


class LogClock:
    """Estimates log time from the clocks of this node and its peers."""

    def __init__(self) -> None:
        self._skew_ms: dict[NodeId, tuple[float, float]] = {}
        self._median_ms = 0.0

    def heard(self, node: NodeId, *, wall_ms: int, now_s: float) -> None:
        """Note that `node`'s wall clock read `wall_ms` at our monotonic time `now_s`."""
        self._skew_ms[node] = (wall_ms - now_s * 1000.0, now_s)
        fresh = sorted(skew for skew, at in self._skew_ms.values() if now_s - at <= _FRESH_S)
        self._median_ms = fresh[(len(fresh) - 1) // 2]

    def time_ms(self, now_s: float) -> int:
        """Return log time at monotonic time `now_s`, in ms since the Unix epoch."""
        assert self._skew_ms, "the node's own clock is heard before anything is appended"
        return int(self._median_ms + now_s * 1000.0)
