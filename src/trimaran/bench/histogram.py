"""Latencies in microseconds: counted cheaply while a run lasts, an HdrHistogram afterwards.

Recording into the histogram costs more than a microsecond a value in Python, so a run counts whole
microseconds in a dictionary and the histogram (3 significant digits, 1 us to 1 h) is filled at the
end. Histograms of several processes travel as HdrHistogram's own text encoding and are added up.

Does not: know what was measured.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

LATENCY_MIN_US = 1
LATENCY_MAX_US = 3_600_000_000
"""One hour: longer than any run waits for its last delivery report."""

SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """What is shown of a histogram, in milliseconds; `count` values."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


def encode(counts_us: Mapping[int, int]) -> str:
    """Return the histogram of microsecond -> count as HdrHistogram's base64 text."""
    histogram = _empty()
    for value, count in counts_us.items():
        assert count > 0
        histogram.record_value(min(max(value, LATENCY_MIN_US), LATENCY_MAX_US), count)
    text: bytes = histogram.encode()
    return text.decode("ascii")


def merge(encoded: Iterable[str]) -> str:
    """Return the sum of several encoded histograms, encoded again."""
    histogram = _empty()
    for text in encoded:
        histogram.decode_and_add(text.encode("ascii"))
    merged: bytes = histogram.encode()
    return merged.decode("ascii")


def percentiles(encoded: str) -> Percentiles:
    """Return the percentiles of an encoded histogram; all zero if it holds nothing."""
    histogram = _empty()
    histogram.decode_and_add(encoded.encode("ascii"))
    if not histogram.get_total_count():
        return Percentiles(
            count=0, mean_ms=0.0, p50_ms=0.0, p95_ms=0.0, p99_ms=0.0, p999_ms=0.0, max_ms=0.0
        )

    def at(percentile: float) -> float:
        return float(histogram.get_value_at_percentile(percentile)) / 1_000

    return Percentiles(
        count=histogram.get_total_count(),
        mean_ms=round(histogram.get_mean_value() / 1_000, 3),
        p50_ms=at(50),
        p95_ms=at(95),
        p99_ms=at(99),
        p999_ms=at(99.9),
        max_ms=histogram.get_max_value() / 1_000,
    )


def _empty() -> HdrHistogram:
    return HdrHistogram(LATENCY_MIN_US, LATENCY_MAX_US, SIGNIFICANT_DIGITS)
