"""Log time follows the majority's clocks, whatever a minority says."""

from trimaran.broker.log_clock import LogClock
from trimaran.ids import NodeId

YEAR_MS = 365 * 86_400_000


def clock_with(*wall_ms: int) -> LogClock:
    clock = LogClock()
    for number, wall in enumerate(wall_ms):
        clock.heard(NodeId(number + 1), wall_ms=wall, now_s=100.0)
    return clock


def test_one_clock_is_log_time() -> None:
    assert clock_with(1_000_000).time_ms(100.0) == 1_000_000


def test_a_clock_a_year_ahead_moves_nothing() -> None:
    assert clock_with(1_000_000, 1_000_010, 1_000_000 + YEAR_MS).time_ms(100.0) == 1_000_010


def test_of_two_clocks_the_lower_counts() -> None:
    assert clock_with(1_000_000 + YEAR_MS, 1_000_000).time_ms(100.0) == 1_000_000


def test_between_heartbeats_the_own_monotonic_clock_moves_log_time() -> None:
    assert clock_with(1_000_000).time_ms(100.25) == 1_000_250


def test_a_clock_not_heard_of_for_long_counts_no_more() -> None:
    clock = clock_with(1_000_000, 2_000_000, 3_000_000)

    clock.heard(NodeId(1), wall_ms=1_010_000, now_s=110.0)

    assert clock.time_ms(110.0) == 1_010_000
