"""How long a partition's producer waited around a failure. Pure.

The gap of a partition is the longest time between two consecutive delivery reports that overlaps
the failure's window: it begins with the last report under the old leader and ends with the first
under the new one, so the pause that the load itself leaves between reports is part of it.
Does not: know which partitions were hit.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise


def longest_gap_ns(answered_ns: Sequence[int], *, start_ns: int, end_ns: int) -> int | None:
    """Return the longest time between neighbours of ascending `answered_ns` in [start, end].

    The report before `start_ns` and the one after `end_ns` bound the first and the last pair.
    None: fewer than two reports there, so nothing can be said.
    """
    assert start_ns <= end_ns
    first = max(0, bisect_right(answered_ns, start_ns) - 1)
    last = bisect_left(answered_ns, end_ns) + 1
    around = answered_ns[first:last]
    if len(around) < 2:
        return None
    return max(after - before for before, after in pairwise(around))


def by_partition(numbers: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Return partition -> ascending report times from (partition, time) pairs."""
    times: dict[int, list[int]] = {}
    for partition, time_ns in numbers:
        times.setdefault(partition, []).append(time_ns)
    for column in times.values():
        column.sort()
    return times
