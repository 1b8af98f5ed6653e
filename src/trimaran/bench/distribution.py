"""Many durations as a person reads them: percentiles, and a histogram of text. Pure."""

import statistics
from collections.abc import Sequence

import msgspec

BAR_WIDTH = 40
STEP_MS = 50.0


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in milliseconds."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


def distribution(values_ms: Sequence[float]) -> Distribution | None:
    """Return the percentiles (nearest rank) of `values_ms`; None of nothing."""
    if not values_ms:
        return None
    ascending = sorted(values_ms)

    def rank(percent: int) -> float:
        return ascending[max(0, -(-len(ascending) * percent // 100) - 1)]

    return Distribution(
        count=len(ascending),
        p50_ms=round(statistics.median(ascending), 1),
        p90_ms=round(rank(90), 1),
        p99_ms=round(rank(99), 1),
        max_ms=round(ascending[-1], 1),
    )


def histogram(values_ms: Sequence[float], *, step_ms: float = STEP_MS) -> list[str]:
    """Return one line for each step from the shortest to the longest: range, bar, how many."""
    if not values_ms:
        return []
    counts = [0] * (int(max(values_ms) // step_ms) + 1)
    for value in values_ms:
        counts[int(value // step_ms)] += 1
    highest = max(counts)
    return [
        f"{at * step_ms:6.0f} - {(at + 1) * step_ms:5.0f} ms  "
        f"{'#' * -(-count * BAR_WIDTH // highest):<{BAR_WIDTH}} {count}"
        for at, count in enumerate(counts)
        if at >= min(values_ms) // step_ms
    ]
